"""What every control of the page may run: one row each. Encoders are counted, stages read from the visitor's state.

A control without a row fails `test_every_control_has_its_row`: whoever adds one says here what it costs.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from PIL import Image

from demo.ui import build_demo
from demo.visit import Visit
from proxyclip_core.settings import Settings
from tests.page import Page, file
from tests.serving import OneModel

SHOWN = {"result", "overlay", "layers"}
FROM_LOGITS = {"logits", "refined", *SHOWN}
FROM_DENSE = {"dense", "presence", *FROM_LOGITS}
FROM_FEATURES = {"clip", "vfm", *FROM_DENSE}
FROM_PICTURE = {"graph", *FROM_FEATURES}  # the picture itself is read before, to see whether it is one
WORDS = {"words", "presence", *FROM_LOGITS}
NOTHING, TEXT, PICTURE = {}, {"text": 1}, {"clip": 1, "vfm": 1}

# (control, event, value, what the event brings along, stages that may run, encoders that may run)
SEGMENT_TAB: list[tuple] = [
    ("segment", "click", None, {}, set(), NOTHING),
    ("again", "click", None, {}, set(), NOTHING),
    ("stop", "click", None, {}, set(), NOTHING),
    ("words", "submit", "sky, hill", {}, WORDS, TEXT),
    ("typed", "click", None, {}, set(), NOTHING),  # by a script, while words are typed
    ("edit", "submit", None, {"name": "tree", "words": "hill"}, WORDS, TEXT),
    ("edit", "submit", None, {"name": "tree", "onto": "sky"}, WORDS, TEXT),
    ("words", "blur", "sky, horse", {}, WORDS, TEXT),
    ("words", "blur", "sky, tree", {}, set(), NOTHING),
    ("find", "click", None, {}, WORDS, {"text": 2}),  # the list, and the words that are found
    ("found", "click", None, {"name": "tree"}, WORDS, TEXT),
    ("preset", "input", "Pascal VOC 2012, 20 classes", {}, WORDS, TEXT),
    ("words-file", "upload", "names.csv", {}, WORDS, TEXT),
    ("words-drop", "upload", "other.csv", {}, WORDS, TEXT),  # filled by the page's own script
    ("add-background", "click", None, {}, WORDS, TEXT),
    ("background", "input", "first", {}, WORDS, TEXT),
    ("threshold", "input", 0.4, {}, SHOWN, NOTHING),
    ("picture", "input", "other.png", {}, FROM_PICTURE, PICTURE),
    ("examples", "select", None, {"index": 0, "value": None}, {"words", *FROM_PICTURE}, PICTURE | TEXT),
    ("clip", "input", "OpenAI B/32", {}, {"words", *FROM_FEATURES}, PICTURE | TEXT),
    ("vfm", "input", "DINO S", {}, {"vfm", *FROM_DENSE}, {"vfm": 1}),
    ("patch", "input", 16, {}, {"vfm", *FROM_DENSE}, {"vfm": 1}),
    ("beta", "input", 1.5, {}, FROM_DENSE, NOTHING),
    ("gamma", "input", 5.0, {}, FROM_DENSE, NOTHING),
    ("side", "input", "224", {}, FROM_FEATURES, PICTURE),
    ("windows", "input", "sliding", {}, FROM_FEATURES, {"clip": 1, "vfm": 3}),  # one window of the VFM at a time
    ("templates", "input", "none", {}, WORDS, {"text": 2}),  # presence has sentences of its own
    ("fusion", "input", "clip", {}, FROM_DENSE, NOTHING),
    ("facet", "input", "keys", {}, {"vfm", *FROM_DENSE}, {"vfm": 1}),
    ("reach", "input", "picture", {}, FROM_DENSE, NOTHING),
    ("scope", "input", "regions", {}, {"sam", "regions", *FROM_DENSE}, {"sam": 1}),
    ("refine", "input", "patches", {}, {"graph", "refined", *SHOWN}, NOTHING),
    ("refine", "input", "sam", {}, {"sam", "regions", "refined", *SHOWN}, {"sam": 1}),
    ("sam", "input", "SAM L/16", {}, {"words", *FROM_PICTURE}, NOTHING),  # none asks it: what had run before is shown
    ("paper", "click", None, {}, SHOWN, NOTHING),
    ("sharper", "click", None, {}, set(), NOTHING),
    ("load", "upload", "settings.json", {}, {"dense", "presence", "logits", *SHOWN}, NOTHING),
    ("opacity", "input", 0.2, {}, set(), NOTHING),
    ("outlines", "input", False, {}, set(), NOTHING),
    ("names", "input", False, {}, set(), NOTHING),
    ("words", "input", "sky, hil", {}, set(), NOTHING),  # as it is typed
    ("picture", "clear", None, {}, set(), NOTHING),
    ("back", "click", None, {}, set(), NOTHING),
    ("use-photo-models", "click", None, {}, set(), NOTHING),  # which are the test's
    ("legend", "click", None, ["sky"], set(), NOTHING),
    ("top", "click", None, {"x": 0.1, "y": 0.2, "picture": "another"}, set(), NOTHING),
    ("score-class", "input", "sky", {}, set(), NOTHING),
    ("save", "click", None, {}, set(), NOTHING),
    ("copy", "click", None, {}, set(), NOTHING),
]
# The other tabs' controls stand in rows of their own: (control, event, ...) as above.
INSIDE_TAB: list[tuple] = [
    ("picture", "change", "other.png", {}, set(), NOTHING),
    ("inside-live", "click", None, {"picture": "another", "points": [[3, 4]]}, set(), NOTHING),
    ("inside-grid", "input", True, {}, set(), NOTHING),
    ("inside-stage", "input", "cosine", {}, set(), NOTHING),
    ("inside-scale", "input", "shared", {}, set(), NOTHING),
    ("inside-head", "input", "head 2", {}, set(), NOTHING),
    ("inside-windows", "input", True, {}, set(), NOTHING),
    ("inside-sources", "input", ["CLIP's own attention"], {}, set(), NOTHING),
    ("inside-sources", "input", ["DINO S/8"], {}, set(), {"vfm": 1}),
    ("inside-label-map", "upload", "labels.png", {}, set(), NOTHING),
    ("inside-label-map", "clear", None, {}, set(), NOTHING),
    ("inside-mask-word", "input", "sky", {}, set(), NOTHING),
    ("inside-figure-take", "click", None, {}, set(), NOTHING),
    ("inside-copy", "click", None, {}, set(), NOTHING),
]
POINT = {"index": [20, 30], "value": None}
ALIKE: list[tuple] = [
    ("alike-picture", "select", None, POINT, set(), NOTHING),
    ("alike-by", "input", "share", {}, set(), NOTHING),
    ("alike-share", "input", 0.3, {}, set(), NOTHING),
    ("alike-scene", "input", "scene", {}, set(), PICTURE),
    ("alike-other", "input", "other.png", {}, set(), PICTURE),
    ("alike-take", "click", None, {}, set(), NOTHING),
]
WORD: list[tuple] = [
    ("word-picture", "select", None, POINT, set(), NOTHING),
    ("word-way", "input", "clip", {}, set(), NOTHING),
]
COMPARE_TAB: list[tuple] = [
    ("compare-left", "input", "CLIP's values alone", {}, set(), NOTHING),
    ("compare-right", "input", "CLIP alone", {}, set(), NOTHING),
    ("compare-both", "click", None, {}, set(), NOTHING),
    ("compare-run", "click", None, {}, set(), {"vfm": 1}),  # the patch size that is not there yet
    ("compare-stop", "click", None, {}, set(), NOTHING),
    ("compare-copy", "click", None, {}, set(), NOTHING),
    ("compare-sheet", "select", None, {"index": 0, "value": {"caption": "CLIP alone · 0.1 s"}}, set(), NOTHING),
]
ROWS = [(view, row) for view, rows in (("segment", SEGMENT_TAB), ("compare", COMPARE_TAB)) for row in rows]
ROWS += [("inside/attention", row) for row in INSIDE_TAB]
ROWS += [("inside/alike", row) for row in ALIKE] + [("inside/word", row) for row in WORD]


@pytest.fixture(scope="module")
def folder(blocks, tmp_path_factory) -> Path:
    """An examples folder with one scene, another picture, a label map, and saved settings."""
    tmp_path = tmp_path_factory.mktemp("pictures")
    Image.fromarray(blocks[:, ::-1]).save(tmp_path / "scene.png")
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    Image.fromarray(blocks[::-1]).save(tmp_path / "other.png")
    Image.fromarray(blocks[..., 0] // 200).save(tmp_path / "labels.png")
    row = {"file": "scene.png", "title": "Four areas", "text": "sea, sand", "words": ["sea", "sand"]}
    (tmp_path / "examples.json").write_text(json.dumps([row]))
    settings = Settings("OpenAI B/16", "DINO B/8", "sky, tree", beta=1.7, windows="whole", templates="simple7")
    (tmp_path / "settings.json").write_text(settings.to_json())
    (tmp_path / "names.csv").write_text("id,name\n1,sky\n2,hill\n")
    (tmp_path / "other.csv").write_text("id,name\n1,lake\n2,hill\n")
    return tmp_path


@pytest.fixture(scope="module")
def segmented(tiny_model, folder) -> Page:
    """With a result of two words on a picture, from the whole picture at once."""
    page = Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8", folder))
    page.set("picture", file(folder / "blocks.png"))
    page.set("windows", "whole")
    page.set("templates", "simple7")
    page.do("words", "submit", "sky, tree")
    return page


@pytest.fixture
def page(segmented) -> Page:
    return segmented.copy()


def fire(page: Page, folder: Path, row: tuple) -> None:
    control, event, value, data = row[:4]
    if isinstance(value, str) and (folder / value).is_file():
        value = file(folder / value)
    page.do(control, event, value, data)


def held(visit: Visit | None) -> Visit:
    assert visit is not None
    return visit


@pytest.mark.parametrize(("view", "row"), ROWS, ids=[f"{row[0]}.{row[1]}" for _, row in ROWS])
def test_a_control_runs_no_more_than_its_row_says(page, counter, folder, view, row):
    stages, encoders = row[4:]
    page.open_view(view)
    if row[0] == "threshold":  # which acts only on a background
        page.do("background", "input", "first")
    before, page.requests[:] = held(page.visit), []
    calls = counter.during(lambda: fire(page, folder, row))
    after = held(page.visit)
    ran = set(after.ran) if after.asked != before.asked else set()
    assert (ran, calls) == (stages, encoders)
    assert not page.said()


def test_every_control_has_its_row(page):
    listed: set[Any] = {row[:2] for _, row in ROWS}
    assert page.controls() == listed


INSIDE = ("attention", "alike", "word", "similarity", "features", "truth")
VIEWS = ("segment", *(f"inside/{section}" for section in INSIDE), "compare")


@pytest.fixture(scope="module")
def with_background(segmented) -> Page:
    page = segmented.copy()
    page.do("background", "input", "first")
    page.set("compare-left", "DINO S/8")
    page.set("inside-sources", ["DINO S/8"])
    return page


@pytest.mark.parametrize("view", VIEWS)
def test_a_tick_of_a_slider_asks_twice_and_runs_no_encoder(with_background, counter, view):
    page = with_background.copy()
    page.open_view(view)
    for slider, value in (("beta", 1.6), ("gamma", 4.0), ("threshold", 0.2)):
        page.requests.clear()
        assert counter.during(lambda: page.do(slider, "input", value)) == {}  # noqa: B023
        assert 1 <= len(page.requests) <= 2
    note = {"inside": "inside-note", "compare": "compare-note"}.get(view.split("/")[0], "message")
    assert page.said() == page.said(note) == ""


def test_what_the_page_opens_with_is_computed_once_for_all_who_come(tiny_model, folder, counter):
    demo = build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8", folder)
    first = Page(demo)
    assert counter.during(first.open)
    second = Page(demo, first.sessions, "another visitor")
    assert counter.during(second.open) == {}
    assert second["legend"] == first["legend"] and second.visit.has_result


def test_what_a_visitor_asks_of_the_opening_picture_is_theirs_alone(tiny_model, folder, counter):
    demo = build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8", folder)
    first = Page(demo)
    first.set("picture", file(str(folder / "scene.png")))
    first.set("words", "a secret, sand")
    first.do("segment", "click")
    second = Page(demo, first.sessions, "another visitor")
    assert counter.during(second.open)["clip"] == 1  # nothing of the other's is taken
    assert "a secret" not in second["legend"]


def test_what_the_page_opens_with_is_computed_by_the_start(tiny_model, folder, counter):
    import app

    models = OneModel(tiny_model)
    demo = build_demo(models, "OpenAI B/16", "DINO B/8", folder)
    app.warm_up(models, "OpenAI B/16", "DINO B/8", demo.warm_up)
    page = Page(demo)
    assert counter.during(page.open) == {} and page.visit.has_result


def test_who_comes_while_it_is_computed_waits_for_it(tiny_model, folder, counter):
    demo, begun = build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8", folder), Barrier(2)
    with ThreadPoolExecutor(2) as both:
        ran = counter.during(lambda: [*both.map(lambda _: demo.warm_up(lambda *said: begun.wait()), range(2))])
    assert ran["clip"] == 1
