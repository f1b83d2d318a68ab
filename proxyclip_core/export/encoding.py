"""How all our files are written: whole or not at all, and with a mark by which they are known again."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

SOFTWARE = "ProxyCLIP"  # the mark: in a PNG's text chunk "Software", in a JPEG's and in a zip's comment


def png(image: np.ndarray | Image.Image) -> bytes:
    """A picture as PNG: (H, W) or (H, W, channels) uint8, or uint16 for 16 bits."""
    file, info = io.BytesIO(), PngInfo()
    info.add_text("Software", SOFTWARE)
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, "png", pnginfo=info)
    return file.getvalue()


def ascii_json(value: Any) -> bytes:
    """As JSON that reads the same in any code page."""
    return (json.dumps(value, indent=1) + "\n").encode("ascii")


def is_ours(path: Path) -> bool:
    """Whether the file is one that `Segmentation.save` wrote."""
    try:
        if path.suffix.lower() in (".png", ".jpg"):
            return bool(mode_of_ours(path))
        if path.suffix.lower() in (".zip", ".npz"):
            with zipfile.ZipFile(path) as archive:
                return archive.comment == SOFTWARE.encode()
        if path.stem == "names":  # plain lists, which have no room for a mark
            return bool(mode_of_ours(path.with_name("labels.png")))
        record = json.loads(path.read_text(encoding="utf-8"))
        return "proxyclip_settings" in record or str(record["info"]["description"]).startswith(SOFTWARE)
    except (OSError, ValueError, LookupError, TypeError, RecursionError, zipfile.BadZipFile):
        return False


def mode_of_ours(path: Path) -> str:
    """Pillow's mode of a PNG or a JPEG with our mark; "" for any other file."""
    try:
        with Image.open(path, formats=["PNG", "JPEG"]) as image:
            marks = (image.info.get("Software"), image.info.get("comment"))
            return image.mode if marks[0] == SOFTWARE or marks[1] == SOFTWARE.encode() else ""
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow says of other files
        return ""


def check_free(path: Path, may_replace: bool) -> None:
    """Raises FileExistsError for a file that is there and may not be replaced."""
    if path.exists() and not may_replace:
        raise FileExistsError(
            f"{path} is there already and was not written by proxyclip, so it stays. Write to another folder, or "
            "overwrite it (--force, in Python force=True)."
        )


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which is renamed to `path` once all is written: nobody ever reads half of one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            yield file
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def replace(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    with replacing(path) as file:
        file.write(content)
