"""Arrays -> pictures and figures of the tabs that look inside. Nothing of gradio in here.

Figures are SVG whose text and axes take the page's own text colour, so they read in light and in dark and are sharp
at any size. matplotlib is used through its objects; pyplot would share state between visitors.

Axes: H x W pixels of the picture as drawn. Points are (x, y) in these pixels.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from proxyclip_core import SimilarityStatistics
from proxyclip_core.evaluation import PrecisionRecall

# Okabe and Ito's, told apart by colour-blind people, the blue lighter for dark pages; lines differ in dashes as well.
COLOURS = ("#2B8CCB", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (4, 1, 1, 1, 1, 1)), (0, (6, 2)))
SEED_COLOURS = ("#FFD400", "#00E5FF", "#FF5CE1", "#7CFF4D")  # bright: they lie on pictures and on dark heat
INK = "#010203"  # of text and axes until `to_svg` makes it the page's own
HEAT = "inferno"
STRIP = 26  # pixels of the colour bar under a map
UNIT_SIDE = 480  # pixels of the longer side of a picture on which a marker has its plain size
SHARPER = 4  # markers are drawn this much larger and shrunk, for smooth edges

Box = tuple[float, float, float, float]


def heat_map(
    picture: np.ndarray, values: np.ndarray, seed_xy: tuple[float, float], box: Box | None, number: int
) -> np.ndarray:
    """What a seed attends to, laid over the picture in grey, with a marker and a colour bar below.

    picture (H, W, 3) uint8, values (H, W) float, NaN where nothing can be attended to -> (H + STRIP, W, 3) uint8.
    The colours run from the map's own lowest to its own highest value. box: the seed's patch, (x0, y0, x1, y1).
    """
    low, high = value_range(values)
    grey = picture @ np.array([0.299, 0.587, 0.114])
    seen = np.isfinite(values)
    share = np.where(seen, (np.nan_to_num(values) - low) / max(high - low, 1e-12), 0)
    colours = matplotlib.colormaps[HEAT](share)[..., :3] * 255
    mixed = np.where(seen[..., None], 0.25 * grey[..., None] + 0.75 * colours, 0.4 * grey[..., None])
    drawn = Image.fromarray(np.rint(mixed.clip(0, 255)).astype(np.uint8))
    _mark(drawn, seed_xy, number, box)
    return np.concatenate([np.asarray(drawn), colour_bar(picture.shape[1], low, high)])


def value_range(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest of the values that are there."""
    return (float(np.nanmin(values)), float(np.nanmax(values))) if np.isfinite(values).any() else (0.0, 0.0)


def colour_bar(width: int, low: float, high: float) -> np.ndarray:
    """(STRIP, width, 3) uint8: the heat map's colours, with the values at its ends written on them."""
    ramp = matplotlib.colormaps[HEAT](np.linspace(0, 1, width))[None, :, :3] * 255
    strip = Image.fromarray(np.rint(np.repeat(ramp, STRIP, axis=0)).astype(np.uint8))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(size=17)
    pen.text((6, STRIP / 2), number_text(low), fill="white", font=font, anchor="lm")
    pen.text((width - 6, STRIP / 2), number_text(high), fill="black", font=font, anchor="rm")
    return np.asarray(strip)


def number_text(value: float) -> str:
    """Three digits, without an exponent where that stays short."""
    return f"{value:.3g}" if value == 0 or abs(value) >= 1e-4 else f"{value:.1e}"


def seeds_on(
    picture: np.ndarray,
    seeds_xy: Sequence[tuple[float, float]],
    boxes: Sequence[Box | None],
    grid: tuple[Sequence[float], Sequence[float]] | None = None,
) -> np.ndarray:
    """The picture with a numbered marker a seed; grid: (rows, columns) at which borders of patches lie."""
    drawn = Image.fromarray(picture)
    if grid:
        pen, (height, width) = ImageDraw.Draw(drawn, "RGBA"), picture.shape[:2]
        for y in grid[0]:
            pen.line([(0, y), (width, y)], fill=(255, 255, 255, 110))
            pen.line([(0, y + 1), (width, y + 1)], fill=(0, 0, 0, 70))
        for x in grid[1]:
            pen.line([(x, 0), (x, height)], fill=(255, 255, 255, 110))
            pen.line([(x + 1, 0), (x + 1, height)], fill=(0, 0, 0, 70))
    for number, (seed, box) in enumerate(zip(seeds_xy, boxes)):
        _mark(drawn, seed, number, box)
    return np.asarray(drawn)


def _mark(drawn: Image.Image, seed_xy: tuple[float, float], number: int, box: Box | None) -> None:
    """Outlines the seed's patch and puts a ring around the seed, its number beside it; the seed itself stays seen."""
    colour, unit = SEED_COLOURS[number % len(SEED_COLOURS)], max(1.0, max(drawn.size) / UNIT_SIDE)
    if box:
        ImageDraw.Draw(drawn).rectangle([round(edge) for edge in box], outline=colour)
    side = round(56 * unit)
    sticker = Image.new("RGBA", (side * SHARPER, side * SHARPER))
    pen, middle, scale = ImageDraw.Draw(sticker), side * SHARPER / 2, unit * SHARPER
    for radius, ink, width in ((11, "black", 5), (10, colour, 3)):
        circle = [middle - radius * scale] * 2 + [middle + radius * scale] * 2
        pen.ellipse(circle, outline=ink, width=round(width * scale))
    # Towards the picture's middle, so that it is not cut off at a border.
    across = -18 if seed_xy[0] > drawn.width - 28 * unit else 18
    down = 16 if seed_xy[1] < 28 * unit else -16
    at, font = (middle + across * scale, middle + down * scale), ImageFont.load_default(size=17 * scale)
    pen.text(at, str(number + 1), colour, font, "mm", stroke_width=round(2 * scale), stroke_fill="black")
    sticker = sticker.resize((side, side), Image.Resampling.LANCZOS)
    drawn.paste(sticker, (round(seed_xy[0] - side / 2), round(seed_xy[1] - side / 2)), sticker)


def similarity_figure(statistics: Mapping[str, SimilarityStatistics], beta: float) -> str:
    """SVG, Fig. 4 of the paper: all pairwise similarities before and after normalisation, one line a VFM."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    before, after = figure.subplots(1, 2)
    for (name, found), colour, dash in zip(statistics.items(), COLOURS, DASHES):
        line = {"color": colour, "linestyle": dash, "linewidth": 1.8}
        before.stairs(_percent(found.cosine_counts), found.edges, label=name, **line)
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
    text = written.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    label = html.escape(described, quote=True)
    return re.sub(
        r'<svg([^>]*?) width="[^"]*"([^>]*?) height="[^"]*"|<svg([^>]*?) height="[^"]*"([^>]*?) width="[^"]*"',
        lambda found: "<svg" + "".join(part or "" for part in found.groups()),
        text,
        count=1,
    ).replace("<svg", f'<svg role="img" aria-label="{label}" style="width:100%;min-width:30rem;height:auto"', 1)
