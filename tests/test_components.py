"""demo.components: what is accepted from outside, and nothing more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.data_classes import FileData, ImageData, ListFiles
from PIL import Image

from demo import components
from demo.components import Drawn, Held, Menu, Names, Number, Picture, Upload, UploadButton, in_files, read_liked
from demo.ui import build_demo
from tests.serving import OneModel


@pytest.mark.parametrize(
    ("component", "sent", "accepted"),
    [
        (Menu(), "anything", "anything"),
        (Menu(), ["a"], None),
        (Menu(), None, None),
        (Number(), 16, 16),
        (Number(), "16", None),
        (Names(), ["a", "b", "a", 3, None, "b"], ["a", "b"]),
        (Names(), "abc", []),
        (Names(), [str(number) for number in range(10_000)], [str(number) for number in range(components.MOST_NAMES)]),
        (Held(), '{"a": [1]}', {"a": [1]}),
        (Held(), "{", None),
        (Held(), "[" * 100_000, None),
        (Held(), "1" * (components.MOST_HELD + 1), None),
        (Held(), 3, None),
    ],
)
def test_what_is_no_such_value_is_dropped(component, sent, accepted):
    assert component.preprocess(sent) == accepted


def test_what_the_browser_holds_comes_back_as_it_was():
    for value in ("text", ["a", "ü"], {"x": 0.1}, 0, False, None):
        assert Held().preprocess(Held().postprocess(value)) == value


@pytest.mark.parametrize("component", [Picture, Upload, UploadButton])
@pytest.mark.parametrize("address", ["http://example.org/a.png", "https://example.org/a.png", "data:image/png;base64,"])
def test_no_address_is_fetched(component, address):
    with pytest.raises(gr.Error, match="addresses are not fetched"):
        asyncio.run(component().async_move_resource_to_block_cache(address))


def test_a_file_that_is_there_is_taken(tmp_path):
    (tmp_path / "a.png").write_bytes(b"a")
    path = asyncio.run(Picture().async_move_resource_to_block_cache(str(tmp_path / "a.png")))
    assert path and Picture().preprocess(ImageData(path=path)) == path and Picture().preprocess(None) is None


def test_a_picture_is_never_read_from_an_address():
    with pytest.raises(gr.Error, match="Upload the picture as a file"):
        Picture().preprocess(ImageData(url="data:application/postscript;base64,AAAA"))


def test_every_file_that_the_page_takes_comes_by_these(tiny_model):
    demo, ours = build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8"), (Picture, Upload, UploadButton)
    taken = {block for fn in demo.fns.values() for block in fn.inputs if getattr(block, "data_model", None)}
    files = [block for block in taken if block.data_model in (FileData, ImageData, ListFiles)]
    assert len(files) > 4 and all(isinstance(block, ours) for block in files)


def test_for_the_browser_they_are_gradios_own():
    own = {component: component().get_block_name() for component in (Picture, Menu, Number, Names, Held, Upload)}
    assert list(own.values()) == ["image", "dropdown", "radio", "checkboxgroup", "textbox", "file"]


@pytest.mark.parametrize("value", ["inside/truth", 'a "quoted" word', 3])
def test_a_script_gives_what_a_held_value_is_sent_as(value):
    text = components.set_to(value).removeprefix("() => ")
    assert Held().preprocess(json.loads(text)) == value
    assert json.loads(components.set_to(value, 2).removeprefix("() => ")) == [json.loads(text)] * 2


def test_how_results_were_liked_is_read_again():
    assert read_liked({"opacity": 0.25, "outlines": False, "names": True}) == {
        "opacity": 0.25,
        "outlines": False,
        "names": True,
    }


@pytest.mark.parametrize("kept", [None, "text", [], {}, {"opacity": 7}, {"opacity": "0.5"}, {"opacity": True, "x": 1}])
def test_what_makes_no_sense_as_a_liking_is_the_default(kept):
    assert read_liked(kept) == components.LIKED


def test_the_part_of_a_liking_that_makes_sense_is_kept():
    assert read_liked({"outlines": False, "names": 3}) == {"opacity": 0.6, "outlines": False, "names": True}


def test_a_drawn_picture_goes_out_as_it_is_and_quickly_compressed(blocks):
    with gr.Blocks():
        path = Path(Drawn(format="png").postprocess(blocks).path)
    assert (np.asarray(Image.open(path)) == blocks).all()
    _, data = path.read_bytes().split(b"IDAT", 1)
    assert data[:2] == b"\x78\x01"  # zlib's mark of its quickest level


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: gr.update(value=rows, columns=2)])
def test_a_gallery_gets_files_and_its_captions(blocks, wrap):
    with gr.Blocks():
        found = in_files(gr.Gallery(), wrap([(blocks, "one"), (blocks[::-1], "two")]))
    rows = found["value"] if isinstance(found, dict) else found
    assert [caption for _, caption in rows] == ["one", "two"]
    assert (np.asarray(Image.open(rows[1][0])) == blocks[::-1]).all()
