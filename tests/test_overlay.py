"""demo.draw.overlay: colours, overlay and legend, on pictures small enough to write by hand."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from demo.draw import overlay as render

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
    alone = render.colours_for(["horse"])[0]
    assert (render.colours_for(["sky", "horse"])[1] == alone).all()
    assert (render.colours_for(["Horse"])[0] == alone).all()


def test_words_added_at_the_end_leave_the_others_as_they_are():
    assert (render.colours_for(NAMES)[:20] == render.colours_for(NAMES[:20])).all()


def test_no_two_of_48_classes_share_a_colour():
    assert len({tuple(colour) for colour in render.colours_for(NAMES)}) == 48


def test_hundreds_of_classes_have_colours():
    assert render.colours_for([f"word {number}" for number in range(300)]).shape == (300, 3)


def test_the_background_is_grey_and_leaves_the_others_their_colours():
    colours = render.colours_for(["background", "horse"], background=True)
    assert (colours[0] == render.BACKGROUND).all()
    assert (colours[1] == render.colours_for(["horse"])[0]).all()


@pytest.mark.parametrize("sight", SIGHT)
def test_palette_is_told_apart(sight):
    seen = oklab(np.clip(linear(render.PALETTE) @ np.transpose(SIGHT[sight]), 0, 1))
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(seen))
    assert distance.min() > (0.05 if sight == "tritan" else 0.07)  # 0.02 is just noticeable; tritanopia is rare


def test_text_reads_on_every_colour():
    for colour in render.colours_for(NAMES):
        light = float(linear(colour.astype(float)) @ (0.2126, 0.7152, 0.0722))
        text = {"#000000": 0.0, "#ffffff": 1.0}[render.text_on(colour)]
        assert (max(light, text) + 0.05) / (min(light, text) + 0.05) >= 4.5  # WCAG AA


PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
LABELS = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]], dtype=np.uint16)
COLOURS = np.array([[255, 0, 10], [0, 200, 255]], dtype=np.uint8)


def test_overlay_at_no_opacity_is_the_picture():
    assert (render.overlay(PICTURE, LABELS, COLOURS, 0, outlines=False) == PICTURE).all()


def test_overlay_at_full_opacity_is_the_colours():
    assert (render.overlay(PICTURE, LABELS, COLOURS, 1, outlines=False) == COLOURS[LABELS]).all()


def test_overlay_mixes_picture_and_colour(rng):
    picture = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    mixed = picture * 0.7 + COLOURS[LABELS] * 0.3
    assert np.abs(render.overlay(picture, LABELS, COLOURS, 0.3, outlines=False) - mixed).max() <= 1


def test_hidden_classes_show_the_picture():
    drawn = render.overlay(PICTURE, LABELS, COLOURS, 1, outlines=True, hidden=[1])
    assert (drawn[LABELS == 1] == PICTURE[LABELS == 1]).all()
    assert (drawn[LABELS == 0] == COLOURS[0]).all()


def test_borders_lie_on_both_sides():
    expected = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]], dtype=bool)
    assert (render.borders(LABELS) == expected).all()
    drawn = render.overlay(PICTURE, LABELS, COLOURS, 0, outlines=True)
    assert (drawn[expected] == COLOURS[LABELS][expected]).all()
    assert (drawn[~expected] == PICTURE[~expected]).all()


@pytest.mark.parametrize(
    ("size_hw", "shown"), [((600, 800), (600, 800)), ((3000, 4000), (1200, 1600)), ((1, 9000), (1, 1600))]
)
def test_large_pictures_are_shown_smaller(size_hw, shown):
    assert render.shown_size(size_hw, 1600) == shown


def test_shown_labels_are_those_under_the_pixels():
    labels = np.arange(36, dtype=np.uint16).reshape(6, 6)
    assert (render.shown_labels(labels, (2, 3)) == labels[np.ix_([1, 4], [1, 3, 5])]).all()
    assert (render.shown_labels(labels, (6, 6)) == labels).all()


def test_legend_begins_with_the_largest():
    rows = render.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS)
    assert rows == [
        {"index": 1, "name": "horse", "colour": "#00c8ff", "share": 0.8},
        {"index": 0, "name": "sky", "colour": "#ff000a", "share": 0.2},
    ]


def test_legend_names_are_text():
    rows = [
        {"index": 0, "name": '<img src=x onerror="alert(1)">', "colour": "#112233", "share": 1.0},
        {"index": 1, "name": "<i>", "colour": "#112233", "share": 0.0},
    ]
    legend = render.legend_html(rows)
    assert "<img" not in legend and "&lt;img" in legend
    assert "<i>" not in legend and "Not found: &lt;i&gt;" in legend


def test_a_hidden_class_is_said_to_be_so():
    rows = render.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS)
    legend = render.legend_html(rows, hidden=["sky"])
    assert re.findall(r'data-name="(\w+)" data-index="(\d)" aria-pressed="(\w+)"', legend) == [
        ("horse", "1", "true"),
        ("sky", "0", "false"),
    ]


def test_the_legends_label_map_holds_every_index():
    labels = np.array([[0, 255], [256, 700]], dtype=np.uint16)
    code = render.label_address(labels).removeprefix("data:image/png;base64,")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(code)))).astype(int)
    assert (pixels[..., 0] + 256 * pixels[..., 1] == labels).all()
    assert len(render.label_address(np.zeros((3000, 4000), dtype=np.uint16))) < 10_000


def test_a_score_map_is_bright_where_the_score_is_high():
    scores = np.zeros((60, 90), dtype=np.float32)
    scores[:, 45:] = 0.5
    drawn = render.score_map(scores, "a $ sign, <b>")
    assert drawn.dtype == np.uint8 and drawn.shape[2] == 4
    middle = drawn[drawn.shape[0] // 2]
    colours = {tuple(pixel[:3]) for pixel in middle}
    assert (68, 1, 84) in colours and (253, 231, 36) in colours  # the ends of viridis


def test_a_mark_is_where_the_point_is():
    marked = render.mark(np.full((100, 200, 3), 90, dtype=np.uint8), (150.0, 30.0))
    rows, columns = np.nonzero((marked != 90).any(axis=2))
    assert (abs(rows.mean() - 30) < 1) and (abs(columns.mean() - 150) < 1)


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.4213, "42 %"), (0.0999, "10 %"), (0.0421, "4.2 %"), (0.0002, "< 0.1 %"), (0.0, "0 %")],
)
def test_percent(share, text):
    assert render.percent(share) == text
