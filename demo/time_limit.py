"""A request is bounded by the time that it would take on this machine, before any of it is done.

How long that is follows from its operations (`demo.work`) and from how many the machine does in a second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

import torch

import proxyclip_core as pc
from demo import limits, work
from demo.answers.errors import UserError

# Of the matrices whose product is timed: as large as is needed to take the least time, in which starting it is little.
SIDES, LEAST_SECONDS = (768, 3072, 6144), 1e-3
SHARE = {"cuda": 0.1}  # of what such a product reaches, networks reach
USUAL_SHARE = 0.5
TRIES = 3
TOO_LATE = (
    "This took longer than one request may, as others wait. What was done is kept: ask again to go on, or take a "
    "smaller model, a lower resolution, a larger patch, or fewer words."
)


_best: dict[tuple[torch.device, torch.dtype], float] = {}


def operations_a_second(device: torch.device, dtype: torch.dtype, again: bool = False) -> float:
    """What networks do on a device in this precision, by the best of a few products of matrices.

    again: whether to look once more: the machine may have been busy before. The best that was seen counts.
    """
    key = (device, dtype)
    if again or key not in _best:
        _best[key] = max(_best.get(key, 0.0), _measured(device, dtype))
    return _best[key]


def seen() -> float:
    """The most operations a second that were measured so far, 0 for none; nothing is measured for it."""
    return max(_best.values(), default=0.0)


def _measured(device: torch.device, dtype: torch.dtype) -> float:
    for side in SIDES:
        matrix, taken = torch.ones(side, side, device=device, dtype=dtype), math.inf
        for _ in range(TRIES + 1):  # the first one also prepares
            start = time.perf_counter()
            (matrix @ matrix)[0, 0].item()  # which waits until it is done
            taken = min(taken, time.perf_counter() - start)
        if taken >= LEAST_SECONDS:
            break
    return SHARE.get(device.type, USUAL_SHARE) * 2 * side**3 / taken


def check_time(
    s: pc.Settings,
    size_hw: tuple[int, int],
    queries: Sequence[str],
    new: Collection[str],
    needed: Collection[str],
    speed: float,
) -> None:
    """Raises UserError, with what would fit, for what would take longer than limits.REQUEST_SECONDS.

    queries, new: as `work.operations` takes them. needed: the stages that are to run. speed: operations a second.
    """
    found = work.operations(s, size_hw, queries, new)
    most, total = limits.REQUEST_SECONDS * speed, sum(found[stage] for stage in needed)
    if total <= most:
        return
    taken = f"This would take about {rounded(total / speed)} s on this machine; at most {limits.REQUEST_SECONDS} s"
    if "words" in needed and found["words"] > total / 2:
        count = int(len(new) * most / found["words"] / 2)
        raise UserError(f"{taken} are given to one request. Take at most {count} new words at a time.")
    sides = [side for side in pc.SETTINGS["side"].values if isinstance(side, int)]
    for windows in (s.windows, "whole"):
        for side in sorted(sides, reverse=True):
            fitting = work.operations(replace(s, side=side, windows=windows), size_hw, queries, new)
            if sum(fitting[stage] for stage in needed) <= most:
                how = f"Resolution {side}" + (" with the whole picture at once" if windows != s.windows else "")
                raise UserError(f"{taken} are given to one request. {how} would fit.")
    raise UserError(f"{taken} are given to one request. Choose a smaller model, a larger patch, or no refinement.")


def check_together(results: int, seconds: float) -> None:
    """Raises UserError for results that would take longer together than limits.REQUEST_SECONDS."""
    if seconds > limits.REQUEST_SECONDS:
        raise UserError(
            f"{results} results would take about {rounded(seconds)} s on this machine; at most {limits.REQUEST_SECONDS}"
            f" s are given to one request. Choose {max(1, int(results * limits.REQUEST_SECONDS / seconds))} at a time, "
            "or a lower resolution."
        )


def rounded(seconds: float) -> str:
    """Two digits: it is an estimate."""
    return f"{float(f'{seconds:.2g}'):.0f}"
