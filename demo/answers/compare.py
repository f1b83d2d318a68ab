"""What the tab "Compare" does, one plain function an event: results of one picture, side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo import menus
from demo.answers import ground_truth
from demo.draw.legend import percent
from demo.stages import Stages
from proxyclip_core.drawing.drawing import Look

LOOK = Look()  # as under Segment, where nobody has changed it


@dataclass(frozen=True, eq=False)
class Shown:
    """One result as it is shown. drawn: (H, W, 3) uint8; miou: in 0..1, None where no truth is known."""

    name: str
    drawn: np.ndarray
    labels: np.ndarray
    miou: float | None
    seconds: float

    @property
    def caption(self) -> str:
        score = "" if self.miou is None else f"mIoU {self.miou * 100:.1f} % · "
        return f"{self.name} · {score}{self.seconds:.2f} s"


def suggested(vfm: str, vfms: Sequence[str]) -> list[str]:
    """What the sheet opens with: CLIP without a VFM, and the page's VFM at all patch sizes that are here."""
    family = vfm.rsplit("/", 1)[0]
    return [*menus.ALONE, *(name for name in vfms if name.rsplit("/", 1)[0] == family)]


def named(caption: str, names: Sequence[str]) -> str | None:
    """Which of the results a caption of `Shown` is of."""
    name = caption.partition(" · ")[0]
    return name if name in names else None


def show(stages: Stages, name: str, true: ground_truth.GroundTruth | None, look: Look = LOOK) -> Shown:
    """One result, computed where it is not there yet. Raises ValueError for an unknown name."""
    settings = menus.variant(name, stages.settings)
    labels = stages.result(settings).labels
    return Shown(
        f"{name} ({menus.vfm_title(stages.settings)})" if name == menus.CURRENT else name,
        stages.drawing(settings).draw(stages.canvas(), look),
        labels,
        ground_truth.score(labels, stages.words().names, true)[0] if true else None,
        stages.seconds(settings),
    )


def pair(
    stages: Stages, left: str, right: str, true: ground_truth.GroundTruth | None, look: Look = LOOK
) -> tuple[tuple[np.ndarray, np.ndarray], str]:
    """Two results for the slider, and how much they differ as HTML."""
    one, other = show(stages, left, true, look), show(stages, right, true, look)
    differ = html.escape(percent(float((one.labels != other.labels).mean())))
    captions = "<br>".join(
        f"<strong>{side}:</strong> {html.escape(shown.caption)}" for side, shown in (("Left", one), ("Right", other))
    )
    hidden = ", ".join(name for name in stages.words().names if name in look.hidden)
    rest = f"<br>Not drawn, as under Segment: {html.escape(hidden)}." if hidden else ""
    return (one.drawn, other.drawn), f"<p>{captions}<br>They differ on {differ} of the picture.{rest}</p>"


def is_running(shown: str) -> bool:
    """Whether a bar that `progress` made is not at its end."""
    return "<progress" in shown and "· done" not in shown


def progress(done: int, names: Sequence[str]) -> str:
    """HTML: a bar, and what is computed now."""
    what = html.escape(names[done]) if done < len(names) else "done"
    text = f"{done} of {len(names)} · {what}"
    style = "width:100%;accent-color:var(--color-accent)"
    return f'<label>{text} <progress max="{len(names)}" value="{done}" style="{style}"></progress></label>'
