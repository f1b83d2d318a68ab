"""The public endpoints, as programs call them: their defaults, what they answer and what they refuse."""

from __future__ import annotations

import io
import json
import zipfile

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import proxyclip_core as pc
from demo import limits
from demo.answers.errors import outward
from demo.blocks import NO_FILE
from demo.ui import build_demo
from proxyclip_core.words import as_text
from tests.page import Page, file
from tests.serving import ROOT, OneModel, page_around


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"side": 2**31}, "side is 2147483648; expected 224 to 1024 pixels, or 'as-is'"),
        ({"side": 10**40}, "side is a number of over 20 digits"),
        ({"side": 0}, "side is 0; expected 224 to 1024 pixels, or 'as-is'"),
        ({"beta": 99}, "beta is 99.* expected a number from"),
        ({"gamma": 0}, "gamma is 0.* expected a number from"),
        ({"threshold": 2, "background": "first"}, "threshold is 2.* expected a number from 0 to 1"),
        ({"threshold": 0.5}, "no class is the background"),
        ({"background": "yes"}, "background is 'yes'; expected one of 'none', 'first', 'short', 'long'"),
        ({"windows": "all"}, "windows is 'all'; expected one of 'sliding', 'whole'"),
        ({"templates": "some"}, "templates is 'some'"),
        ({"fusion": "none"}, "fusion is 'none'"),
        ({"refine": "more"}, "refine is 'more'"),
        ({"vfm": "DINO Q"}, "No VFM is called 'DINO Q'"),
        ({"patch": "8"}, "patch is '8'; expected a whole number"),
        ({"patch": 5}, "'DINO B' comes with patch size 8 and 16"),
        ({"words": "a, b; a"}, "given twice"),
        ({"words": "x" * 20_001}, "at most 20000"),
    ],
)
def test_a_call_that_cannot_be_answered_gets_the_reason(asked, portrait, wrong, message):
    with pytest.raises(gr.Error, match=message):
        asked.call("segment", **({"picture": file(portrait), "words": "sky"} | wrong))


@pytest.mark.parametrize("side", [448, "448", "as-is"])
def test_a_call_gives_the_side_as_a_number_or_as_is(asked, portrait, side):
    labels = asked.call("segment", picture=file(portrait), words="sky, tree", side=side, windows="whole")[1]
    assert Image.open(labels["path"]).size == (150, 230)


def test_a_call_does_not_download(arriving, portrait):
    page, _ = arriving
    with pytest.raises(gr.Error, match=r"(?s)Segment on the page downloads them.*hf download timm/"):
        page.call("segment", picture=file(portrait), words="sky", clip="OpenAI B/32")


@pytest.mark.parametrize("endpoint", ["segment", "attention", "words"])
def test_the_endpoints_have_the_tables_defaults(asked, endpoint):
    api = asked.demo.get_api_info()["named_endpoints"][f"/{endpoint}"]
    given = {row["parameter_name"]: row for row in api["parameters"]}
    assert endpoint != "segment" or set(pc.SETTINGS) <= set(given)
    numbers = {name: row for name, row in pc.SETTINGS.items() if row.kind in ("number", "choice") and name in given}
    assert {"beta", "gamma", "windows"} <= set(numbers)
    for name, row in numbers.items():
        assert given[name]["parameter_default"] == row.default
        assert row.expected in given[name]["label"]
    assert given["side"]["parameter_default"] == "336"


def test_what_comes_back_is_named_for_a_program(asked):
    endpoints = asked.demo.get_api_info()["named_endpoints"]
    named = {
        name: [row["label"].split(":")[0].split(",")[0] for row in endpoints[name]["returns"]]
        for name in ("/segment", "/words", "/attention", "/models")
    }
    assert named == {
        "/segment": ["Overlay", "Label map", "Summary", "Zip with the result in these formats"],
        "/words": ["Words"],
        "/attention": ["Map", "Numbers"],
        "/models": ["Models"],
    }
    assert asked.prop("overlay", "label") == "Result: click for the scores at a point"  # which is for a person


def test_the_page_opens_with_the_tables_defaults_but_for_what_refines(tiny_model):
    opened = Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8"))
    rows = {name: row for name, row in pc.SETTINGS.items() if row.kind != "text"}
    shown = {name: row.from_text(str(opened[name])) for name, row in rows.items()}
    assert {name for name, row in rows.items() if shown[name] != row.default} == {"refine"}


@pytest.fixture(scope="module")
def address(tiny_model):
    with page_around(tiny_model) as url:
        yield url


@pytest.fixture(scope="module")
def client(address) -> Client:
    return Client(address, verbose=False)


def test_a_client_gets_what_the_library_gives(client, tiny_model, portrait):
    overlay, labels, summary, files = client.predict(
        handle_file(portrait), "sky; cloud, <b>tree</b>", windows="whole", api_name="/segment"
    )
    expected = tiny_model(portrait, "sky; cloud, <b>tree</b>", windows="whole", templates="imagenet80")
    assert (np.asarray(Image.open(labels)) == expected.labels).all()
    assert Image.open(overlay).size == (150, 230)
    assert summary["names"] == ["sky", "<b>tree</b>"] and summary["size_hw"] == [230, 150]
    assert sum(row["share"] for row in summary["classes"]) == pytest.approx(1, abs=1e-4) and files is None
    assert {row["name"]: row["words"] for row in summary["classes"]}["sky"] == "sky; cloud"


