"""The files of a run: what is written for each picture, and how a run that was stopped finds its place again.

Of the picture `sea/gull.jpg` the folder of results holds, each whole or not at all,

    sea/gull.jpg.proxyclip.png             the label map
    sea/gull.jpg.proxyclip.overlay.png     and so on for every other format
    sea/gull.jpg.proxyclip.json            the record: names, shares, settings, and which files belong to it

The record is written last: a picture that has one is done.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from proxyclip_core import export
from proxyclip_core.export.encoding import replace, replacing
from proxyclip_core.folders.find import MARK, Found
from proxyclip_core.segmentation import Segmentation
from proxyclip_core.settings import Settings
from proxyclip_core.windows import PAPERS_WINDOWS

FORMAT = 1  # of the record
IN_THE_RECORD = ("names.txt", "names.json")  # files of `export.files_of` that nobody needs beside it
ENDINGS = {"labels.png": "png"}  # how others of its files end here
COCO_OPTIONS = ("split", "polygons", "background")
COCO_FILE = f"{MARK.removeprefix('.')}.coco.json"  # of all pictures of a run
FOR_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # errors of writing that the next picture would meet as well


class OutputError(OSError):
    """Nothing more can be written: the disk is full, say."""


@dataclass(frozen=True)
class Output:
    """Where and as what the results of a run are written.

    formats: names in `export.FORMATS`. options: for `export.files_of`, such as split. windows: crop, stride and
    resizing that results are made with, for the record. force: also over files of these names that are somebody else's.
    Raises ValueError for a folder that is a file, and for formats that do not exist.
    """

    folder: Path
    formats: tuple[str, ...] = ("labels",)
    options: Mapping[str, Any] = field(default_factory=dict)
    windows: Mapping[str, Any] = field(default_factory=lambda: PAPERS_WINDOWS)
    force: bool = False

    def __post_init__(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--out is {self.folder}, which is a file; give a folder.")
        unknown = [name for name in self.formats if name not in export.FORMATS]
        if unknown or not self.formats:
            raise ValueError(f"There is no format {', '.join(unknown)!r}; these are: {', '.join(export.FORMATS)}.")
        if "coco" in self.formats:  # so that what it needs is missed now and not at the first picture
            nothing = Segmentation(np.zeros((1, 1), np.uint16), ("",), np.zeros((1, 1), np.float32))
            export.coco([(nothing, "")], **self._of_coco)

    @property
    def _of_coco(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if name in COCO_OPTIONS}

    def path(self, name: str, ending: str) -> Path:
        """Where a file of the picture called `name` lies, such as that with the ending "overlay.png"."""
        return self.folder / f"{name}{MARK}.{ending}"

    def record(self, name: str) -> dict[str, Any]:
        """The record of a picture that is done; empty for another."""
        try:
            return export.record_in(self.path(name, "json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def check_free(self, name: str) -> None:
        """Raises FileExistsError for files of others, which would be overwritten."""
        if not self.force:
            try:
                export.check_ours(self.path(name, "png"))
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:  # of which there is none; this picture alone cannot be written
                    raise

    def record_if_done(
        self, picture: Found, settings: Settings, computed_with: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """The record of a picture that has its files: all that are asked for now, made from the picture as it is now,
        by the same settings, weights and precision. None for another."""
        record = self.record(picture.name)
        try:
            made = record["settings"]["computed_with"]
            same = Settings.from_json(json.dumps(record["settings"])) == settings and all(
                made[key] == computed_with[key] for key in ("clip_weights", "vfm_weights", "precision")
            )
            same = same and made.get("sam_weights") == computed_with.get("sam_weights")
            same &= record["options"] == dict(self.options) and record["windows"] == dict(self.windows)
            same &= set(self.formats) <= set(record["formats"])
            same &= all((self.folder / file).is_file() for file in record["files"])
            if isinstance(picture.source, str):
                written = self.path(picture.name, "json").stat().st_mtime_ns
                same &= os.stat(picture.source).st_mtime_ns <= written
        except (OSError, ValueError, LookupError, TypeError):  # no record, or one of an earlier version
            return None
        return record if same else None

    def write(self, picture: Found, pixels: np.ndarray, result: Segmentation) -> dict[str, Any]:
        """Writes the files of a picture (H, W, 3) uint8; returns its record, with their names, relative to the folder.

        Raises OutputError where no picture's could be written, OSError for what is wrong with this one's.
        """
        try:
            return self._write(picture, pixels, result)
        except OSError as error:
            if error.errno in FOR_ALL:
                why = f"{error.strerror}; what is written so far stays"
                raise OutputError(error.errno, why, str(self.folder)) from None
            raise

    def _write(self, picture: Found, pixels: np.ndarray, result: Segmentation) -> dict[str, Any]:
        name = picture.name
        self.check_free(name)
        before = self._files_of(name)
        record_path = self.path(name, "json")
        record_path.parent.mkdir(parents=True, exist_ok=True)
        record_path.unlink(missing_ok=True)  # until all else is written the picture is not done
        record: dict[str, Any] = {
            "proxyclip_label_map": FORMAT,
            "picture": name,
            "labels": self.path(name, "png").name if "labels" in self.formats else None,
            "names": list(result.names),
            "shares": result.coverage(),
            "presence": {name: round(value, 4) for name, value in result.presence.items()},
            "perhaps_absent": list(result.perhaps_absent),
            "settings": json.loads(result.settings.to_json(result.computed_with)) if result.settings else None,
            "windows": dict(self.windows),
            "formats": list(self.formats),
            "options": dict(self.options),
            "files": [],
        }
        for ending, content in self._files(picture, pixels, result, record):
            path = self.path(name, ending)
            path.parent.mkdir(exist_ok=True)
            replace(path, content)
            record["files"].append(path.relative_to(self.folder).as_posix())
        for file in before - set(record["files"]):
            (self.folder / file).unlink(missing_ok=True)
        text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
        replace(record_path, text.encode(errors="backslashreplace"))  # file names may hold halves of characters
        return record

    def _files(
        self, picture: Found, pixels: np.ndarray, result: Segmentation, record: dict[str, Any]
    ) -> Iterator[tuple[str, bytes]]:
        """(ending, content) of each; what is to go into the COCO file of all pictures is put into the record."""
        alone = [format for format in self.formats if format != "coco"]
        for ending, content in export.files_of(result, pixels, alone, file_name=picture.name, **self.options):
            if ending not in IN_THE_RECORD:
                yield ENDINGS.get(ending, ending), content
        if "coco" in self.formats:
            file_name, turned = picture.name, export.upright(picture.source, picture.name)
            if turned:  # else the regions would not fit over the picture as annotation tools show it
                ending = f"upright{Path(turned[0]).suffix}"
                file_name = self.path(picture.name, ending).relative_to(self.folder).as_posix()
                yield ending, turned[1]
            record["coco"] = export.coco([(result, file_name)], **self._of_coco)

    def write_coco(self, names: Sequence[str]) -> Path | None:
        """One COCO file of all the pictures of these names that are done, put together from their records, of which
        one at a time is in memory. None where none of them has any."""

        def of_each() -> Iterator[dict[str, Any]]:
            return filter(None, (self.record(name).get("coco") for name in names))

        first = next(of_each(), None)
        if first is None:
            return None
        head = {key: value for key, value in first.items() if key not in ("images", "annotations")}
        path = self.folder / COCO_FILE
        with replacing(path) as file:
            file.write(json.dumps(head)[:-1].encode() + b',\n"images": [\n')
            _write_rows(file, ({**row["images"][0], "id": number} for number, row in enumerate(of_each(), 1)))
            file.write(b'],\n"annotations": [\n')
            every = (
                {**annotation, "image_id": number}
                for number, row in enumerate(of_each(), 1)
                for annotation in row["annotations"]
            )
            _write_rows(file, ({**annotation, "id": number} for number, annotation in enumerate(every, 1)))
            file.write(b"]}\n")
        return path

    def clean(self, names: Iterable[str]) -> None:
        """Removes what a run that was killed left unfinished where the results of these pictures go."""
        for folder in {self.path(name, "json").parent for name in names}:
            for file in folder.glob(f".*{MARK}.*"):
                process = file.suffix.removeprefix(".")
                if process.isdecimal() and not _is_running(int(process)):
                    file.unlink(missing_ok=True)

    def _files_of(self, name: str) -> set[str]:
        """What the record of an earlier run names, and nothing that it could not have written."""
        files = self.record(name).get("files", [])
        return {file for file in files if str(file).startswith(f"{name}{MARK}.") and ".." not in str(file).split("/")}


def _write_rows(file: IO[bytes], rows: Iterable[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        file.write((",\n" if number else "").encode() + json.dumps(row).encode())


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
