"""Runs functions over the stages of a visit where the models are, and says for how long a GPU is lent for each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import proxyclip_core as pc
from demo import limits, stopping, time_limit, work
from demo.answers.errors import in_words
from demo.asked_words import queries_of
from demo.computing import turn
from demo.kept import ForAll
from demo.models import Provider, Say
from demo.request_log import note
from demo.stages import Stages
from demo.visit import Asked, Entry, Key, Visit, keys_of
from proxyclip_core.interrupt import interruptible

# On the slowest GPU that is lent, with a reserve: a function that takes longer than it asked for may be ended.
START_SECONDS = 8  # of a process
MEGABYTES_A_SECOND = 500  # of weights that move to the GPU
OPERATIONS_A_SECOND = 5e12
EARLIER = 0.7  # the weight of what was measured before

NOT_READ = (
    "To read the files of these models took longer than one request may, as others wait. Ask again: what was read "
    "already comes faster. Or choose smaller models."
)

Kind = tuple[str, str, str]  # stage, CLIP, VFM
Left = Mapping[Key, tuple[Kind, float]]  # with operations


class Runner:
    """Runs functions over the stages of a visit, where the models are. opening: what the page opens with, for all."""

    def __init__(self, models: Provider, opens_with: Asked | None = None) -> None:
        self.opening = ForAll(opens_with)
        run = partial(_run, models)
        # Of late: seconds of an operation in a stage, and of what a function does beside its stages.
        self._took: dict[Kind | str, float] = {}
        self.models, self._run, self._read = models, models.on_device(run, lent_seconds), models.on_device(run)

    def __call__(
        self,
        do: Callable[..., Any],
        visit: Visit,
        *given: Any,
        may_encode: bool = True,
        wanted: Sequence[pc.Settings] = (),
        more: bool = False,
        computes: bool = True,
    ) -> tuple[Any, Visit, str]:
        """`do(stages, *given)` -> its value, the visit with what is kept then, and ""; on an error None, and a line for
        the person.

        wanted: the settings of the results that `do` needs, where they are not those of the visit. more: whether it
        does more, such as with another picture, and is not to be taken for quick. computes: False where it only reads
        what is held, for which no GPU is lent.
        All that comes and goes can be pickled where `do` is a function of a module: on ZeroGPU it runs in a process of
        its own.
        """
        left = None if more else self._left(visit, wanted or (visit.asked.settings,))
        name = getattr(do, "__qualname__", "")
        with turn(self._seconds(left, name)):
            run = self._run if computes else self._read
            value, entries, error, beside = run(do, visit, may_encode, tuple(wanted), *given)
        if left is not None and not error:
            self._learn(left, entries, name, beside)
        after = replace(visit, entries=entries)
        note(**after.facts())
        return value, after, error

    def load(self, s: pc.Settings, say: Say = lambda done, text: None) -> None:
        """Reads the models of a result, where they are not in memory: before it begins, and here rather than in a
        process that a GPU is lent to, which forgets them. Raises as `Models.get`, and UserError."""
        if self.is_loaded(s):  # no turn is taken for that: how long reading takes is not known, so others would wait
            return
        with interruptible(stopping.no_longer_than(2 * limits.REQUEST_SECONDS, NOT_READ)):
            self.models.get(s.clip, s.vfm, say=say)

    def is_loaded(self, settings: pc.Settings) -> bool:
        """Whether the models are in memory."""
        return {settings.clip, settings.vfm} <= {*self.models.loaded()}

    def estimate(self, visit: Visit, settings: pc.Settings | None = None) -> float | None:
        """Seconds that a result takes, the visit's or that of other settings, right within a factor of two or so; None
        where that is not known, as before anything has run. Raises ValueError for settings that cannot be."""
        left, speed = self._operations(visit, settings or visit.asked.settings), _speed()
        return sum(left.values()) / speed if left is not None and speed else None

    def _operations(self, visit: Visit, s: pc.Settings) -> dict[Key, float] | None:
        """`missing`, of the words those that were not read before; None where the picture's size is not known."""
        size_hw, words = visit.size_hw, keys_of(visit.picture, s)["words"]
        known = [entry.value.queries for key, entry in visit.entries.items() if _alike(key, words)]
        return missing(visit, s, size_hw, set(queries_of(s)).difference(*known)) if size_hw else None

    def _left(self, visit: Visit, wanted: Sequence[pc.Settings]) -> Left | None:
        """What several results still need; None where that is not known, or their models are not in memory."""
        left: dict[Key, tuple[Kind, float]] = {}
        try:
            for s in wanted:
                sam = work.sam_of(s)
                ready = self.is_loaded(s) and (sam is None or sam.name in self.models.loaded())
                operations = self._operations(visit, s) if ready else None
                if operations is None:
                    return None
                left |= {key: ((key[0], s.clip, s.vfm), count) for key, count in operations.items()}
        except ValueError:  # which is said when it runs
            return None
        return left

    def _seconds(self, left: Left | None, name: str) -> float:
        """What a function will take, by which its turn comes: no stage is as fast as the products that are timed, those
        of small networks are far from it, and what it draws is no stage of a result."""
        speed = _speed()
        if left is None or not speed:
            return math.inf
        stages = sum(count * max(1 / speed, self._took.get(kind, 0.0)) for kind, count in left.values())
        return stages + self._took.get(name, 0.0)

    def _learn(self, left: Left, made: Mapping[Key, Entry], name: str, beside: float) -> None:
        found = {kind: made[key].seconds / count for key, (kind, count) in left.items() if count and key in made}
        for kind, took in (found | {name: beside}).items():
            self._took[kind] = took + EARLIER * (self._took.get(kind, took) - took)


