"""The COCO format, as annotation tools read it."""

from __future__ import annotations

from typing import Any

import numpy as np

from proxyclip_core.types import Segmentation


def coco(result: Segmentation, picture: str) -> dict[str, Any]:
    """The COCO format: images, annotations and categories. Category numbers start at 1, as COCO's do.

    picture: the file's name. Raises ValueError where pycocotools is not installed.
    """
    try:
        from pycocotools import mask as rle  # here, because nothing else in the core needs it
    except ImportError:
        raise ValueError(
            "The COCO format needs pycocotools, which is not installed. Get it with: pip install 'proxyclip[export]'"
        ) from None

    height, width = result.labels.shape
    annotations: list[dict[str, Any]] = []
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
