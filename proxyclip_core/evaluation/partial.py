"""What an evaluation has counted so far, on disk, so that one that was stopped can go on."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from proxyclip_core.evaluation.items import Item
from proxyclip_core.export.encoding import replace


class PartialAreas:
    """Areas of the pictures that are counted, in whichever order they come, in a file whose name says of what.

    folder: None keeps nothing. of: all that decides what is counted, ready for JSON. Files of pictures and label maps
    that have changed since are noticed by their sizes and times.
    areas: (3, K) int64, the sum. computed_with: the models' record, of the first picture that was counted.
    """

    def __init__(self, folder: str | Path | None, items: Sequence[Item], classes: int, of: Sequence[Any]) -> None:
        self.items, self._classes = items, classes
        key = hashlib.sha256(json.dumps([*of, [item.name for item in items]], default=str).encode()).hexdigest()[:24]
        self.path = Path(folder) / f"{key}.json" if folder is not None else None
        self._begin()
        if self.path is not None:
            self._load(self.path)

    def _begin(self) -> None:
        self.areas = np.zeros((3, self._classes), np.int64)
        self.computed_with: dict[str, Any] = {}
        self._next, self._ahead = 0, set[int]()  # all before `_next` are counted, and those that are ahead of it
        self._files = 0  # of the counted pictures: a sum of digests, which knows no order

    def _load(self, path: Path) -> None:
        """Takes up what was kept; nothing where there is none, or it does not fit any more."""
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            places = [*range(int(kept["next"])), *map(int, kept["ahead"])]
            areas = np.array(kept["areas"], np.int64)
            fits = areas.shape == self.areas.shape and isinstance(kept["computed_with"], dict)
            if fits and kept["files"] == f"{sum(map(self._files_of, places)):x}":
                self.areas, self.computed_with = areas, kept["computed_with"]
                self._next, self._ahead, self._files = (
                    int(kept["next"]),
                    set(places[kept["next"] :]),
                    int(kept["files"], 16),
                )
        except (OSError, ValueError, LookupError, TypeError, OverflowError):
            pass

    @property
    def todo(self) -> list[int]:
        """The places of the pictures that are not counted yet."""
        return [place for place in range(self._next, len(self.items)) if place not in self._ahead]

    @property
    def done(self) -> int:
        """How many are counted."""
        return self._next + len(self._ahead)

    def add(self, place: int, areas: np.ndarray, computed_with: Mapping[str, Any]) -> None:
        """Adds the areas of the picture at `place`, and keeps the sum: the file is whole at any moment.

        Where it cannot be written, a warning says so once.
        """
        self.areas = self.areas + areas
        self.computed_with = self.computed_with or dict(computed_with)
        self._ahead.add(place)
        while self._next in self._ahead:
            self._ahead.remove(self._next)
            self._next += 1
        if self.path is None:
            return
        self._files += self._files_of(place)
        content = {
            "next": self._next,
            "ahead": sorted(self._ahead),
            "files": f"{self._files:x}",
            "areas": self.areas.tolist(),
            "computed_with": self.computed_with,
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace(self.path, json.dumps(content).encode())
        except OSError as error:
            warnings.warn(f"Stopped now, the evaluation would begin anew: {error}", stacklevel=2)
            self.path = None

    def clear(self) -> None:
        """Forgets what was kept."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self._begin()

    def _files_of(self, place: int) -> int:
        """A number that is another where a file of this picture has changed."""
        item, seen = self.items[place], [place]
        for path in (item.picture, item.source.path):
            found = path.stat()
            seen += [found.st_size, found.st_mtime_ns]
        return int.from_bytes(hashlib.sha256(str(seen).encode()).digest(), "big")
