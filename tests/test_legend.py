"""demo.draw.legend: the legend's HTML."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from demo.draw import legend

COLOURS = np.array([[255, 0, 10], [0, 200, 255]], dtype=np.uint8)


def test_legend_begins_with_the_largest():
    rows = legend.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS, {"horse": 0.4})
    assert rows == [
        {"index": 1, "name": "horse", "colour": "#00c8ff", "share": 0.8, "presence": 0.4, "perhaps_absent": True},
        {"index": 0, "name": "sky", "colour": "#ff000a", "share": 0.2, "presence": None, "perhaps_absent": False},
    ]


def test_a_class_that_is_perhaps_not_there_is_marked_in_words():
    shown = legend.legend_html(legend.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS, {"sky": 1.0, "horse": 0.4}))
    marked = re.findall(r'data-name="(\w+)"(?:(?!</li>).)*perhaps not there', shown)
    assert marked == ["horse"]


def test_legend_names_are_text():
    rows = [
        {"index": 0, "name": '<img src=x onerror="alert(1)">', "colour": "#112233", "share": 1.0, "perhaps_absent": 0},
        {"index": 1, "name": "<i>", "colour": "#112233", "share": 0.0, "perhaps_absent": 0},
    ]
    shown = legend.legend_html(rows)
    assert "<img" not in shown and "&lt;img" in shown
    assert "<i>" not in shown and "Not found: &lt;i&gt;" in shown


def test_a_hidden_class_is_said_to_be_so():
    rows = legend.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS, {})
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
