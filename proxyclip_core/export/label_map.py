"""A result as a label map, a PNG of 16 bits, and a JSON file beside it that says what its numbers mean."""

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


def label_png(labels: np.ndarray) -> bytes:
    """(H, W) uint16 labels as a grey PNG of 16 bits, whose pixel values are the labels."""
    file, info = io.BytesIO(), PngInfo()
    info.add_text("Software", SOFTWARE)
    Image.fromarray(labels).save(file, "png", pnginfo=info)
    return file.getvalue()


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
    _replace(path, label_png(result.labels))
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
