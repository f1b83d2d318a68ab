"""What an evaluation has counted so far, on disk, so that one that was stopped can go on."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from proxyclip_core.evaluation.items import Item
from proxyclip_core.export.encoding import replace


class PartialAreas:
    """Areas (3, K) of the first pictures, in a file whose name says of what.

    folder: None keeps nothing. of: all that decides what is counted, ready for JSON. Files of pictures and label maps
    that have changed since are noticed by their sizes and times.
    """

    def __init__(self, folder: str | Path | None, items: Sequence[Item], of: Sequence[Any]) -> None:
        self.items = items
        names = [item.name for item in items]
        key = hashlib.sha256(json.dumps([*of, names], default=str).encode()).hexdigest()[:24]
        self.path = Path(folder) / f"{key}.json" if folder is not None else None
        self._seen, self._counted = hashlib.sha256(), 0  # of the files of the first pictures

    def load(self, classes: int) -> tuple[int, np.ndarray]:
        """How many pictures are counted, and their areas; none where nothing was kept, or it does not fit any more."""
        nothing = 0, np.zeros((3, classes), np.int64)
        if self.path is None:
            return nothing
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            done, areas = int(kept["done"]), np.array(kept["areas"], np.int64)
            if areas.shape == (3, classes) and 0 < done <= len(self.items) and kept["files"] == self._files(done):
                return done, areas
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            pass
        self._seen, self._counted = hashlib.sha256(), 0
        return nothing

    def save(self, done: int, areas: np.ndarray) -> None:
        """Keeps the areas of the first `done` pictures: the file is whole at any moment.

        Where it cannot be written, a warning says so once.
        """
        if self.path is None:
            return
        content = {"done": done, "files": self._files(done), "areas": areas.tolist()}
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

    def _files(self, done: int) -> str:
        """Tells whether the files of the first `done` pictures are as they were."""
        for item in self.items[self._counted : done]:
            for path in (item.picture, item.source.path):
                found = path.stat()
                self._seen.update(f"{found.st_size} {found.st_mtime_ns}\n".encode())
        self._counted = done
        return self._seen.hexdigest()
