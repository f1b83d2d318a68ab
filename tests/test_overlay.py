"""proxyclip_core.drawing.overlay and drawing, on pictures small enough to write by hand."""

from __future__ import annotations

import numpy as np
import pytest

from proxyclip_core import Segmentation
from proxyclip_core.drawing.drawing import Drawing, Look
from proxyclip_core.drawing.overlay import borders, labels_at, overlay, picture_at, size_within

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
LABELS = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]], dtype=np.uint16)
COLOURS = np.array([[255, 0, 10], [0, 200, 255]], dtype=np.uint8)


def test_overlay_at_no_opacity_is_the_picture():
    assert (overlay(PICTURE, LABELS, COLOURS, 0) == PICTURE).all()


def test_overlay_at_full_opacity_is_the_colours():
    assert (overlay(PICTURE, LABELS, COLOURS, 1) == COLOURS[LABELS]).all()


def test_overlay_mixes_picture_and_colour(rng):
    picture = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    mixed = picture * 0.7 + COLOURS[LABELS] * 0.3
    assert np.abs(overlay(picture, LABELS, COLOURS, 0.3) - mixed).max() <= 1


def test_hidden_classes_show_the_picture():
    drawn = overlay(PICTURE, LABELS, COLOURS, 1, borders(LABELS), hidden=[1])
    assert (drawn[LABELS == 1] == PICTURE[LABELS == 1]).all()
    assert (drawn[LABELS == 0] == COLOURS[0]).all()


def test_borders_lie_on_both_sides():
    expected = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]], dtype=bool)
    assert (borders(LABELS) == expected).all()
    drawn = overlay(PICTURE, LABELS, COLOURS, 0, borders(LABELS))
    assert (drawn[expected] == COLOURS[LABELS][expected]).all()
    assert (drawn[~expected] == PICTURE[~expected]).all()


@pytest.mark.parametrize(
    ("size_hw", "shown"), [((600, 800), (600, 800)), ((3000, 4000), (1200, 1600)), ((1, 9000), (1, 1600))]
)
def test_large_pictures_are_shown_smaller(size_hw, shown):
    assert size_within(size_hw, most=1600) == shown


def test_shown_labels_are_those_under_the_pixels():
    labels = np.arange(36, dtype=np.uint16).reshape(6, 6)
    assert (labels_at(labels, (2, 3)) == labels[np.ix_([1, 4], [1, 3, 5])]).all()
    assert (labels_at(labels, (6, 6)) == labels).all()


def test_small_pictures_can_be_shown_larger():
    assert size_within((150, 230), 1200, 1600) == (783, 1200) and size_within((1300, 900), 1200, 1600) == (1300, 900)
    assert picture_at(PICTURE, (8, 8)).shape == (8, 8, 3) and picture_at(PICTURE, (4, 4)) is PICTURE


def test_a_drawing_follows_its_look_and_says_what_is_in_it():
    result = Segmentation(LABELS, ("sky", "horse"), np.ones(LABELS.shape, np.float32))
    drawing = Drawing.prepare(PICTURE.shape, result)
    assert drawing.coverage == {"sky": 10 / 16, "horse": 6 / 16} and drawing.size_hw == (4, 4)
    plain = Look(0, outlines=False, names=False)
    assert (drawing.draw(PICTURE, plain) == PICTURE).all()
    assert (drawing.draw(PICTURE, Look(1, False, False)) == drawing.colours[LABELS]).all()
    assert (drawing.draw(PICTURE, Look(1, True, True, hidden=("sky", "horse"))) == PICTURE).all()
    assert (drawing.draw(PICTURE, Look(0, True, False)) != PICTURE).any() and (
        drawing.draw(PICTURE, Look(0, False, True)) != PICTURE
    ).any()


def test_a_drawing_beside_another_has_its_colours():
    def drawn(labels, beside=None):
        labels = np.array([labels] * 4, np.uint16)
        found = Segmentation(labels, ("lake", "river"), np.ones((4, 4), np.float32))
        return Drawing.prepare(PICTURE.shape, found, beside)

    first, other = drawn([0, 0, 0, 1]), drawn([0, 1, 1, 1])
    assert (first.colours[1] != other.colours[1]).any()  # the smaller one steps aside
    assert (drawn([0, 1, 1, 1], first).colours == first.colours).all()
