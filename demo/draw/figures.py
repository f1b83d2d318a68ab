"""Figures as SVG whose text and axes take the page's own text colour: they read in light and in dark, at any size.

matplotlib is used through its objects, as pyplot would share state between visitors.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from xml.etree import ElementTree

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from proxyclip_core import SimilarityStatistics
from proxyclip_core.evaluation import PrecisionRecall

# Okabe and Ito's blue, lighter so that it reads on dark pages too, vermilion, green, rose, sky and orange. Lines differ
# in dashes as well.
COLOURS = ("#338ec1", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (4, 1, 1, 1, 1, 1)), (0, (6, 2)))
INK = "#010203"  # of text and axes until `to_svg` makes it the page's own


def similarity_figure(
    statistics: Mapping[str, SimilarityStatistics], beta: float, rows: Mapping[str, np.ndarray] | None = None
) -> str:
    """SVG, Fig. 4 of the paper: all pairwise similarities before and after normalisation, one line a VFM.

    rows: of each VFM, the similarities of one patch with all others, which are filled areas.
    """
    figure = Figure(figsize=(7, 3), layout="constrained")
    before, after = figure.subplots(1, 2)
    for (name, found), colour, dash in zip(statistics.items(), COLOURS, DASHES):
        line = {"color": colour, "linestyle": dash, "linewidth": 1.8}
        before.stairs(_percent(found.cosine_counts), found.edges, label=name, **line)
        if rows:
            row, _ = np.histogram(rows[name], found.edges)
            before.stairs(_percent(row), found.edges, color=colour, fill=True, alpha=0.3)
        before.axvline(found.mean, color=colour, linewidth=1, alpha=0.6)
        before.axvline(beta * found.mean, color=colour, linewidth=1, linestyle=":")
        after.stairs(_percent(found.normalised_counts), found.normalised_edges, label=name, **line)
    after.axvspan(min(after.get_xlim()[0], 0), 0, color="#888888", alpha=0.25, linewidth=0)
    after.text(0.02, 0.96, "masked", transform=after.transAxes, va="top", color=INK)
    _finish(before, "Before: cosine similarity", "similarity of two patches", "% of pairs")
    _finish(after, "After: normalised", "A = γ (similarity − β · mean)", "% of pairs")
    _legend(figure, before, len(statistics))
    described = "; ".join(f"{name}: mean {s.mean:.2f}, {s.masked_share:.0%} masked" for name, s in statistics.items())
    return to_svg(figure, f"Histograms of pairwise similarities before and after normalisation. {described}")


def precision_recall_figure(curves: Mapping[str, PrecisionRecall]) -> str:
    """SVG, Fig. 1 of the paper: precision over recall of 'same class', one line a kind of similarity."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    recall = np.linspace(0, 1, 201)
    for (name, curve), colour, dash in zip(curves.items(), COLOURS, DASHES):
        at = np.searchsorted(curve.recall, recall).clip(max=len(curve.recall) - 1)
        axes.plot(
            recall[1:],
            curve.precision[at][1:],
            color=colour,
            linestyle=dash,
            linewidth=1.8,
            label=f"{name}: {curve.average_precision:.3f}",
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    _finish(axes, "Do like patches belong to one class?", "recall", "precision")
    _legend(figure, axes, 3)
    described = "; ".join(f"{name}: average precision {c.average_precision:.3f}" for name, c in curves.items())
    return to_svg(figure, f"Precision over recall of same class. {described}")


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


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=max(columns, 1),
        labelcolor=INK,
        frameon=False,
        handlelength=3,
    )


def to_svg(figure: Figure, described: str) -> str:
    """The figure as an SVG element with an alternative text, as wide as its place on the page or wider to be read."""
    figure.patch.set_alpha(0)
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    svg = ElementTree.fromstring(written.getvalue())
    del svg.attrib["width"], svg.attrib["height"]
    svg.attrib |= {"role": "img", "aria-label": described, "style": "width:100%;min-width:30rem;height:auto"}
    return ElementTree.tostring(svg, encoding="unicode").replace(INK, "currentColor")
