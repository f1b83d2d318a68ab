"""The answer: which class each pixel belongs to, and what one does with that."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from proxyclip_core.picture import ImageLike
from proxyclip_core.presence import PERHAPS_ABSENT
from proxyclip_core.settings import Settings

PREVIEW_SIDE = 640  # pixels, so that a notebook stays small


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Stage 6: the answer, at the picture's own size.

    labels: (H, W) uint16 index into `names`. confidence: (H, W) float32, softmax score of the best class in 0..1
    (also where it fell below the threshold and class 0 was taken instead).
    has_background: whether class 0 is the background.
    settings, computed_with: what was asked and with what it was computed (`ProxyCLIP.computed_with`), where the result
    comes from `ProxyCLIP.run` or a call of the model.
    presence: there too, how surely each class but the background is in the picture at all, 0..1 by name.
    notes: what is to be said of the words and, in a result of `run` or a call, of how the picture was read.
    preview: (h, w, 3) uint8, of `run` or a call: the picture as a notebook shows it, at most PREVIEW_SIDE pixels long.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    confidence: np.ndarray
    has_background: bool = False
    settings: Settings | None = None
    computed_with: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    preview: np.ndarray | None = field(default=None, repr=False)
    presence: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype != np.uint16:
            raise ValueError(
                f"labels is {self.labels.dtype} of shape {self.labels.shape}; expected uint16 of shape (H, W)."
            )
        if self.confidence.shape != self.labels.shape:
            raise ValueError(f"confidence has shape {self.confidence.shape}; expected {self.labels.shape}.")
        highest = int(self.labels.max(initial=0))
        if highest >= len(self.names):
            raise ValueError(f"labels holds {highest}, but there are only {len(self.names)} names.")

    def mask(self, name: str | int) -> np.ndarray:
        """(H, W) bool: where a class is, by name or index. Raises ValueError for a class that is not there."""
        return self.labels == class_index(self.names, name)

    @cached_property
    def areas(self) -> np.ndarray:
        """(K,) int: pixels of every class."""
        return np.bincount(self.labels.ravel(), minlength=len(self.names))

    def coverage(self) -> dict[str, float]:
        """Share of the picture by class name, in 0..1, summing to 1; classes that were not found have 0."""
        return {name: float(count) / self.labels.size for name, count in zip(self.names, self.areas)}

    @property
    def perhaps_absent(self) -> tuple[str, ...]:
        """The classes that are perhaps not in the picture, however much of it they won."""
        return tuple(name for name, presence in self.presence.items() if presence < PERHAPS_ABSENT)

    def overlay(
        self,
        picture: ImageLike,
        opacity: float = 0.6,
        outlines: bool = True,
        names: bool = True,
        hidden: Collection[str] = (),
    ) -> np.ndarray:
        """(H, W, 3) uint8: the picture with the regions laid over it, as the page draws them at the picture's own size.

        picture: the one that was segmented. opacity: of the regions, in 0..1. outlines, names: whether they are drawn.
        hidden: names of classes that are not. Raises ValueError for a picture of another size.
        """
        from proxyclip_core.drawing.drawing import Drawing, Look  # here, because they take results
        from proxyclip_core.export.files import picture_of

        pixels, look = picture_of(self, picture), Look(opacity, outlines, names, tuple(hidden))
        return Drawing.prepare(pixels.shape, self).draw(pixels, look)

    def _repr_html_(self) -> str:
        """The result as Jupyter shows it."""
        from proxyclip_core.drawing.notebook import as_html  # here, because it takes results

        return as_html(self)

    def save(
        self,
        path: str | os.PathLike[str],
        picture: ImageLike | None = None,
        formats: Collection[str] | None = None,
        *,
        force: bool = False,
        **wishes: Any,
    ) -> None:
        """Writes the result in some of `export.FORMATS`: into one zip where `path` ends in .zip, else into a folder.

        picture, formats, wishes: as in `export.files_of`; `result.save("out.zip", "farm.png", polygons=True)`, say.
        Raises ValueError for what does not fit together, and FileExistsError, before anything is written, for files
        that are there and that this method did not write, unless `force` is given. No file is ever half written.
        """
        from proxyclip_core import export  # here, because it takes results

        export.write_files(Path(path), export.files_of(self, picture, formats, **wishes), force)


def class_index(names: tuple[str, ...], name: str | int) -> int:
    """The index of a class that is given by name or by index. Raises ValueError where there is none."""
    if name in names:
        return names.index(str(name))
    if isinstance(name, (int, np.integer)) and not isinstance(name, bool) and 0 <= name < len(names):
        return int(name)
    raise ValueError(f"No class is called {name!r}; these are: {', '.join(names)} (0 to {len(names) - 1} by index).")
