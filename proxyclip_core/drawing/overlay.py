"""A picture with its classes laid over it. Arrays in, arrays out; nothing of gradio in here.

Axes: K classes, H x W pixels as drawn. Colours are (K, 3) uint8 RGB in the order of the class names. Points are (x, y).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image


def size_within(size_hw: Sequence[int], least: float = 0, most: float = np.inf) -> tuple[int, int]:
    """(H, W) of the same shape with its longer side between `least` and `most` pixels."""
    longest = max(size_hw)
    scale = min(max(longest, least), most) / longest
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def picture_at(picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 -> the same picture at `size_hw`."""
    if picture.shape[:2] == tuple(size_hw):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size_hw[::-1], Image.Resampling.LANCZOS, reducing_gap=2.0))


def labels_at(labels: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(h, w) labels -> at `size_hw`: the label under each pixel's centre."""
    rows, columns = (
        ((np.arange(drawn) + 0.5) * full / drawn).astype(np.intp) for drawn, full in zip(size_hw, labels.shape)
    )
    return labels.take(rows, axis=0).take(columns, axis=1)  # a third of the time of both at once


def overlay(
    picture: np.ndarray,
    labels: np.ndarray,
    colours: np.ndarray,
    opacity: float,
    edges: np.ndarray | None = None,
    hidden: Collection[int] = (),
) -> np.ndarray:
    """The picture with every class laid over it in its colour.

    picture (H, W, 3) uint8, labels (H, W), colours (K, 3) -> (H, W, 3) uint8. opacity: in 0..1. edges: (H, W) bool,
    pixels at full strength. Classes in `hidden` show the picture alone.
    """
    share = np.full(len(colours), np.clip(opacity, 0, 1))
    share[list(hidden)] = 0
    # 8 bit fixed point: a tenth of the time of floats on a large picture, and at most one grey level off.
    weight = np.rint(share * 256).astype(np.uint16)
    tint = (colours.astype(np.uint32) * weight[:, None] + 128).astype(np.uint16)
    drawn = picture * (256 - weight)[labels][..., None]
    drawn += tint[labels]
    drawn = (drawn >> 8).astype(np.uint8)
    if edges is not None:
        drawn_edges = edges & ~np.isin(labels, list(hidden)) if len(hidden) else edges
        drawn[drawn_edges] = colours[labels[drawn_edges]]
    return drawn


def borders(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels beside a pixel of another class, so that a border is two pixels wide."""
    edges = np.zeros(labels.shape, dtype=bool)
    below = labels[1:] != labels[:-1]
    right = labels[:, 1:] != labels[:, :-1]
    edges[1:] |= below
    edges[:-1] |= below
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges
