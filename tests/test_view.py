"""The view and the wiring of all events: who asks for what, in which order, and what outlasts the server's memory."""

from __future__ import annotations

import json
from collections import Counter

import gradio as gr
import pytest
from gradio.state_holder import StateHolder
from PIL import Image

from demo import limits
from demo.answers.errors import GONE, NO_RESULT
from demo.menus import bytes_of
from demo.turns import GROUPS
from demo.ui import build_demo
from tests.page import Page, file, page_with_result
from tests.serving import TwoModels

VIEWS = ("inside/attention", "inside/similarity", "inside/features", "inside/truth", "compare")


@pytest.fixture(scope="module")
def demo(tiny_model, other_model) -> gr.Blocks:
    return build_demo(TwoModels(tiny_model, other_model), "OpenAI B/16", "DINO B/8")


@pytest.fixture(scope="module")
def segmented(demo, blocks_file) -> Page:
    return page_with_result(demo, blocks_file, "red, green")


@pytest.fixture
def page(segmented) -> Page:
    return segmented.copy()


@pytest.fixture
def other_picture(blocks, tmp_path) -> dict:
    Image.fromarray(blocks[:60, ::-1]).save(tmp_path / "other.png")
    return file(tmp_path / "other.png")


def seeds(page: Page) -> list:
    """What the page is told of the patches that are looked at."""
    return json.loads(page["inside-live"])["seeds"]


# How events are wired


def test_no_event_of_a_component_has_two_listeners_that_are_always_last(demo):
    """When the turn of one comes gradio wakes all of them, and they each other, for ever."""
    wired = Counter(target for fn in demo.fns.values() if fn.trigger_mode == "always_last" for target in fn.targets)
    assert [target for target, count in wired.items() if target[0] is not None and count > 1] == []


def test_what_an_event_brings_along_is_never_asked_for_later(demo):
    """gradio would hand over what the first of two clicks brought along instead."""
    late = [fn.name for fn in demo.fns.values() if fn.collects_event_data and fn.trigger_mode == "always_last"]
    assert late == []


def test_a_new_result_has_one_listener(demo):
    states = [key for key, block in demo.blocks.items() if isinstance(block, gr.State)]
    listeners = [fn.name for fn in demo.fns.values() for state in states if (state, "change") in fn.targets]
    assert sorted(listeners) == ["on_fetch", "on_result"]


def test_a_phone_is_brought_to_the_result_before_that_is_asked_for(demo):
    """gradio wakes the listeners to an event one after another, each when the one before it has been answered."""
    button = next(key for key, block in demo.blocks.items() if block.elem_id == "segment")
    first, second = (fn for fn in demo.fns.values() if (button, "click") in fn.targets)
    assert "scrollIntoView" in first.js and second.name.startswith("on_segment")


def test_only_events_that_run_one_at_a_time_give_the_visit_back(demo):
    states = {key for key, block in demo.blocks.items() if isinstance(block, gr.State)}
    writers = [fn for fn in demo.fns.values() if states & {block._id for block in fn.outputs}]
    assert writers and {fn.concurrency_id for fn in writers} == set(GROUPS)


def test_six_quick_ticks_and_changes_of_tab_come_to_an_end(page):
    page.open_view("inside/attention")
    page.requests.clear()
    page.together(*(("beta", "input", 1.2 + tick / 20, None) for tick in range(1, 7)))
    assert len(page.requests) <= 6 and page.visit.asked.settings.beta == 1.5
    page.requests.clear()
    page.open_views(*["segment", "inside"] * 3)
    assert len(page.requests) <= 3


# What the open tab shows


def shown(page: Page, view: str) -> list:
    part = {"inside/attention": "inside-maps", "inside/similarity": "inside-similarity", "compare": "compare-slider"}
    part |= {"inside/features": "inside-features", "inside/truth": "inside-miou"}
    return page[part[view]]


@pytest.mark.parametrize("view", VIEWS)
def test_only_what_is_open_is_filled(page, view):
    page.open_views("inside" if view == "inside/attention" else view)
    assert [other for other in VIEWS if shown(page, other)] == [view]


@pytest.mark.parametrize("view", ["inside/attention", "compare"])
def test_another_picture_is_shown_in_the_open_tab(page, other_picture, view):
    page.open_view(view)
    first = shown(page, view)
    page.do("picture", "input", other_picture)
    assert shown(page, view) != first


def test_a_tab_opens_where_it_was_left(page):
    page.open_view("inside/features")
    page.open_view("segment")
    page.do("beta", "input", 1.6)
    page.set("inside-features", None)
    page.open_view("inside")
    assert page["inside-features"]


def test_before_there_is_a_result_a_tab_says_what_to_do(demo):
    page = Page(demo)
    page.open_view("inside/attention")
    page.open_view("compare")
    assert page.said("inside-note") == page.said("compare-note") == NO_RESULT


# Late answers


def test_a_late_click_is_not_answered_about_another_picture(page, other_picture):
    point = {"x": 0.5, "y": 0.7, "picture": page.visit.picture}
    page.do("picture", "input", other_picture)
    page.do("top", "click", data=point)
    assert not page["top"] and not page.said()


