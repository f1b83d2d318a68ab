"""The formats in which a result can be taken away, each as files. The page, Python and the command line offer these.

labels      labels.png, whose pixel values are the classes; names.txt and names.json, their names in this order
overlay     overlay.png
masks       masks/003_palm_tree.png, one a class
cutouts     cutouts/003_palm_tree.png, one a class that was found
coco        coco.json
npz         result.npz
settings    settings.json, for the page and for `proxyclip segment PICTURE --settings settings.json`

Where the picture's file says that it is to be turned, the picture lies beside them as it was segmented, upright.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from proxyclip_core.drawing.drawing import Drawing, Look
from proxyclip_core.export.coco import coco
from proxyclip_core.export.encoding import ascii_json, png
from proxyclip_core.export.label_map import label_map
from proxyclip_core.export.masks import cutouts, masks
from proxyclip_core.export.npz import npz
from proxyclip_core.export.upright import upright
from proxyclip_core.picture import ImageLike, read_picture
from proxyclip_core.segmentation import Segmentation
from proxyclip_core.types import Refined

Files = Iterable[tuple[str, bytes]]


@dataclass(frozen=True)
class Format:
    """label, purpose: what it is, and in one line what it is for. usual: whether it is written where nobody says."""

    name: str
    label: str
    purpose: str
    usual: bool = True


_FORMATS = (
    Format("labels", "Label map", "a pixel's value is its word; for programs, and for scoring here"),
    Format("overlay", "Overlay", "the picture with its regions, to show around"),
    Format("masks", "Masks", "one black and white picture a word, for image editors"),
    Format("cutouts", "Cut-outs", "one picture a word, transparent around it, for collages", usual=False),
    Format("coco", "COCO", "for annotation tools and for training"),
    Format("npz", "NPZ", "labels and scores as NumPy arrays", usual=False),
    Format("settings", "Settings", "make the same result again, here or on the command line"),
)
FORMATS: dict[str, Format] = {row.name: row for row in _FORMATS}

# What can be wished for on top: argument of `files_of` -> what it does.
WISHES = {
    "crop": "Cut-outs: no larger than what is in them",
    "split": "COCO: each connected region by itself",
    "polygons": "COCO: polygons, for tools that know no RLE",
    "background": "COCO and cut-outs: the background too",
    "logits": "NPZ: the logits of all words too",
}


def files_of(
    result: Segmentation,
    picture: ImageLike | None = None,
    formats: Collection[str] | None = None,
    *,
    file_name: str | None = None,
    crop: bool = False,
    split: bool = False,
    polygons: bool = False,
    background: bool = False,
    logits: Refined | None = None,
    look: Look | None = None,
) -> Iterator[tuple[str, bytes]]:
    """The files of a result, each as (relative name, content), made one after the other.

    picture: what was segmented, which overlay and cut-outs need. formats: of `FORMATS`; None for the usual ones that
    can be had: without the overlay where there is no picture, without settings that are not known, and without COCO
    where pycocotools is not installed. file_name: the picture's, for the record; None for that of its file.
    crop, split, polygons, background: see `WISHES`. logits: those that the NPZ is to hold too. look: of the overlay.
    Raises ValueError, before anything is made, for what does not fit together.
    """
    chosen = _chosen(result, picture, formats)
    name = _safe(file_name or (Path(picture).name if isinstance(picture, (str, os.PathLike)) else "picture.png"))
    pixels = np.empty((0, 0, 3), np.uint8)
    if picture is not None and {"overlay", "cutouts"} & set(chosen):
        pixels = picture_of(result, picture)
    turned = upright(picture, name) if set(chosen) - {"settings"} else None
    of_coco = {"split": split, "polygons": polygons, "background": background}
    makers: dict[str, Callable[[], Files]] = {
        "labels": lambda: _labels(result),
        "overlay": lambda: [("overlay.png", png(Drawing.prepare(pixels.shape, result).draw(pixels, look or Look())))],
        "masks": lambda: _in_folder("masks", masks(result)),
        "cutouts": lambda: _in_folder("cutouts", cutouts(result, pixels, crop, background)),
        "coco": lambda: [("coco.json", ascii_json(coco([(result, turned[0] if turned else name)], **of_coco)))],
        "npz": lambda: [("result.npz", npz(result, logits))],
        "settings": lambda: _settings(result),
    }

    def made() -> Iterator[tuple[str, bytes]]:
        if turned:
            yield turned
        for one in chosen:
            yield from makers[one]()

    return made()


def _chosen(result: Segmentation, picture: ImageLike | None, formats: Collection[str] | None) -> list[str]:
    """The formats in their order. Raises ValueError for those that do not exist, or need what is not there."""
    lacking: dict[str, str] = {}
    if picture is None:
        lacking |= dict.fromkeys(("overlay", "cutouts"), "the picture: give it too, save(path, picture)")
    if result.settings is None:
        lacking["settings"] = "a result of `model(picture, words)` or `model.run`, which knows its settings"
    if formats is None:
        if find_spec("pycocotools") is None:
            lacking["coco"] = "pycocotools"
        return [name for name, row in FORMATS.items() if row.usual and name not in lacking]
    if isinstance(formats, str) or (unknown := [name for name in formats if name not in FORMATS]):
        found = repr(formats) if isinstance(formats, str) else ", ".join(map(repr, unknown))
        raise ValueError(f"formats is {found}; expected a list of some of {', '.join(FORMATS)}.")
    for name in formats:
        if name in lacking:
            raise ValueError(f"The format {name!r} needs {lacking[name]}.")
    return [name for name in FORMATS if name in formats]


def picture_of(result: Segmentation, picture: ImageLike) -> np.ndarray:
    """(H, W, 3) uint8: the picture that was segmented. Raises ValueError for one of another size."""
    pixels = read_picture(picture)[0]
    if pixels.shape[:2] != result.labels.shape:
        (height, width), (rows, columns) = pixels.shape[:2], result.labels.shape
        raise ValueError(
            f"The picture has {width} x {height} pixels, but the result {columns} x {rows}. Give the picture that was "
            "segmented."
        )
    return pixels


def _labels(result: Segmentation) -> Files:
    names = list(result.names)
    yield "labels.png", label_map(result)
    yield "names.txt", "".join(f"{name}\n" for name in names).encode(errors="backslashreplace")
    yield "names.json", ascii_json(names)


def _settings(result: Segmentation) -> Files:
    if result.settings is not None:  # as `_chosen` has seen to
        text = result.settings.to_json(result.computed_with)
        yield "settings.json", text.encode(errors="backslashreplace")


def _in_folder(folder: str, files: Files) -> Files:
    return ((f"{folder}/{name}", content) for name, content in files)


def _safe(file_name: str) -> str:
    """The name without folders, and without what some system would not take in one."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f\ud800-\udfff]', "_", Path(file_name).name) or "picture.png"
