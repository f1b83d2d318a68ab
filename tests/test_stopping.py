"""demo.stopping: what nobody waits for any more is computed no further, through the running page."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from gradio.queueing import Event
from PIL import Image

from demo import limits, stopping
from demo.stopping import STOPPED
from demo.ui import build_demo
from demo.visit import LEAVE_LAST
from proxyclip_core.interrupt import checkpoint
from tests.page import Page, file
from tests.serving import OneModel, door_around
from tests.strangers.bad_inputs import segmenting
from tests.strangers.stranger import Stranger

PATIENCE = 60  # seconds, after which a computation that was not ended ends the test


class Endless:
    """An encoder that goes on until it is interrupted. error: what interrupted it."""

    def __init__(self) -> None:
        self.begun, self.ended, self.error = threading.Event(), threading.Event(), ""

    def encode_windows(self, windows):
        self.begun.set()
        end = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < end:
                checkpoint()
        except Exception as error:
            self.error = str(error)
            raise
        finally:
            self.ended.set()
        raise TimeoutError


@pytest.fixture(scope="module")
def served(tiny_model):
    with door_around(tiny_model) as found:
        yield found


@pytest.fixture
def endless(tiny_model, monkeypatch) -> Endless:
    encoder = Endless()
    monkeypatch.setattr(tiny_model.clip, "encode_windows", encoder.encode_windows)
    yield encoder
    assert encoder.ended.wait(PATIENCE) and encoder.error == STOPPED


@pytest.fixture
def visitor(served, picture_file, tmp_path) -> Stranger:
    """Whose picture is being encoded once `begin` has returned; afterwards the page still serves."""
    found = Stranger(served[1])
    picture = found.upload("a.png", (tmp_path / picture_file).read_bytes())
    for name, value in {"picture": picture, "words": "sky, hill", "windows": "whole", "templates": "none"}.items():
        found.set(name, value)
    return found


def begin(visitor: Stranger, endless: Endless) -> str:
    """The number of the event."""
    event_id = visitor.join(segmenting(visitor)).json()["event_id"]
    assert endless.begun.wait(PATIENCE)
    return event_id


def test_a_cancelled_request_is_computed_no_further(visitor, endless):
    event_id = begin(visitor, endless)
    cancelled = {"session_hash": visitor.session, "fn_index": segmenting(visitor)["id"], "event_id": event_id}
    assert visitor.http.post("cancel", json=cancelled).status_code == 200


def test_a_closed_tab_ends_what_it_asked_for(visitor, endless):
    with visitor.http.stream("GET", f"heartbeat/{visitor.session}") as alive:
        lines = alive.iter_lines()  # whoever lets go of it closes the connection
        next(lines)
        begin(visitor, endless)


def test_a_program_that_leaves_ends_what_it_asked_for(visitor, endless):
    values = {"words": "sky, hill", "picture": visitor.values[visitor.ids["picture"]], "windows": "whole"}
    event_id = visitor.http.post("call/v2/segment", json=values).json()["event_id"]
    with visitor.http.stream("GET", f"call/v2/segment/{event_id}") as lines:
        assert lines.status_code == 200 and endless.begun.wait(PATIENCE)


def test_stop_ends_all_of_one_visitors_requests_and_says_so(visitor, endless, served):
    begin(visitor, endless)
    waiting = visitor.join(segmenting(visitor)).json()["event_id"]
    served[0].stop(visitor.session)
    assert STOPPED in str(visitor.answer(waiting)["output"])


@pytest.fixture
def page(tiny_model, picture_file, tmp_path) -> Page:
    found = Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8"))
    for name, value in {"picture": file(tmp_path / picture_file), "words": "sky, hill", "windows": "whole"}.items():
        found.set(name, value)
    return found


@pytest.fixture
def late(tiny_model, monkeypatch) -> SimpleNamespace:
    """Whether Stop is pressed after the encoders have run: `late.stop`."""
    pressed, classify = SimpleNamespace(stop=False), tiny_model.classify

    def stopped_or_classified(*given):
        if pressed.stop:
            raise stopping.Stopped(STOPPED)
        return classify(*given)

    monkeypatch.setattr(tiny_model, "classify", stopped_or_classified)
    return pressed


def test_what_was_done_before_a_stop_is_kept(page, counter, late):
    late.stop = True
    page.do("segment", "click")
    assert page.said() == STOPPED and not page["legend"]
    page.do("beta", "input", 1.3)  # there is no result yet that it could change
    late.stop = False
    page.do("segment", "click")
    assert "sky" in page["legend"] and page["overlay"] and not page.said()
    assert counter.counts["clip"] == counter.counts["vfm"] == 1


def test_a_stop_leaves_the_result_that_was_there(page, late):
    page.do("segment", "click")
    legend, visit = page["legend"], page.visit
    late.stop = True
    for words in ("sea, cow", "road, cow"):  # the second time, too, what the page shows is held
        page.do("words", "submit", words)
        assert page.said() == STOPPED and page["legend"] == legend
        assert page.visit.name == visit.name and page.visit.held("overlay") is visit.held("overlay")


def test_a_stop_leaves_what_a_result_of_another_picture_was_made_of(page, late, tmp_path, monkeypatch):
    page.do("segment", "click")
    visit, late.stop = page.visit, True
    monkeypatch.setattr(limits, "SPARE_BYTES", 0)
    Image.new("RGB", (240, 160), "navy").save(tmp_path / "other.png")
    page.set("picture", file(tmp_path / "other.png"))
    page.do("segment", "click")
    assert page.said() == STOPPED and page.visit.name == visit.name
    assert all(page.visit.held(stage) is visit.held(stage) is not None for stage in LEAVE_LAST)


def test_what_another_visitor_stops_goes_on_here(served):
    event, other = (Event(name, SimpleNamespace(concurrency_id="model"), None, None) for name in ("ann", "bob"))
    served[0]._queue.event_ids_to_events |= {"1": event, "2": other}
    served[0].stop("bob")
    with stopping.answering(event):
        stopping.check_wanted()
    with stopping.answering(other), pytest.raises(stopping.Stopped):
        stopping.check_wanted()
