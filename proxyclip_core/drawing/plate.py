"""An `AttentionFigure` drawn by matplotlib: picture and seeds at the left, a row of maps a seed, a caption below.

The only place where the library needs matplotlib, which is imported when a figure is drawn. It is used through its
objects, as pyplot would share state, and with settings of our own: in a style that a person has set, such as LaTeX for
all text, what a stranger typed would be more than text.

Lengths are inches.
"""

from __future__ import annotations

import io
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from proxyclip_core.drawing.fonts import default_face
from proxyclip_core.drawing.overlay import picture_at, size_within
from proxyclip_core.export.encoding import SOFTWARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from proxyclip_core.drawing.attention_figure import AttentionFigure

SEED_COLOURS = ("#FFD400", "#00E5FF", "#FF5CE1", "#7CFF4D")  # bright: they lie on pictures and on dark heat
RAMP = "inferno"
CELL, LEAST_CELL, GAP, MARGIN, LINE = 2.1, 1.3, 0.12, 0.3, 0.135  # a map's longer side; its place; a caption's line
LETTERS_AN_INCH, MOST_LETTERS = 19, 26  # of the caption; of the label of a row
PICTURE_SIDE = 640  # pixels
DPI = {"png": 200, "svg": 150, "pdf": 150}  # of the pictures in the latter two, whose text and lines have none
STYLE: dict[Any, Any] = {"text.usetex": False, "text.parse_math": False, "pdf.fonttype": 42, "svg.fonttype": "path"}
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": SOFTWARE},
    "svg": {"Creator": SOFTWARE, "Date": None},
    "pdf": {"Creator": SOFTWARE, "CreationDate": None},
}
_STYLING = threading.Lock()  # matplotlib's settings are the process's


def drawn(what: AttentionFigure) -> Figure:
    """As a figure of matplotlib's. Raises ImportError where that is missing."""
    with _styled():
        return _draw(what)


def written(what: AttentionFigure, kind: str) -> bytes:
    """As a file of one of the kinds in DPI. Raises ImportError where matplotlib is missing."""
    file = io.BytesIO()
    with _styled():
        about = {"Title": "Attention of patches", **METADATA[kind]}
        _draw(what).savefig(file, format=kind, dpi=DPI[kind], metadata=about)
    return file.getvalue()


@contextmanager
def _styled() -> Iterator[None]:
    try:
        from matplotlib import style
    except ImportError:
        raise ImportError("The figure is drawn by matplotlib: pip install matplotlib.") from None
    with _STYLING, style.context(["default", STYLE]):
        yield


def _draw(what: AttentionFigure) -> Figure:
    from matplotlib.figure import Figure

    (seeds, sources), (height, width) = what.maps.shape[:2], what.picture.shape[:2]
    cell_h, cell_w = (CELL * side / max(height, width) for side in (height, width))
    step_w, step_h = max(cell_w, LEAST_CELL) + GAP, cell_h + GAP
    top, picture_h = seeds * step_h - GAP, min(seeds, 2) * step_h - GAP
    picture_w = max(picture_h * width / height, LEAST_CELL)
    left = picture_w + 3 * MARGIN
    whole_w = max(left + sources * step_w + 3 * MARGIN, 6.5)
    caption = textwrap.wrap(plain(what.caption), int((whole_w - 2 * MARGIN) * LETTERS_AN_INCH))
    bottom = len(caption) * LINE + 1.3 * MARGIN
    whole_h = bottom + top + 1.6 * MARGIN
    figure = Figure(figsize=(whole_w, whole_h))

    def axes(x: float, top: float, w: float, h: float) -> Axes:
        """x: from the left. top: above the lower end of the maps."""
        return figure.add_axes((x / whole_w, (bottom + top - h) / whole_h, w / whole_w, h / whole_h))

    _draw_picture(axes(MARGIN, top, picture_w, picture_h), what)
    scale = _colour_scale(what)
    for row, column in np.ndindex(seeds, sources):
        place = axes(left + column * step_w, top - row * step_h, step_w - GAP, cell_h)
        last = _draw_map(place, what, row, column, scale)
        if row == 0:
            place.set_title("\n".join(textwrap.wrap(plain(what.sources[column]), 22)[:2]), fontsize=8)
        if column == 0:
            place.set_ylabel(_row_label(what, row), fontsize=7)
    bar = axes(left + sources * step_w, top, 0.12, top)
    extend = "max" if what.limits()[1] < np.nanmax(what.shown()) else "neither"
    figure.colorbar(last, cax=bar, extend=extend).set_label(what.unit(), fontsize=7)
    bar.tick_params(labelsize=6.5)
    corner = (MARGIN / whole_w, 0.7 * MARGIN / whole_h)
    figure.text(*corner, "\n".join(caption), fontsize=7, linespacing=1.3, va="bottom")
    return figure


def _draw_picture(axes: Axes, what: AttentionFigure) -> None:
    small = picture_at(what.picture, size_within(what.picture.shape[:2], most=PICTURE_SIDE))
    axes.imshow(small, extent=_extent(what), interpolation="antialiased")
    _bare(axes)
    for row in range(len(what.seeds)):
        _mark(axes, what, row, True)


def _colour_scale(what: AttentionFigure) -> Any:
    """Few patches get most of the attention: by the square root, what the others get is seen, too."""
    from matplotlib.colors import PowerNorm

    low, high = what.limits()
    return PowerNorm(0.5 if what.stage == "softmax" else 1.0, low, max(high, low + 1e-12))


def _draw_map(axes: Axes, what: AttentionFigure, row: int, column: int, scale: Any) -> Any:
    how: dict[str, Any] = {"extent": _extent(what), "interpolation": "antialiased", "interpolation_stage": "data"}
    image = axes.imshow(what.shown()[row, column], cmap=RAMP, norm=scale, **how)
    axes.set_facecolor("#808080")  # where there are no values
    _bare(axes)
    _mark(axes, what, row, False)
    return image


def _extent(what: AttentionFigure) -> tuple[float, float, float, float]:
    return (0, what.size_hw[1], what.size_hw[0], 0)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _mark(axes: Axes, what: AttentionFigure, row: int, with_number: bool) -> None:
    colour, (x, y) = SEED_COLOURS[row % len(SEED_COLOURS)], what.seeds[row]
    for ink, width in (("black", 2.4), (colour, 1.2)):
        axes.plot(x, y, "o", markersize=7, markerfacecolor="none", markeredgecolor=ink, markeredgewidth=width)
    if not with_number:
        return
    is_right = x > what.size_hw[1] * 0.85
    axes.annotate(
        str(row + 1),
        (x, y),
        (-7 if is_right else 7, 0),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="center",
        fontsize=8,
        fontweight="bold",
        bbox={"facecolor": colour, "edgecolor": "black", "linewidth": 0.5, "pad": 1.2},
    )


def _row_label(what: AttentionFigure, row: int) -> str:
    (x, y), name = what.seeds[row], plain(what.names[row])
    name = name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…"
    return f"{row + 1}: {name}\n({int(x)}, {int(y)})" if name else f"{row + 1} ({int(x)}, {int(y)})"


def plain(text: str) -> str:
    """A text as it can be written on one line; "" where the font lacks one of its characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if all(c == " " or default_face().has(c) for c in line) else ""
