"""demo.draw.legend: colours of classes, and the legend's HTML."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from demo.draw import legend

COLOURS = np.array([[255, 0, 10], [0, 200, 255]], dtype=np.uint8)
NAMES = [f"word {number}" for number in range(48)]
# Machado, Oliveira, Fernandes 2009: linear RGB as seen with no red, green or blue cones.
SIGHT = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colours: np.ndarray) -> np.ndarray:
    channels = colours / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(light: np.ndarray) -> np.ndarray:
    cones = light @ np.transpose(
        [
            [0.41222147, 0.53633254, 0.05144599],
            [0.21190350, 0.68069955, 0.10739696],
            [0.08830246, 0.28171884, 0.62997870],
        ]
    )
    return np.cbrt(cones) @ np.transpose(
        [
            [0.21045426, 0.79361779, -0.00407205],
            [1.97799850, -2.42859221, 0.45059371],
            [0.02590404, 0.78277177, -0.80867577],
        ]
    )


def test_a_name_has_the_same_colour_in_every_vocabulary():
    alone = legend.colours_for(["horse"])[0]
    assert (legend.colours_for(["sky", "horse"])[1] == alone).all()
    assert (legend.colours_for(["Horse"])[0] == alone).all()


def test_words_added_at_the_end_leave_the_others_as_they_are():
    assert (legend.colours_for(NAMES)[:20] == legend.colours_for(NAMES[:20])).all()


def test_no_two_of_48_classes_share_a_colour():
    assert len({tuple(colour) for colour in legend.colours_for(NAMES)}) == 48


def test_hundreds_of_classes_have_colours():
    assert legend.colours_for([f"word {number}" for number in range(300)]).shape == (300, 3)


def test_the_background_is_grey_and_leaves_the_others_their_colours():
    colours = legend.colours_for(["background", "horse"], has_background=True)
    assert (colours[0] == legend.BACKGROUND).all()
    assert (colours[1] == legend.colours_for(["horse"])[0]).all()


@pytest.mark.parametrize("sight", SIGHT)
def test_palette_is_told_apart(sight):
    seen = oklab(np.clip(linear(legend.PALETTE) @ np.transpose(SIGHT[sight]), 0, 1))
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(seen))
    assert distance.min() > (0.05 if sight == "tritan" else 0.07)  # 0.02 is just noticeable; tritanopia is rare


def test_text_reads_on_every_colour():
    for colour in legend.colours_for(NAMES):
        light = float(linear(colour.astype(float)) @ (0.2126, 0.7152, 0.0722))
        text = {"#000000": 0.0, "#ffffff": 1.0}[legend.text_on(colour)]
        assert (max(light, text) + 0.05) / (min(light, text) + 0.05) >= 4.5  # WCAG AA


def test_legend_begins_with_the_largest():
    rows = legend.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS)
    assert rows == [
        {"index": 1, "name": "horse", "colour": "#00c8ff", "share": 0.8},
        {"index": 0, "name": "sky", "colour": "#ff000a", "share": 0.2},
    ]


def test_legend_names_are_text():
    rows = [
        {"index": 0, "name": '<img src=x onerror="alert(1)">', "colour": "#112233", "share": 1.0},
        {"index": 1, "name": "<i>", "colour": "#112233", "share": 0.0},
    ]
    shown = legend.legend_html(rows)
    assert "<img" not in shown and "&lt;img" in shown
    assert "<i>" not in shown and "Not found: &lt;i&gt;" in shown


def test_a_hidden_class_is_said_to_be_so():
    rows = legend.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS)
    shown = legend.legend_html(rows, hidden=["sky"])
    assert re.findall(r'data-name="(\w+)" data-index="(\d)" aria-pressed="(\w+)"', shown) == [
        ("horse", "1", "true"),
        ("sky", "0", "false"),
    ]


def test_the_legends_label_map_holds_every_index():
    labels = np.array([[0, 255], [256, 700]], dtype=np.uint16)
    code = legend.label_address(labels).removeprefix("data:image/png;base64,")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(code)))).astype(int)
    assert (pixels[..., 0] + 256 * pixels[..., 1] == labels).all()
    assert len(legend.label_address(np.zeros((3000, 4000), dtype=np.uint16))) < 10_000


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.4213, "42 %"), (0.0999, "10 %"), (0.0421, "4.2 %"), (0.0002, "< 0.1 %"), (0.0, "0 %")],
)
def test_percent(share, text):
    assert legend.percent(share) == text
