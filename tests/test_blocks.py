"""The page answers as gradio does, but an output that an event leaves as it is costs nothing."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.state_holder import SessionState
from PIL import Image

from demo.blocks import Blocks


@pytest.fixture
def page() -> SimpleNamespace:
    """A text, a picture, a menu and a state, and an event that may change them all."""
    with Blocks() as demo:
        parts = [gr.Textbox(), gr.HTML(), gr.Dropdown(["a", "b"]), gr.State(1)]
        gr.Button().click(lambda: None, None, parts)
    return SimpleNamespace(demo=demo, parts=parts, fn=demo.fns[0], state=SessionState(demo))


def answers(page: SimpleNamespace, predictions: Any) -> tuple[list[Any], list[Any]]:
    """Ours and gradio's own, without what gradio gives each skipped gr.HTML for a prop: its own mark of an update."""
    copied, state = deepcopy(predictions) if isinstance(predictions, tuple) else predictions, SessionState(page.demo)
    ours = asyncio.run(page.demo.postprocess_data(page.fn, predictions, page.state))
    gradios = asyncio.run(gr.Blocks.postprocess_data(page.demo, page.fn, copied, state))
    for value in (*ours, *gradios):
        if isinstance(value, dict) and value.get("props") == gr.skip():
            del value["props"]
    return ours, gradios


@pytest.mark.parametrize(
    "predictions",
    [
        ("text", "<p>", "a", 2),
        ("text", gr.skip(), gr.skip(), gr.skip()),
        ("text", gr.update(visible=True), gr.skip(), gr.skip()),
        ("text", gr.update(value="<p>"), gr.skip(), gr.skip()),
        ("text", gr.update(value=None, elem_classes="a"), gr.skip(), gr.skip()),
        ("text", None, gr.skip(), gr.skip()),
        (gr.skip(), gr.update(value="<b>", visible=False), gr.update(choices=["c"]), 3),
        (None, gr.skip(), gr.skip(), gr.skip()),
        gr.skip(),
    ],
)
def test_answers_are_gradios_own(page, predictions):
    ours, gradios = answers(page, predictions)
    assert ours == gradios


def test_answers_by_component_are_gradios_own(page):
    text, _, menu, state = page.parts
    for predictions in ({text: "text"}, {menu: "b", state: 5}, {state: 6}):
        ours, gradios = answers(page, predictions)
        assert ours == gradios and page.state[state._id] == predictions.get(state, 1)


def test_values_are_read_as_by_gradio(page, tmp_path):
    photo = tmp_path / "a.png"
    Image.new("RGB", (2, 3), "red").save(photo)
    with Blocks() as demo:
        inputs = [gr.Slider(0, 9, step=2), gr.Image(), gr.State([7]), gr.File(), gr.Dropdown([("b", 1)])]
        gr.Button().click(print, inputs, None)
    file, sent = {"path": str(photo), "meta": {"_type": "gradio.FileData"}}, SessionState(demo)
    given = [4, file, None, file, 1]
    ours, gradios = (
        asyncio.run(read(demo, demo.fns[0], deepcopy(given), sent, True))
        for read in (Blocks.preprocess_data, gr.Blocks.preprocess_data)
    )
    assert np.array_equal(ours.pop(1), gradios.pop(1)) and ours == gradios and ours[:2] == [4, [7]]


def test_reading_values_takes_no_thread_for_each(page, monkeypatch):
    fn = SimpleNamespace(**{**vars(page.fn), "inputs": page.parts[:3], "preprocess": True, "inputs_as_dict": False})
    monkeypatch.setattr("anyio.to_thread.run_sync", lambda *given, **named: pytest.fail("a thread was asked for"))
    assert asyncio.run(page.demo.preprocess_data(fn, ["text", "<p>", "a"], page.state)) == ["text", "<p>", "a"]


def test_a_visitor_costs_no_description_of_the_components(page, monkeypatch):
    described = page.demo.get_config_file()
    monkeypatch.setattr(gr.HTML, "get_config", lambda *given: pytest.fail("described once more"))
    state = SessionState(page.demo)
    asyncio.run(page.demo.postprocess_data(page.fn, ("text", gr.update(value="<b>", visible=False), "a", 2), state))
    monkeypatch.undo()
    assert page.demo.get_config_file() == described


def test_too_few_values_are_still_an_error(page):
    with pytest.raises(ValueError, match="enough output values"):
        asyncio.run(page.demo.postprocess_data(page.fn, ("text",), page.state))


def test_what_is_left_as_it_is_is_not_made_anew(page):
    before = dict(page.state.blocks_config.blocks)
    asyncio.run(page.demo.postprocess_data(page.fn, {page.parts[0]: gr.update(value="text")}, page.state))
    after = page.state.blocks_config.blocks
    assert [key for key in before if after[key] is not before[key]] == [page.parts[0]._id]


def test_a_component_that_is_updated_is_kept_once(page):
    kept, menu = page.state.blocks_config.blocks, page.parts[2]
    before = set(kept)
    for value in ("c", "d"):
        for predictions in ((gr.skip(), gr.skip(), gr.update(choices=[value]), 1), ("", "", value, 1)):
            asyncio.run(page.demo.postprocess_data(page.fn, predictions, page.state))
    assert set(kept) == before and kept[menu._id].choices == [("d", "d")]


def test_a_value_that_gradio_cannot_read_is_said(page):
    slider = SimpleNamespace(
        inputs=[gr.Slider(0, 1)], name="f", fn=lambda value: value, preprocess=True, inputs_as_dict=False
    )
    with pytest.raises(gr.Error, match="cannot be read"):
        asyncio.run(page.demo.preprocess_data(slider, [{}], page.state))


def test_requests_are_not_summed_up_after_each(page):
    page.demo._queue.events_recorded = 5000
    counted = {"function": "segment", "status": "success", "process_time": 0.1}
    assert page.demo._queue.compute_analytics_summary([counted]) == {"functions": {}}
