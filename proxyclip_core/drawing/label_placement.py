"""Where to write a class's name: a point well inside its largest region, and the names drawn there.

Axes: H x W pixels of a label map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from proxyclip_core.drawing.colours import hex_colour
from proxyclip_core.drawing.fonts import Pieces, length, runs, write
from proxyclip_core.drawing.overlay import borders, labels_at, size_within
from proxyclip_core.drawing.sight import text_on

COARSE = 192  # longer side on which regions are sought: finer changes no name's place that an eye would see
SMALLEST = 0.002  # share of the picture below which a region is left without its name
LONGEST = 24  # characters


def components(labels: np.ndarray) -> np.ndarray:
    """(H, W) labels -> (H, W) int: a number for each region of one label, connected by edges."""
    height, width = labels.shape
    starts = np.ones(labels.shape, dtype=bool)
    starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
    runs = np.cumsum(starts).reshape(height, width) - 1  # every stretch of one label in a row has its number
    touching = (labels[1:] == labels[:-1]) & (starts[1:] | starts[:-1])  # where two runs meet for the first time
    one, other = runs[:-1][touching], runs[1:][touching]
    lowest = np.arange(runs[-1, -1] + 1)  # number of a run that each is known to be connected with
    while (lowest[one] != lowest[other]).any():
        low = np.minimum(lowest[one], lowest[other])
        for run in (one, other):
            np.minimum.at(lowest, lowest[run], low)
        while (lowest[lowest] != lowest).any():
            lowest = lowest[lowest]
    return lowest[runs]


def depths(regions: np.ndarray) -> np.ndarray:
    """(H, W) int: steps to the nearest pixel of another region or outside the picture, 1 at the border."""
    depth = np.ones(regions.shape, dtype=np.int32)
    padded = np.pad(~borders(regions), 1)
    inside = padded[1:-1, 1:-1]
    inside[[0, -1]] = inside[:, [0, -1]] = False
    deepest = 1
    while inside.any():
        depth += inside
        deepest += 1
        # In turn a diamond and a square, which together are near enough to a circle.
        near = inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        if deepest % 2:
            near &= padded[:-2, :-2] & padded[2:, 2:] & padded[:-2, 2:] & padded[2:, :-2]
        inside[:] = near
    return depth


def inner_points(labels: np.ndarray) -> dict[int, tuple[float, float]]:
    """Class -> (x, y) in pixels of `labels`, deep inside its largest region; the largest region's class first."""
    coarse = labels_at(labels, size_within(labels.shape, most=COARSE))
    regions = components(coarse)
    depth = depths(regions)
    numbers, first, areas = np.unique(regions, return_index=True, return_counts=True)
    points: dict[int, tuple[float, float]] = {}
    for place in np.argsort(-areas, kind="stable"):
        label = int(coarse.flat[first[place]])
        if label in points or areas[place] < SMALLEST * coarse.size:
            continue
        rows, columns = np.nonzero((regions == numbers[place]) & (depth == depth[regions == numbers[place]].max()))
        # Of several deepest pixels, the one nearest to their middle.
        best = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
        size = labels.shape[1] / coarse.shape[1], labels.shape[0] / coarse.shape[0]
        points[label] = ((columns[best] + 0.5) * size[0], (rows[best] + 0.5) * size[1])
    return points


def lettering(name: str) -> Pieces:
    """A class's name as it is written on a picture, cut to LONGEST; () where this machine has no fonts for it."""
    return runs(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…")


@dataclass(frozen=True, eq=False)
class Plate:
    """A class's name as it lies on a picture.

    box: (left, top, right, bottom), which no other name may cover. pixels: (h, w, 4) uint8 RGBA; corner_xy: where in
    the picture their first one lies.
    """

    label: int
    box: tuple[float, float, float, float]
    corner_xy: tuple[int, int]
    pixels: np.ndarray


def name_plates(
    places: Mapping[int, tuple[float, float]], names: Sequence[str], colours: np.ndarray, size_hw: tuple[int, int]
) -> tuple[Plate, ...]:
    """A class's name for each of `places`, on the class's colour so that it can be read, for a picture of `size_hw`.

    A name that this machine has no font for is written as the class's index.
    """
    size = max(11, round(max(size_hw) / 44))
    plates = []
    for label, (x, y) in places.items():
        pieces = lettering(names[label]) or runs(str(label))
        long = length(pieces, size)
        box = _box(long, size, x, y, size_hw[::-1])
        # Room for letters that are taller than the box. By even numbers: what is rounded is rounded as in the picture.
        left, top = (2 * math.floor((side - size) / 2) for side in box[:2])
        fill, ink = hex_colour(colours[label]), text_on(colours[label])
        room = math.ceil(box[2] + size - left), math.ceil(box[3] + size - top)
        image = Image.new("RGBA", room, (*ImageColor.getrgb(ink)[:3], 0))
        inside = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
        ImageDraw.Draw(image).rounded_rectangle(inside, radius=(box[3] - box[1]) / 3, fill=fill, outline=ink)
        write(image, ((inside[0] + inside[2] - long) / 2, (inside[1] + inside[3]) / 2), pieces, size, ink)
        seen = image.getbbox()  # what is not transparent
        corner_xy = (left + seen[0], top + seen[1]) if seen else (left, top)
        plates.append(Plate(label, box, corner_xy, np.asarray(image.crop(seen))))
    return tuple(plates)


def lay(drawn: np.ndarray, plates: Iterable[Plate]) -> np.ndarray:
    """The picture (H, W, 3) with the plates on it. One that would cover an earlier one is left out."""
    image, taken = Image.fromarray(drawn), list[tuple[float, float, float, float]]()
    for plate in plates:
        box = plate.box
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            continue
        taken.append(box)
        pixels = Image.fromarray(plate.pixels)
        image.paste(pixels, plate.corner_xy, pixels)
    return np.asarray(image)


def _box(
    length: float, font_size: int, x: float, y: float, size_wh: tuple[int, int]
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a name `length` pixels long around a point, moved to lie in the picture."""
    width, height = length + font_size * 0.7, font_size * 1.35
    left = min(max(x - width / 2, 1), max(size_wh[0] - width - 2, 1))
    top = min(max(y - height / 2, 1), max(size_wh[1] - height - 2, 1))
    return left, top, left + width, top + height
