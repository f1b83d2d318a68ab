"""Pictures with their ground truth: label maps, and the scenes that a JSON file lists."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from proxyclip_core.file_kinds import name_of
from proxyclip_core.picture import MAX_PIXELS, read_image
from proxyclip_core.picture_cost import Elaborate, Source, allow_pixels, metered
from proxyclip_core.picture_file import beginning, is_limit_of_text, without_text
from proxyclip_core.text_files import decoded
from proxyclip_core.words import Classes, check_classes, parse_vocabulary

UNLABELLED = 255  # marks pixels of no class in label maps of 8 bits,
UNLABELLED_16 = 65_535  # and in those of 16 bits, where 255 is a class like any other


def is_labelled(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool: where a label map names a class: not UNLABELLED in a uint8 one, not UNLABELLED_16 in any other."""
    return labels != (UNLABELLED if labels.dtype == np.uint8 else UNLABELLED_16)


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture with its ground truth.

    picture: (H, W, 3) uint8. labels: (H, W) uint8 or uint16, the class of each pixel; see `is_labelled`.
    words: the classes in their order, each a word or a list of its wordings, as a model takes them.
    classes: the same with all wordings of each class. Raises ValueError where the parts do not fit together.
    """

    name: str
    picture: np.ndarray
    labels: np.ndarray
    words: Sequence[str | Sequence[str]]
    classes: Classes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", check_classes(self.words, once=False))  # the label map counts them
        if self.labels.shape != self.picture.shape[:2]:
            raise ValueError(
                f"{self.name}: the label map is {self.labels.shape}, but the picture {self.picture.shape[:2]}; "
                "both need the same height and width."
            )
        known = self.labels[is_labelled(self.labels)]
        if known.size and int(known.max()) >= len(self.classes):
            raise ValueError(
                f"{self.name}: the label map holds the index {int(known.max())}, but there are {len(self.classes)} "
                f"words. Pixels that do not count are {UNLABELLED} in a map of 8 bits, {UNLABELLED_16} in one of 16."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The first wording of each class."""
        return tuple(group[0] for group in self.classes)


class MaskWarning(UserWarning):
    """What was read as a label map seems to be the mask of one object."""


def is_mask(labels: np.ndarray) -> bool:
    """Whether a label map holds 0 and the value for pixels of no class alone, as masks of one object do."""
    return not labels[is_labelled(labels)].any() and bool(0 < np.count_nonzero(labels) < labels.size)


def read_label_map(path: str | Path) -> np.ndarray:
    """A label map from a palette or grey PNG or TIFF of 1 to 16 bits: pixel values are classes. (H, W) uint8 or uint16.

    Pixels of no class are 255 in a map of up to 8 bits and 65,535 in one of 16 (`is_labelled`). What `proxyclip
    segment` and the page's download write is read as well. A `MaskWarning` is given for the mask of an object, white
    on black. Raises ValueError for a picture of another kind or size, OSError for what is neither or damaged.
    """
    labels = read_indices(path)
    if is_mask(labels):
        warnings.warn(
            f"{Path(path).name} holds the values 0 and {labels.max()} alone, as the mask of an object does. Pixels of "
            f"{labels.max()} count for nothing: which word is the object? Write that word's number in their place.",
            MaskWarning,
            stacklevel=2,
        )
    return labels


def read_indices(path: str | Path) -> np.ndarray:
    """The same, whatever the values are."""
    source, name = Path(path), Path(path).name
    try:
        return _indices(source, name)
    except ValueError as error:
        if not is_limit_of_text(error):
            raise
        return _indices(without_text(source), name)


