"""demo.presets: the page opens with what measures best; one click brings the paper's settings, another those back."""

from __future__ import annotations

from typing import Any

import pytest

import proxyclip_core as pc
from demo import presets
from demo.ui import build_demo
from tests.page import Page, file
from tests.serving import OneModel

BUILTIN, REAL = ("Built-in", "Built-in/8"), ("OpenAI B/16", "DINO B/8")


def method(page: Page) -> dict[str, Any]:
    return {name: page[name] for name in presets.METHOD}


@pytest.fixture(scope="module")
def opened(tiny_model, blocks_file) -> Page:
    page = Page(build_demo(OneModel(tiny_model), *BUILTIN))
    page.set("picture", file(blocks_file))
    for name, value in (("words", "red, green"), ("windows", "whole"), ("templates", "none"), ("side", "224")):
        page.set(name, value)
    page.do("segment", "click")
    return page


@pytest.fixture
def page(opened) -> Page:
    return opened.copy()


@pytest.mark.parametrize(("pair", "refine"), [(BUILTIN, "quick"), (REAL, "pixels")])
def test_the_page_opens_with_what_is_best_for_its_models(tiny_model, pair, refine):
    page = Page(build_demo(OneModel(tiny_model), *pair))
    shown = method(page)
    page.open()
    assert shown == method(page) == presets.sharper(*pair) and page["refine"] == refine


def test_the_librarys_defaults_are_the_papers():
    assert presets.PAPER == {
        "beta": 1.2,
        "gamma": 3.0,
        "fusion": "proxy",
        "facet": "tokens",
        "reach": "windows",
        "scope": "all",
        "refine": "none",
    }
    assert presets.as_paper(presets.refined(pc.Settings(*BUILTIN, "sky"))) == pc.Settings(*BUILTIN, "sky")


def test_one_click_goes_to_the_papers_settings_and_another_back(page, counter):
    before = page.visit.asked.settings
    assert counter.during(lambda: page.do("paper", "click")) == {}
    assert page.visit.asked.settings == presets.as_paper(before) and method(page) == presets.PAPER
    page.do("sharper", "click")
    assert page.visit.asked.settings == before and method(page) == presets.BUILTIN


def test_a_preset_follows_the_models_and_what_a_person_has_set_stays(page):
    page.do("clip", "input", "OpenAI B/16")
    assert method(page) == presets.OTHERS
    page.do("gamma", "input", 5.0)
    page.do("clip", "input", "Built-in")
    assert page["gamma"] == 5.0 and page["refine"] == "pixels"


def test_the_papers_settings_stay_with_other_models(page):
    page.do("paper", "click")
    page.do("clip", "input", "OpenAI B/16")
    assert method(page) == presets.PAPER
