"""Hatching, which tells classes apart where colours do not suffice.

Axes: K classes, H x W pixels as drawn. Colours are (K, 3) uint8 RGB in the order of the class names.
"""

from __future__ import annotations

import base64
import io
from functools import lru_cache

import numpy as np
from PIL import Image

from proxyclip_core.drawing.sight import text_on

# How classes are hatched, in the order in which it is used: what is most unlike comes first.
KINDS = (
    *("plain", "hatched to the right", "hatched to the left", "crossed", "dotted", "lined", "striped"),
    *("checked", "gridded", "waved", "waved upright", "barred to the right", "barred to the left", "barred"),
    "barred upright",
)
PATTERNS = len(KINDS)
LEAST, OF_LONGER = 8, 90  # pixels from line to line, and how many of them the longer side has
SWATCH = 16  # pixels, in which every pattern shows


def hatched(labels: np.ndarray, colours: np.ndarray, patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) labels of K classes, where the lines of class k are labelled K + k; and (2 K, 3) uint8: the colours of
    both, the lines' black or white. Without a pattern, what was given. patterns: (K,), in 0 to PATTERNS - 1."""
    if not patterns.any():
        return labels, colours
    tiles = _tiles(max(LEAST, max(labels.shape) // OF_LONGER // 4 * 4))
    side = tiles.shape[1]
    rows, columns = (np.arange(size, dtype=np.int32) % side for size in labels.shape)
    places = (patterns.astype(np.int32) * side**2)[labels]
    places += rows[:, None] * side
    places += columns
    inks = np.array([list(bytes.fromhex(text_on(colour)[1:])) for colour in colours], np.uint8)
    kind = np.min_scalar_type(2 * len(colours))
    return labels.astype(kind) + tiles.ravel()[places] * kind.type(len(colours)), np.concatenate([colours, inks])


@lru_cache(maxsize=8)
def _tiles(step: int) -> np.ndarray:
    """(PATTERNS, 2 step, 2 step) bool: where the lines are, in squares that go on beside each other. step: pixels from
    line to line, a multiple of 4."""
    y, x = np.mgrid[: 2 * step, : 2 * step]
    line, bar, wave_x, wave_y = step // 4, 3 * step // 4, abs(x - step), abs(y - step)
    right, left = (y + x) % step < line, (x - y) % step < line
    lined, striped = y % step < line, x % step < line
    dots = np.hypot(y % step - step / 2 + 0.5, x % step - step / 2 + 0.5) < 0.32 * step
    checks = (y // step + x // step) % 2 == 1
    waves = (y + wave_x) % step < line, (x + wave_y) % step < line
    bars = [place % (2 * step) < bar for place in (y + x, x - y, y, x)]
    plain = np.zeros_like(right)
    return np.stack([plain, right, left, right | left, dots, lined, striped, checks, lined | striped, *waves, *bars])


def data_address(pixels: np.ndarray, levels: int = 256) -> str:
    """(H, W) uint8 below `levels`, (H, W, 3) or (H, W, 4) -> the data address of a PNG, made quickly rather than
    small."""
    file, image, more = io.BytesIO(), Image.fromarray(pixels), {}
    if levels <= 16:  # half a byte a pixel: two thirds of the time
        more = {"bits": 4}
        image.putpalette(bytes(grey for grey in range(16) for _ in range(3)))
    image.save(file, "png", compress_level=1, **more)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def swatch(colour: str, pattern: int) -> str:
    """A class's colour, #rrggbb, and pattern as HTML, for legends: an image of SWATCH pixels, lined as on a picture."""
    ink = text_on(np.frombuffer(bytes.fromhex(colour[1:]), np.uint8))
    return (
        f'<img class="swatch" alt="" title="{KINDS[pattern]}" width="{SWATCH}" height="{SWATCH}" style="margin:0;'
        f'display:inline-block;vertical-align:-3px;background:{colour}" src="{_lines(ink, pattern)}">'
    )


@lru_cache(maxsize=2 * PATTERNS)
def _lines(ink: str, pattern: int) -> str:
    """The data address of a pattern's lines, transparent between them."""
    lines = np.zeros((SWATCH, SWATCH, 4), np.uint8)
    lines[_tiles(LEAST)[pattern]] = *bytes.fromhex(ink[1:]), 255
    return data_address(lines)
