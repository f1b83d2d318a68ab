"""One line a request in the log: what was called, how it ended, how long it took, how large it was, by which models.

Never a picture, a word, or who asked: whoever runs a page may keep such a log, and show it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr

from demo.computing import waiting
from demo.health import WatchedBlocks

log = logging.getLogger(__name__)
LATEST = 0.2  # weight of the latest event among its like
_line: ContextVar[dict[str, Any] | None] = ContextVar("line", default=None)


def note(**facts: Any) -> None:
    """Adds to the line of the request that is being answered: pixels, words, models. Text must be ours."""
    line = _line.get()
    if line is not None:
        line.update(facts)


def ended(outcome: str) -> None:
    """How the request ended, where it was not simply answered. What is said first counts."""
    line = _line.get()
    if line is not None:
        line.setdefault("outcome", outcome)


class LoggedBlocks(WatchedBlocks):
    """gradio's page, with a line for every event.

    own_seconds: of each kind of event, what its like took of late, without what they waited for others.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._unfinished: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()  # of what answers in parts
        self.own_seconds: dict[Any, float] = {}

    async def process_api(
        self,
        block_fn: Any,
        inputs: Any,
        state: Any = None,
        request: Any = None,
        iterator: Any = None,
        *given: Any,
        **named: Any,
    ) -> dict[str, Any]:
        """As gradio's own. Events of every kind come by here, and each part of an answer that comes in parts."""
        line = self._unfinished.pop(iterator, {}) if iterator else {}
        event = self._queue.event_ids_to_events.get(named.get("event_id") or "")
        if event is not None and not iterator:
            line["waited"] = time.monotonic() - event.enqueue_time
        start, before, to_come = time.perf_counter(), _line.set(line), None
        try:
            with waiting() as others:
                answer = await super().process_api(block_fn, inputs, state, request, iterator, *given, **named)
            line["others"] = line.get("others", 0.0) + others.seconds
            to_come = answer["iterator"] if answer["is_generating"] else None
            return answer
        except asyncio.CancelledError:  # Stop, or a client's own word for it
            ended("cancelled")
            raise
        except BaseException as error:
            ended("refused" if isinstance(error, gr.Error) else f"failed ({type(error).__name__})")
            raise
        finally:
            _line.reset(before)
            line["seconds"] = line.get("seconds", 0.0) + time.perf_counter() - start
            if to_come is not None:
                self._unfinished[to_come] = line
            else:
                self._count(block_fn, line)
                log.info("%s", _text(getattr(block_fn, "name", str(block_fn)), line))

    def _count(self, block_fn: Any, line: dict[str, Any]) -> None:
        if "outcome" not in line:  # what is refused takes no time
            own = line["seconds"] - line["others"]
            before = self.own_seconds.get(block_fn, own)
            self.own_seconds[block_fn] = before + LATEST * (own - before)


def _text(name: str, line: dict[str, Any]) -> str:
    waited = f" after {line['waited']:.3f} s in the queue" if "waited" in line else ""
    own = f", {line['seconds'] - line['others']:.3f} s without others" if line.get("others") else ""
    parts = [f"{name}: {line.get('outcome', 'answered')} in {line['seconds']:.3f} s{waited}{own}"]
    parts += [f"{line[key]} {key}" for key in ("pixels", "words") if key in line]
    return ", ".join([*parts, *filter(None, [line.get("models")])])
