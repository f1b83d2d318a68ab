"""All files of a result in one zip: what the page's Download button gives.

overlay.png      the picture with its regions, as it was looked at
labels.png       16 bit, the picture's size: index into the names
names.txt/.json  one name a class, in order of the index
masks/           one black and white picture a class
coco.json        one annotation a class that was found, with its mask as COCO's RLE; category = index + 1
result.npz       labels, confidence (score of the best class, 0..1), names
settings.json    for the page and for `proxyclip segment PICTURE --settings settings.json`; and what computed it
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from proxyclip_core.export.coco import coco
from proxyclip_core.export.label_map import label_png
from proxyclip_core.settings import Settings
from proxyclip_core.types import Segmentation


def write_zip(
    path: Path,
    result: Segmentation,
    overlay: np.ndarray,
    settings: Settings,
    picture: str,
    computed_with: Mapping[str, Any] | None = None,
) -> None:
    """Writes the zip.

    overlay: (H, W, 3) uint8. picture: the file's name, for the record. computed_with: what `ProxyCLIP.computed_with`
    says; None takes it from the result. Raises ValueError where pycocotools is not installed.
    """
    names = list(result.names)
    files = {
        "overlay.png": _png(overlay),
        "labels.png": label_png(result.labels, len(names)),
        "names.txt": "".join(f"{name}\n" for name in names).encode(),
        "names.json": _json(names),
        "coco.json": _json(coco(result, picture)),
        "result.npz": _npz(result),
        "settings.json": settings.to_json(computed_with or result.computed_with).encode(),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # all but the small files are packed already
        for name, content in files.items():
            archive.writestr(name, content)
        found, nothing = set(np.unique(result.labels).tolist()), _png(np.zeros(result.labels.shape, np.uint8))
        for index, name in enumerate(names):
            mask = _png((result.labels == index).astype(np.uint8) * 255) if index in found else nothing
            archive.writestr(f"masks/{mask_name(index, name)}", mask)


def mask_name(index: int, name: str) -> str:
    """'003_palm_tree.png': safe on any system whatever was typed, and never the same twice."""
    return f"{index:03d}_{re.sub(r'[^0-9A-Za-z]+', '_', name).strip('_')[:60]}".rstrip("_") + ".png"


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _npz(result: Segmentation) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, labels=result.labels, confidence=result.confidence, names=np.array(result.names))
    return file.getvalue()
