"""Connected regions of a mask as polygons, by OpenCV.

Rings run along the edges of pixels: the pixel in column 3 spans x from 3 to 4. That is COCO's convention, so a ring
that is not simplified gives exactly its pixels again.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxyclip_core.export.masks import box_of
from proxyclip_core.interrupt import checkpoint

TOLERANCE = 0.75  # pixels by which a simplified ring may leave the edges: enough to end the steps of slanted ones
ENOUGH_IOU = 0.97  # with the region's own pixels; a ring that would fall below it is not simplified
BRIDGES_AT_ONCE = 2_000_000  # pairs of points that are looked at for the shortest seam to a hole


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of one class that touch, by their corners too.

    ring: (N, 2) int, x and y in picture pixels, closed by its first point. Holes are cut open: a seam of no width leads
    from the rest of the ring to each of them and back. box: (rows, columns) around it. inside: (h, w) bool in the box.
    """

    ring: np.ndarray
    box: tuple[slice, slice]
    inside: np.ndarray


def regions(mask: np.ndarray, simplified: bool = False) -> Iterator[Region]:
    """The regions of (H, W) bool. simplified: with fewer points, where that moves next to nothing.

    Raises ValueError where OpenCV or pycocotools is not installed.
    """
    cv2 = needed("cv2", "opencv-python-headless")
    if not mask.any():
        return
    rows, columns = box_of(mask)
    # Every pixel as four, so that contours, which run through the middle of pixels, tell left edges from right ones.
    doubled = mask[rows, columns].astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, links = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [cv2.approxPolyDP((contour + 1) // 2, 0, True)[:, 0] for contour in contours]
    for number, (_, _, hole, outer) in enumerate(links[0].tolist()):
        if outer >= 0:
            continue  # a hole
        checkpoint()
        parts = [rings[number]]
        while hole >= 0:
            parts.append(rings[hole])
            hole = links[0][hole][0]
        yield _region(parts, (columns.start, rows.start), simplified)


def _region(parts: Sequence[np.ndarray], start_xy: tuple[int, int], simplified: bool) -> Region:
    """parts: a ring and its holes, in pixels from `start_xy`."""
    left, top = parts[0].min(axis=0).tolist()
    width, height = (parts[0].max(axis=0) - (left, top)).tolist()
    parts = [part - (left, top) for part in parts]
    rle = needed("pycocotools.mask", "pycocotools")
    ring = _cut_open(parts)
    exact = packed(ring, height, width)
    if simplified and len(fewer := _simplified(parts)):
        (iou,) = rle.iou([packed(fewer, height, width)], [exact], [0]).ravel()
        ring = fewer if iou >= ENOUGH_IOU else ring
    left, top = left + start_xy[0], top + start_xy[1]
    box = slice(top, top + height), slice(left, left + width)
    return Region(ring + np.array([left, top]), box, rle.decode(exact).astype(bool))


def packed(ring: np.ndarray, height: int, width: int) -> dict[str, Any]:
    """The pixels inside of a ring as COCO's RLE, in a picture of this size."""
    (found,) = needed("pycocotools.mask", "pycocotools").frPyObjects([ring.ravel().tolist()], height, width)
    return found


def _simplified(parts: Sequence[np.ndarray]) -> np.ndarray:
    """As `_cut_open`, with fewer points; empty where nothing is left of the ring."""
    cv2 = needed("cv2", "opencv-python-headless")
    fewer = [cv2.approxPolyDP(part[:, None].astype(np.int32), TOLERANCE, True)[:, 0] for part in parts]
    return _cut_open([part for part in fewer if len(part) > 2]) if len(fewer[0]) > 2 else fewer[0][:0]


def _cut_open(parts: Sequence[np.ndarray]) -> np.ndarray:
    """A ring and its holes as one ring, by the shortest seams between their points.

    COCO's polygons know no holes; readers fill what lies between a seam's two ways by the even-odd rule: nothing.
    """
    ring = parts[0]
    for hole in parts[1:]:
        checkpoint()
        step = 1 + len(hole) * len(ring) // BRIDGES_AT_ONCE
        distances = ((ring[:, None] - hole[::step]) ** 2).sum(axis=-1)
        here, there = np.unravel_index(distances.argmin(), distances.shape)
        turned = np.roll(hole, -int(there) * step, axis=0)
        ring = np.concatenate([ring[: here + 1], turned, turned[:1], ring[here:]])
    return ring


def needed(module: str, package: str) -> Any:
    """The module. Raises ValueError, with the remedy, where it is not installed."""
    try:
        importlib.import_module(module.partition(".")[0])
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(
            f"The COCO format needs {package}, which is not installed. Get it with: pip install 'proxyclip[export]'"
        ) from None
