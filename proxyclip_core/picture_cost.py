"""Small picture files that mean endless work, or more memory than there is: how much Pillow may spend on one.

Pillow bounds pixels alone. But what is read again and again adds up: a comment of a GIF in a million pieces, tags of a
TIFF that all point to the same megabytes, a JPEG in thousands of versions.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

STEPS = 10_000  # reads until a picture is found, or its frames are counted; a second, as pieces are joined one by one
STEPS_OF_PIXELS = 200_000  # reads of its pixels: a few seconds
OVER, SPARE = 4, 1_000_000  # how many times a file, and bytes more, may be read before its pixels; tags are read twice
MOST_EXIF = 100_000  # bytes, which may mean 200 MB; a JPEG has place for 65,533 in one piece
MOST_STRIPS = 100_000  # that a TIFF is cut into; each takes 350 bytes of memory
MOST_PAGES = 10_000  # that are counted
MOST_SCANS, MOST_SCANNED = 20, 2e9  # versions of a JPEG's picture, and their pixels, which take two seconds
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
STRIP_OFFSETS, TILE_OFFSETS = 273, 324

Source = Path | io.BytesIO


class Elaborate(ValueError):
    """A file that takes far more than a picture of its size needs. Its text goes on after the file's name."""

    def about(self, what: str) -> ValueError:
        """The same, for the person. what: the file's name."""
        return ValueError(f"Could not read {what}: {self}. Save the picture anew, without what is not needed for it.")


class Metered(io.BufferedReader):
    """A file that may be read in so many steps, and so many bytes of it: else Elaborate is raised."""

    def __init__(self, source: Source) -> None:
        raw: Any = io.FileIO(source) if isinstance(source, Path) else io.BytesIO(source.getvalue())
        super().__init__(raw)
        self._most = OVER * raw.seek(0, io.SEEK_END) + SPARE
        self._exif = 0
        self.seek(0)
        self.allow(STEPS)

    def allow(self, steps: int, any_bytes: bool = False) -> None:
        """From now on, as many steps more."""
        self._steps, self._bytes = steps, math.inf if any_bytes else self._most

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self._steps -= 1
        self._bytes -= len(content)
        if content.startswith(b"Exif\0\0"):  # of a JPEG, whose pieces are joined
            self._exif += len(content)
        if self._steps < 0 or self._bytes < 0 or self._exif > MOST_EXIF:
            raise Elaborate("what stands in it beside the picture takes too long to read")
        return content


def metered(source: Source, formats: Sequence[str]) -> Image.Image:
    """As `Image.open`, of those formats for which there is a reader; raises Elaborate besides."""
    Image.init()
    file = Metered(source)
    try:
        if file.peek(4).startswith(TIFF):
            tiff_pages(source)
        image: Any = Image.open(file, formats=[name for name in formats if name in Image.OPEN])
    except BaseException:
        file.close()
        raise
    image._exclusive_fp = True  # so that it is closed as the files are that Pillow opens itself
    return image


def allow(image: Image.Image, steps: int, any_bytes: bool = False) -> None:
    """From now on, as many steps more for an image that `metered` has opened."""
    file = getattr(image, "fp", None)
    if isinstance(file, Metered):
        file.allow(steps, any_bytes)


def allow_pixels(image: Image.Image) -> None:
    """As many steps as its pixels take."""
    allow(image, STEPS_OF_PIXELS, any_bytes=True)


def check_exif(stored: bytes, as_text: str | bytes = "") -> None:
    """Raises Elaborate for EXIF data, or those in hexadecimal digits, that may mean far more than they hold."""
    if max(len(stored), len(as_text) // 2) > MOST_EXIF:
        raise Elaborate("its EXIF data are too large")


def check_scans(source: Source, size_wh: tuple[int, int]) -> None:
    """Raises Elaborate for a JPEG of this size that holds its picture in ever more versions."""
    content = source.read_bytes() if isinstance(source, Path) else source.getvalue()
    scans = content.count(b"\xff\xda")
    if scans > MOST_SCANS and scans * size_wh[0] * size_wh[1] > MOST_SCANNED:
        raise Elaborate(f"it holds its picture in {scans} versions")


def tiff_pages(source: Source) -> int:
    """How many pages a TIFF has, as far as they can be read. Raises Elaborate for one of too many strips or tiles."""
    seen: set[int] = set()
    with Metered(source) as file:
        file.allow(3 * MOST_PAGES)
        try:
            head = file.read(8)
            order, is_big = "<" if head[:2] == b"II" else ">", b"+" in head[2:4]
            count, entry, link = (order + kinds for kinds in (("Q", "HHQQ", "Q") if is_big else ("H", "HHLL", "L")))
            (at,) = struct.unpack(link, file.read(8) if is_big else head[4:])
            while at and at not in seen and len(seen) < MOST_PAGES:
                file.seek(at)
                (tags,) = struct.unpack(count, file.read(struct.calcsize(count)))
                length = tags * struct.calcsize(entry)
                if not seen:
                    for tag, _, many, _ in struct.iter_unpack(entry, file.read(length)):
                        if tag in (STRIP_OFFSETS, TILE_OFFSETS) and many > MOST_STRIPS:
                            raise Elaborate(f"it is cut into {many} pieces")
                seen.add(at)
                file.seek(at + struct.calcsize(count) + length)
                (at,) = struct.unpack(link, file.read(struct.calcsize(link)))
        except (OSError, OverflowError, struct.error):  # Pillow says what is wrong with it
            pass
    return len(seen)
