"""demo.tabs.slow: how long a result takes is said before, and what would take long waits for the button."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from demo import limits, stopping, time_limit
from demo.tabs import slow
from demo.ui import build_demo
from tests.page import Page, page_with_result
from tests.serving import OneModel


@pytest.fixture(scope="module")
def segmented(tiny_model, blocks_file) -> Page:
    demo = build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8", None)
    return page_with_result(demo, blocks_file, "sky, tree")


@pytest.fixture
def folder(blocks_file, tmp_path) -> Path:
    """An examples folder with one scene."""
    shutil.copy(blocks_file, tmp_path / "scene.png")
    row = {"file": "scene.png", "title": "Four areas", "words": ["sea", "sand"]}
    (tmp_path / "examples.json").write_text(json.dumps([row]))
    return tmp_path


@pytest.fixture
def page(segmented, monkeypatch) -> Page:
    monkeypatch.setattr(limits, "UNASKED_SECONDS", 10)
    monkeypatch.setattr(time_limit, "seen", lambda: 1e10)  # operations a second, of a slow machine
    return segmented.copy()


def test_a_menu_says_how_long_its_result_takes_and_leaves_it_to_the_button(page, counter):
    def choose():
        page.do("side", "input", "672")

    assert counter.during(choose) == {}
    assert page.said("estimate").startswith("About ") and "press Segment to begin" in page.said("estimate")
    assert counter.during(lambda: page.do("segment", "click"))["vfm"] == 1
    assert page.visit.asked.settings.side == 672 and page.said("estimate") == ""


def test_what_is_quick_is_done_at_once_and_nothing_is_said(page, counter, monkeypatch):
    monkeypatch.setattr(time_limit, "seen", lambda: 1e15)
    assert counter.during(lambda: page.do("side", "input", "224"))["vfm"] == 1
    assert page.said("estimate") == ""


def test_a_model_with_a_small_patch_waits_as_well(page, counter):
    assert counter.during(lambda: page.do("vfm", "input", "DINO S")) == {}
    assert "press Segment" in page.said("estimate")


def test_where_nothing_was_measured_nothing_is_said_and_nothing_waits(page, counter, monkeypatch):
    monkeypatch.setattr(time_limit, "seen", lambda: 0.0)
    assert counter.during(lambda: page.do("side", "input", "224"))["vfm"] == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (1.9, ""), (3.14, "<p>About 3 s.</p>"), (33.3, "<p>About 33 s: press Segment to begin.</p>")],
)
def test_seconds_are_said_where_they_are_felt(page, seconds, said):
    assert slow.line(seconds) == said


def test_what_was_done_before_a_stop_is_kept_and_said_without_alarm(page, counter, tiny_model, monkeypatch):
    def stopped(*_, **__):
        raise stopping.Stopped(stopping.STOPPED)

    with monkeypatch.context() as patch:
        patch.setattr(tiny_model, "fuse", stopped)
        page.set("side", "224")
        page.do("segment", "click")
    assert page.said() == stopping.STOPPED and "alert" not in page["message"]
    assert page.visit.asked.settings.side != 224  # the result that is shown is the one before
    assert counter.during(lambda: page.do("segment", "click")) == {}  # both encoders had run
    assert page.visit.asked.settings.side == 224 and page.said() == ""


@pytest.mark.parametrize(("may_download", "said"), [(True, "Segment downloads 942 MB"), (False, "Choose models that")])
def test_a_link_to_models_that_are_not_here_says_what_to_press(tiny_model, folder, monkeypatch, may_download, said):
    monkeypatch.setattr(limits, "DOWNLOADS", may_download)
    models = OneModel(tiny_model)
    monkeypatch.setattr(models, "ready", lambda clip, vfm: False)
    page = Page(build_demo(models, "OpenAI B/16", "DINO B/8", folder))
    page.open()
    assert said in page.said() and "OpenAI B/16 and DINO B/8" in page.said()
    assert page.visit is None
