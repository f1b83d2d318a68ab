"""Numbers, names, lists, words and clicks that strangers may send, through one running page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from demo import limits
from demo.tabs.parts import Page
from tests.strangers.bad_inputs import HELD, NAN, NUMBERS, QUICK, WORDS, is_fit_for_strangers, shown


@pytest.mark.parametrize("name", ["beta", "gamma", "threshold", "opacity", "patch", "side"])
def test_what_is_no_such_number_is_refused(refused, name):
    for number in NUMBERS:
        refused(**{name: number})


def test_what_is_no_whole_number_in_range_is_refused(refused):
    for name, number in (("side", 336.5), ("side", 10**12), ("side", 0), ("patch", 8.5)):
        assert name in refused(**{name: number})


@pytest.mark.parametrize("name", ["clip", "vfm", "windows", "templates", "background", "fusion", "reach", "refine"])
def test_what_is_no_such_name_is_refused(refused, name):
    for sent in (None, "", "no such", "x" * 100_000, "<img src=x>", "../x", ["sliding"], {"a": 1}, 3, True):
        refused(**{name: sent})


@pytest.mark.parametrize("name", ["outlines", "names"])
def test_what_is_neither_true_nor_false_is_refused(refused, name):
    for sent in ("yes", 1, [True], {"a": []}):
        refused(**{name: sent})


def test_a_sheet_without_end_shows_each_result_once(page):
    page.set("compare-chosen", ["CLIP alone"] * 10_000)
    said, _ = page.ask(page.event("compare-run", "click"))
    assert not said and len(page.values[page.ids["compare-sheet"]]) == 1


@pytest.mark.parametrize("chosen", [["no such"], "CLIP alone", [["CLIP alone"]], [1, None, {}], {"a": 1}])
def test_results_that_there_are_none_of_are_said(page, chosen):
    page.set("compare-chosen", chosen)
    page.ask(page.event("compare-run", "click"))
    assert is_fit_for_strangers(shown(page, "compare-progress"))


@pytest.mark.parametrize(("words", "served"), WORDS, ids=lambda value: ascii(value)[:30])
def test_words_of_any_kind(stranger, picture, words, served):
    answered, text = stranger.call(picture=picture, words=words, **QUICK)
    assert answered is served or (served is None and answered is not None)
    assert answered or (is_fit_for_strangers(text) and "inside" not in text)


BROUGHT = [None, 3, "x", [], {}, {"index": None}, {"index": "ab"}, {"index": [NAN, 1]}, {"index": [10**400, 1]}]
BROUGHT += [{"index": -1}, {"index": 10**9}, {"index": True}, {"index": [1, 2, 3]}, {"index": {"x": 1}}]
CLICKED = [("found", "click")]


@pytest.mark.parametrize(("control", "event"), CLICKED)
def test_a_click_anywhere_changes_nothing_or_says_why(page, control, event):
    for data in BROUGHT:
        said, _ = page.ask(page.event(control, event), data)
        assert not said or (is_fit_for_strangers(said) and "inside (" not in said), data


def test_words_without_end_are_not_even_read(page):
    page.set("words", ", ".join(f"w{number}" for number in range(100_000)))
    for event, data in ((page.event("edit", "submit"), {"name": "w1"}), (page.event("found", "click"), {"name": "w1"})):
        page.ask(event, data)
        assert "characters; at most 20000" in shown(page, "message")
        page.values[page.ids["message"]] = ""


@pytest.mark.parametrize("sent", HELD, ids=lambda sent: str(sent)[:30])
def test_what_a_browser_holds_is_read_with_care(page, sent):
    for name in ("held-shown", "held-point", "held-seeds", "held-hidden", "held-view"):
        page.set(name, sent)
    pointed = next(one for one in page.events if [page.ids["top"], "click"] in one["targets"])
    for event in (page.event("inside-stage", "input"), page.event("score-class", "input"), page.after(pointed)):
        said, _ = page.ask(event)
        assert not said or is_fit_for_strangers(said)


@pytest.mark.parametrize("number", [0, 100])
def test_too_few_values_and_too_many_are_refused(page, number):
    for event in page.events:
        if event["backend_fn"] and event["inputs"]:
            said, _ = page.ask(event, None, [1] * number)
            assert not said or (is_fit_for_strangers(said) and "inside (" not in said)


@pytest.mark.parametrize("value", [None, 1, "x", ["sky"], {"a": 1}, {"path": "/etc/passwd"}], ids=str)
def test_values_that_do_not_fit_the_event_are_refused(page, value):
    held = dict(page.values)
    for event in page.events:
        if event["backend_fn"] and event["inputs"]:
            said, _ = page.ask(event, None, [value] * len(event["inputs"]))
            assert not said or (is_fit_for_strangers(said) and "inside (" not in said), event["api_name"]
            page.values = dict(held)


def test_hidden_classes_are_read_once_each_and_not_without_end():
    page: Any = SimpleNamespace(held=SimpleNamespace(hidden="hidden"))

    def read(sent: Any) -> tuple[str, ...]:
        return Page.hidden(page, {"hidden": sent})

    found = read(["sky"] * 2 + [f"c{number}" for number in range(9_000)])
    assert found[:2] == ("sky", "c0") and len(found) == limits.MOST_WORDS - 1
    assert read([{}, 3, "a"]) == ("a",) and read("a") == ()


def test_each_control_is_read_with_care(page):
    """As above, but what the others say is as the page says it."""
    held, seen = dict(page.values), set[int]()
    for event in page.events:
        for place, key in enumerate(event["inputs"] if event["backend_fn"] else []):
            for value in [] if key in seen else [None, 1, ["sky"]]:
                values = [held[other] for other in event["inputs"]]
                said, _ = page.ask(event, None, [*values[:place], value, *values[place + 1 :]])
                assert not said or (is_fit_for_strangers(said) and "inside (" not in said), (event["api_name"], place)
                page.values = dict(held)
            seen.add(key)
