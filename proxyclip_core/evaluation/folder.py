"""Anybody's own pictures and label maps: two folders in which they are called alike.

Axes: K classes.
"""

from __future__ import annotations

import json
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from proxyclip_core.evaluation.items import DataSet, Item
from proxyclip_core.evaluation.scenes import UNLABELLED, UNLABELLED_16, MaskWarning, is_mask, read_indices
from proxyclip_core.export import is_label_png
from proxyclip_core.folders.find import MARK, is_picture
from proxyclip_core.word_files import words_in
from proxyclip_core.words import Classes, Words, read_vocabulary

ONLY_A_MASK = (  # without a name, so that a set of them is told of once
    f"Some label maps hold 0 and {UNLABELLED} (of 16 bits, {UNLABELLED_16}) alone, as the mask of an object does. Such "
    "pixels count for nothing: where they are an object, write the number of its word in their place."
)
ENDINGS = (".png", ".tif", ".tiff")  # of label maps


@dataclass(frozen=True)
class IndexFile:
    """A label map of somebody's own: its values are the classes' places among the words.

    classes: (K) wordings of each class. ignored: values that do not count; None for 255 in a map of 8 bits and 65,535
    in one of 16. A map that `proxyclip segment` wrote has the names of its values beside it: these say what is what.
    """

    path: Path
    classes: Classes
    ignored: tuple[int, ...] | None

    def read(self, size_hw: tuple[int, int]) -> np.ndarray:
        values = read_indices(self.path)
        ignored = self.ignored
        if ignored is None:
            if is_mask(values):
                warnings.warn(ONLY_A_MASK, MaskWarning, stacklevel=2)
            ignored = (UNLABELLED,) if values.dtype == np.uint8 else (UNLABELLED_16,)
        places = self._places()
        for value in np.unique(values).tolist():
            if value not in places and value not in ignored:
                raise ValueError(self._unknown(value))
        table = np.full(65_536, UNLABELLED_16, np.uint16)
        for value, place in places.items():
            if value not in ignored:
                table[value] = place
        return table[values]

    def _places(self) -> dict[int, int]:
        """The class of each value."""
        names = _names_of(self.path)
        if names is None:
            return {index: index for index in range(len(self.classes))}
        known = {word.casefold(): index for index, group in enumerate(self.classes) for word in group}
        return {value: known[name.casefold()] for value, name in enumerate(names) if name.casefold() in known}

    def _unknown(self, value: int) -> str:
        names = _names_of(self.path) or ()
        if value < len(names):
            return (
                f"{self.path} has pixels of {names[value]!r}, by the names beside it, which is none of the words. Add "
                "it, or put it behind the word that it should count as, as a synonym."
            )
        return (
            f"{self.path} holds the value {value}, but the {len(self.classes)} classes are numbered from 0. Values "
            "that do not count are given with --ignore, in Python ignore=[...]."
        )


def _names_of(path: Path) -> list[str] | None:
    """The names that `proxyclip segment` wrote beside a label map; None for a map of another's."""
    record = path.with_suffix(".json")
    if not (record.is_file() and is_label_png(path)):
        return None
    try:
        names = json.loads(record.read_text(encoding="utf-8"))["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def folder_data(
    pictures: str | Path,
    labels: str | Path,
    words: Words | Path,
    *,
    ignore: Iterable[int] | None = None,
    **settings: Any,
) -> DataSet:
    """Pictures and label maps (PNG or TIFF) in two folders, or (PNG) in one, for `evaluate`.

    A label map belongs to the picture whose path below its folder is the same up to the last dot (a/b.jpg, a/b.png), or
    that begins with the picture's whole name (b.jpg.png, b.jpg.proxyclip.png). Its values are the places of the words,
    from 0 on; those of `proxyclip segment` go by the names in the file beside them.
    words: the classes in that order, as a model takes them or as a Path to a file of words. ignore: values that do not
    count, 255 (in a map of 16 bits 65,535) unless others are given. settings: defaults for `evaluate`.
    Raises ValueError where there are no pairs, where a label map has no picture, and for words that cannot be counted.
    """
    pictures, labels = Path(pictures), Path(labels)
    for folder in (pictures, labels):
        if not folder.is_dir():
            raise ValueError(f"There is no folder {folder}.")
    classes = _countable(words)
    ignored = None if ignore is None else tuple(ignore)
    if any(not 0 <= value <= UNLABELLED_16 for value in ignored or ()):
        raise ValueError(f"ignore is {list(ignored or ())}; expected values of label maps, from 0 to {UNLABELLED_16}.")
    return DataSet(
        name="folder",
        title=Path(os.path.abspath(pictures)).name or str(pictures),
        folder=labels,
        items=tuple(
            Item(picture.relative_to(pictures).as_posix(), picture, IndexFile(path, classes, ignored))
            for picture, path in _pairs(pictures, labels)
        ),
        names=tuple(group[0] for group in classes),
        classes=classes,
        settings=settings,
    )


