"""demo.tabs.wording: typed words bring their result by themselves, and chips rewrite the words in their box."""

from __future__ import annotations

import pytest

from demo import limits, time_limit
from demo.ui import build_demo
from tests.page import Page, page_with_result
from tests.serving import OneModel


@pytest.fixture(scope="module")
def segmented(tiny_model, blocks_file) -> Page:
    demo = build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8", None)
    return page_with_result(demo, blocks_file, "sky, tree")


@pytest.fixture
def page(segmented, monkeypatch) -> Page:
    monkeypatch.setattr(time_limit, "seen", lambda: 1e12)  # operations a second, of a fast machine
    return segmented.copy()


def type_words(page: Page, words: str) -> None:
    page.do("words", "input", words)
    page.do("typed", "click")


def shown_words(page: Page) -> str:
    return page.visit.asked.settings.words


def test_words_are_segmented_while_they_are_typed(page, counter):
    assert counter.during(lambda: type_words(page, "sky, tree, hill")) == {"text": 1}
    assert shown_words(page) == "sky, tree, hill" and 'data-name="hill"' in page["legend"]


def test_words_that_are_known_run_nothing(page, counter):
    type_words(page, "sky, tree, hill")
    legend = page["legend"]
    assert counter.during(lambda: type_words(page, "sky, tree, hill")) == {} and page["legend"] == legend
    assert counter.during(lambda: type_words(page, "sky, tree")) == {} and shown_words(page) == "sky, tree"


@pytest.mark.parametrize("half", ["sky, , tree", "sky; tree, tree", "", "x" * (limits.MOST_CHARACTERS + 1)])
def test_what_is_half_typed_changes_nothing_and_only_enter_has_it_said(page, half):
    type_words(page, half)
    assert shown_words(page) == "sky, tree" and page.said() == ""
    page.do("words", "submit")
    assert page.said()


def test_what_takes_long_waits_for_enter(page, counter, monkeypatch):
    monkeypatch.setattr(time_limit, "seen", lambda: 3e7)
    assert counter.during(lambda: type_words(page, "sky, tree, hill")) == {}
    assert shown_words(page) == "sky, tree"
    type_words(page, "tree, sky")  # words are known, but other classes are refined anew
    assert shown_words(page) == "sky, tree"
    page.do("words", "submit")
    assert shown_words(page) == "tree, sky"


def test_of_words_typed_while_others_are_answered_the_last_count(page):
    page.requests.clear()
    page.together(*(("typed", "click", None, None),) * 5)
    assert page.requests.count("on_typed") <= 2


def test_a_chip_rewrites_the_words_in_their_box(page):
    page.do("edit", "submit", data={"name": "tree", "words": "oak; beech, hill"})
    assert page["words"] == shown_words(page) == "sky, oak; beech, hill"
    page.do("edit", "submit", data={"name": "hill", "onto": "sky"})
    assert page["words"] == shown_words(page) == "sky; hill, oak; beech"
    page.do("edit", "submit", data={"name": "horse", "onto": "sky"})
    assert "not in the box any more" in page.said() and page["words"] == "sky; hill, oak; beech"


def test_a_chip_changes_also_what_is_typed_and_not_segmented_yet(page):
    page.do("words", "input", "sky, tree, hill")
    page.do("edit", "submit", data={"name": "tree", "words": ""})
    assert page["words"] == shown_words(page) == "sky, hill"
