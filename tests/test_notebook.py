"""A result as a notebook shows it."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter

import numpy as np
from PIL import Image

import proxyclip_core as pc


def shown(result: pc.Segmentation) -> tuple[str, np.ndarray]:
    html = result._repr_html_()
    address = re.search(r"data:image/png;base64,([^\"]+)", html)
    assert address is not None
    return html, np.asarray(Image.open(io.BytesIO(base64.b64decode(address[1]))))


def test_a_result_shows_its_overlay_and_its_legend(tiny_model, blocks):
    result = tiny_model(blocks, "sky, hill, horse", side=224, windows="whole")
    html, drawn = shown(result)
    np.testing.assert_array_equal(drawn, result.overlay(blocks))
    for name, share in result.coverage().items():
        assert f"{name} {share:.1%}" in html if share else f"Not found: {name}" in html


def test_hatched_classes_have_a_swatch_that_is_hatched_too():
    labels = np.arange(30, dtype=np.uint16)[None].repeat(20, axis=0).repeat(20, axis=1)
    result = pc.Segmentation(labels, tuple(f"word {n}" for n in range(30)), np.ones(labels.shape, np.float32))
    html, _ = shown(result)
    told = Counter(re.findall(r'class="swatch" alt="" title="([^"]+)"', html))
    assert told["plain"] > 10 and told["hatched to the right"] and told.total() == 30


def test_what_is_shown_of_a_large_picture_is_small(tiny_model):
    picture = np.zeros((300, 1300, 3), np.uint8)
    assert shown(tiny_model(picture, "sky, hill", side=224, windows="whole"))[1].shape == (148, 640, 3)


def test_a_preview_does_not_follow_the_array_it_was_made_of(tiny_model, blocks):
    picture = blocks.copy()
    result = tiny_model(picture, "sky, hill", side=224, windows="whole")
    picture[:] = 0
    np.testing.assert_array_equal(result.preview, blocks)


def test_a_result_of_stages_shows_its_regions_alone(tiny_model, blocks):
    features = tiny_model.encode(blocks, side=224, windows="whole")
    result = tiny_model.classify(tiny_model.fuse(features), tiny_model.embed("sky, hill")).segment()
    assert result.preview is None and shown(result)[1].shape == (*result.labels.shape, 3)


def test_words_are_text_in_a_notebook(tiny_model, blocks):
    html, _ = shown(tiny_model(blocks, ["<script>alert(1)</script>", "sky"], side=224, windows="whole"))
    assert "<script" not in html and "&lt;script&gt;" in html
