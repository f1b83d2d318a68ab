"""Values as colours, over a picture or alone, with a colour bar below; and the seeds that maps belong to.

Axes: H x W pixels of the picture as drawn. Points are (x, y) in these pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from proxyclip_core.drawing.plate import SEED_COLOURS

STRIP = 26  # pixels of the colour bar under a map
UNIT_SIDE = 480  # pixels of the longer side of a picture on which a marker has its plain size
SHARPER = 4  # markers are drawn this much larger and shrunk, for smooth edges

Box = tuple[float, float, float, float]  # (x0, y0, x1, y1)
Point = tuple[float, float]


def heat_map(
    values: np.ndarray, picture: np.ndarray | None = None, low: float | None = None, ramp: str = "inferno"
) -> np.ndarray:
    """(H, W) float values, NaN where there are none -> (H + STRIP, W, 3) uint8.

    The colours run from `low`, or the lowest value, to the highest. picture (H, W, 3) uint8: what lies under the
    colours, in grey. ramp: matplotlib's name of the colours.
    """
    is_there = np.isfinite(values)
    lowest, highest = (float(np.nanmin(values)), float(np.nanmax(values))) if is_there.any() else (0.0, 0.0)
    lowest = lowest if low is None else low
    share = np.where(is_there, (np.nan_to_num(values) - lowest) / max(highest - lowest, 1e-12), 0)
    colours = matplotlib.colormaps[ramp](share)[..., :3] * 255
    if picture is not None:
        grey = (picture @ np.array([0.299, 0.587, 0.114]))[..., None]
        colours = np.where(is_there[..., None], 0.25 * grey + 0.75 * colours, 0.4 * grey)
    drawn = np.rint(colours.clip(0, 255)).astype(np.uint8)
    return np.concatenate([drawn, _colour_bar(values.shape[1], lowest, highest, ramp)])


def _colour_bar(width: int, low: float, high: float, ramp: str) -> np.ndarray:
    """(STRIP, width, 3) uint8: the map's colours, with the values at its ends written on them."""
    colours = matplotlib.colormaps[ramp](np.linspace(0, 1, width))[None, :, :3] * 255
    strip = Image.fromarray(np.rint(np.repeat(colours, STRIP, axis=0)).astype(np.uint8))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(size=17)
    pen.text((6, STRIP / 2), number_text(low), fill="white", font=font, anchor="lm")
    pen.text((width - 6, STRIP / 2), number_text(high), fill="black", font=font, anchor="rm")
    return np.asarray(strip)


def number_text(value: float) -> str:
    """Three digits, without an exponent where that stays short."""
    return f"{value:.3g}" if value == 0 or abs(value) >= 1e-4 else f"{value:.1e}"


def with_seed(drawn: np.ndarray, seed_xy: Point, box: Box | None = None, number: int = 0) -> np.ndarray:
    """The picture (H, W, 3) with the seed of this number, counted from 0: a ring, and the outline of its patch."""
    image, colour = Image.fromarray(drawn), SEED_COLOURS[number % len(SEED_COLOURS)]
    unit = max(1.0, max(image.size) / UNIT_SIDE)
    if box:
        ImageDraw.Draw(image).rectangle([round(edge) for edge in box], outline=colour)
    side = round(56 * unit)
    sticker = Image.new("RGBA", (side * SHARPER, side * SHARPER))
    pen, middle, scale = ImageDraw.Draw(sticker), side * SHARPER / 2, unit * SHARPER
    for radius, ink, width in ((11, "black", 5), (10, colour, 3)):  # the seed itself stays seen
        circle = [middle - radius * scale] * 2 + [middle + radius * scale] * 2
        pen.ellipse(circle, outline=ink, width=round(width * scale))
    # Towards the picture's middle, so that it is not cut off at a border.
    across = -18 if seed_xy[0] > image.width - 28 * unit else 18
    down = 16 if seed_xy[1] < 28 * unit else -16
    at, font = (middle + across * scale, middle + down * scale), ImageFont.load_default(size=17 * scale)
    pen.text(at, str(number + 1), colour, font, "mm", stroke_width=round(2 * scale), stroke_fill="black")
    sticker = sticker.resize((side, side), Image.Resampling.LANCZOS)
    image.paste(sticker, (round(seed_xy[0] - side / 2), round(seed_xy[1] - side / 2)), sticker)
    return np.asarray(image)


def with_grid(picture: np.ndarray, rows: Sequence[float], columns: Sequence[float]) -> np.ndarray:
    """The picture (H, W, 3) with lines, light beside dark, at these rows and columns."""
    image, (height, width) = Image.fromarray(picture), picture.shape[:2]
    pen = ImageDraw.Draw(image, "RGBA")
    for beside, ink in ((0, (255, 255, 255, 110)), (1, (0, 0, 0, 70))):
        for y in rows:
            pen.line([(0, y + beside), (width, y + beside)], fill=ink)
        for x in columns:
            pen.line([(x + beside, 0), (x + beside, height)], fill=ink)
    return np.asarray(image)
