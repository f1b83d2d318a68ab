"""demo.draw.figures: maps over pictures, markers, and the SVG figures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

from demo.draw import figures
from proxyclip_core.attention import similarity_statistics
from proxyclip_core.evaluation import precision_recall


@pytest.fixture
def grey() -> np.ndarray:
    return np.full((60, 80, 3), 100, dtype=np.uint8)


def brightness(drawn: np.ndarray) -> np.ndarray:
    return drawn.astype(float).sum(axis=-1)


def test_a_heat_map_is_bright_where_its_own_values_are_highest(grey):
    values = np.zeros((60, 80), dtype=np.float32)
    values[10:20, 60:70] = 1e-3  # each map has its own scale
    drawn = figures.heat_map(grey, values, (5, 55), None, 0)
    assert drawn.shape == (60 + figures.STRIP, 80, 3)
    shown = brightness(drawn[:60])
    assert shown[12:18, 62:68].min() > 2 * shown[22:30, 62:68].max()


def test_what_cannot_be_attended_to_is_the_picture_alone(grey):
    values = np.full((60, 80), np.nan, dtype=np.float32)
    values[:, :40] = np.linspace(0, 1, 40)
    drawn = figures.heat_map(grey, values, (5, 55), None, 0)[:60]
    assert (drawn[:30, 45:] == 40).all()  # grey and dim, no colour of the map
    assert (figures.heat_map(grey, np.full((60, 80), np.nan), (5, 55), None, 0)[:20, 60:] == 40).all()


def test_the_colour_bar_says_where_it_begins_and_ends():
    assert [figures.number_text(value) for value in (0, 0.02514, 0.00021, -0.4, 3.2e-6, 1)] == [
        "0", "0.0251", "0.00021", "-0.4", "3.2e-06", "1"
    ]  # fmt: skip
    assert (figures.colour_bar(200, 0, 1) != figures.colour_bar(200, 0, 0.5)).any()


def marker_middle(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """(x, y) of the middle of the pixels in the first seed's colour."""
    colour = np.array([int(figures.SEED_COLOURS[0][at : at + 2], 16) for at in (1, 3, 5)])
    found = (np.abs(after.astype(int) - colour).sum(axis=-1) < 40) & (after != before).any(axis=-1)
    rows, columns = np.nonzero(found)
    return columns.mean(), rows.mean()


def test_a_marker_is_around_its_point_and_leaves_it_seen(grey):
    large = np.full((200, 300, 3), 100, dtype=np.uint8)
    drawn = figures.seeds_on(large, [(120, 90)], [None])
    x, y = marker_middle(large, drawn)
    assert abs(x - 120) < 5 and abs(y - 90) < 5  # its number, to the upper right, draws the middle away a little
    assert (drawn[90, 120] == 100).all()
    assert (large == 100).all()


def test_markers_at_the_corners_fit_on_the_picture(grey):
    for x, y in ((0, 0), (79, 0), (0, 59), (79, 59)):
        drawn = figures.seeds_on(grey, [(x, y)], [(x - 4, y - 4, x + 4, y + 4)])
        assert drawn.shape == grey.shape and (drawn != grey).any()


def test_a_patch_grid_is_drawn_at_its_lines(grey):
    drawn = figures.seeds_on(grey, [], [], ([15.0, 30.0], [40.0]))
    changed = (drawn != grey).any(axis=-1)
    assert changed[15].all() and changed[30].all() and changed[:, 40].all()
    assert not changed[20:28, 5:35].any()


@pytest.fixture
def statistics(rng):
    features = torch.randn(1, 8, 6, 6, generator=rng) + 1
    return {"DINO <b>": similarity_statistics(features, 1.2, 3.0), "SAM": similarity_statistics(features, 0.8, 3.0)}


def test_a_figure_is_well_formed_takes_the_pages_colour_and_says_what_it_shows(statistics):
    text = figures.similarity_figure(statistics, 1.2)
    element = ElementTree.fromstring(text)
    assert element.attrib["role"] == "img" and "DINO <b>: mean" in element.attrib["aria-label"]
    assert "width" not in element.attrib and "viewBox" in element.attrib  # as wide as its place
    assert "currentColor" in text and figures.INK not in text
    assert "<b>" not in text and "<script" not in text


def test_the_figure_follows_beta(statistics, rng):
    assert figures.similarity_figure(statistics, 1.2) != figures.similarity_figure(statistics, 1.4)


def test_curves_are_drawn_with_their_average_precision():
    good = precision_recall(torch.tensor([0.9, 0.8, 0.2, 0.1]), torch.tensor([True, True, False, False]))
    bad = precision_recall(torch.tensor([0.9, 0.8, 0.2, 0.1]), torch.tensor([False, False, True, True]))
    assert good.average_precision == pytest.approx(1) and bad.average_precision == pytest.approx((1 / 3 + 2 / 4) / 2)
    label = ElementTree.fromstring(figures.precision_recall_figure({"A": good, "B": bad})).attrib["aria-label"]
    assert "A: average precision 1.000" in label and "B: average precision 0.417" in label
