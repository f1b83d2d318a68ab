"""Whether what is computed is still wanted: Stop may be pressed, a request cancelled, its tab closed.

gradio cannot end a function that runs. So whoever computes asks now and then, by way of `proxyclip_core.interrupt`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from demo.answers.errors import UserError

STOPPED = "Stopped. What was done is kept: ask again to go on."

_event: ContextVar[Any] = ContextVar("event", default=None)  # gradio's, of the request that is being answered
_stopped: WeakSet[Any] = WeakSet()


class Stopped(UserError):
    """Nobody waits for it any more."""


@contextmanager
def answering(event: Any) -> Iterator[None]:
    """What runs inside answers this event of gradio's queue; None for a request that did not wait there."""
    before = _event.set(event)
    try:
        yield
    except asyncio.CancelledError:  # the thread that computes would go on
        stop([event])
        raise
    finally:
        _event.reset(before)


def stop(events: Iterable[Any]) -> None:
    """Ends what is computed for these events, also for such as still wait for their turn."""
    _stopped.update(event for event in events if event is not None)


def check_wanted() -> None:
    """Raises Stopped where nobody waits for the request that is being answered."""
    event = _event.get()
    if event is not None and (event in _stopped or _has_left(event)):
        raise Stopped(STOPPED)


def no_longer_than(seconds: float, said: str) -> Callable[[], None]:
    """A check for `interruptible`, which raises UserError, with what is said, so long after it was first asked, or when
    nobody waits any more."""
    end = math.inf

    def check() -> None:
        nonlocal end
        check_wanted()
        end = min(end, time.monotonic() + seconds)
        if time.monotonic() > end:
            raise UserError(said)

    return check


def _has_left(event: Any) -> bool:
    """Whether the tab is closed, or the program that called is gone.

    gradio's script also lets go of its stream of answers between two events, and `alive` is false then; only the
    session of a program, which is of this one event, ends with it.
    """
    return event.closed or (not event.alive and event.session_hash == event._id)
