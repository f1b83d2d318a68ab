"""The endpoints /attention and /models."""

from __future__ import annotations

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

import proxyclip_core as pc
from demo.ui import build_demo
from tests.page import Page, file
from tests.serving import OneModel, page_around


def call(page: Page, **given):
    drawn, numbers = page.call("attention", **given)
    return np.asarray(Image.open(drawn["path"])), numbers.root


WHERE = {"x": 30, "y": 40, "windows": "whole"}


@pytest.fixture(scope="module")
def page(tiny_model) -> Page:
    return Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8"))


@pytest.mark.parametrize(("source", "windows"), [("vfm", "whole"), ("vfm", "sliding"), ("clip", "whole")])
def test_a_call_gets_the_row_of_the_attention_and_its_picture(page, tiny_model, blocks_file, source, windows):
    drawn, numbers = call(page, picture=file(blocks_file), source=source, **WHERE | {"windows": windows})
    features = tiny_model.encode(blocks_file, windows=windows)
    expected = tiny_model.seed_attention(features, (30, 40), source=source, on="grid")
    np.testing.assert_allclose(numbers["row"], expected, atol=1e-3 if source == "clip" else 1e-4)
    assert numbers["grid_hw"] == list(expected.shape) and numbers["highest"] == pytest.approx(expected.max(), abs=1e-3)
    assert 1 <= numbers["spread"] <= expected.size
    left, top, right, bottom = numbers["seed_box"]
    assert left <= 30 <= right and top <= 40 <= bottom and right - left == pytest.approx(bottom - top, rel=0.05)
    if source == "vfm":  # nothing is more like a patch than itself
        assert numbers["seed"] == list(np.unravel_index(expected.argmax(), expected.shape))
    assert max(drawn.shape) >= 400


def test_other_stages_are_not_shares(page, blocks_file):
    numbers = call(page, picture=file(blocks_file), stage="cosine", **WHERE)[1]
    assert "spread" not in numbers and -1 <= numbers["lowest"] < numbers["highest"] <= 1.0001


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x": 5000}, "5000"),
        ({"x": -1}, "-1"),
        ({"x": float("nan")}, "must be numbers"),
        ({"y": None}, "must be numbers"),
        ({"stage": "all"}, "stage is 'all'"),
        ({"source": "both"}, "source is 'both'"),
        ({"beta": 99}, "beta is 99"),
        ({"side": "9" * 30}, "side is"),
        ({"vfm": "DINO Q"}, "No VFM is called"),
        ({"picture": None}, "no picture"),
    ],
)
def test_a_call_that_cannot_be_answered_gets_the_reason(page, blocks_file, wrong, message):
    with pytest.raises(gr.Error, match=message):
        page.call("attention", **({"picture": file(blocks_file)} | WHERE | wrong))


def test_a_client_lists_the_models_and_asks_for_attention(tiny_model, blocks_file):
    with page_around(tiny_model) as url:
        client = Client(url, verbose=False)
        rows = {row["name"]: row for row in client.predict(api_name="/models")}
        numbers = client.predict(handle_file(blocks_file), 30, 40, windows="whole", api_name="/attention")[1]
    assert list(rows) == [*pc.CLIP_MODELS, *pc.VFM_MODELS]
    assert rows["MAE B/16"]["patch"] == 16 and "commercial" in rows["MAE B/16"]["note"]
    assert rows["Built-in"]["is_here"] and not rows["OpenAI B/16"]["is_here"]
    assert np.sum(numbers["row"]) == pytest.approx(1, abs=1e-3)
