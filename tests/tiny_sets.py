"""Tiny copies of the benchmarks in the layouts in which they are released or converted.

`python -m tests.tiny_sets FOLDER` writes all eight, to look at `proxyclip evaluate` on them. Their label maps hold
every value in turn: no score of them means anything.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Layout:
    """Patterns of the files. number: how the id of a picture is made of its number. mode: of the label maps."""

    picture: str
    labels: str
    number: str
    list: str = ""
    mode: str = "L"


VOC, CONTEXT = "VOCdevkit/VOC2012", "VOCdevkit/VOC2010"
LAYOUTS = {
    "voc": Layout(
        f"{VOC}/JPEGImages/{{}}.jpg",
        f"{VOC}/SegmentationClass/{{}}.png",
        "2007_{:06}",
        f"{VOC}/ImageSets/Segmentation/val.txt",
        "P",
    ),
    "context": Layout(
        f"{CONTEXT}/JPEGImages/{{}}.jpg",
        f"{CONTEXT}/SegmentationClassContext/{{}}.png",
        "2008_{:06}",
        f"{CONTEXT}/ImageSets/SegmentationContext/val.txt",
    ),
    "coco-object converted": Layout(
        "coco_object/images/val2017/{}.jpg", "coco_object/annotations/val2017/{}_instanceTrainIds.png", "{:012}"
    ),
    "coco-stuff converted": Layout(
        "coco_stuff164k/images/val2017/{}.jpg", "coco_stuff164k/annotations/val2017/{}_labelTrainIds.png", "{:012}"
    ),
    "coco raw in mmsegmentation's folders": Layout(
        "coco_stuff164k/images/val2017/{}.jpg", "coco_stuff164k/annotations/val2017/{}.png", "{:012}"
    ),
    "coco raw": Layout("val2017/{}.jpg", "stuffthingmaps/val2017/{}.png", "{:012}"),
    "coco raw, the zip's name": Layout("val2017/{}.jpg", "stuffthingmaps_trainval2017/val2017/{}.png", "{:012}"),
    "cityscapes converted": Layout(
        "cityscapes/leftImg8bit/val/{}_leftImg8bit.png",
        "cityscapes/gtFine/val/{}_gtFine_labelTrainIds.png",
        "munster/munster_{:06}_000019",
    ),
    "cityscapes raw": Layout(
        "cityscapes/leftImg8bit/val/{}_leftImg8bit.png",
        "cityscapes/gtFine/val/{}_gtFine_labelIds.png",
        "munster/munster_{:06}_000019",
    ),
    "ade": Layout(
        "ade/ADEChallengeData2016/images/validation/{}.jpg",
        "ade/ADEChallengeData2016/annotations/validation/{}.png",
        "ADE_val_{:08}",
    ),
}


def write_set(root: Path, layout: str, picture: np.ndarray, maps: list[np.ndarray]) -> list[str]:
    """One picture (H, W, 3) for every label map (H, W) uint8. Returns their ids."""
    rows, ids = LAYOUTS[layout], []
    for number, labels in enumerate(maps, start=1):
        ids.append(rows.number.format(number))
        image = Image.fromarray(labels)
        if rows.mode == "P":
            image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
        _save(image, root / rows.labels.format(ids[-1]))
        _save(Image.fromarray(picture), root / rows.picture.format(ids[-1]))
    if rows.list:
        (root / rows.list).parent.mkdir(parents=True, exist_ok=True)
        (root / rows.list).write_text("".join(f"{id}\n" for id in ids))
    return ids


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_context_json(root: Path, picture: np.ndarray, regions: list[tuple[int, np.ndarray]]) -> None:
    """Pascal Context as it is released: two pictures of the phase "val" and one of "train" with the same regions, pairs
    of a category's number and a mask (H, W) bool; every second one's code is a list of lengths, not packed."""
    from pycocotools import mask as rle

    annotations = []
    for index, (category, mask) in enumerate(regions):
        packed = rle.encode(np.asfortranarray(mask, np.uint8))
        code = {"size": packed["size"], "counts": packed["counts"].decode()}
        if index % 2:
            flat = mask.ravel(order="F").astype(int)
            changes = np.flatnonzero(np.diff(flat, prepend=0))
            code["counts"] = np.diff([0, *changes, len(flat)]).tolist()
        for image_id in (1, 2, 3):
            annotations.append({"image_id": image_id, "category_id": category, "segmentation": code})
    images = [
        {"image_id": number, "file_name": f"2008_{number:06}.jpg", "phase": "train" if number == 3 else "val"}
        for number in (1, 2, 3)
    ]
    for image in images:
        _save(Image.fromarray(picture), root / CONTEXT / "JPEGImages" / image["file_name"])
    path = root / CONTEXT / "trainval_merged.json"
    path.write_text(json.dumps({"images": images, "annos_segmentation": annotations}))


def write_all(root: Path, picture: np.ndarray, count: int = 2) -> None:
    """All eight benchmarks, raw where there is a choice, with every value in the label maps."""
    height, width = picture.shape[:2]
    tiled = np.resize(np.arange(256, dtype=np.uint8), height * width).reshape(height, width)
    for layout in ("voc", "context", "coco raw", "cityscapes raw", "ade"):
        write_set(root, layout, picture, [tiled] * count)


if __name__ == "__main__":
    with Image.open(Path(__file__).parents[1] / "assets" / "examples" / "farm.png") as farm:
        write_all(Path(sys.argv[1]), np.asarray(farm.convert("RGB")))
