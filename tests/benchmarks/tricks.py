"""What each trick of `proxyclip_core.cpu` gains: the row "picture" with that one turned off, beside all turned on.

On one thread, and in the CPU's seconds in place of the clock's: what else runs on the machine then counts for little.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from proxyclip_core.cpu import keep_freed_memory, kernels
from tests.benchmarks.jobs import Job
from tests.benchmarks.runner import Measure, alternate

# Name -> what is turned off: fields of `kernels.Kernels`, and the allocator's setting.
TRICKS = {
    "packed weights": {"packing"},
    "oneDNN for other products": {"linear"},
    "attention in chunks": {"attention"},
    "kept memory": {"memory"},
    "all of them": {"packing", "linear", "attention", "memory"},
}


def prepare(without: str) -> None:
    """Sets this process up as a program that computes with all tricks but one, or with all for ""."""
    off = TRICKS.get(without, set())
    chosen = replace(kernels.current(), **{name: frozenset() for name in off - {"memory"}})
    kernels.current = lambda: chosen
    if "memory" not in off:
        keep_freed_memory()


def measure_tricks(common: Job, rounds: int, measure: Measure) -> dict[str, dict[str, float]]:
    """Trick, or "" for all turned on -> precision -> CPU seconds of a picture, the least of some rounds."""
    job = replace(common, task="our_picture", repeats=1, at_least=0)
    found: dict[str, dict[str, float]] = {name: {} for name in ("", *TRICKS)}
    for precision in ("bfloat16", "float32"):
        calls = {name: partial(measure, replace(job, precision=precision, without=name)) for name in found}
        for name, results in alternate(calls, rounds).items():
            found[name][precision] = min(result.cpu_seconds for result in results)
    return found
