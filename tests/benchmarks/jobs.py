"""What is measured, and what comes of it: JSON on its way to a process of its own and back."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Job:
    """What to measure. task: a name in TASKS. size_hw, side, windows: the picture, as in `ProxyCLIP.encode`.

    precision: of the encoders. repeats: timed runs after one that is not; 0 for one run and no warm-up.
    at_least: seconds that are spent on timed runs, so that a short task meets as many of the machine's moods as a long
    one; MOST_RUNS of them at most. refine: the refinement, where a task has one.
    keep: file (.npz) for the labels and logits, to be compared with another job's. without: a name in TRICKS that is
    turned off. times: how often a folder holds the scenes.
    """

    task: str
    precision: str = "float32"
    size_hw: tuple[int, int] = (336, 503)
    side: int | None = 336
    windows: str = "sliding"
    classes: int = 5
    repeats: int = 3
    at_least: float = 0.0
    refine: str = "none"
    keep: str = ""
    clip: str = "OpenAI B/16"
    vfm: str = "DINO B/8"
    device: str = "cpu"
    weights: str = ""  # folder that `write_weights` filled
    without: str = ""
    times: int = 1


@dataclass
class Result:
    """seconds, cpu_seconds: of the best run, by the clock and on all cores together.

    peak_bytes: of the process (on CUDA: of the card), from its start to the last timed run. flops: by precision.
    speeds: operations a second of a large matrix product, by precision (task "speeds" only).
    """

    seconds: float = float("nan")
    cpu_seconds: float = float("nan")
    peak_bytes: int = 0
    precision: str = "float32"
    flops: dict[str, float] = field(default_factory=dict)
    speeds: dict[str, float] = field(default_factory=dict)
