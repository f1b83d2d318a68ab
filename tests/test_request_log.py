"""The log: one line a request, in which no picture and no word stands."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest
from gradio_client import Client, handle_file

from demo import computing
from demo.computing import in_computing_thread
from demo.ui import build_demo
from tests.page import Page, file, page_asking
from tests.serving import Failing, OneModel, page_around


class Downloading(Failing):
    """Says twice how far it is; loading fails where `error` is set."""

    here = True

    def ready(self, clip, vfm):
        return self.here

    def fetch(self, clip, vfm):
        from demo.models import Download

        yield from (Download(clip, done, 2) for done in (1, 2))


@pytest.fixture(scope="module")
def models(tiny_model) -> Downloading:
    return Downloading(tiny_model)


@pytest.fixture(scope="module")
def asked(models, blocks_file) -> Page:
    return page_asking(build_demo(models, "OpenAI B/16", "DINO B/8"), blocks_file, "unicorn, dragon", "none")


@pytest.fixture
def page(asked) -> Page:
    return asked.copy()


@pytest.fixture
def lines(caplog):
    """The lines of the log, but for the time."""
    caplog.set_level(logging.INFO, logger="demo.request_log")

    def read() -> list[str]:
        said = [record.message for record in caplog.records if record.name == "demo.request_log"]
        return [re.sub(r" in \d+\.\d{3} s", "", line) for line in said]

    return read


ANSWERED = "answered, 230 x 150 pixels, 2 words, OpenAI B/16 + DINO B/8"


def test_a_request_is_a_line_with_sizes_and_models(page, lines):
    page.do("segment", "click")
    page.do("gamma", "input", 8.0)
    names = ("on_segment", "on_result", "on_change", "on_result")
    assert lines() == [f"{name}: {ANSWERED}" for name in names]


def test_no_word_and_no_file_is_in_it(page, lines, blocks_file):
    page.do("words", "submit", "unicorn,, dragon")
    page.do("words", "submit", "unicorn; unicorn")
    page.set("clip", "unicorn")
    page.do("segment", "click")
    assert lines() and not re.search("unicorn|dragon|blocks|/tmp", "\n".join(lines()))


def test_it_says_what_was_refused_and_what_failed(page, lines, models, monkeypatch):
    page.do("words", "submit", "a,, b")
    assert lines()[-1] == "on_segment: refused"
    monkeypatch.setattr(models, "error", ZeroDivisionError())
    page.do("words", "submit", "sky, tree")
    assert lines()[-1] == "on_segment: failed (ZeroDivisionError)"


def test_a_call_is_a_line_too(asked, lines, blocks_file):
    asked.call("segment", picture=file(blocks_file), words="unicorn, dragon", windows="whole", templates="none")
    with pytest.raises(gr.Error):
        asked.call("segment", picture=file(blocks_file), words="unicorn", beta=99)
    assert lines() == ["segment: answered, 2 words, OpenAI B/16 + DINO B/8", "segment: refused"]


def test_an_answer_in_parts_is_one_line(page, lines, models, monkeypatch):
    monkeypatch.setattr(models, "here", False)
    page.do("segment", "click")
    assert lines()[:2] == ["on_segment: answered", "on_fetch: answered"] and lines()[2].startswith("on_fetched")


def test_it_says_how_long_a_request_has_waited(tiny_model, blocks_file, caplog):
    caplog.set_level(logging.INFO, logger="demo.request_log")
    with page_around(tiny_model) as url:
        given = {"windows": "whole", "templates": "none", "api_name": "/segment"}
        Client(url, verbose=False).predict(handle_file(blocks_file), "sky, tree", **given)
    (line,) = [record.message for record in caplog.records if record.name == "demo.request_log"]
    assert re.fullmatch(r"segment: answered in \S+ s after \S+ s in the queue, 2 words, .*", line)


def test_what_events_take_is_counted_without_what_they_wait_for_others(caplog):
    caplog.set_level(logging.INFO, logger="demo.request_log")
    going, free = threading.Event(), threading.Event()
    with build_demo(OneModel(None), "OpenAI B/16", "DINO B/8") as page:
        gr.Button().click(in_computing_thread(lambda: None), api_name="press")
    (fn,) = (fn for fn in page.fns.values() if fn.api_name == "press")

    def set_free() -> None:
        came = time.monotonic()
        while not computing._waiting or time.monotonic() < came + 0.05:
            time.sleep(0)
        free.set()

    with ThreadPoolExecutor(2) as pool:
        pool.submit(in_computing_thread(lambda: (going.set(), free.wait(60))))
        assert going.wait(60)
        pool.submit(set_free)
        asyncio.run(page.process_api(fn, []))
    whole, own = map(float, re.findall(r"\d+\.\d+", caplog.messages[-1]))
    assert whole > own and page.own_seconds[fn] == pytest.approx(own, abs=1e-3)
