"""Which pictures are meant: by files, folders and patterns such as `photos/**/*.jpg`."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from proxyclip_core.export import is_label_png

MARK = ".proxyclip"  # in the name of every file that a run writes: PICTURE.proxyclip.png, say
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"),
)


class NoSuchPictureError(ValueError):
    """What was given is neither a file nor a folder."""


@dataclass(frozen=True)
class Found:
    """A picture of a run.

    source: the path of its file, or the bytes of one. name: what its results are called, below the folder of results;
    with "/" where it lay in a sub-folder.
    """

    source: str | bytes
    name: str

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return self.source if isinstance(self.source, str) else self.name

    def without_bytes(self) -> Found:
        """As it is told of when it is done."""
        return Found(self.shown, self.name)


def find_pictures(
    inputs: Iterable[str | os.PathLike] | str | os.PathLike, results: str | os.PathLike | None = None
) -> list[Found]:
    """The pictures of files, folders and patterns, in the order of the inputs and by name within each.

    A file is taken as it is. Of a folder, the files below it that end like pictures are: not hidden ones, not what is
    in linked folders, and not what a run wrote, in `results` or elsewhere. In a pattern, `**` stands for any folders.
    Raises ValueError for what is not there (`NoSuchPictureError`), holds no pictures, or where two pictures would have
    results of one name.
    """
    found: dict[str, Found] = {}
    paths: set[str] = set()
    for given in [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs:
        for picture in _found(os.fspath(given), results):
            path = os.path.abspath(str(picture.source))
            if path in paths:
                continue
            paths.add(path)
            other = found.setdefault(picture.name, picture)
            if other is not picture:
                raise ValueError(
                    f"{other.shown} and {picture.shown} would both be written to {picture.name}{MARK}.png. Segment "
                    "them one after the other, each into a folder of its own (--out)."
                )
    return list(found.values())


def _found(given: str, results: str | os.PathLike | None) -> list[Found]:
    if os.path.isdir(given):
        return _in_folder(given, results)
    if os.path.isfile(given):
        return [Found(given, os.path.basename(given))]
    if not glob.has_magic(given):
        raise NoSuchPictureError(f"There is no picture file or folder at {given!r}; check the path.")
    fixed = given[: len(given) - len(given.lstrip(os.sep))]  # what stands before the first part with a wildcard
    for part in Path(given).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed = os.path.join(fixed, part)
    matches = sorted(path for path in glob.glob(given, recursive=True) if os.path.isfile(path) and is_picture(path))
    found = [Found(path, _posix(os.path.relpath(path, fixed or "."))) for path in matches]
    found = [picture for picture in found if MARK not in picture.name]  # nor what lies in a folder of results
    if not found:
        raise ValueError(f"No pictures match {given!r}; looked for files ending in {', '.join(ENDINGS)}.")
    return found


def _in_folder(folder: str, results: str | os.PathLike | None) -> list[Found]:
    own = os.path.realpath(results) if results else None
    found: list[Found] = []
    others: list[str] = []
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and MARK not in name and os.path.realpath(os.path.join(place, name)) != own
        )
        for name in files:
            path = os.path.join(place, name)
            if is_picture(path):
                found.append(Found(path, _posix(os.path.relpath(path, folder))))
            else:
                others.append(name)
    if not found:
        seen = f"found {len(others)} other files, such as {min(others)}" if others else "it is empty"
        raise ValueError(
            f"The folder {folder!r} holds no pictures: {seen}. Looked, in its sub-folders too, for files ending in "
            f"{', '.join(ENDINGS)}."
        )
    return sorted(found, key=lambda picture: picture.name)


def _refuse(error: OSError) -> None:
    raise ValueError(f"The folder {error.filename!r} cannot be read: {error.strerror}.")


def is_picture(path: str) -> bool:
    """Whether a file looks like a picture, and not like a result."""
    name = os.path.basename(path)
    if name.startswith(".") or MARK in name or not name.lower().endswith(ENDINGS):
        return False
    is_png = name.lower().endswith(".png") and os.path.isfile(path)  # and no pipe, which would never end
    return not (is_png and is_label_png(Path(path)))


def _posix(path: str) -> str:
    return path.replace(os.sep, "/")