def _indices(source: Source, name: str) -> np.ndarray:
    too_large = f"{name} has more than {MAX_PIXELS / 1e6:g} million pixels."
    try:
        # Pillow goes by the content, and would run PostScript, say.
        with metered(source, ["PNG", "TIFF"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(too_large)
            allow_pixels(image)
            if image.mode in ("P", "L", "1"):
                return np.array(image).astype(np.uint8)
            if image.mode in ("I;16", "I;16B", "I"):  # "I": 16 bits in older versions of Pillow, or 32 of a TIFF
                values = np.array(image)
                if values.min(initial=0) < 0 or values.max(initial=0) > UNLABELLED_16:
                    raise ValueError(
                        f"{name} holds values from {values.min()} to {values.max()}; expected class "
                        f"numbers from 0 to {UNLABELLED_16}. What does not count may be {UNLABELLED_16}."
                    )
                return values.astype(np.uint16)
            if image.mode in ("LA", "RGB", "RGBA"):  # grey, as some editors save it
                *bands, alpha = (
                    np.array(band) for band in (image if "A" in image.mode else image.convert("RGBA")).split()
                )
                if (alpha == 255).all() and all(np.array_equal(bands[0], band) for band in bands):
                    return bands[0]
            raise ValueError(
                f"{name} has {_in_words(image.mode)}; a label map is a palette or grey PNG whose pixel "
                "values are class numbers."
            )
    except Elaborate as error:
        raise error.about(name) from None
    except Image.DecompressionBombError:
        raise ValueError(too_large) from None
    except UnidentifiedImageError:
        kind = name_of(beginning(source))
        what = f"{kind[0].partition(',')[0]}, " if kind else ""
        raise OSError(f"{name} is {what}no PNG or TIFF; what JPEG stores, say, are other numbers.") from None
    except SyntaxError as error:  # Pillow's word for a broken PNG
        raise OSError(f"{name} is damaged: {error}") from None


def _in_words(mode: str) -> str:
    kinds = {"RGB": "colours", "RGBA": "colours", "LA": "an alpha channel", "F": "fractions"}
    return f"{kinds[mode]} (mode {mode})" if mode in kinds else f"mode {mode}"


def read_scenes(index: str | Path) -> Iterator[LabelledPicture]:
    """The scenes that a JSON file lists: a list of {"file", "labels", "words"}, paths relative to it.

    words: one entry a class, in the order of the label map's values; an entry is text ("girl; woman" for a class with
    a synonym) or a list of wordings. Raises ValueError, naming the file and the scene, for anything else.
    """
    index = Path(index)
    for number, entry in enumerate(_read_list(index)):
        where = f"{index.name}: scene {number}"
        missing = [key for key in ("file", "labels", "words") if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise ValueError(f"{where} has no {', '.join(missing)}.")
        if not isinstance(entry["words"], list):
            raise ValueError(f'{where}: words is {entry["words"]!r}; expected a list, such as ["sky", "girl; woman"].')
        words = [_one_class(word, where) for word in entry["words"]]
        picture = read_image(index.parent / entry["file"])
        labels = read_label_map(index.parent / entry["labels"])
        yield LabelledPicture(entry["file"], picture, labels, words)


def _read_list(index: Path) -> list[Any]:
    try:
        entries = json.loads(decoded(index.read_bytes())[0])
    except (ValueError, RecursionError) as error:  # of the encoding or of JSON
        raise ValueError(f"{index} is not JSON ({error}).") from None
    if not isinstance(entries, list):
        raise ValueError(f'{index} holds no list; expected [{{"file": …, "labels": …, "words": […]}}, …].')
    return entries


def _one_class(entry: Any, where: str) -> str | Sequence[str]:
    """One entry of `words`: a word, or its wordings."""
    if not isinstance(entry, str):
        return entry  # checked with the others
    classes = parse_vocabulary(entry)
    if len(classes) > 1:
        raise ValueError(
            f"{where}: {entry!r} is {len(classes)} classes. Give each an entry of its own, put synonyms behind a "
            "semicolon, and a word that holds a comma in double quotes."
        )
    return classes[0][0] if len(classes[0]) == 1 else classes[0]
