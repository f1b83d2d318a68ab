"""Pictures and other files that strangers may send, through one running page."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import pytest
from gradio import processing_utils

from demo import limits
from demo.blocks import NOT_UPLOADED
from demo.gate import Uploads
from tests.strangers.bad_inputs import (
    FILES,
    NARROW,
    NOISE,
    QUICK,
    REFUSED,
    SENT,
    SVG,
    TAKEN,
    UPLOADING,
    bomb,
    flat,
    is_fit_for_strangers,
    png,
    shown,
)
from tests.strangers.stranger import said_by, uploaded


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_with_the_reason(stranger, name):
    served, text = stranger.call(picture=stranger.upload(name, REFUSED[name]), words="sky, tree", **QUICK)
    assert not served and is_fit_for_strangers(text) and "inside" not in text


@pytest.mark.parametrize("name", TAKEN)
def test_odd_pictures_are_taken(stranger, name):
    served, text = stranger.call(picture=stranger.upload(name, TAKEN[name]), words="sky, tree", **QUICK)
    assert served, text


@pytest.mark.parametrize("name", NARROW)
def test_very_narrow_pictures_are_taken_or_refused_in_words(stranger, name):
    served, text = stranger.call(picture=stranger.upload(name, NARROW[name]), words="sky, tree", **QUICK)
    assert served or (is_fit_for_strangers(text) and "inside" not in text), text


def test_a_file_of_200_megabytes_is_refused_before_it_has_come(url):
    asking = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=30)
    asking.putrequest("POST", "/gradio_api/upload")
    asking.putheader("content-type", UPLOADING)
    asking.putheader("content-length", "200000000")
    asking.endheaders(b"--x\r\n")
    answer = asking.getresponse()
    assert answer.status == 413 and b"at most" in answer.read()


def test_an_upload_for_which_there_is_no_room_is_refused(stranger, monkeypatch):
    monkeypatch.setattr(limits, "LEAST_FREE_BYTES", 10**18)
    answer = stranger.http.post("upload", files={"files": ("a.png", png(NOISE))})
    assert answer.status_code == 507 and "no room left" in said_by(answer)


@pytest.mark.parametrize("endpoint", ["segment", "attention", "words"])
def test_only_uploaded_files_are_read_and_no_address_is_fetched(stranger, endpoint):
    more: dict[str, Any] = {"segment": {"words": "sky"}, "attention": {"x": 1, "y": 1}, "words": {"vocabulary": "sky"}}[
        endpoint
    ]
    for sent in SENT:
        served, text = stranger.call(endpoint, picture=sent, **more)
        assert not served and is_fit_for_strangers(text) and "inside" not in text, (sent, text)


@pytest.mark.parametrize(
    "inner",
    [
        lambda file: [file],
        lambda file: {"a": {"b": [file]}},
        lambda file: [[1], [file]],
        lambda file: {"path": "x", "meta": {"_type": "another"}, "more": file},
        lambda file: {"path": "x", "meta": file},
        lambda file: file | {"orig_name": [file]},
        lambda file: file | {"meta": file["meta"] | {"more": file}},
    ],
)
def test_a_file_within_another_value_is_not_even_looked_at(page, monkeypatch, inner):
    """gradio moves, and would fetch, what stands in any value of any control."""
    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", None)
    for path in ("https://example.org/a.png", "/etc/passwd", page.values[page.ids["picture"]]["path"]):
        for control, event in (("words", "words"), ("compare-chosen", "compare-run"), ("picture", "words")):
            before = dict(page.values)
            page.set(control, inner(uploaded(path)))
            said, _ = page.ask(page.event(event, "submit" if event == "words" else "click"))
            assert said == NOT_UPLOADED
            page.values = before


def test_gradio_has_nothing_to_fetch_with(stranger):
    for fetch in (processing_utils.ssrf_protected_download, processing_utils.async_ssrf_protected_download):
        with pytest.raises(gr.Error, match="no address is fetched"):
            fetch("https://example.org/a.png")


def test_who_has_the_same_picture_does_not_learn_how_somebody_else_calls_it(stranger):
    theirs, own = (Path(stranger.upload(name, png(NOISE))["path"]) for name in ("my holiday.png", "a.png"))
    for path, status in ((theirs, 200), (own, 200), (own.with_name(theirs.name), 403)):
        assert stranger.http.get(f"file={quote(str(path))}").status_code == status
    assert theirs.read_bytes() == own.read_bytes()


def test_an_upload_that_does_not_say_how_long_it_is_counts_as_the_longest(stranger, monkeypatch):
    counted = []
    monkeypatch.setattr(Uploads, "take", lambda self, address, size, free: counted.append(size) or True)
    request = stranger.http.build_request("POST", "upload", files={"files": ("a.png", png(NOISE))})
    body, kind = request.read(), request.headers["content-type"]
    for more in ({}, {"transfer-encoding": "chunked", "content-length": "1"}):
        answer = stranger.http.post("upload", content=iter([body]), headers={"content-type": kind} | more)
        assert answer.status_code == 200 and len(answer.json()) == 1
    stranger.http.post("upload", content=body, headers={"content-type": kind}).raise_for_status()
    most = 1_000_000 * limits.UPLOAD_MEGABYTES
    assert counted[0] == counted[1] > most > counted[2] == len(body)


def test_a_folder_is_no_file(stranger, picture):
    served, text = stranger.call(picture=uploaded(Path(picture["path"]).parent), words="sky", **QUICK)
    assert not served and NOT_UPLOADED in text


def test_an_upload_may_be_named_by_its_address_as_programs_are_told_it(stranger, picture):
    address = f"{stranger.url}gradio_api/file={quote(picture['path'])}"
    served, text = stranger.call(picture=uploaded(address, url=address), words="sky, tree", **QUICK)
    assert served, text
    for path in (address.replace(picture["path"], "/etc/passwd"), "https://example.org/gradio_api/file=/etc/passwd"):
        served, text = stranger.call(picture=uploaded(path), words="sky", **QUICK)
        assert not served and NOT_UPLOADED in text


def test_calls_of_programs_take_no_visitors_place(page, picture):
    for _ in range(limits.SESSIONS + 1):
        page.call(picture=picture, words="")
    page.ask(page.event("score-class", "input"))
    assert not shown(page, "message")


@pytest.mark.parametrize("control", ["inside-label-map", "load", "words-file"])
def test_so_it_is_with_other_files(page, control):
    for sent in SENT:
        page.set(control, sent)
        said, _ = page.ask(page.event(control, "upload"))
        assert is_fit_for_strangers(said), sent


@pytest.mark.parametrize(("control", "name"), [(control, name) for control in FILES for name in FILES[control]])
def test_files_that_hold_no_settings_or_words_are_said(page, control, name):
    page.set(control, page.upload(name, FILES[control][name]))
    said, _ = page.ask(page.event(control, "upload"))
    assert not said or "Error" in said  # a chain that ends; what there is to say was said
    assert is_fit_for_strangers(page.told) and "inside" not in page.told


@pytest.mark.parametrize(
    "content", [SVG, b"", bomb(30_000, 30_000), png(NOISE), flat(1, 1, "L"), png(NOISE, "JPEG"), png(NOISE)[:99]]
)
def test_files_that_are_no_label_map_are_said(page, content):
    page.set("held-view", json.dumps("inside/truth"))
    page.set("inside-label-map", page.upload("labels.png", content))
    said, _ = page.ask(page.event("inside-label-map", "upload"))
    assert is_fit_for_strangers(said or shown(page, "inside-note")) and "inside (" not in shown(page, "inside-note")
