"""Pictures with their ground truth: label maps, and the scenes that a JSON file lists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from proxyclip_core.picture import MAX_PIXELS

UNLABELLED = 255


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture with its truth: picture (H, W, 3) uint8, labels (H, W) uint8 index into words or UNLABELLED."""

    name: str
    picture: np.ndarray
    labels: np.ndarray
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.labels.shape != self.picture.shape[:2]:
            raise ValueError(
                f"{self.name}: the label map is {self.labels.shape}, but the picture {self.picture.shape[:2]}; "
                "both need the same height and width."
            )
        known = self.labels[self.labels != UNLABELLED]
        if known.size and int(known.max()) >= len(self.words):
            raise ValueError(
                f"{self.name}: the label map holds the index {int(known.max())}, but there are {len(self.words)} words."
            )


def read_label_map(path: str | Path) -> np.ndarray:
    """A label map from a palette or grey PNG: the pixel values are the indices. (H, W) uint8.

    Raises ValueError for a picture of another kind or size, OSError for what is no PNG or a damaged one.
    """
    try:
        return _read_indices(path)
    except Image.DecompressionBombError:
        raise ValueError(f"{Path(path).name} has more than {MAX_PIXELS / 1e6:g} million pixels.") from None
    except SyntaxError as error:  # Pillow's word for a broken PNG
        raise OSError(f"{Path(path).name} is damaged: {error}") from None


def _read_indices(path: str | Path) -> np.ndarray:
    with Image.open(path, formats=["PNG"]) as image:  # Pillow goes by the content, and would run PostScript, say
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{Path(path).name} has more than {MAX_PIXELS / 1e6:g} million pixels.")
        if image.mode not in ("P", "L"):
            raise ValueError(
                f"{Path(path).name} has mode {image.mode}; a label map is a palette or grey PNG whose pixel values "
                "are class numbers."
            )
        return np.array(image)


def read_scenes(index: str | Path) -> Iterator[LabelledPicture]:
    """The scenes that a JSON file lists: a list of {"file", "labels", "words"}, paths relative to it."""
    index = Path(index)
    for number, entry in enumerate(json.loads(index.read_text(encoding="utf-8"))):
        missing = [key for key in ("file", "labels", "words") if key not in entry]
        if missing:
            raise ValueError(f"{index.name}: scene {number} has no {', '.join(missing)}.")
        with Image.open(index.parent / entry["file"]) as image:
            picture = np.array(image.convert("RGB"))
        labels = read_label_map(index.parent / entry["labels"])
        yield LabelledPicture(entry["file"], picture, labels, tuple(entry["words"]))
