"""A result as a label map, a PNG whose pixel values are the classes; and the JSON file beside it, which says what they
mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from proxyclip_core.drawing.colours import colours_of
from proxyclip_core.export.encoding import check_free, mode_of_ours, png
from proxyclip_core.segmentation import Segmentation

PALETTE_CLASSES = 255  # the value 255 stays free: it marks pixels of no class in label maps of 8 bits


def label_png(labels: np.ndarray, count: int | None = None, colours: np.ndarray | None = None) -> bytes:
    """(H, W) labels as a PNG whose pixel values are the labels: in colours of a palette, 8 bits a pixel, up to 255
    classes, so that any viewer shows them apart; grey, 16 bits a pixel, beyond.

    count: of all classes, found or not; None for the highest label and 1. colours: (count, 3) uint8, those of a legend.
    """
    count = int(labels.max(initial=0)) + 1 if count is None else count
    if count > PALETTE_CLASSES:
        return png(labels.astype(np.uint16))
    palette = _distinct_colours()
    if colours is not None:
        palette[: len(colours)] = colours[:PALETTE_CLASSES]
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(palette.tobytes())  # all of it, or Pillow would take fewer bits a pixel
    return png(image)


def label_map(result: Segmentation) -> bytes:
    """A result as `label_png` in the colours of its legend."""
    return label_png(result.labels, len(result.names), colours_of(result))


def _distinct_colours() -> np.ndarray:
    """(255, 3) uint8: the colours in which Pascal VOC, labelme and others show classes, without their first, black."""
    numbers = np.arange(1, PALETTE_CLASSES + 1)
    colours = np.zeros((PALETTE_CLASSES, 3), np.uint8)
    for bit in range(8):  # three bits of the number at a time, the lowest into the highest bits of red, green and blue
        for channel in range(3):
            place = 3 * bit + channel
            if place < 8:
                colours[:, channel] |= ((numbers >> place & 1) << (7 - bit)).astype(np.uint8)
    return colours


def is_label_png(path: Path) -> bool:
    """Whether the file is a PNG that `label_png` made."""
    return mode_of_ours(path) in ("P", "I;16", "I")  # not the pictures and masks that we write


def check_ours(path: Path) -> None:
    """Raises FileExistsError where a label map NAME.png or its record NAME.json would overwrite somebody else's."""
    check_free(path, is_label_png(path))
    check_free(path.with_suffix(".json"), _is_record(path.with_suffix(".json")))


def settings_in(text: str) -> str:
    """The settings in the record of a label map, as `Settings.from_json` reads them; any other text as it is."""
    record = record_in(text)
    return json.dumps(record["settings"]) if "settings" in record else text


def _is_record(path: Path) -> bool:
    try:
        return bool(record_in(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def record_in(text: str) -> dict[str, Any]:
    """The record of a label map, as `folders.Output` writes it; empty for any other text."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and "proxyclip_label_map" in record else {}