def test_a_client_gets_the_formats_that_it_names_in_a_zip(client, tiny_model, portrait):
    given = {"windows": "whole", "templates": "simple7", "formats": "labels, settings", "api_name": "/segment"}
    labels, files = client.predict(handle_file(portrait), "sky, tree", **given)[1::2]
    with zipfile.ZipFile(files) as archive:
        assert {"labels.png", "names.txt", "settings.json"} <= set(archive.namelist())
        packed = np.asarray(Image.open(io.BytesIO(archive.read("labels.png"))))
    assert (packed == np.asarray(Image.open(labels))).all()
    with pytest.raises(AppError, match="formats has 'gif'; expected some of labels, overlay"):
        client.predict(handle_file(portrait), "sky, tree", **given | {"formats": "gif"})


def test_a_client_gets_errors_as_errors(client, portrait):
    with pytest.raises(AppError, match="beta is 99"):
        client.predict(handle_file(portrait), "sky", beta=99, api_name="/segment")


def post(address: str, body: dict, endpoint: str = "segment") -> str:
    event = httpx.post(f"{address}gradio_api/call/v2/{endpoint}", json=body).json()["event_id"]
    return httpx.get(f"{address}gradio_api/call/v2/{endpoint}/{event}", timeout=60).text


def uploaded(address: str, path: str) -> dict:
    """A picture of a call, once it is on the server."""
    with open(path, "rb") as opened:
        found = httpx.post(f"{address}gradio_api/upload", files={"files": opened}).json()
    return {"path": found[0], "meta": {"_type": "gradio.FileData"}}


def test_curl_needs_no_more_than_a_picture_and_words(address, portrait):
    answer = post(address, {"picture": uploaded(address, portrait), "words": "sky, tree"})
    assert "event: complete" in answer and '"names": ["sky", "tree"]' in answer


def test_curl_needs_no_more_than_a_picture_to_find_words(address, portrait):
    answer = post(address, {"picture": uploaded(address, portrait)}, "words")
    assert "event: complete" in answer and json.loads(answer.split("data: ")[1])[0]


def test_a_client_needs_no_more_than_a_picture_to_find_words(client, tiny_model, portrait):
    words = client.predict(handle_file(portrait), api_name="/words")
    assert words and words == as_text(tiny_model.find_words(portrait))


@pytest.mark.parametrize(
    "picture",
    [
        {"path": str(ROOT / "app.py")},
        {"path": "http://example.org/picture.png"},
        {"path": None, "url": "data:image/png;base64,iVBORw0KGgo="},
    ],
)
def test_only_files_that_were_uploaded_are_read(address, picture):
    answer = post(address, {"picture": picture | {"meta": {"_type": "gradio.FileData"}}, "words": "sky"})
    assert "event: error" in answer and "as a picture" not in answer


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"beta": 99}, "beta is 99"), ({"words": "a,,b"}, "empty word"), ({"vfm": "DINO Q"}, "No VFM is called")],
)
def test_curl_gets_the_reason_of_a_wrong_value(address, portrait, wrong, reason):
    answer = post(address, {"picture": uploaded(address, portrait), "words": "sky"} | wrong)
    assert "event: error" in answer and reason in answer


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"words": "sky"}, "picture is missing. See Use via API"),
        ({"word": "sky" * 99}, "There is no argument 'word'"),
        ({"w" * 10_000: 1}, f"There is no argument '{'w' * 40}'"),
    ],
)
def test_curl_is_told_which_argument_is_missing_or_unknown(address, body, reason):
    answer = httpx.post(f"{address}gradio_api/call/v2/segment", json=body)
    assert answer.status_code == 400 and answer.json()["detail"].startswith(reason)


@pytest.mark.parametrize("picture", ["farm.png", "", {"url": "data:image/png;base64,iVBORw0KGgo="}, 7])
def test_what_is_no_file_is_said_to_be_none(address, picture):
    answer = post(address, {"picture": picture, "words": "sky"})
    assert "event: error" in answer and "no file that was uploaded" in answer and "handle_file" in answer


def test_strangers_read_that_sentence_in_whole(monkeypatch):
    """Of what they read, paths of the server are cut off."""
    monkeypatch.setattr(limits, "PUBLIC", True)
    assert outward(NO_FILE) == NO_FILE


def test_a_client_that_is_turned_away_reads_when_to_come_again(tiny_model, portrait, monkeypatch):
    """gradio's client raises what httpx does, with the answer in it."""
    monkeypatch.setattr(limits, "PUBLIC", True)
    monkeypatch.setattr(limits, "WAITING", 0)
    with page_around(tiny_model) as url, pytest.raises(httpx.HTTPStatusError) as turned_away:
        Client(url, verbose=False).predict(handle_file(portrait), "sky", api_name="/segment")
    answer = turned_away.value.response
    assert answer.headers["retry-after"] in answer.json()["detail"]


def test_uploads_are_bounded(address):
    answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("big.png", bytes(21_000_000))})
    assert answer.status_code == 413