def test_a_late_seed_is_not_set_on_another_picture(page, other_picture):
    page.open_view("inside/attention")
    late = page.begin("inside-live", "click", {"picture": page.visit.picture, "points": [[80, 50]]})
    page.do("picture", "input", other_picture)
    late()
    assert seeds(page) == []


# A visitor whom the server has let go


@pytest.fixture
def crowded(segmented) -> Page:
    """A visit on a server that remembers two visitors, with classes hidden, a point clicked and a seed set."""
    sessions = StateHolder()
    segmented.demo.state_session_capacity = 2
    sessions.set_blocks(segmented.demo)
    page = Page(segmented.demo, sessions)
    page.values = dict(segmented.values)
    page.do("segment", "click")
    page.do("top", "click", data={"x": 0.1, "y": 0.3, "picture": page.visit.picture})
    page.do("legend", "click", data=["green"])
    page.open_view("inside/attention")
    page.do("inside-live", "click", data={"picture": page.visit.picture, "points": [[30, 40]]})
    page.do("words", "submit", "red, green, blue")
    return page


def forget(page: Page) -> None:
    page.sessions.session_data.clear()
    assert page.visit is None


def test_visits_that_hold_nothing_push_nobody_out(crowded):
    visit = crowded.visit
    for number in range(5):
        crowded.sessions[f"nobody {number}"]
    assert crowded.visit is visit and len(crowded.sessions.session_data) == 2


def test_what_programs_keep_pushes_nobody_out(crowded, monkeypatch):
    visit, programs = crowded.visit, crowded.demo.of_programs._id
    for number in range(5):
        crowded.sessions[f"script {number}"][programs] = visit
    assert crowded.visit is visit and len(crowded.sessions.session_data) == 2
    monkeypatch.setattr(limits, "ALL_KEPT_BYTES", visit.size * 3 // 2)
    crowded.demo._make_room()
    assert crowded.visit is visit and not crowded.sessions["script 4"].state_data


def test_all_visitors_together_keep_what_they_may_and_the_last_one_stays(segmented, monkeypatch):
    sessions = StateHolder()
    sessions.set_blocks(segmented.demo)
    first = Page(segmented.demo, sessions)
    first.values = dict(segmented.values)
    first.do("segment", "click")
    second = first.copy()
    monkeypatch.setattr(limits, "ALL_KEPT_BYTES", first.visit.size * 3 // 2)
    second.do("gamma", "input", 5.0)
    assert first.visit is None and second.visit.asked.settings.gamma == 5.0
    first.do("gamma", "input", 6.0)  # as nothing is known of it any more, all is done again
    assert first.visit.asked.settings.gamma == 6.0 and second.visit is None


def test_visitors_keep_no_more_than_large_models_leave(segmented, monkeypatch):
    large = ["LAION H/14", "SAM H/16"]
    monkeypatch.setattr(segmented.demo.models, "loaded", lambda: large, raising=False)
    sessions = StateHolder()
    sessions.set_blocks(segmented.demo)
    first = Page(segmented.demo, sessions)
    first.values = dict(segmented.values)
    first.do("segment", "click")
    room = sum(map(bytes_of, large)) + limits.PROCESS_BYTES
    monkeypatch.setattr(limits, "MEMORY_BYTES", room + first.visit.size * 3 // 2)
    first.copy().do("gamma", "input", 5.0)
    assert first.visit is None


@pytest.mark.parametrize("view", ["inside/attention", "inside/similarity", "compare"])
def test_a_visitor_who_was_let_go_sees_no_stale_tab(crowded, other_picture, view):
    crowded.open_view(view)
    stale = shown(crowded, view)
    forget(crowded)
    crowded.set("picture", other_picture)
    crowded.do("segment", "click")
    assert shown(crowded, view) != stale and not crowded.said()


def test_what_was_hidden_clicked_and_chosen_outlasts_the_servers_memory(crowded):
    before = crowded["held-hidden"], crowded["top"], seeds(crowded)
    forget(crowded)
    crowded.do("segment", "click")
    assert (crowded["held-hidden"], crowded["top"], seeds(crowded)) == before
    assert before[0] == '["green"]' and before[1] and before[2] == [[30, 40]]


def test_a_result_that_is_gone_is_made_anew_by_a_slider_and_said_elsewhere(crowded):
    forget(crowded)
    crowded.do("top", "click", data={"x": 0.2, "y": 0.2, "picture": "any"})
    assert crowded.said() == GONE
    crowded.open_view("compare")
    assert crowded.said("compare-note") == GONE
    crowded.do("beta", "input", 1.5)
    assert crowded.visit is not None and crowded.said() == crowded.said("compare-note") == ""


JUNK = [
    "{",
    "[" * 100_000,
    '{"picture": "PICTURE", "points": 1, "x": "a"}',
    "3",
    None,
    '["x", 1]',
    '{"points": [["a", 2]]}',
]


@pytest.mark.parametrize("held", JUNK)
def test_what_a_browser_sends_for_what_it_holds_is_read_with_care(page, held):
    for part in ("hidden", "point", "seeds"):
        page.set(f"held-{part}", held and held.replace("PICTURE", page.visit.picture))
    page.open_view("inside/attention")
    page.do("beta", "input", 1.9)
    page.do("save", "click")
    assert page.said() == page.said("inside-note") == "" and page["inside-maps"]
