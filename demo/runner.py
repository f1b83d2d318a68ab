"""Runs functions over the stages of a visit where the models are, and says for how long a GPU is lent for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import proxyclip_core as pc
from demo import limits, time_limit, work
from demo.answers.errors import in_words
from demo.kept import ForAll
from demo.models import Provider
from demo.one_thread import turn
from demo.request_log import note
from demo.stages import Stages, queries_of
from demo.visit import Asked, Key, Visit, keys_of
from proxyclip_core.interrupt import interruptible

# On the slowest GPU that is lent, with a reserve: a function that takes longer than it asked for may be ended.
START_SECONDS = 8  # of a process
MEGABYTES_A_SECOND = 500  # of weights that move to the GPU
OPERATIONS_A_SECOND = 5e12


class Runner:
    """Runs functions over the stages of a visit, where the models are. opening: what the page opens with, for all."""

    def __init__(self, models: Provider, opens_with: Asked | None = None) -> None:
        self.opening = ForAll(opens_with)
        run = partial(_run, models)
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
        with self.turn(visit, wanted, more):
            run = self._run if computes else self._read
            value, entries, error = run(do, visit, may_encode, tuple(wanted), *given)
        after = replace(visit, entries=entries)
        note(**after.facts())
        return value, after, error

    def turn(
        self, visit: Visit, wanted: Sequence[pc.Settings] = (), more: bool = False
    ) -> AbstractContextManager[None]:
        """What is run inside, for the results that a visit or `wanted` asks for, is let past what takes longer, by
        estimate, if its models are in memory."""
        try:
            asked = wanted or (visit.asked.settings,)
            is_known = all(map(self.is_loaded, asked)) and not more
            seconds = [self.estimate(visit, s) for s in asked] if is_known else [None]
        except ValueError:  # which is said when it runs
            seconds = [None]
        return turn(sum(math.inf if one is None else one for one in seconds))

    def is_loaded(self, settings: pc.Settings) -> bool:
        """Whether the models are in memory."""
        return {settings.clip, settings.vfm} <= {*self.models.loaded()}

    def estimate(self, visit: Visit, settings: pc.Settings | None = None) -> float | None:
        """Seconds that a result takes, the visit's or that of other settings, right within a factor of two or so; None
        where that is not known, as before anything has run. Raises ValueError for settings that cannot be."""
        # What was measured with a lent GPU was so in a process that has ended.
        usual = OPERATIONS_A_SECOND if limits.gpus_are_lent() else 0.0
        size_hw, speed = visit.size_hw, time_limit.seen() or usual
        if not size_hw or not speed:
            return None
        s = settings or visit.asked.settings
        words = keys_of(visit.picture, s)["words"]
        known = [entry.value.queries for key, entry in visit.entries.items() if _alike(key, words)]
        return sum(missing(visit, s, size_hw, set(queries_of(s)).difference(*known)).values()) / speed


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
) -> tuple[Any, Any, str]:
    stages = Stages(models, visit, may_encode)
    try:
        _check_together(visit, wanted)
        with interruptible(stages.check_going_on):  # also what is done beside the stages, such as counting all pairs
            return do(stages, *given), stages.entries(), ""
    except Exception as error:  # noqa: BLE001 every error becomes a line that the person can read
        return None, stages.entries(), in_words(error)


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
