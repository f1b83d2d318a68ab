"""demo.draw.figures: SVG in the page's own ink."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

from demo.draw import figures
from proxyclip_core.attention import similarity_statistics
from proxyclip_core.evaluation import precision_recall


@pytest.fixture
def statistics(rng):
    features = torch.randn(1, 8, 6, 6, generator=rng) + 1
    return {"DINO <b>": similarity_statistics(features, 1.2, 3.0), "SAM": similarity_statistics(features, 0.8, 3.0)}


def drawings(text: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(text).findall("{http://www.w3.org/2000/svg}svg")


def test_a_figure_is_well_formed_takes_the_pages_colour_and_says_what_it_shows(statistics):
    text = figures.similarity_figure(statistics, 1.2)
    before, after = drawings(text)
    assert "DINO <b>: mean" in before.attrib["aria-label"] and "% masked" in after.attrib["aria-label"]
    for drawing in (before, after):
        assert drawing.attrib["role"] == "img" and "viewBox" in drawing.attrib
        assert "width" not in drawing.attrib and "min-width" not in drawing.attrib["style"]  # a phone's is enough
    assert "currentColor" in text and figures.INK not in text
    assert "<b>" not in text and "<script" not in text


def test_the_key_has_the_lines_of_the_drawing(statistics):
    text = figures.similarity_figure(statistics, 1.2)
    rows = ElementTree.fromstring(text).findall("ul/li")
    assert [row.find("svg").tail for row in rows] == [" DINO <b>", " SAM"]
    lines = [row.find("svg/path").attrib for row in rows]
    assert [line["stroke"] for line in lines] == list(figures.COLOURS[:2])
    assert [line["stroke-dasharray"] for line in lines] == ["none", "7.2 3.6"] and "stroke-dasharray: 7.2,3.6" in text


def test_the_row_of_one_patch_is_an_area_of_its_own(statistics):
    rows = {name: np.linspace(-0.2, 1, 36) for name in statistics}
    areas = [figures.similarity_figure(statistics, 1.2, given).count("opacity: 0.3") for given in (None, rows)]
    assert areas[1] == areas[0] + 2


def test_the_figure_follows_beta(statistics, rng):
    assert figures.similarity_figure(statistics, 1.2) != figures.similarity_figure(statistics, 1.4)


def test_curves_are_drawn_with_their_average_precision():
    good = precision_recall(torch.tensor([0.9, 0.8, 0.2, 0.1]), torch.tensor([True, True, False, False]))
    bad = precision_recall(torch.tensor([0.9, 0.8, 0.2, 0.1]), torch.tensor([False, False, True, True]))
    assert good.average_precision == pytest.approx(1) and bad.average_precision == pytest.approx((1 / 3 + 2 / 4) / 2)
    text = figures.precision_recall_figure({"A": good, "B": bad})
    assert "A: 1.000" in text and "B: 0.417" in text
    label = drawings(text)[0].attrib["aria-label"]
    assert "A: average precision 1.000" in label and "B: average precision 0.417" in label
