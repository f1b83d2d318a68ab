"""The table of what things cost, with its goals: one function a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks import runner as processes
from tests.benchmarks.runner import MeasurementError, Runner
from tests.benchmarks.tasks import EVALUATED, SCENES

LARGE_HW = (1367, 2048)
FEW, MANY = 5, 847
# A usual picture of ADE20K in the paper's settings. Its eight windows take long enough to be timed once.
ADE: dict[str, Any] = {"size_hw": (512, 683), "side": 448, "classes": 150, "repeats": 1, "at_least": 0.0}
GIGABYTE = 1e9
BUILTIN: dict[str, Any] = {"clip": "Built-in", "vfm": "Built-in/8"}
TIMES = 4  # that a folder holds the scenes, which are then 200
FOLDER: dict[str, Any] = {**BUILTIN, "repeats": 1, "at_least": 0.0, "times": TIMES}
# Row -> (method, picture, classes, seconds it may take on two cores).
REFINEMENTS: dict[str, tuple[str, tuple[int, int], int, float]] = {
    "quick": ("quick", (384, 512), 15, 0.15),
    "pixels": ("pixels", (384, 512), 15, 0.15),
    "patches": ("patches", (384, 512), 15, 0.05),
    "pixels-many": ("pixels", (480, 640), 150, 1.5),
    "pixels-large": ("pixels", LARGE_HW, 15, 2.0),
}
REFINED_AGAIN = ("quick", "patches")  # those that also have a row with their graph at hand
MORE_BYTES = 300e6  # above "none"
AGAIN = ", other words for the picture"
SHOWN = {"picture": "a new picture", "words": "new words", "both": "both", "beta": "beta"}
ON_PAGE: dict[str, Any] = {"size_hw": (512, 683), "refine": "quick"}


@dataclass
class Line:
    """One row. seconds, plain_seconds: ours and the baseline's. floor_seconds: what the arithmetic alone would take.

    goals: (goal, met) in words. here: limits in seconds or bytes, which two cores of an AMD EPYC (Zen 5) keep.
    peak_bytes, plain_peak_bytes: of a fresh process. note: agreement with float32, and what else there is to say.
    """

    title: str
    seconds: float | None = None
    plain_seconds: float | None = None
    goals: list[tuple[str, bool]] = field(default_factory=list)
    here: list[tuple[str, bool]] = field(default_factory=list)
    peak_bytes: int | None = None
    plain_peak_bytes: int | None = None
    floor_seconds: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster than the baseline."""
        return self.plain_seconds / self.seconds if self.seconds and self.plain_seconds else None

    @property
    def times_floor(self) -> float | None:
        """How many times the least time that its arithmetic could take."""
        return self.seconds / self.floor_seconds if self.seconds and self.floor_seconds else None

    @property
    def met(self) -> bool:
        """Whether all goals are."""
        return all(met for _, met in self.goals)


Row = Callable[[Runner], Line]


def _timed(
    run: Runner,
    title: str,
    task: str,
    against: tuple[str, ...],
    faster: float | None,
    here: float,
    **job: Any,
) -> Line:
    """A row that is timed. against: baseline tasks whose times add up. faster: goal. here: seconds."""
    result = run(task, **job)
    plain = [run(name, precision="float32") for name in against]
    line = Line(
        title=title,
        seconds=result.seconds,
        plain_seconds=sum(one.seconds for one in plain) or None,
        here=_limit(run, result.seconds, here),
        peak_bytes=result.peak_bytes,
        plain_peak_bytes=max((one.peak_bytes for one in plain), default=None),
        floor_seconds=run.floor_seconds(result),
        note=result.precision,
    )
    if faster:
        line.goals.append((f"{faster:g}x", (line.ratio or 0) >= faster))
    else:
        line.goals.append((f"<= {here:g} s", result.seconds <= here))
    return line


def _limit(run: Runner, seconds: float, limit: float) -> list[tuple[str, bool]]:
    """The goal in seconds, which was set for one kind of CPU and says nothing of a GPU."""
    return [(f"<= {limit:g} s", seconds <= limit)] if run.common.device == "cpu" else []


def text(run: Runner) -> Line:
    line = _timed(run, "text, 5 classes x 80 templates, cold", "our_text", ("plain_text",), 10, 1.9)
    ours, plain = run.arrays("our_text"), run.arrays("plain_text", precision="float32")
    difference = np.abs(ours["embeddings"] - plain["embeddings"]).max()
    line.note = f"embeddings within {difference:.0e}"
    return line


