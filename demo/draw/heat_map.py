"""Values as colours, over a picture or alone, with a colour bar below; and the seeds that maps belong to.

Axes: H x W pixels of the picture as drawn. Points are (x, y) in these pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from proxyclip_core.drawing.plate import RAMP, SEED_COLOURS

STRIP = 26  # pixels of the colour bar under a map
UNIT_SIDE = 480  # pixels of the longer side of a picture on which a marker has its plain size
DASH = 5  # pixels of a dash
SHARPER = 4  # markers are drawn this much larger and shrunk, for smooth edges

Box = tuple[float, float, float, float]  # (x0, y0, x1, y1)
Point = tuple[float, float]


def heat_map(
    values: np.ndarray,
    picture: np.ndarray | None = None,
    low: float | None = None,
    high: float | None = None,
    ramp: str = RAMP,
) -> np.ndarray:
    """(H, W) float values, NaN where there are none -> (H + STRIP, W, 3) uint8.

    The colours run from `low`, or the lowest value, to `high`, or the highest. picture (H, W, 3) uint8: what
    lies under the colours, in grey. ramp: matplotlib's name of the colours.
    """
    is_there = np.isfinite(values)
    lowest, highest = extent(values)
    lowest, highest = lowest if low is None else low, highest if high is None else high
    share = np.where(is_there, (np.nan_to_num(values) - lowest) / max(highest - lowest, 1e-12), 0)
    colours = matplotlib.colormaps[ramp](share)[..., :3] * 255
    if picture is not None:
        grey = (picture @ np.array([0.299, 0.587, 0.114]))[..., None]
        colours = np.where(is_there[..., None], 0.25 * grey + 0.75 * colours, 0.4 * grey)
    drawn = np.rint(colours.clip(0, 255)).astype(np.uint8)
    return np.concatenate([drawn, _colour_bar(values.shape[1], lowest, highest, ramp)])


def extent(*maps: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value of some maps; 0, 0 where there is none."""
    there = np.concatenate([values[np.isfinite(values)] for values in maps])
    return (float(there.min()), float(there.max())) if there.size else (0.0, 0.0)


def _colour_bar(width: int, low: float, high: float, ramp: str) -> np.ndarray:
    """(STRIP, width, 3) uint8: the map's colours, with the values at its ends written on them where both find room."""
    colours = matplotlib.colormaps[ramp](np.linspace(0, 1, width))[None, :, :3] * 255
    strip = Image.fromarray(np.rint(np.repeat(colours, STRIP, axis=0)).astype(np.uint8))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(size=17)
    ends = number_text(low), number_text(high)
    if sum(font.getlength(end) for end in ends) + 24 < width:
        pen.text((6, STRIP / 2), ends[0], fill="white", font=font, anchor="lm")
        pen.text((width - 6, STRIP / 2), ends[1], fill="black", font=font, anchor="rm")
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


def with_windows(drawn: np.ndarray, boxes: Mapping[str, Box]) -> np.ndarray:
    """The picture (H, W, 3) with dashed edges, light on dark, around some of its windows, and their names."""
    image = Image.fromarray(drawn)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=14)
    for place, (name, box) in enumerate(boxes.items()):
        left, top, right, bottom = (round(edge) for edge in box)
        right, bottom = min(right, image.width) - 1, min(bottom, image.height) - 1
        for start in range(0, right - left + bottom - top, DASH):
            ink = "white" if start // DASH % 2 else "black"
            across = (left + start, min(left + start + DASH, right))
            down = (top + start, min(top + start + DASH, bottom))
            if across[0] < right:
                pen.line([(across[0], top), (across[1], top)], ink)
                pen.line([(across[0], bottom), (across[1], bottom)], ink)
            if down[0] < bottom:
                pen.line([(left, down[0]), (left, down[1])], ink)
                pen.line([(right, down[0]), (right, down[1])], ink)
        # Windows overlap: each name a line lower.
        pen.text((left + 6, top + 4 + 18 * place), name, "white", font, stroke_width=2, stroke_fill="black")
    return np.asarray(image)
