"""Many visitors at a time, over HTTP: nobody gets what is another's, and nobody waits without being told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import pytest

from tests.load.crowd import Crowd
from tests.load.remote_page import RemotePage
from tests.load.visitor import Program, Visitor
from tests.serving import page_around


@pytest.fixture(scope="module")
def address(tiny_model) -> Iterator[str]:
    with page_around(tiny_model) as url:
        yield url


@pytest.fixture(scope="module")
def crowd(address) -> Crowd:
    """Three visitors, who have done at once all that visitors do."""
    found = Crowd(address, users=3)
    found.act_once()
    return found


def test_nobody_gets_what_is_anothers_and_nothing_fails(crowd):
    assert not crowd.wrong and not crowd.failed
    asked = {
        "on_segment",
        "on_result",
        "on_change",
        "on_point",
        "on_changed",
        "on_save",
        "on_opened",
        "/segment",
    }
    assert asked <= {one.name for one in crowd.requests() if one.outcome == "answered"}


def test_programs_get_their_own_answers(address):
    programs = Crowd(address, users=3, visit=Program)
    programs.act_once()
    assert not programs.wrong and not programs.failed
    assert [(one.name, one.outcome) for one in programs.requests()] == [("/segment", "answered")] * 12


def test_an_answer_of_another_visitor_would_be_noticed(crowd):
    first, second = crowd.visitors[:2]
    first.page, second.page = second.page, first.page
    first.look()
    assert len(first.wrong) == 3  # the legend, the status line, and the picture that is shown
    first.wrong.clear()
    first.page, second.page = second.page, first.page


def test_the_report_names_what_was_measured(crowd):
    crowd.seconds = 2.0
    text = crowd.report()
    told = ("requests a second", "actions a second", "p95", "wrong answers: 0", "place in the queue", "failed: 0")
    assert all(name in text for name in told)


def test_what_goes_on_for_ever_is_given_up_and_has_failed(address):
    hurried, patient = RemotePage(address, patience=0.01), RemotePage(address, patience=60)
    hurried.open()
    assert [(one.outcome, one.said) for one in hurried.made] == [("failed", "still goes on")]
    # Not the same page again: once gradio sees that its stream was left, it drops whatever that page waits for.
    patient.open()
    assert {one.outcome for one in patient.made} == {"answered"}


def test_what_a_click_that_was_turned_away_left_is_not_anothers(address, monkeypatch):
    visitor = Visitor(address, 0)
    visitor.arrive()
    visitor.look_inside()
    assert json.loads(visitor.page["inside-live"])["seeds"] and not visitor.wrong
    turn_away = partial(visitor.page._note, SimpleNamespace(name="on_changed"), 0.0, None, "turned away")
    monkeypatch.setattr(visitor.page, "do", lambda *given, **named: turn_away())
    visitor.look_inside()
    assert not visitor.wrong


def test_the_report_says_from_when_on_the_memory_stays():
    crowd = Crowd("", users=1)
    crowd.seconds, crowd.memory = 40.0, [(10.0, 1000.0), (20.0, 1400.0), (30.0, 1850.0), (40.0, 2000.0)]
    text = crowd.report()
    assert "1400 MB after a quarter" in text and "+42.9%" in text
    assert "within 10 % of the last from 30 s on" in text and "1850 at 30 s" in text
