"""A result as a label map, a PNG whose pixel values are the classes, and a JSON file that says what they mean."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from proxyclip_core.types import Segmentation

SOFTWARE = "ProxyCLIP"  # in the PNG's text chunk "Software", by which our own files are known again
FORMAT = 1  # of the JSON file
PALETTE_CLASSES = 255  # the value 255 stays free: it marks pixels of no class in label maps of 8 bits


def label_png(labels: np.ndarray, count: int | None = None, colours: np.ndarray | None = None) -> bytes:
    """(H, W) labels as a PNG whose pixel values are the labels: in colours of a palette, 8 bits a pixel, up to 255
    classes, so that any viewer shows them apart; grey, 16 bits a pixel, beyond.

    count: of all classes, found or not; None for the highest label and 1. colours: (count, 3) uint8, those of a legend.
    """
    count = int(labels.max(initial=0)) + 1 if count is None else count
    if count > PALETTE_CLASSES:
        image = Image.fromarray(labels.astype(np.uint16))
    else:
        palette = _distinct_colours()
        if colours is not None:
            palette[: len(colours)] = colours[:PALETTE_CLASSES]
        image = Image.fromarray(labels.astype(np.uint8))
        image.putpalette(palette.tobytes())  # all of it, or Pillow would take fewer bits a pixel
    file, info = io.BytesIO(), PngInfo()
    info.add_text("Software", SOFTWARE)
    image.save(file, "png", pnginfo=info)
    return file.getvalue()


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
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get("Software") == SOFTWARE
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow says of other files
        return False


def write_label_map(path: Path, result: Segmentation, picture: str, force: bool = False) -> None:
    """Writes `path`, a label map NAME.png, and beside it NAME.json: names, shares, settings, what it was computed with.

    picture: the file's name, for the record. Each file is whole or not there at all. Raises FileExistsError, before
    anything is written, for files that are there and that this function did not write, unless `force` is given.
    """
    if not force:
        check_ours(path)
    record = {
        "proxyclip_label_map": FORMAT,
        "picture": picture,
        "labels": path.name,
        "names": list(result.names),
        "shares": result.coverage(),
        "settings": json.loads(result.settings.to_json(result.computed_with)) if result.settings else None,
    }
    _replace(path, label_png(result.labels, len(result.names)))
    _replace(path.with_suffix(".json"), _json(record))


def _json(record: dict[str, Any]) -> bytes:
    """As UTF-8, with halves of characters, which file names may hold, in JSON's own spelling."""
    return (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode(errors="backslashreplace")


def check_ours(path: Path) -> None:
    """Raises FileExistsError where `write_label_map` would overwrite what it did not write."""
    for file, is_ours in ((path, is_label_png), (path.with_suffix(".json"), _is_record)):
        if file.exists() and not is_ours(file):
            raise FileExistsError(
                f"{file} is there already and was not written by proxyclip, so it stays. Write to another folder, or "
                "overwrite it (--force, in Python force=True)."
            )


def settings_in(text: str) -> str:
    """The settings in the JSON file of a label map, as `Settings.from_json` reads them; any other text as it is."""
    record = _record(text)
    return json.dumps(record["settings"]) if "settings" in record else text


def _is_record(path: Path) -> bool:
    try:
        return bool(_record(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def _record(text: str) -> dict[str, Any]:
    """What `write_label_map` wrote; empty for any other text."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and "proxyclip_label_map" in record else {}


def _replace(path: Path, content: bytes) -> None:
    """Writes another file and renames it, so that nobody ever reads half of one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
