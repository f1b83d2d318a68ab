"""Figures as SVG whose text and axes take the page's own text colour: they read in light and in dark, at any size.
Each is as wide as a phone; those that belong together stand beside each other where there is room.

matplotlib is used through its objects, as pyplot would share state between visitors.
"""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from proxyclip_core import SimilarityStatistics
from proxyclip_core.evaluation import PrecisionRecall

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's blue, lighter so that it reads on dark pages too, vermilion, green, rose, sky and orange. Lines differ
# in dashes as well.
COLOURS = ("#338ec1", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 2), (6, 2, 1, 2), (1, 1), (4, 1, 1, 1, 1, 1), (8, 2))  # line, gap, ...
LINE = 1.8  # points
INK = "#010203"  # of text and axes until `to_svg` makes it the page's own


def similarity_figure(
    statistics: Mapping[str, SimilarityStatistics], beta: float, rows: Mapping[str, np.ndarray] | None = None
) -> str:
    """HTML, Fig. 4 of the paper: all pairwise similarities before and after normalisation, one line a VFM.

    rows: of each VFM, the similarities of one patch with all others, which are filled areas.
    """
    before, after = (_axes(3.5, 2.7) for _ in range(2))
    for (name, found), colour, dash in zip(statistics.items(), COLOURS, DASHES):
        line: dict[str, Any] = {"color": colour, "linestyle": (0, dash), "linewidth": LINE}
        before.stairs(_percent(found.cosine_counts), found.edges, **line)
        if rows:
            row, _ = np.histogram(rows[name], found.edges)
            before.stairs(_percent(row), found.edges, color=colour, fill=True, alpha=0.3)
        before.axvline(found.mean, color=colour, linewidth=1, alpha=0.6)
        before.axvline(beta * found.mean, color=colour, linewidth=1, linestyle=":")
        after.stairs(_percent(found.normalised_counts), found.normalised_edges, **line)
    after.axvspan(min(after.get_xlim()[0], 0), 0, color="#888888", alpha=0.25, linewidth=0)
    after.text(0.02, 0.96, "masked", transform=after.transAxes, va="top", color=INK)
    _finish(before, "Before: cosine similarity", "similarity of two patches", "% of pairs")
    _finish(after, "After: normalised", "A = γ (similarity − β · mean)", "% of pairs")
    means = "; ".join(f"{name}: mean {s.mean:.2f}" for name, s in statistics.items())
    masked = "; ".join(f"{name}: {s.masked_share:.0%} masked" for name, s in statistics.items())
    drawn = to_svg(before, f"Histogram of pairwise similarities. {means}")
    drawn += to_svg(after, f"The same after normalisation. {masked}")
    return f'<div class="charts">{drawn}{_key(statistics)}</div>'


def precision_recall_figure(curves: Mapping[str, PrecisionRecall]) -> str:
    """HTML, Fig. 1 of the paper: precision over recall of 'same class', one line a kind of similarity."""
    axes = _axes(4, 3)
    recall = np.linspace(0, 1, 201)
    for curve, colour, dash in zip(curves.values(), COLOURS, DASHES):
        at = np.searchsorted(curve.recall, recall).clip(max=len(curve.recall) - 1)
        axes.plot(recall[1:], curve.precision[at][1:], color=colour, linestyle=(0, dash), linewidth=LINE)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    _finish(axes, "Do like patches belong to one class?", "recall", "precision")
    key = _key(f"{name}: {curve.average_precision:.3f}" for name, curve in curves.items())
    described = "; ".join(f"{name}: average precision {c.average_precision:.3f}" for name, c in curves.items())
    drawn = to_svg(axes, f"Precision over recall of same class. {described}")
    return f'<div class="charts">{drawn}{key}</div>'


def _axes(width: float, height: float) -> Axes:
    """Of a figure of its own, in inches."""
    from matplotlib.figure import Figure  # the start of the page does not wait for it

    return Figure(figsize=(width, height), layout="constrained").subplots()


def _percent(counts: np.ndarray) -> np.ndarray:
    return 100 * counts / max(counts.sum(), 1)


def _finish(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, color=INK, fontsize=11)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)
    axes.tick_params(colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.patch.set_alpha(0)


def _key(names: Iterable[str]) -> str:
    """HTML: which line is whose. Beside the drawings, as names may be longer than these are wide."""
    lines = (
        f'<svg width="40" height="4" aria-hidden="true"><path d="M0 2h40" stroke="{colour}" stroke-width="{LINE}" '
        f'stroke-dasharray="{" ".join(str(LINE * part) for part in dash) or "none"}"/></svg>'
        for colour, dash in zip(COLOURS, DASHES)
    )
    return f"<ul>{''.join(f'<li>{line} {html.escape(name)}</li>' for name, line in zip(names, lines))}</ul>"


def to_svg(axes: Axes, described: str) -> str:
    """A figure as an SVG element with an alternative text, as wide as its place on the page."""
    figure, written = axes.get_figure(root=True), io.StringIO()
    assert figure  # these axes have one
    figure.patch.set_alpha(0)
    figure.savefig(written, format="svg", metadata={"Date": None})
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    svg = ElementTree.fromstring(written.getvalue())
    del svg.attrib["width"], svg.attrib["height"]
    svg.attrib |= {"role": "img", "aria-label": described, "style": "height:auto"}
    return ElementTree.tostring(svg, encoding="unicode").replace(INK, "currentColor")
