"""What the browser draws a result from: `canvas.js` puts these layers together as `Drawing.draw` does, pixel by pixel.

Axes: K classes, H x W pixels as drawn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from proxyclip_core.drawing.colours import hex_colour
from proxyclip_core.drawing.drawing import Drawing
from proxyclip_core.drawing.label_placement import Plate
from proxyclip_core.drawing.overlay import size_within
from proxyclip_core.drawing.patterns import data_address
from proxyclip_core.segmentation import Segmentation

SCORES_SIDE = 192  # pixels of the longer side of the map of scores: finer than the patches that they come from


@dataclass(frozen=True, eq=False)
class Layers:
    """colours: of the classes, then of the lines of all where some are hatched; labels: `Drawing.marks`, as `label_map`
    gives them; scores: (h, w) grey PNG, the best class's score, 255 for 1; plates:
    the classes' names below each other in one PNG. The PNGs are data addresses.
    """

    size_hw: tuple[int, int]
    names: tuple[str, ...]
    colours: tuple[str, ...]
    labels: str
    scores: str
    plates: str
    places: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, drawing: Drawing, result: Segmentation) -> Layers:
        height, width = drawing.labels.shape
        return cls(
            size_hw=(height, width),
            names=result.names,
            colours=tuple(hex_colour(colour) for colour in drawing.tints),
            labels=data_address(label_map(drawing.marks, len(drawing.tints)), levels=len(drawing.tints)),
            scores=data_address(_small(result.confidence)),
            plates=data_address(_below_each_other(drawing.plates)),
            places=tuple(_place(plate) for plate in drawing.plates),
        )

    def as_json(self, picture: str, result: str) -> str:
        """picture: the digest of the file; result: what tells this result from others. Names may look like markup to
        gradio, which would warn of them."""
        return json.dumps({"picture": picture, "result": result, **self.__dict__}).replace("<", "\\u003c")


def label_map(labels: np.ndarray, classes: int) -> np.ndarray:
    """(H, W) labels -> (H, W) uint8, or beyond 256 classes (H, W, 3): red is a label's low byte, green its high one."""
    if classes <= 256:
        return labels.astype(np.uint8)
    return np.stack([labels & 255, labels >> 8, np.zeros_like(labels)], axis=-1).astype(np.uint8)


def _small(confidence: np.ndarray) -> np.ndarray:
    size_hw = size_within(confidence.shape, most=SCORES_SIDE)
    image = Image.fromarray(np.rint(confidence * 255).clip(0, 255).astype(np.uint8))
    return np.asarray(image.resize(size_hw[::-1], Image.Resampling.BOX))


def _below_each_other(plates: Sequence[Plate]) -> np.ndarray:
    height = sum(plate.pixels.shape[0] for plate in plates)
    sheet = np.zeros((max(height, 1), max((plate.pixels.shape[1] for plate in plates), default=1), 4), dtype=np.uint8)
    top = 0
    for plate in plates:
        high, wide = plate.pixels.shape[:2]
        sheet[top : top + high, :wide] = plate.pixels
        top += high
    return sheet


def _place(plate: Plate) -> dict[str, Any]:
    return {"label": plate.label, "box": plate.box, "corner": plate.corner_xy, "size": plate.pixels.shape[1::-1]}
