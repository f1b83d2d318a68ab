"""Pictures with their ground truth that lie in files and are read one at a time, and the sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from proxyclip_core.evaluation.scenes import read_indices
from proxyclip_core.picture import read_image
from proxyclip_core.words import Classes


class GroundTruthSource(Protocol):
    """Where the ground truth of one picture comes from."""

    @property
    def path(self) -> Path:
        """The file that holds it."""
        ...

    def read(self, size_hw: tuple[int, int]) -> np.ndarray:
        """(H, W) uint16 classes; 65,535 (`UNLABELLED_16`) does not count, and other values past the classes are none
        of them. size_hw: of the picture, which a source without a size of its own takes."""
        ...


@dataclass(frozen=True, eq=False)
class LabelFile:
    """A label map whose values `table`, (256,) uint16, turns into classes."""

    path: Path
    table: np.ndarray

    def read(self, size_hw: tuple[int, int]) -> np.ndarray:
        values = read_indices(self.path)
        if int(values.max(initial=0)) >= len(self.table):
            raise ValueError(f"{self.path} holds the value {int(values.max())}; expected a label map of 8 bits.")
        return self.table[values]


@dataclass(frozen=True)
class Item:
    """A picture and its ground truth, in files. name: as in the data set's own lists."""

    name: str
    picture: Path
    source: GroundTruthSource

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture (H, W, 3) uint8 and its ground truth (H, W) uint16, see `GroundTruthSource`.

        Raises ValueError, naming the file, for what cannot be read or does not fit.
        """
        picture = read_image(self.picture)
        return picture, self.ground_truth((picture.shape[0], picture.shape[1]))

    def ground_truth(self, size_hw: tuple[int, int]) -> np.ndarray:
        """The ground truth alone, for a picture of this size; otherwise as `read`."""
        try:
            labels = self.source.read(size_hw)
        except OSError as error:
            raise ValueError(f"The label map {self.source.path} could not be read: {error}") from None
        except ValueError as error:  # which may know the file's name alone, and that is often the picture's as well
            said, path = str(error), str(self.source.path)
            raise ValueError(said if path in said else f"The label map {path}: {said}") from None
        if labels.shape != size_hw:
            turned = " One of them is turned: pictures are taken as their EXIF data says."
            hint = turned if labels.shape == size_hw[::-1] else ""
            raise ValueError(
                f"{self.source.path}: the label map has {labels.shape[1]} x {labels.shape[0]} pixels, but the picture "
                f"{self.picture.name} has {size_hw[1]} x {size_hw[0]}. They must be of one size.{hint}"
            )
        return labels


@dataclass(frozen=True, eq=False)
class DataSet:
    """Pictures with ground truth of the same K classes.

    name: "folder", or one of the benchmarks. folder: where it lies. names: what the K classes are called in results.
    classes: the wordings that are asked for, of each class. settings: what `evaluate` takes where nobody says
    otherwise. expected: how many pictures the whole set has; None where nobody knows. words_of: whose words these are.
    """

    name: str
    title: str
    folder: Path
    items: tuple[Item, ...]
    names: tuple[str, ...]
    classes: Classes
    settings: Mapping[str, Any] = field(default_factory=dict)
    expected: int | None = None
    words_of: str = "own"