def _picture(
    run: Runner,
    title: str,
    faster: float,
    here: float,
    *,
    equal_labels: float = 0,
    logits: float = 0,
    **job: Any,
) -> Line:
    """equal_labels: goal for the share of pixels labelled as in the plain method in float32 on a CPU; logits: goal
    for the largest difference from it."""
    line = _timed(run, title, "our_picture", ("plain_picture",), faster, here, **job)
    ours = run.arrays("our_picture", **job)
    on_cpu = {} if run.common.device == "cpu" else {"device": "cpu"}
    plain = run.arrays("plain_picture", precision="float32", **on_cpu)
    equal = float((ours["labels"] == plain["labels"]).mean())
    difference = float(np.abs(ours["logits"] - plain["logits"]).max())
    if equal_labels:
        line.goals.append((f"labels >= {equal_labels:.0%}", equal >= equal_labels))
    if logits:
        line.goals.append((f"logits <= {logits:.0e}", difference <= logits))
    line.note += f", labels {equal:.2%} equal, logits within {difference:.0e}"
    return line


def exact(run: Runner, precision: str) -> Line:
    faster, here = (2, 8.2) if precision == "float32" else (4, 4.1)
    bound = {"logits": 1e-5} if precision == "float32" else {"equal_labels": 0.99}
    line = _picture(run, f"picture, exact windows, {precision}", faster, here, precision=precision, **bound)
    if run.common.device != "cpu" and precision != "float32":
        line.goals.append(("<= 0.06 s", (line.seconds or 0) <= 0.06))
    return line


def whole(run: Runner) -> Line:
    return _picture(run, "picture in one window", 6, 2.7, windows="whole")


def known_words(run: Runner) -> Line:
    everything = ("plain_text", "plain_picture")
    return _timed(run, "new words, known to the cache", "our_known_words", everything, 100, 0.3)


def settings(run: Runner) -> Line:
    return _timed(run, "new beta or gamma", "our_settings", ("plain_picture",), 25, 0.6)


def click(run: Runner) -> Line:
    return _timed(run, "a click (attention of one seed)", "our_click", (), None, 0.1)


def first_masks(run: Runner) -> Line:
    """Words and a picture that were never seen before; on a GPU, where a person would wait for nothing else."""
    ours = [run("our_text"), run("our_picture")]
    plain = [run("plain_text", precision="float32"), run("plain_picture", precision="float32")]
    seconds, plain_seconds = (sum(one.seconds for one in part) for part in (ours, plain))
    line = Line("first masks: new words, new picture", seconds, plain_seconds)
    if run.common.device != "cpu":
        line.goals.append(("<= 0.15 s", seconds <= 0.15))
    return line


def shown(run: Runner, what: str) -> Line:
    """What a person at the page waits for."""
    result = run(f"our_{what}_shown", **ON_PAGE)
    line = Line(f"from a click to the refined masks: {SHOWN[what]}", result.seconds, note=result.precision)
    if run.common.device != "cpu" and what == "picture":
        line.goals.append(("<= 0.15 s", result.seconds <= 0.15))
    return line


def memory(run: Runner) -> Line:
    ours, plain = run("our_session", repeats=0), run("plain_session", repeats=0, precision="float32")
    share = ours.peak_bytes / plain.peak_bytes
    return Line(
        "peak memory of the process",
        goals=[("<= 0.7x", share <= 0.7)],
        here=[("<= 1.5 GB", ours.peak_bytes <= 1.5 * GIGABYTE)] if run.common.device == "cpu" else [],
        peak_bytes=ours.peak_bytes,
        plain_peak_bytes=plain.peak_bytes,
        note=f"{ours.precision}, {share:.2f}x the baseline's",
    )


def many_classes(run: Runner, size_hw: tuple[int, int] = LARGE_HW) -> Line:
    few, many = (run("our_picture", size_hw=size_hw, classes=count) for count in (FEW, MANY))
    added, slower = many.peak_bytes - few.peak_bytes, many.seconds / few.seconds
    height, width = size_hw
    return Line(
        f"{MANY} classes on {width} x {height}, above {FEW}",
        seconds=many.seconds,
        goals=[("<= +1.5 GB", added <= 1.5 * GIGABYTE), ("time < 3x", slower < 3)],
        peak_bytes=many.peak_bytes,
        floor_seconds=run.floor_seconds(many),
        note=f"{added / GIGABYTE:+.2f} GB, {slower:.2f}x the time of {FEW} ({few.seconds:.2f} s); "
        f"the baseline's logits alone are {MANY * height * width * 4 / GIGABYTE:.1f} GB",
    )


def refinement_job(name: str) -> dict[str, Any]:
    method, size_hw, classes, _ = REFINEMENTS[name]
    return {**BUILTIN, "refine": method, "size_hw": size_hw, "classes": classes}


