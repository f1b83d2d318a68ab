"""Arrays -> arrays and plain HTML: palette, overlay, legend, score map. Nothing of gradio in here.

Axes: K classes, H x W pixels. Colours are (K, 3) uint8 RGB in the order of the class names.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

# Okabe and Ito's seven, then the nine that lie farthest from them and from each other (OKLab, the least of normal
# sight, protanopia, deuteranopia and tritanopia). Sixteen, so that any odd step visits them all.
PALETTE = np.array(
    [
        [0x00, 0x9E, 0x73],  # green
        [0x56, 0xB4, 0xE9],  # sky
        [0xE6, 0x9F, 0x00],  # orange
        [0xD5, 0x5E, 0x00],  # vermilion
        [0x00, 0x72, 0xB2],  # blue
        [0xCC, 0x79, 0xA7],  # rose
        [0xF0, 0xE4, 0x42],  # yellow
        [0x78, 0x00, 0x1E],  # maroon
        [0x4B, 0xFF, 0xF0],  # aqua
        [0x4B, 0x1E, 0x87],  # indigo
        [0x96, 0x3C, 0x69],  # plum
        [0xA5, 0x69, 0xFF],  # violet
        [0xA5, 0xD2, 0x96],  # pale green
        [0x1E, 0x3C, 0xC3],  # cobalt
        [0xC3, 0x00, 0x00],  # red
        [0x87, 0xD2, 0xFF],  # ice
    ],
    dtype=np.uint8,
)
BACKGROUND = np.array([0x80, 0x80, 0x80], dtype=np.uint8)
MUTED = "#7a828c"  # of lines and text that must be read on white and on near black
# Past sixteen classes colours come again, lighter and then darker: (what is mixed in, how much of it).
ROUNDS = ((0, 0.0), (255, 0.5), (0, 0.45))


def colours_for(names: Sequence[str], background: bool = False) -> np.ndarray:
    """(K, 3) uint8: one colour a class, the same for the same name in any picture and any vocabulary.

    A name's colour follows from the name. Where two names of one vocabulary want the same, the later one steps on, so
    words added at the end leave the others as they are. With `background`, class 0 is grey.
    """
    colours = np.empty((len(names), 3), dtype=np.uint8)
    taken: set[tuple[int, int]] = set()
    for index, name in enumerate(names):
        if background and index == 0:
            colours[0] = BACKGROUND
            continue
        slot = _free_slot(name, taken)
        taken.add(slot)
        mixed_in, share = ROUNDS[slot[0] % len(ROUNDS)]
        colours[index] = np.rint(PALETTE[slot[1]] * (1 - share) + mixed_in * share)
    return colours


def _free_slot(name: str, taken: Collection[tuple[int, int]]) -> tuple[int, int]:
    """(round, place in the palette) for a name: its own place, or the next free one at a step of its own."""
    code = zlib.crc32(name.casefold().encode())
    place, step = code % len(PALETTE), (code >> 8) % (len(PALETTE) // 2) * 2 + 1
    for attempt in itertools.count():  # every try is another slot, so this ends
        slot = (attempt // len(PALETTE), (place + attempt * step) % len(PALETTE))
        if slot not in taken:
            return slot


def text_on(colour: np.ndarray) -> str:
    """'#000000' or '#ffffff', whichever reads better on the colour (WCAG contrast)."""
    channels = np.asarray(colour, dtype=np.float64) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"


def hex_colour(colour: np.ndarray) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(channel) for channel in colour))


def shown_size(size_hw: tuple[int, int], longest: int) -> tuple[int, int]:
    """(H, W) at which a picture is shown: its own size, or smaller so that the longer side is `longest`."""
    scale = min(1.0, longest / max(size_hw))
    return tuple(max(1, round(side * scale)) for side in size_hw)


def shown_picture(picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> the same picture at `size_hw`."""
    if picture.shape[:2] == tuple(size_hw):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size_hw[::-1], Image.Resampling.LANCZOS, reducing_gap=2.0))


def shown_labels(labels: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) labels at `size_hw`: the label under each shown pixel's centre."""
    rows, columns = (
        ((np.arange(shown) + 0.5) * full / shown).astype(np.intp) for shown, full in zip(size_hw, labels.shape)
    )
    return labels[rows[:, None], columns]


def overlay(
    picture: np.ndarray,
    labels: np.ndarray,
    colours: np.ndarray,
    opacity: float,
    outlines: bool = True,
    hidden: Collection[int] = (),
) -> np.ndarray:
    """The picture with every class laid over it in its colour.

    picture (H, W, 3) uint8, labels (H, W) class indices, colours (K, 3) -> (H, W, 3) uint8. opacity in 0..1; outlines
    draws the borders of regions at full strength; classes in `hidden` show the picture alone.
    """
    share = np.full(len(colours), np.clip(opacity, 0, 1))
    share[list(hidden)] = 0
    # 8 bit fixed point: a tenth of the time of floats on a large picture, and at most one grey level off.
    weight = np.rint(share * 256).astype(np.uint16)
    tint = (colours.astype(np.uint32) * weight[:, None] + 128).astype(np.uint16)
    drawn = picture * (256 - weight)[labels][..., None]
    drawn += tint[labels]
    drawn = (drawn >> 8).astype(np.uint8)
    if outlines:
        edge = borders(labels)
        if len(hidden):
            edge &= ~np.isin(labels, list(hidden))
        drawn[edge] = colours[labels[edge]]
    return drawn


