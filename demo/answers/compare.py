"""What the tab "Compare" does, one plain function an event: results of one picture, side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo.answers import ground_truth as truth
from demo.answers import segment as callbacks
from demo.answers.segment import Look
from demo.draw import overlay as render
from demo.variants import LABELS, Bench, Variant, variant_of

CURRENT = "The current result"
LOOK = Look(opacity=0.75)


@dataclass(frozen=True, eq=False)
class Shown:
    """One result as it is shown. drawn: (H, W, 3) uint8; miou: in 0..1, None where no truth is known."""

    name: str
    drawn: np.ndarray
    labels: np.ndarray
    miou: float | None
    seconds: float
    timed_fully: bool

    @property
    def caption(self) -> str:
        score = "" if self.miou is None else f"mIoU {self.miou * 100:.1f} % · "
        rest = "" if self.timed_fully else " (the rest was there)"
        return f"{self.name} · {score}{self.seconds:.2f} s{rest}"


def choices(vfms: Sequence[str]) -> list[str]:
    """What can be compared: CLIP without a VFM, and every VFM at each of its patch sizes."""
    return [*LABELS.values(), *vfms]


def suggested(vfm: str, vfms: Sequence[str]) -> list[str]:
    """What the sheet opens with: CLIP without a VFM, and the page's VFM at all patch sizes that are here."""
    family = vfm.rsplit("/", 1)[0]
    return choices([name for name in vfms if name.rsplit("/", 1)[0] == family])


def variant(bench: Bench, name: str) -> Variant:
    return bench.current if name == CURRENT else variant_of(name)


def show(bench: Bench, name: str, true: truth.Truth | None) -> Shown:
    """One result, computed where it is not there yet."""
    staged, chosen = bench.staged, variant(bench, name)
    labels = bench.labels(chosen)
    shown = render.shown_labels(labels, staged.picture.shape[:2])
    return Shown(
        f"{name} ({bench.vfm})" if name == CURRENT else name,
        callbacks.draw_labels(staged.picture, shown, staged, LOOK),
        labels,
        truth.score(labels, staged.vocabulary.names, true)[0] if true else None,
        *bench.seconds(chosen),
    )


def pair(bench: Bench, left: str, right: str, true: truth.Truth | None) -> tuple[tuple[np.ndarray, np.ndarray], str]:
    """Two results for the slider, and how much they differ as HTML."""
    one, other = show(bench, left, true), show(bench, right, true)
    differ = html.escape(render.percent(float((one.labels != other.labels).mean())))
    captions = "<br>".join(
        f"<strong>{side}:</strong> {html.escape(shown.caption)}" for side, shown in (("Left", one), ("Right", other))
    )
    return (
        one.drawn,
        other.drawn,
    ), f"<p>{captions}<br>They differ on {differ} of the picture.</p>"


def is_running(shown: str) -> bool:
    """Whether a bar that `progress` made is not at its end."""
    return "<progress" in shown and "· done" not in shown


def progress(done: int, names: Sequence[str]) -> str:
    """HTML: a bar, and what is computed now."""
    what = html.escape(names[done]) if done < len(names) else "done"
    text = f"{done} of {len(names)} · {what}"
    style = "width:100%;accent-color:var(--color-accent)"
    return f'<label>{text} <progress max="{len(names)}" value="{done}" style="{style}"></progress></label>'
