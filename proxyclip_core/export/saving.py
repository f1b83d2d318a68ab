"""Results as a folder of files or one zip: one door for the page, Python and the command line."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from proxyclip_core.export.encoding import SOFTWARE, check_free, is_ours, replacing

Files = Iterable[tuple[str, bytes]]


def write_files(path: Path, files: Files, force: bool = False) -> None:
    """Writes files, each (relative name, content): `path`.zip as one zip, any other path as a folder of them.

    The zip, and every file of the folder, is whole or not there at all. Raises FileExistsError for files that are
    there and that were not written by this function, unless `force` is given: the folder stays as it was then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".zip":
        _write_zip(path, files, force)
    elif path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file; give a folder, or a name that ends in .zip.")
    else:
        _write_folder(path, files, force)


def _write_zip(path: Path, files: Files, force: bool) -> None:
    check_free(path, force or is_ours(path))
    with replacing(path) as file:
        pack(file, files)


def pack(file: IO[bytes], files: Files) -> None:
    """Writes files as one zip into an open file."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = SOFTWARE.encode()
        for name, content in files:
            packed = zipfile.ZIP_DEFLATED if name.endswith(".json") else None  # the others are packed already
            archive.writestr(name, content, packed)


def _write_folder(folder: Path, files: Files, force: bool) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as unfinished:
        names = list(_written(Path(unfinished), files))
        for name in names:
            check_free(folder / name, force or is_ours(folder / name))
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(unfinished, name), folder / name)
    for kind in {Path(name).parent for name in names} - {Path()}:  # masks of words that are no longer asked for
        for file in (folder / kind).iterdir():
            if (kind / file.name).as_posix() not in names and is_ours(file):
                file.unlink()


def _written(folder: Path, files: Files) -> Iterator[str]:
    for name, content in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        yield name
