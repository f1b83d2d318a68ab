"""Hatching, which tells classes apart where colours do not suffice.

Axes: K classes, H x W pixels as drawn. Colours are (K, 3) uint8 RGB in the order of the class names.
"""

from __future__ import annotations

import numpy as np

from proxyclip_core.drawing.sight import text_on

SWATCHES = "■▨▧▩"  # a pattern as a character, for legends: plain, hatched to the right, to the left, both ways
PATTERNS = len(SWATCHES)
LEAST, OF_LONGER = 8, 90  # pixels from line to line, and how many of them the longer side has


def hatched(labels: np.ndarray, colours: np.ndarray, patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) labels of K classes, where the lines of class k are labelled K + k; and (2 K, 3) uint8: the colours of
    both, the lines' black or white. Without a pattern, what was given. patterns: (K,), in 0 to PATTERNS - 1."""
    if not patterns.any():
        return labels, colours
    step = max(LEAST, max(labels.shape) // OF_LONGER)
    rows, columns = np.ogrid[: labels.shape[0], : labels.shape[1]]
    right, left = (rows + columns) % step < step // 4, (columns - rows) % step < step // 4
    lines = np.stack(np.broadcast_arrays(np.False_, right, left, right | left))
    drawn = np.take_along_axis(lines, patterns[labels][None].astype(np.intp), axis=0)[0]
    inks = np.array([list(bytes.fromhex(text_on(colour)[1:])) for colour in colours], np.uint8)
    return labels + drawn * np.uint32(len(colours)), np.concatenate([colours, inks])
