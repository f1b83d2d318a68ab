"""demo.draw.layers: what the browser draws a result from. That it draws the same pixels is tested in the browser."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from demo.draw.layers import Layers, label_map
from proxyclip_core import Segmentation
from proxyclip_core.drawing.drawing import Drawing
from proxyclip_core.drawing.patterns import data_address

LABELS = np.repeat(np.arange(3, dtype=np.uint16), 40)[:, None].repeat(200, axis=1)


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))))


def layers() -> tuple[Drawing, Layers]:
    confidence = np.linspace(0, 1, LABELS.size, dtype=np.float32).reshape(LABELS.shape)
    result = Segmentation(LABELS, ("sky", "sea", "sand"), confidence)
    drawing = Drawing.prepare(LABELS.shape, result)
    return drawing, Layers.of(drawing, result)


def test_a_label_map_holds_every_class():
    labels = np.array([[0, 255], [256, 700]], dtype=np.uint16)
    wide = label_map(labels, classes=701).astype(int)
    assert (wide[..., 0] + 256 * wide[..., 1] == labels).all()
    assert (label_map(labels[:1], classes=256) == labels[:1]).all()


@pytest.mark.parametrize("levels", [2, 16, 17, 256])
def test_a_label_map_is_red_in_the_browser(levels):
    labels = np.random.default_rng(0).integers(0, levels, (9, 13), np.uint8)
    image = Image.open(io.BytesIO(base64.b64decode(data_address(labels, levels).partition(",")[2])))
    assert (np.asarray(image.convert("RGB"))[..., 0] == labels).all() and np.array_equal(np.asarray(image), labels)


def test_layers_are_the_labels_the_colours_and_the_scores():
    drawing, made = layers()
    assert (pixels(made.labels) == LABELS).all() and made.names == ("sky", "sea", "sand")
    assert [tuple(bytes.fromhex(colour[1:])) for colour in made.colours] == [tuple(row) for row in drawing.colours]
    scores = pixels(made.scores)
    assert scores.shape == (115, 192) and scores[0, 0] <= 2 and scores[-1, -1] >= 253


def test_the_names_lie_below_each_other_in_one_picture():
    drawing, made = layers()
    sheet, top = pixels(made.plates), 0
    for plate, place in zip(drawing.plates, made.places, strict=True):
        wide, high = place["size"]
        assert (sheet[top : top + high, :wide] == plate.pixels).all() and place["label"] == plate.label
        top += high
    assert top == len(sheet)


def test_a_result_without_room_for_names_has_none():
    result = Segmentation(np.zeros((1, 1), np.uint16), ("sky",), np.ones((1, 1), np.float32))
    made = Layers.of(Drawing.prepare((1, 1), result), result)
    assert json.loads(made.as_json("abc", "1"))["picture"] == "abc" and pixels(made.labels).shape == (1, 1)
