"""The COCO format, as annotation tools and trainers read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from proxyclip_core.export.encoding import SOFTWARE
from proxyclip_core.export.masks import box_of, found_classes
from proxyclip_core.export.regions import needed, packed, regions
from proxyclip_core.interrupt import checkpoint
from proxyclip_core.segmentation import Segmentation


def coco(
    results: Iterable[tuple[Segmentation, str]],
    *,
    split: bool = False,
    polygons: bool = False,
    background: bool = False,
) -> dict[str, Any]:
    """Results of one picture or many, each with its file's name, in the COCO format.

    A word is one category in all pictures, numbered from 1 in the order in which words first come. An annotation is a
    word in a picture or, with `split`, one of its connected regions; its `score` is the mean confidence, 0..1.
    polygons: lists of points in place of run lengths (RLE); a region is one polygon, whose holes are cut open, so that
    reading it by pycocotools gives the region again with an IoU of 0.97 at least. background: it too.

    Raises ValueError where pycocotools, or OpenCV for `split` and `polygons`, is not installed.
    """
    numbers: dict[str, int] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (result, file_name) in enumerate(results, 1):
        height, width = result.labels.shape
        images.append({"id": number, "file_name": file_name, "width": width, "height": height, "license": 0})
        for name in result.names[int(result.has_background and not background) :]:
            numbers.setdefault(name, len(numbers) + 1)
        for index in found_classes(result, background):
            checkpoint()
            for found in _annotations(result, index, split, polygons):
                ids = {"id": len(annotations) + 1, "image_id": number, "category_id": numbers[result.names[index]]}
                annotations.append(ids | found)
    return {
        "info": {"description": f"{SOFTWARE}: regions of words", "version": "1.0", "url": "", "contributor": ""},
        "licenses": [{"id": 0, "name": "", "url": ""}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": ""} for name, number in numbers.items()],
    }


def _annotations(result: Segmentation, index: int, split: bool, polygons: bool) -> Iterator[dict[str, Any]]:
    mask, everything = result.labels == index, (slice(0, None), slice(0, None))
    shape: Any
    if split:
        for region in regions(mask, simplified=polygons):
            shape = [region.ring.ravel().tolist()] if polygons else _rle(packed(region.ring, *mask.shape))
            yield _annotation(shape, region.box, region.inside, result.confidence[region.box])
    elif polygons:
        shape = [region.ring.ravel().tolist() for region in regions(mask, simplified=True)]
        yield _annotation(shape, everything, mask, result.confidence)
    else:
        rle = needed("pycocotools.mask", "pycocotools")
        shape = _rle(rle.encode(np.asfortranarray(mask, dtype=np.uint8)))
        yield _annotation(shape, everything, mask, result.confidence)


def _annotation(shape: Any, box: tuple[slice, slice], inside: np.ndarray, confidence: np.ndarray) -> dict[str, Any]:
    """shape: as COCO has it. box: (rows, columns) in the picture of `inside` and `confidence`, (h, w)."""
    rows, columns = box_of(inside)
    left, top = box[1].start + columns.start, box[0].start + rows.start
    return {
        "segmentation": shape,
        "area": int(np.count_nonzero(inside)),
        "bbox": [float(left), float(top), float(columns.stop - columns.start), float(rows.stop - rows.start)],
        "iscrowd": 0,
        "score": round(float(confidence[inside].mean()), 4),
    }


def _rle(found: dict[str, Any]) -> dict[str, Any]:
    return {"size": list(found["size"]), "counts": found["counts"].decode("ascii")}
