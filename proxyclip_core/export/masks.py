"""A class as a picture: black and white masks, and cut-outs, where all else is transparent."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from proxyclip_core.export.encoding import png
from proxyclip_core.interrupt import checkpoint
from proxyclip_core.segmentation import Segmentation

LONGEST_NAME = 180  # bytes: systems take 255, and the number and the suffix come on top


def masks(result: Segmentation) -> Iterator[tuple[str, bytes]]:
    """(file name, PNG) of every class: (H, W) uint8, 255 where it is; black for one that was not found."""
    found, nothing = set(np.unique(result.labels).tolist()), png(np.zeros(result.labels.shape, np.uint8))
    for index, name in enumerate(result.names):
        checkpoint()
        mask = png((result.labels == index).astype(np.uint8) * 255) if index in found else nothing
        yield mask_name(index, name), mask


def cutouts(
    result: Segmentation, picture: np.ndarray, crop: bool = False, background: bool = False
) -> Iterator[tuple[str, bytes]]:
    """(file name, PNG) of every class that was found: the picture (H, W, 3) uint8 as RGBA, transparent elsewhere.

    crop: only the box around the class. background: the background too, where there is one.
    """
    for index in found_classes(result, background):
        checkpoint()
        inside = result.labels == index
        if crop:
            box = box_of(inside)
            inside, pixels = inside[box], picture[box]
        else:
            pixels = picture
        cut = np.dstack([pixels, np.full(inside.shape, 255, np.uint8)])
        cut[~inside] = 0
        yield mask_name(index, result.names[index]), png(cut)


def found_classes(result: Segmentation, background: bool) -> list[int]:
    """The classes that have pixels, without the background unless it is asked for."""
    found = np.flatnonzero(np.bincount(result.labels.ravel()))
    return [index for index in found.tolist() if index or background or not result.has_background]


def box_of(inside: np.ndarray) -> tuple[slice, slice]:
    """(rows, columns) of the smallest box around what is True in (H, W) bool, which is not all False."""
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def mask_name(index: int, name: str) -> str:
    """'003_palm_tree.png': safe on any system whatever was typed, and never the same twice."""
    return f"{index:03d}_{safe_name(name)}".rstrip("_") + ".png"


def safe_name(text: str) -> str:
    """The text as part of a file name: letters of any script stay, whatever a system could take amiss becomes "_"."""
    kept = "".join(c if c.isalnum() or (ord(c) > 127 and c.isprintable()) else "_" for c in text)
    return re.sub("_+", "_", kept).strip("_").encode()[:LONGEST_NAME].decode(errors="ignore")
