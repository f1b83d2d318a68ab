"""What an event takes of what a visit holds, what it makes, and what of all that is kept after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, is_dataclass, replace
from typing import Any

from demo import computing, limits, stopping, time_limit
from demo.answers.errors import UserError
from demo.visit import LEAVE_LAST, Asked, Entry, Key, Visit, file_digest, keys_of
from proxyclip_core.interrupt import interruptible

# Of the values that one event used, those that are made again soonest leave first.
DISPENSABLE = (
    *("picture", "dense", "logits", "refined", "presence", "result", "overlay", "layers", "canvas"),
    *("compact", "graph", "words"),
    *("regions", "sam", "vfm", "clip"),
)
# Large for the time that it takes to make them again: kept only of what is asked for, or where they were just used.
SOON_MADE = ("dense", "overlay")


class Kept:
    """The values of one event, by stage and by all settings that they depend on.

    digest, settings: what the page's result is of. ran: seconds that this event took to make values, by stage. away:
    those that went to what is quick, of others.
    """

    def __init__(self, visit: Visit) -> None:
        self.digest, self.settings = visit.picture, visit.asked.settings
        self.ran: dict[str, float] = {}
        self._end = time.monotonic() + 2 * limits.REQUEST_SECONDS  # twice, as the estimate may be as far off
        self.away = 0.0
        self._entries = dict(visit.entries)
        self._used: dict[Key, None] = {}

    def _value(self, key: Key, make: Callable[[], Any]) -> Any:
        if key not in self._entries:
            self.check_going_on()
            start, others, away = time.perf_counter(), sum(self.ran.values()), self.away
            with interruptible(self.check_going_on):
                value = make()
            # Without the stages that ran for this one, and without what others computed meanwhile.
            spent = time.perf_counter() - start - (sum(self.ran.values()) - others) - (self.away - away)
            self.ran[key[0]] = self.ran.get(key[0], 0) + spent
            self._entries[key] = Entry(value, spent, nbytes(value))
        self._used[key] = None
        return self._entries[key].value

    def check_going_on(self) -> None:
        """Raises UserError where the time is up, or nobody waits any more. What is quick may pass meanwhile."""
        stopping.check_wanted()
        start = time.monotonic()
        computing.let_pass()
        away = time.monotonic() - start
        self._end += away
        self.away += away
        if time.monotonic() > self._end:
            raise UserError(time_limit.TOO_LATE)

    def entries(self) -> dict[Key, Entry]:
        """What is kept after this event, within limits.KEPT_BYTES; what is not on the page any more, and no encoder
        made of this picture, within limits.SPARE_BYTES."""
        rank = {stage: place for place, stage in enumerate(DISPENSABLE)}
        shown = keys_of(self.digest, self.settings)
        own, on_page = {shown[stage] for stage in LEAVE_LAST}, {*shown.values()}
        order = [key for key in self._entries if key not in self._used and key not in own]
        order += sorted((key for key in self._used if key not in own), key=lambda key: rank[key[0]])
        order += [key for key in self._entries if key in own]
        order = [key for key in order if key[0] not in SOON_MADE or key in self._used or key in on_page]
        kept = {key: self._entries[key] for key in order}
        spare = [key for key in order if key not in self._used and key not in on_page and not self._is_encoded(key)]
        for keys, most in ((spare, limits.SPARE_BYTES), (order, limits.KEPT_BYTES)):
            total = sum(kept[key].size for key in keys if key in kept)
            for key in keys:
                if total <= most:
                    break
                total -= kept.pop(key).size if key in kept else 0
        return kept

    def _is_encoded(self, key: Key) -> bool:
        """Whether an encoder has given it, for the picture on the page."""
        return key[0] in ("clip", "vfm", "sam", "regions") and key[1][0] == self.digest


class ForAll:
    """The values of the result that a page opens with, which are the same for everybody who comes and nobody's secret:
    one visitor's request makes them."""

    def __init__(self, asked: Asked | None = None) -> None:
        """asked: what the page opens with; None for nothing."""
        self._asked, self._entries = asked, dict[Key, Entry]()
        self._making = threading.Lock()

    @contextmanager
    def made_once(self, visit: Visit) -> Iterator[Visit]:
        """The visit as `given`, once no other request makes this: who comes meanwhile waits, and makes it no second
        time."""
        with self._making if self._is_of(visit) and not self._entries else nullcontext():
            yield self.given(visit)

    def given(self, visit: Visit) -> Visit:
        """A visit that asks for this, with what is kept of it; any other as it is."""
        return replace(visit, entries=self._entries | dict(visit.entries)) if self._is_of(visit) else visit

    def take(self, visit: Visit) -> None:
        """Keeps what a visit holds of it, if it is the first that does."""
        if self._entries or not self._is_of(visit):
            return
        own = {*keys_of(visit.picture, visit.asked.settings).values()}
        self._entries = {key: entry for key, entry in visit.entries.items() if key in own}

    def _is_of(self, visit: Visit) -> bool:
        asked = self._asked
        return (
            asked is not None and visit.asked.settings == asked.settings and visit.picture == file_digest(asked.picture)
        )


def nbytes(value: Any) -> int:
    """Bytes of the arrays, tensors and texts in a value and in the fields of a dataclass."""
    if is_dataclass(value):
        return sum(nbytes(getattr(value, entry.name)) for entry in fields(value))
    return len(value) if isinstance(value, str) else int(getattr(value, "nbytes", 0))