def borders(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels beside a pixel of another class."""
    edge = np.zeros(labels.shape, dtype=bool)
    below = labels[1:] != labels[:-1]
    right = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= below
    edge[:-1] |= below
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge


def legend_rows(coverage: Mapping[str, float], colours: np.ndarray) -> list[dict[str, Any]]:
    """One {index, name, colour, share} a class, largest share first. coverage: name -> share, in class order."""
    rows = [
        {"index": index, "name": name, "colour": hex_colour(colour), "share": round(float(share), 6)}
        for index, ((name, share), colour) in enumerate(zip(coverage.items(), colours, strict=True))
    ]
    return sorted(rows, key=lambda row: -row["share"])


def legend_html(rows: Sequence[Mapping[str, Any]], hidden: Collection[str] = (), label_map: str = "") -> str:
    """The legend as a list of buttons. Names are what a person typed: they are text here, never markup.

    hidden: names of classes that are not drawn. label_map: a data address from `label_address`, which the page's
    script takes to leave one class alone in the picture.
    """
    found = [row for row in rows if row["share"] > 0]
    missing = [str(row["name"]) for row in rows if row["share"] <= 0]
    chips = "".join(_chip(row, row["name"] not in hidden) for row in found)
    rest = f'<p class="missing">Not found: {html.escape(", ".join(missing))}</p>' if missing else ""
    return f'<ul class="legend" aria-label="Legend" data-map="{label_map}">{chips}</ul>{rest}'


def _chip(row: Mapping[str, Any], shown: bool) -> str:
    colour, name, share = row["colour"], html.escape(str(row["name"])), html.escape(percent(float(row["share"])))
    text = text_on(np.frombuffer(bytes.fromhex(str(colour)[1:]), dtype=np.uint8))
    chip = (
        f'<button type="button" class="chip" style="background:{colour};color:{text}" data-name="{name}" '
        f'data-index="{row["index"]}" aria-pressed="{str(shown).lower()}" title="Hide or show">{name}</button>'
    )
    return f'<li>{chip}<span class="share">{share}</span></li>'


def label_address(labels: np.ndarray, longest: int = 512) -> str:
    """(H, W) labels -> data address of a PNG, no larger than `longest`: red the index's low byte, green its high."""
    small = shown_labels(labels, shown_size(labels.shape, longest)).astype(np.uint16)
    pixels = np.stack([small & 255, small >> 8, np.zeros_like(small)], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def percent(share: float) -> str:
    """0.4213 -> '42 %', 0.0042 -> '0.4 %', less -> '< 0.1 %', 0 -> '0 %'."""
    if share < 0.001:
        return "< 0.1 %" if share else "0 %"
    return f"{share * 100:.0f} %" if share >= 0.0995 else f"{share * 100:.1f} %"


def score_map(scores: np.ndarray, name: str) -> np.ndarray:
    """(H, W) scores in 0..1 -> (h, w, 4) uint8: the map in perceptual colours with its colour bar.

    The frame is transparent, so that it looks the same on a light and a dark page.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    small = np.asarray(Image.fromarray(scores).resize(shown_size(scores.shape, 720)[::-1], Image.Resampling.BILINEAR))
    height, width = small.shape
    figure = Figure(figsize=(width / 100 + 0.9, height / 100 + 0.5), dpi=100, layout="constrained")
    figure.patch.set_alpha(0)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    drawn = axes.imshow(small, cmap="viridis", vmin=0, vmax=max(float(scores.max()), 1e-6))
    axes.set_axis_off()
    bar = figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02)
    bar.ax.tick_params(colors=MUTED)
    bar.outline.set_edgecolor(MUTED)
    # A dollar sign would start a formula.
    axes.set_title(f"Score of {name}".replace("$", r"\$"), color=MUTED, fontsize=11)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def mark(drawn: np.ndarray, point_xy: tuple[float, float]) -> np.ndarray:
    """The picture (H, W, 3) with a ring around a pixel, seen on light and on dark."""
    image = Image.fromarray(drawn)
    pen, (x, y), size = ImageDraw.Draw(image), point_xy, max(4, max(image.size) / 90)
    for radius, colour, width in ((size + 1.5, "black", 1.5), (size, "white", 2), (size * 0.25, "black", 0)):
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, outline=colour, width=round(width), fill="white" if not width else None)
    return np.asarray(image)
