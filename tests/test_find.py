"""demo.answers.find and its buttons: words are found for the picture, and taken out again."""

from __future__ import annotations

import re
from dataclasses import replace

import gradio as gr
import pytest

import proxyclip_core as pc
from demo import limits
from demo.answers import find
from demo.runner import Runner
from demo.ui import build_demo
from demo.visit import Asked
from proxyclip_core import presence
from proxyclip_core.words import as_text
from tests.page import Page, file
from tests.serving import OneModel, TwoModels

FEW = "sky, hill, horse, sea, boat, tree"


@pytest.fixture
def page(tiny_model, blocks_file) -> Page:
    page = Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8", None))
    page.set("picture", file(blocks_file))
    page.set("windows", "whole")
    page.set("templates", "simple7")
    return page


@pytest.fixture
def asked(blocks_file) -> Asked:
    return Asked(pc.Settings("OpenAI B/16", "DINO B/8", FEW, windows="whole"), blocks_file)


def names(page: Page) -> list[str]:
    return re.findall(r'data-name="([^"]*)"', page["found"] or "")


def test_one_click_brings_words_as_chips_and_their_result(page, tiny_model, blocks):
    page.do("find", "click")
    expected = tiny_model.find_words(blocks, windows="whole")
    assert page["words"] == as_text(expected) == page.visit.asked.settings.words
    assert names(page) == [group[0] for group in expected]
    assert set(page.visit.held("overlay").coverage) == set(names(page))
    assert page.prop("found", "visible") is True


def test_finding_words_encodes_the_picture_once_and_no_more_where_it_is_known(page, counter):
    assert counter.during(lambda: page.do("find", "click")).items() >= {"clip": 1, "vfm": 1}.items()
    assert set(counter.during(lambda: page.do("find", "click"))) <= {"text"}


def test_a_chip_takes_its_word_out_and_words_of_ones_own_stay(page):
    page.do("find", "click")
    first, *rest = names(page)
    page.set("words", f"{page['words']}, zebra")
    page.do("found", "click", data={"name": first})
    assert names(page) == [*rest, "zebra"]
    assert set(page.visit.held("overlay").coverage) == {*rest, "zebra"}


def test_the_last_chip_leaves_the_result_and_no_words(page):
    page.do("words", "submit", "sky")
    page.do("found", "click", data={"name": "sky"})
    assert page["words"] == "" and page.prop("found", "visible") is False
    assert page.visit.asked.settings.words == "sky"


def test_chips_stay_while_settings_change_and_go_with_other_words(page):
    page.do("find", "click")
    page.do("beta", "input", 1.5)
    assert page.prop("found", "visible") is True
    page.do("words", "submit", "sky, hill")
    assert page.prop("found", "visible") == "hidden"


def test_words_can_be_found_among_a_list_or_ones_own(page, tiny_model, blocks, monkeypatch):
    monkeypatch.setattr(presence, "PERHAPS_ABSENT", 0)
    page.set("among", "Pascal VOC 2012, 20 classes")
    page.do("find", "click")
    listed = pc.vocabulary_presets()["Pascal VOC 2012, 20 classes"]
    assert page["words"] == as_text(tiny_model.find_words(blocks, listed, windows="whole"))
    said = page.call("words", picture=page["picture"], vocabulary="VOC20", windows="whole")
    assert said == [as_text(tiny_model.find_words(blocks, listed, windows="whole"))]
    page.set("words", "cityscapes")  # a word of one's own, not the list
    page.set("among", find.MY_WORDS)
    page.do("find", "click")
    assert page["words"] in ("", "cityscapes")
    page.set("words", FEW)
    page.do("find", "click")
    assert page["words"] == as_text(tiny_model.find_words(blocks, FEW, windows="whole"))


def test_where_nothing_is_found_the_words_stay(page, monkeypatch):
    monkeypatch.setattr(presence, "PERHAPS_ABSENT", 1.1)
    page.set("words", "sky")
    page.do("find", "click")
    assert "None of the words" in page.said() and page["words"] == "sky"


def test_without_a_picture_it_says_so(tiny_model):
    page = Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8", None))
    page.do("find", "click")
    assert "no picture" in page.said()


def test_models_are_not_downloaded_for_it(tiny_model, other_model, asked):
    elsewhere = replace(asked, settings=replace(asked.settings, vfm="DINO S/8"))
    with pytest.raises(ValueError, match="not here yet"):
        find.found(Runner(TwoModels(tiny_model, other_model)), elsewhere, "")


def test_more_words_than_the_page_takes_are_refused(tiny_model, asked, monkeypatch):
    monkeypatch.setattr(limits, "MOST_WORDS", 5)
    with pytest.raises(ValueError, match="There are 6 words"):
        find.found(Runner(OneModel(tiny_model)), asked, FEW)
    monkeypatch.setattr(limits, "MOST_CHARACTERS", 10)
    with pytest.raises(ValueError, match="at most 10"):
        find.found(Runner(OneModel(tiny_model)), asked, FEW)


def test_chips_are_text():
    shown = find.chips('"<img src=x>", sky')
    assert "<img" not in shown and 'data-name="&lt;img src=x&gt;"' in shown


def test_a_program_finds_words_by_its_own_endpoint(page, tiny_model, blocks, blocks_file, monkeypatch):
    monkeypatch.setattr(presence, "PERHAPS_ABSENT", 0)
    picture = file(blocks_file)
    (words,) = page.call("words", picture=picture, vocabulary=FEW, windows="whole")
    assert words == as_text(tiny_model.find_words(blocks, FEW, windows="whole"))
    with pytest.raises(gr.Error, match="beta is 9"):
        page.call("words", picture=picture, vocabulary=FEW, beta=9)