def refinement(run: Runner, name: str, task: str = "our_refinement") -> Line:
    method, size_hw, classes, here = REFINEMENTS[name]
    job = refinement_job(name)
    ours, without = run(task, **job), run("our_refinement", **{**job, "refine": "none"})
    added, (height, width) = ours.peak_bytes - without.peak_bytes, size_hw
    return Line(
        f"refinement {method!r}, {width} x {height}, {classes} classes{AGAIN if task.endswith('again') else ''}",
        seconds=ours.seconds,
        here=_limit(run, ours.seconds, here),
        goals=[("<= +300 MB", added <= MORE_BYTES)],
        peak_bytes=ours.peak_bytes,
        plain_peak_bytes=without.peak_bytes,
        note=f"{ours.cpu_seconds:.2f} s of all cores together, {added / 1e6:+.0f} MB above 'none'",
    )


def evaluation(run: Runner) -> Line:
    result = run("our_evaluation", **ADE)
    seconds = result.seconds / EVALUATED
    return Line(
        f"`evaluate`, a picture of ADE20K, {ADE['classes']} classes",
        seconds=seconds,
        peak_bytes=result.peak_bytes,
        note=f"{result.precision}, 8 windows a picture, {1 / seconds:.2f} pictures/s from files to areas",
    )


def folder(run: Runner) -> Line:
    """Both with the built-in pair, whose pictures take so little that all around the networks counts."""
    ours, alone = (run(task, **FOLDER) for task in ("our_folder", "one_by_one"))
    count, ratio = len(SCENES) * TIMES, alone.seconds / ours.seconds
    return Line(
        f"`segment` on a folder of {count} scenes, against one call after another",
        seconds=ours.seconds,
        plain_seconds=alone.seconds,
        goals=[("1.5x", ratio >= 1.5)],
        peak_bytes=ours.peak_bytes,
        plain_peak_bytes=alone.peak_bytes,
        note=f"{count / ours.seconds:.1f} pictures/s, and {count / alone.seconds:.1f}; {ours.precision}",
    )


def on_ray(run: Runner) -> Line:
    """A cluster takes its time to start, and two sizes of a folder tell how fast it is from then on."""
    few, many = (run("folder_on_ray", **{**FOLDER, "times": times}) for times in (1, TIMES))
    alone = run("our_folder", **FOLDER)
    count, first = len(SCENES) * TIMES, len(SCENES)
    rate = (count - first) / (many.seconds - few.seconds)
    return Line(
        f"`segment --ray local` on a folder of {count} scenes, against one process",
        seconds=many.seconds,
        plain_seconds=alone.seconds,
        plain_peak_bytes=alone.peak_bytes,
        note=f"{rate:.1f} pictures/s once it works, after {few.seconds - first / rate:.0f} s, and "
        f"{count / alone.seconds:.1f} in one process",
    )


def page(run: Runner) -> Line:
    result = processes.time_page(run.folder)
    return Line("`python app.py` to the page", result.seconds, goals=[("<= 8 s", result.seconds <= 8)])


def importing(run: Runner) -> Line:
    result, heavy = processes.time_import()
    light = not {"gradio", "matplotlib"} & set(heavy)
    return Line(
        "`from proxyclip_core import *`",
        result.seconds,
        goals=[("<= 3 s", result.seconds <= 3), ("no gradio or matplotlib", light)],
        note=f"brings in {', '.join(heavy) or 'none of gradio, matplotlib, timm, open_clip'}",
    )


def rows_for(device: str, precision: str) -> dict[str, Row]:
    """Name -> row. A GPU has two reduced precisions to compare, a CPU the one that was chosen."""
    reduced = ("bfloat16", "float16") if device == "cuda" and precision == "auto" else (precision,)
    pictures = {f"exact-{name}": partial(exact, precision=name) for name in (*reduced, "float32")}
    return {
        "text": text,
        **pictures,
        "whole": whole,
        "words": known_words,
        "settings": settings,
        "click": click,
        **{name: partial(refinement, name=name) for name in REFINEMENTS},
        **{f"{name}-again": partial(refinement, name=name, task="our_refinement_again") for name in REFINED_AGAIN},
        **({"first": first_masks} if device != "cpu" else {}),
        **{f"{what}-shown": partial(shown, what=what) for what in SHOWN},
        "memory": memory,
        "classes": many_classes,
        "evaluate": evaluation,
        "folder": folder,
        "ray": on_ray,
        "page": page,
        "import": importing,
    }


def measure_row(row: Row, name: str, run: Runner) -> Line:
    """The row; where a process failed, a row that says so."""
    try:
        return row(run)
    except MeasurementError as error:
        return Line(name, goals=[("measured", False)], note=str(error))
