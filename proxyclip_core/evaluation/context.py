"""Pascal Context's own annotations, trainval_merged.json, in place of label maps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from proxyclip_core.evaluation.benchmarks import DATA

CATEGORIES: tuple[int, ...] = tuple(DATA["context_categories"]["numbers"])  # class -> its number in the annotations


@dataclass(frozen=True, eq=False)
class Painted:
    """Regions that are painted one over the other: (number of the category, COCO's run-length code), in file order.

    path: the file they are from. table: as in `LabelFile`, for the places of the categories in CATEGORIES.
    """

    path: Path
    regions: Sequence[tuple[int, Mapping[str, Any]]]
    table: np.ndarray

    def read(self, size_hw: tuple[int, int]) -> np.ndarray:
        labels = np.zeros(size_hw, np.uint8)
        for category, code in self.regions:
            if tuple(code["size"]) != size_hw:  # before it is unpacked, as its size is another's word
                raise ValueError(f"{self.path.name}: a region is for {code['size']} pixels, the picture has {size_hw}.")
            labels[_unpacked(code)] = CATEGORIES.index(category) if category in CATEGORIES else 0
        return self.table[labels]


def _unpacked(code: Mapping[str, Any]) -> np.ndarray:
    """(H, W) bool: COCO's run-length code, packed or as a list of lengths."""
    try:
        from pycocotools import mask as rle  # an extra, see `export.coco`
    except ImportError:
        raise ValueError(
            "Pascal Context's trainval_merged.json needs pycocotools, which is not installed. Get it with: "
            "pip install 'proxyclip[export]'"
        ) from None
    packed = code if isinstance(code["counts"], (str, bytes)) else rle.frPyObjects(code, *code["size"])
    return np.asarray(rle.decode(packed), bool)


def read_annotations(path: Path, ids: Sequence[str] | None, table: np.ndarray) -> dict[str, Painted]:
    """Id of each picture -> its ground truth.

    ids: which pictures; None for those of the phase "val". Raises ValueError for a file that is none of Context's, and
    for ids that it does not have.
    """
    try:
        held = json.loads(path.read_bytes())
        pictures = {entry["image_id"]: entry for entry in held["images"]}
        named = {Path(entry["file_name"]).stem: number for number, entry in pictures.items()}
        if ids is None:
            ids = [name for name, number in named.items() if pictures[number]["phase"] == "val"]
        missing = [id for id in ids if id not in named]
        if missing:
            raise ValueError(f"it has no picture {missing[0]!r}, and {len(missing)} of {len(ids)} are missing")
        regions: dict[Any, list[tuple[int, Mapping[str, Any]]]] = {named[id]: [] for id in ids}
        for entry in held["annos_segmentation"]:
            if entry["image_id"] in regions:
                regions[entry["image_id"]].append((entry["category_id"], entry["segmentation"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} was not understood as Pascal Context's trainval_merged.json: {error}.") from None
    return {id: Painted(path, regions[named[id]], table) for id in ids}
