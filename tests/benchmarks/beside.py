"""This checkout and another one, such as an older commit's, in one run: each row in turn here and there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.jobs import Job
from tests.benchmarks.rows import (
    ADE,
    FOLDER,
    LARGE_HW,
    MANY,
    ON_PAGE,
    REFINED_AGAIN,
    REFINEMENTS,
    SHOWN,
    refinement_job,
)
from tests.benchmarks.runner import ROOT, alternate, run_in_child, time_import, time_page

SLOWER = 1.1  # from this ratio on

# Row -> what is measured of ours: fields of Job. Rows that begin with "exact-" name a precision.
OURS: dict[str, dict[str, Any]] = {
    "text": {"task": "our_text"},
    "whole": {"task": "our_picture", "windows": "whole"},
    "words": {"task": "our_known_words"},
    "settings": {"task": "our_settings"},
    "click": {"task": "our_click"},
    "memory": {"task": "our_session", "repeats": 0},
    "classes": {"task": "our_picture", "size_hw": LARGE_HW, "classes": MANY},
    "evaluate": {"task": "our_evaluation", **ADE},
    "folder": {"task": "our_folder", **FOLDER},
    **{name: {"task": "our_refinement", **refinement_job(name)} for name in REFINEMENTS},
    **{f"{name}-again": {"task": "our_refinement_again", **refinement_job(name)} for name in REFINED_AGAIN},
    **{f"{what}-shown": {"task": f"our_{what}_shown", **ON_PAGE} for what in SHOWN},
}


@dataclass(frozen=True)
class Pair:
    """One row, here and there: seconds, or bytes for the row "memory"."""

    row: str
    here: float
    there: float

    @property
    def ratio(self) -> float:
        return self.here / self.there


def measure_pair(row: str, common: Job, there: Path, rounds: int) -> Pair:
    """A row of `rows.rows_for`, without its baseline; the best of some rounds.

    common.weights: a folder that holds weights for both. there: the other checkout's folder, with its own
    `tests.benchmarks.child`. Raises MeasurementError where a process failed.
    """
    calls = {root: partial(_measure, row, common, root) for root in (ROOT, there)}
    found = alternate(calls, rounds)
    return Pair(row, min(found[ROOT]), min(found[there]))


def _measure(row: str, common: Job, root: Path) -> float:
    if row == "import":
        return time_import(1, root)[0].seconds
    if row == "page":
        return time_page(Path(common.weights), root).seconds
    own = {"task": "our_picture", "precision": row.removeprefix("exact-")} if row.startswith("exact-") else OURS[row]
    result = run_in_child(replace(common, **own), root)
    return result.peak_bytes if row == "memory" else result.seconds