def _speed() -> float:
    """Operations a second; 0 where none were measured. What was measured with a lent GPU was so in a process that has
    ended."""
    return time_limit.seen() or (OPERATIONS_A_SECOND if limits.gpus_are_lent() else 0.0)


def missing(
    visit: Visit, s: pc.Settings, size_hw: tuple[int, int], new: Collection[str] | None = None
) -> dict[Key, float]:
    """The operations of what a result still needs, by the keys of its stages. new: as `work.operations` takes it."""
    keys = keys_of(visit.picture, s)
    found = work.operations(s, size_hw, queries_of(s), new)
    held = {stage for stage, key in keys.items() if key in visit.entries}
    return {keys[stage]: found[stage] for stage in work.missing(held)}


def _alike(key: Key, words: Key) -> bool:
    """Whether what a key stands for are words that were read by the same CLIP in the same templates: the first and the
    last of what they depend on."""
    return key[0] == words[0] and (key[1][0], key[1][-1]) == (words[1][0], words[1][-1])


def _run(
    models: Provider, do: Callable[..., Any], visit: Visit, may_encode: bool, wanted: Sequence[pc.Settings], *given: Any
) -> tuple[Any, Any, str, float]:
    """As Runner's call, with the seconds that it took beside the stages whose operations are known."""
    stages, start = Stages(models, visit, may_encode), time.monotonic()
    try:
        _check_together(visit, wanted)
        with interruptible(stages.check_going_on):  # also what is done beside the stages, such as counting all pairs
            value, problem = do(stages, *given), ""
    except Exception as error:  # noqa: BLE001 every error becomes a line that the person can read
        value, problem = None, in_words(error)
    known = sum(seconds for stage, seconds in stages.ran.items() if stage in work.STAGES)
    return value, stages.entries(), problem, time.monotonic() - start - stages.away - known


def _check_together(visit: Visit, wanted: Sequence[pc.Settings]) -> None:
    """Raises UserError where several results would take too long together. Each alone is looked at as it is made."""
    if len(wanted) < 2:
        return
    size_hw, speed = visit.size_hw, time_limit.seen()
    if size_hw is None or not speed:
        return
    operations: dict[Key, float] = {}
    for s in wanted:
        operations |= missing(visit, s, size_hw, ())
    time_limit.check_together(len(wanted), sum(operations.values()) / speed)


def lent_seconds(
    do: Callable[..., Any], visit: Visit, may_encode: bool, wanted: Sequence[pc.Settings], *given: Any
) -> int:
    """For how long a GPU is asked for, at most limits.GPU_SECONDS: by what the results take that are not held yet."""
    size_hw = visit.size_hw
    if size_hw is None:
        return limits.GPU_SECONDS
    operations: dict[Key, float] = {}
    megabytes: dict[str, int] = {}
    for s in wanted or (visit.asked.settings,):
        try:
            operations |= missing(visit, s, size_hw)
        except ValueError:  # which the function will say at once
            continue
        specs = (pc.find_clip(s.clip), pc.find_vfm(s.vfm), work.sam_of(s))
        megabytes |= {spec.name: spec.megabytes for spec in specs if spec}
    moving, computing = sum(megabytes.values()) / MEGABYTES_A_SECOND, sum(operations.values()) / OPERATIONS_A_SECOND
    return min(limits.GPU_SECONDS, math.ceil(START_SECONDS + moving + computing))
