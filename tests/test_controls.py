"""What every control of the page may run: one row each. Encoders are counted, stages read from the visitor's state.

A control without a row fails the last test: whoever adds one says here what it costs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from demo.ui import build_demo
from proxyclip_core.settings import Settings
from tests.page import Page
from tests.serving import OneModel, as_elsewhere

SHOWN = {"result", "labels"}
FROM_LOGITS = {"logits", *SHOWN}
FROM_DENSE = {"dense", *FROM_LOGITS}
FROM_FEATURES = {"features", *FROM_DENSE}
WORDS = {"vocabulary", *FROM_LOGITS}
NOTHING, TEXT, PICTURE = {}, {"text": 1}, {"clip": 1, "vfm": 1}
POINT = {"index": [20, 30], "value": None}

# (control, event, value, what the event brings along, stages that may run, encoders that may run)
SEGMENT_TAB = [
    ("segment", "click", None, {}, set(), NOTHING),
    ("words", "submit", "sky, hill", {}, WORDS, TEXT),
    ("words", "blur", "sky, horse", {}, WORDS, TEXT),
    ("words", "blur", "sky, tree", {}, set(), NOTHING),
    ("preset", "input", "Pascal VOC 2012, 20 classes", {}, WORDS, TEXT),
    ("background", "input", "first", {}, WORDS, TEXT),
    ("threshold", "input", 0.4, {}, SHOWN, NOTHING),
    ("picture", "input", "other.png", {}, {"picture", *FROM_FEATURES}, PICTURE),
    (
        "examples",
        "select",
        None,
        {"index": 0, "value": None},
        {"vocabulary", "picture", *FROM_FEATURES},
        PICTURE | TEXT,
    ),
    ("clip", "input", "OpenAI B/32", {}, {"vocabulary", *FROM_FEATURES}, PICTURE | TEXT),
    ("vfm", "input", "DINO S", {}, FROM_FEATURES, PICTURE),
    ("patch", "input", 16, {}, FROM_FEATURES, PICTURE),
    ("beta", "input", 1.5, {}, FROM_DENSE, NOTHING),
    ("gamma", "input", 5.0, {}, FROM_DENSE, NOTHING),
    ("side", "input", 224, {}, FROM_FEATURES, PICTURE),
    ("windows", "input", "sliding", {}, FROM_FEATURES, {"clip": 1, "vfm": 3}),  # one window of the VFM at a time
    ("templates", "input", "none", {}, WORDS, TEXT),
    ("load", "upload", "settings.json", {}, FROM_DENSE, NOTHING),
    ("opacity", "input", 0.2, {}, set(), NOTHING),
    ("outlines", "input", False, {}, set(), NOTHING),
    ("names", "input", False, {}, set(), NOTHING),
    ("legend", "click", None, {"hidden": ["sky"]}, set(), NOTHING),
    ("overlay", "select", None, POINT, set(), NOTHING),
    ("score-class", "input", "sky", {}, set(), NOTHING),
    ("save", "click", None, {}, set(), NOTHING),
    ("copy", "click", None, {}, set(), NOTHING),
]
# The other tabs' controls stand in rows of their own: (control, event, ...) as above.
SEED = {"index": [20, 30], "value": None}
INSIDE_TAB: list[tuple] = [
    ("tabs", "select", None, {"index": 1, "value": "Look inside", "selected": True}, set(), NOTHING),
    ("picture", "change", "other.png", {}, set(), NOTHING),
    ("beta", "release", 1.5, {}, set(), NOTHING),
    ("gamma", "release", 5.0, {}, set(), NOTHING),
    ("inside-picture", "select", None, SEED, set(), NOTHING),
    *((f"inside-{way}", "click", None, {}, set(), NOTHING) for way in ("left", "right", "up", "down", "undo", "clear")),
    ("inside-grid", "input", True, {}, set(), NOTHING),
    ("inside-stage", "input", "cosine", {}, set(), NOTHING),
    ("inside-sources", "input", ["CLIP's own attention"], {}, set(), NOTHING),
    ("inside-label-map", "change", None, {}, set(), NOTHING),
]
COMPARE_TAB: list[tuple] = [
    ("compare-left", "input", "CLIP's values alone", {}, set(), NOTHING),
    ("compare-right", "input", "CLIP alone", {}, set(), NOTHING),
    ("compare-run", "click", None, {}, set(), {"vfm": 1}),  # the patch size that is not there yet
    ("compare-stop", "click", None, {}, set(), NOTHING),
]
ROWS = SEGMENT_TAB + INSIDE_TAB + COMPARE_TAB


@pytest.fixture
def folder(blocks, tmp_path) -> Path:
    """An examples folder with one scene, another picture, and saved settings."""
    Image.fromarray(blocks[:, ::-1]).save(tmp_path / "scene.png")
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    Image.fromarray(blocks[::-1]).save(tmp_path / "other.png")
    row = {"file": "scene.png", "title": "Four areas", "text": "sea, sand", "words": ["sea", "sand"]}
    (tmp_path / "examples.json").write_text(json.dumps([row]))
    settings = Settings("OpenAI B/16", "DINO B/8", "sky, tree", beta=1.7, windows="whole", templates="simple7")
    (tmp_path / "settings.json").write_text(settings.to_json())
    return tmp_path


@pytest.fixture
def page(tiny_model, folder) -> Page:
    """With a result of two words on a picture, from the whole picture at once."""
    page = Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8", as_elsewhere, folder))
    page.values[page.named["picture"]._id] = str(folder / "blocks.png")
    page.values[page.named["windows"]._id] = "whole"
    page.do("words", "submit", "sky, tree")
    assert page.staged is not None
    return page


def fire(page: Page, folder: Path, row: tuple) -> None:
    control, event, value, data = row[:4]
    if isinstance(value, str) and (folder / value).is_file():
        value = str(folder / value)
    if control == "threshold":  # which acts only on a background
        page.do("background", "input", "first")
    page.do(control, event, value, data)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]}.{row[1]}" for row in ROWS])
def test_a_control_runs_no_more_than_its_row_says(page, counter, folder, row):
    stages, encoders = row[4:]
    if row[0] == "threshold":
        page.do("background", "input", "first")
    before = page.staged
    calls = counter.during(lambda: fire(page, folder, row))
    ran = set(page.staged.seconds) if page.staged is not before else set()
    assert (ran, calls) == (stages, encoders)
    assert not page["message"]


def test_every_control_has_its_row(page):
    wired: set[tuple[str, str]] = page.controls()
    listed: set[Any] = {row[:2] for row in ROWS}
    assert {row[:2] for row in SEGMENT_TAB} <= wired
    assert wired - listed == set()
