"""Our COCO file in other tools' readers. These tools are large: who wants the tests to run installs them by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from tests.test_coco import SIZE, WAYS, scene


def saved(folder: Path, **way: bool) -> Path:
    """The scene's picture and, beside it, its coco.json."""
    Image.new("RGB", SIZE[::-1], "navy").save(folder / "a.png")
    scene().save(folder, folder / "a.png", ["coco"], **way)
    return folder / "coco.json"


def common_share(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two masks."""
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_supervision_reads_the_masks_of_all_words(tmp_path, way):  # supervision 1114
    supervision = pytest.importorskip("supervision", reason="supervision is not installed: pip install supervision")
    path = saved(tmp_path, **way)
    ((_, picture, found),) = supervision.DetectionDataset.from_coco(str(tmp_path), str(path), force_masks=True)
    assert picture.shape[:2] == SIZE
    for number, name in enumerate(scene().names[1:4]):
        mask = found.mask[found.class_id == number].any(axis=0)
        # It draws polygons half a pixel wider than COCO does.
        assert common_share(mask, scene().mask(name)) >= (0.85 if way["polygons"] else 1)


@pytest.mark.parametrize("split", [False, True])
def test_label_studios_converter_reads_the_polygons(tmp_path, split):  # label-studio-sdk PR 495
    reason = "Label Studio's converter is not installed: pip install label-studio-sdk"
    converter = pytest.importorskip("label_studio_sdk.converter.imports.coco", reason=reason)
    path = saved(tmp_path, polygons=True, split=split)
    converter.convert_coco_to_ls(str(path), str(tmp_path / "tasks.json"))
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    masks = {name: np.zeros(SIZE, bool) for name in scene().names[1:4]}
    for row in task["annotations"][0]["result"]:
        if row["type"] == "polygonlabels":
            ring = np.array(row["value"]["points"]) / 100 * SIZE[::-1]
            (packed,) = rle.frPyObjects([ring.ravel().tolist()], *SIZE)
            masks[row["value"]["polygonlabels"][0]] |= rle.decode(packed).astype(bool)
    assert all(common_share(mask, scene().mask(name)) >= 0.97 for name, mask in masks.items())
