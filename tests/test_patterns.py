"""proxyclip_core.drawing.patterns: hatched classes, in the picture and in what is drawn of it."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from proxyclip_core import Segmentation
from proxyclip_core.drawing.drawing import Drawing, Look
from proxyclip_core.drawing.patterns import PATTERNS, SWATCH, hatched, swatch

LABELS = np.repeat(np.arange(2, dtype=np.uint16), 40)[None].repeat(80, axis=0)
COLOURS = np.array([[250, 250, 240], [20, 0, 90]], np.uint8)


def test_without_a_pattern_all_stays_as_it_is():
    labels, colours = hatched(LABELS, COLOURS, np.array([0, 0]))
    assert labels is LABELS and colours is COLOURS


@pytest.mark.parametrize("pattern", range(1, PATTERNS))
def test_lines_read_on_their_colour_and_cover_no_more_than_half(pattern):
    labels, colours = hatched(LABELS, COLOURS, np.array([0, pattern]))
    assert (labels[:, :40] == 0).all() and (labels % 2 == LABELS).all()
    assert 0.15 < (labels[:, 40:] == 3).mean() <= 0.5
    assert colours.tolist() == [*COLOURS.tolist(), [0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize(("classes", "bytes_each"), [(127, 1), (128, 2), (300, 2)])
def test_labels_and_lines_take_as_few_bytes_as_they_need(classes, bytes_each):
    labels = (np.arange(80 * 80, dtype=np.uint16) % classes).reshape(80, 80)
    drawn = hatched(labels, np.zeros((classes, 3), np.uint8), np.ones(classes, np.uint8))[0].astype(int)
    lines = (drawn - labels) // classes
    assert {*np.unique(lines)} == {0, 1} and (drawn == labels + classes * lines).all()
    result = Segmentation(labels, tuple(map(str, range(classes))), np.ones((80, 80), np.float32))
    drawing = Drawing.prepare((80, 80), result)
    assert drawing.patterns.any() and drawing.marks.itemsize == bytes_each and (drawing.labels == labels).all()


def test_patterns_differ_in_every_square_of_sixteen_pixels():
    drawn = [hatched(LABELS * 0, COLOURS[:1], np.array([pattern]))[0][:16, :16] for pattern in range(PATTERNS)]
    assert all((one != other).mean() > 0.1 for place, one in enumerate(drawn) for other in drawn[:place])


@pytest.mark.parametrize("pattern", range(PATTERNS))
def test_a_swatch_has_the_lines_of_the_picture(pattern):
    address = re.search(r'src="data:image/png;base64,([^"]+)"', swatch("#fafaf0", pattern))
    assert address is not None
    lines = np.asarray(Image.open(io.BytesIO(base64.b64decode(address[1]))))
    drawn = hatched(LABELS * 0, COLOURS[:1], np.array([pattern]))[0][:SWATCH, :SWATCH]
    assert (lines[..., 3] == 255 * drawn).all() and not lines[..., :3].any()  # black


def many() -> tuple[np.ndarray, Segmentation]:
    """Thirty classes, of which some are hatched, on a picture of noise."""
    labels = np.arange(30, dtype=np.uint16).reshape(5, 6).repeat(40, axis=0).repeat(40, axis=1)
    picture = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
    return picture, Segmentation(labels, tuple(f"word {n}" for n in range(30)), np.ones(labels.shape, np.float32))


def test_a_hatched_class_is_hidden_with_its_lines():
    picture, result = many()
    drawing = Drawing.prepare(picture.shape, result)
    hatching = np.flatnonzero(drawing.patterns).tolist()
    assert 5 < len(hatching) < 20 and len(drawing.tints) == 60
    hidden = tuple(f"word {index}" for index in hatching)
    drawn = drawing.draw(picture, Look(1, outlines=True, names=False, hidden=hidden))
    gone = np.isin(drawing.labels, hatching)
    assert (drawn[gone] == picture[gone]).all() and (drawn[~gone] == drawing.colours[drawing.labels[~gone]]).all()


def test_beside_another_result_a_class_is_hatched_alike():
    picture, result = many()
    drawing = Drawing.prepare(picture.shape, result)
    turned = Segmentation(result.labels[::-1].copy(), result.names, result.confidence)
    other = Drawing.prepare(picture.shape, turned, drawing)
    assert (other.patterns == drawing.patterns).all() and (other.colours == drawing.colours).all()
