"""A result as files: what the Download button gives.

overlay.png      the picture with its regions, as it was looked at
labels.png       16 bit, the picture's size: index into the names
names.txt/.json  one name a class, in order of the index
masks/           one black and white picture a class
coco.json        one annotation a class that was found, with its mask as COCO's RLE; category = index + 1
result.npz       labels, confidence (score of the best class, 0..1), names
settings.json    for the page and for `python -m proxyclip_core segment PICTURE --settings settings.json`
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import proxyclip_core as pc
from proxyclip_core.settings import Settings


def write_zip(path: Path, result: pc.Segmentation, overlay: np.ndarray, settings: Settings, picture: str) -> None:
    """Writes the zip. picture: the file's name, for the record; overlay (H, W, 3) uint8."""
    names = list(result.names)
    files = {
        "overlay.png": _png(overlay),
        "labels.png": _png(result.labels),
        "names.txt": "".join(f"{name}\n" for name in names).encode(),
        "names.json": _json(names),
        "coco.json": _json(coco(result, picture)),
        "result.npz": _npz(result),
        "settings.json": settings.to_json().encode(),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # all but the small files are packed already
        for name, content in files.items():
            archive.writestr(name, content)
        found, nothing = set(np.unique(result.labels).tolist()), _png(np.zeros(result.labels.shape, np.uint8))
        for index, name in enumerate(names):
            mask = _png(np.uint8(result.labels == index) * 255) if index in found else nothing
            archive.writestr(f"masks/{mask_name(index, name)}", mask)


def mask_name(index: int, name: str) -> str:
    """'003_palm_tree.png': safe on any system whatever was typed, and never the same twice."""
    return f"{index:03d}_{re.sub(r'[^0-9A-Za-z]+', '_', name).strip('_')[:60]}".rstrip("_") + ".png"


def coco(result: pc.Segmentation, picture: str) -> dict[str, Any]:
    """The COCO format: images, annotations and categories. Category numbers start at 1, as COCO's do."""
    from pycocotools import mask as rle  # here, because only a download needs it

    height, width = result.labels.shape
    annotations = []
    for index in np.unique(result.labels).tolist():
        packed = rle.encode(np.asfortranarray(result.labels == index, dtype=np.uint8))
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": 1,
                "category_id": index + 1,
                "segmentation": {"size": [height, width], "counts": packed["counts"].decode("ascii")},
                "area": int(rle.area(packed)),
                "bbox": [float(side) for side in rle.toBbox(packed)],
                "iscrowd": 0,
            }
        )
    return {
        "images": [{"id": 1, "file_name": picture, "width": width, "height": height}],
        "annotations": annotations,
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(result.names)],
    }


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _npz(result: pc.Segmentation) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, labels=result.labels, confidence=result.confidence, names=np.array(result.names))
    return file.getvalue()