def _countable(words: Words | Path) -> Classes:
    """The classes, of which none may be left out: a label map counts them."""
    classes, twice = words_in(words) if isinstance(words, Path) else read_vocabulary(words)
    if twice:
        raise ValueError(f"{twice[0]} A label map counts the words, so each must stand once.")
    return classes


def _pairs(pictures: Path, labels: Path) -> list[tuple[Path, Path]]:
    endings = ENDINGS[:1] if pictures.samefile(labels) else ENDINGS  # a TIFF among pictures is more likely one of them
    maps = {path: name for path, name in _files(labels).items() if _is_label_map(name, endings)}
    by_name, by_stem = dict[str, Path](), defaultdict[str, list[Path]](list)
    for path, name in _files(pictures).items():
        if path.suffix.casefold() != ".json" and MARK not in name:
            by_name[name] = path
            by_stem[name.removesuffix(path.suffix)].append(path)
    pairs, alone = [], []
    for path, name in maps.items():
        stem = name.removesuffix(path.suffix).removesuffix(MARK)
        found = [by_name[stem]] if stem in by_name else [other for other in by_stem[stem] if other != path]
        if len(found) > 1:
            raise ValueError(
                f"{path} may belong to {found[0].name} or to {found[1].name}. Call it {found[0].name}.png, say."
            )
        if found:
            pairs.append((found[0], path))
        else:
            alone.append(path)
    if pictures.samefile(labels):  # pictures that are PNGs themselves look like maps
        alone = [path for path in alone if path not in {picture for picture, _ in pairs}]
    if not pairs or alone:
        raise ValueError(_unpaired(pictures, labels, alone, len(maps), list(by_name)))
    taken = [picture for picture, _ in pairs]
    if len(set(taken)) < len(taken):
        twice = next(picture for picture in taken if taken.count(picture) > 1)
        raise ValueError(f"{twice} has two label maps in {labels}. Take one of them out.")
    labelled = {*taken, *maps}
    left = [name for name, path in by_name.items() if path not in labelled and is_picture(str(path))]
    if left:
        warnings.warn(
            f"{len(left)} of {len(left) + len(pairs)} pictures in {pictures} have no label map and do not count, such "
            f"as {left[0]}.",
            stacklevel=3,
        )
    return sorted(pairs)


def _files(folder: Path) -> dict[Path, str]:
    """The files below a folder, with their paths from there on."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path: path.relative_to(folder).as_posix() for path in found}


def _is_label_map(name: str, endings: tuple[str, ...]) -> bool:
    """Whether a file is meant, and not an overlay, say, that `proxyclip segment` wrote beside a label map."""
    return name.casefold().endswith(endings) and (MARK not in name or name.endswith(f"{MARK}.png"))


def _unpaired(pictures: Path, labels: Path, alone: Sequence[Path], maps: int, names: Sequence[str]) -> str:
    if not maps:
        return f"There is no label map in {labels}; looked, in its sub-folders too, for {', '.join(ENDINGS)}."
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "no files"
    return (
        f"{len(alone)} of {maps} label maps in {labels} have no picture, such as {alone[0].relative_to(labels)}. In "
        f"{pictures}: {shown}. A picture a/b.jpg goes with a/b.png or a/b.jpg.png."
    )
