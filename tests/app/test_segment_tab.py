"""What the Segment tab answers."""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import proxyclip_core as pc
from demo import limits, time_limit
from demo.answers import segment
from demo.answers.errors import UserError
from demo.draw.legend import legend_rows, percent
from demo.ui import build_demo
from demo.visit import keys_of
from proxyclip_core.drawing.overlay import picture_at
from tests.page import Page, file
from tests.serving import OneModel

OWN = ("clip", "vfm", "overlay")  # the stages of the result on the page that no slider may run again, and what is drawn


def test_segment_shows_picture_legend_and_time(page):
    assert not page.said()
    assert page.pixels("overlay").shape == (230, 150, 3)  # upright; the browser enlarges it
    assert "sky" in page["legend"] and "tree" in page["legend"]
    assert "150 × 230 pixels · OpenAI B/16 + DINO B/8 on cpu" in page["status"]


@pytest.mark.parametrize(
    ("control", "value", "message"),
    [
        ("picture", None, "There is no picture yet"),
        ("picture", file(__file__), "it is a text"),
        ("words", "", "There are no words"),
        ("words", "sky, <b>sky</b>; x, <b>sky</b>", "'<b>sky</b>' is given twice"),
        ("words", "x" * 20_001, "at most 20000"),
        ("side", "5", "side is 5; expected 224 to 1024 pixels"),
        ("side", "9" * 40, "side is a number of over 20 digits"),
        ("side", None, "side is ''"),
        ("clip", "OpenAI B/99", "No CLIP is called 'OpenAI B/99'"),
    ],
)
def test_what_cannot_be_used_is_said_and_the_rest_stays(page, control, value, message):
    before = {name: page[name] for name in ("overlay", "layers", "legend", "status")}
    page.set(control, value)
    page.do("segment", "click")
    assert message in page.said().replace("&lt;", "<") and "<b>" not in page["message"]
    assert {name: page[name] for name in before} == before


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (pc.WeightsError("no weights; run this command"), "no weights; run this command"),
        (MemoryError(), "memory was not enough"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), "memory was not enough"),
        (RuntimeError("MPS backend out of memory"), "memory was not enough"),
        (RuntimeError("Invalid buffer size: 12.35 GiB"), "memory was not enough"),
        (OSError(28, "No space left on device"), "no room left on the server's disk"),
        (ZeroDivisionError("secret"), "Something went wrong inside (ZeroDivisionError)"),
    ],
)
def test_no_error_is_a_traceback(empty, models, monkeypatch, error, message):
    monkeypatch.setattr(models, "error", error)
    empty.do("segment", "click")
    assert message in empty.said() and "Traceback" not in empty.said() and "secret" not in empty.said()


class Quota(OneModel):
    """A Space whose visitor has used up the GPU that is lent."""

    def on_device(self, function, seconds=None):
        def lent(*given):
            raise gr.Error("You have exceeded your GPU quota (60s requested vs. 12s left).")

        return lent


def test_what_a_space_says_of_its_gpu_reaches_the_person(tiny_model, portrait):  # open-computer-use 28
    page = Page(build_demo(Quota(tiny_model), "OpenAI B/16", "DINO B/8"))
    page.set("picture", file(portrait))
    page.do("words", "submit", "sky, tree")
    assert "exceeded your GPU quota (60s requested" in page.toast
    with pytest.raises(gr.Error, match="exceeded your GPU quota"):
        page.call("segment", picture=file(portrait), words="sky, tree")


@pytest.mark.parametrize(
    ("control", "value", "message"), [("words", "a,,b", "empty word"), ("picture", file(__file__), "it is a text")]
)
def test_slips_are_found_before_models_load(empty, models, monkeypatch, control, value, message):
    monkeypatch.setattr(models, "error", AssertionError("a model was asked for"))
    empty.set(control, value)
    empty.do("segment", "click")
    assert message in empty.said()


def test_a_slider_without_a_result_does_nothing(empty):
    empty.do("gamma", "input", 8.0)
    assert empty.visit is None and not empty.said()


def test_a_slider_brings_the_result_up_to_date(page):
    page.do("gamma", "input", 8.0)
    assert "fusion" in page["status"] and "encoders" not in page["status"]


def test_what_is_shown_without_computing_is_said_to_be_computed_before(page):
    assert "computed before" not in page["status"]
    assert "0.00 s</strong>, computed before" in segment.status(replace(page.visit, ran={}), "cpu", 0.0)


def test_going_back_draws_the_earlier_result_again_and_runs_nothing_else(page, counter):
    before = page["layers"], page["legend"]
    page.do("words", "submit", "horse, hill")
    assert counter.during(lambda: page.do("words", "submit", "sky, tree")) == {} and {*page.visit.ran} == {"overlay"}
    assert (page["layers"], page["legend"]) == before and "computed before" in page["status"]


def test_other_windows_say_how_much_they_change(page):
    whole = page.visit.held("result").labels
    page.do("windows", "input", "sliding")
    text = re.sub("<[^>]*>", "", page["status"]).replace("&lt;", "<")
    said = re.search(
        r"Sliding windows instead of whole picture: encoders [\d.]+ × (faster|slower), (.+ %) of the labels differ",
        text,
    )
    assert said and said[2] == percent(float((whole != page.visit.held("result").labels).mean()))
    page.set("beta", 1.5)
    page.do("windows", "input", "whole")
    assert "instead of" not in page["status"]  # beta was changed too, so it is not the windows alone


def test_a_model_says_with_its_result_what_it_cannot_do(page, monkeypatch):
    assert "photographs" not in page["status"]
    row = replace(pc.find_clip("OpenAI B/16"), note="Knows drawn things, not photographs.")
    monkeypatch.setitem(pc.CLIP_MODELS, row.name, row)
    page.do("beta", "input", 1.4)
    assert "Knows drawn things, not photographs." in page["status"]


def test_the_browser_gets_the_picture_and_once_a_result_the_layers_to_draw_on_it(page, portrait):
    assert (page.pixels("overlay") == pc.read_image(portrait)).all()
    shown, layers = page["overlay"], json.loads(page["layers"])
    assert layers["picture"] in shown["path"] and layers["names"] == ["sky", "tree"]
    page.do("words", "submit", "sky, hill")
    assert page["overlay"] is shown and json.loads(page["layers"])["names"] == ["sky", "hill"]


@pytest.mark.parametrize("broken", ["encode", "embed", "classify"])
def test_a_picture_whose_first_try_failed_is_shown_with_its_result(empty, models, monkeypatch, portrait, broken):
    with monkeypatch.context() as first:
        first.setattr(pc.ProxyCLIP, broken, lambda *given, **named: 1 / 0)
        empty.do("segment", "click")
    assert "ZeroDivisionError" in empty.said() and not empty["overlay"]
    empty.do("segment", "click")
    assert not empty.said() and (empty.pixels("overlay") == pc.read_image(portrait)).all()


def test_a_picture_that_cannot_be_sent_is_said_and_its_result_stays(empty, monkeypatch, portrait, counter):
    with monkeypatch.context() as first:
        first.setattr(segment, "as_webp", lambda canvas: np.empty(10**15))
        empty.do("segment", "click")
    assert "memory was not enough" in empty.said() and not empty["overlay"]
    assert "image" not in counter.during(lambda: empty.do("segment", "click"))
    assert not empty.said() and (empty.pixels("overlay") == pc.read_image(portrait)).all()


def test_a_refused_picture_is_made_ready_for_nobody(empty, monkeypatch):
    made, free = [], threading.Event()
    monkeypatch.setattr(segment, "as_webp", made.append)
    monkeypatch.setattr(pc.ProxyCLIP, "embed", lambda *given, **named: 1 / 0)
    busy = [segment.DRAWING.submit(free.wait, 60) for _ in range(2)]
    empty.do("segment", "click")
    free.set()
    assert all(one.result() for one in busy) and segment.DRAWING.submit(lambda: True).result() and not made


def test_how_a_result_looks_asks_the_server_nothing_and_is_what_a_download_shows(page, portrait):
    page.requests.clear()
    page.do("opacity", "input", 0.3)
    page.do("names", "input", False)
    page.do("legend", "click", data=["sky", "hill"])
    assert page.requests == []
    page.do("words", "submit", "sky, hill")
    page.do("save", "click")
    with zipfile.ZipFile(page["zip-file"]["path"]) as archive:
        drawn = np.asarray(Image.open(io.BytesIO(archive.read("overlay.png"))))
    assert (drawn == pc.read_image(portrait)).all()  # all of its classes are hidden


def test_regions_are_sought_once_a_result(page, monkeypatch):
    from proxyclip_core.drawing import drawing

    sought, seek = [], drawing.inner_points
    monkeypatch.setattr(drawing, "inner_points", lambda labels: sought.append(1) or seek(labels))
    page.do("beta", "input", 1.4)
    assert len(sought) == 1


def test_a_result_too_large_to_keep_is_looked_at_and_downloaded_all_the_same(page, monkeypatch):
    own = [page.visit.entries[keys_of(page.visit.picture, page.visit.asked.settings)[stage]].size for stage in OWN]
    own.append(next(entry.size for (stage, _), entry in page.visit.entries.items() if stage == "canvas"))
    monkeypatch.setattr(limits, "KEPT_BYTES", sum(own) + 1000)
    monkeypatch.setattr(limits, "DRAWN_BYTES", sum(own[2:]))
    page.do("beta", "input", 1.5)
    assert not page.said() and {stage for stage, _ in page.visit.entries} == {*OWN, "canvas", "words"}
    page.do("opacity", "input", 0.3)
    page.do("save", "click")
    assert not page.said() and page["zip-file"]["path"].endswith("portrait_segmented.zip")


def test_a_click_gives_the_best_classes_there_in_bars_of_their_colours(page):
    page.do("top", "click", data={"x": 0.6, "y": 0.2, "picture": page.visit.picture})
    scores = page.visit.logits.scores_at((0.6 * 150, 0.2 * 230))
    assert re.findall(r"<li><span>(\w+)</span>", page["top"]) == list(scores)
    colours = {row["name"]: row["colour"] for row in legend_rows_of(page)}
    assert [colours[name] in page["top"] for name in scores] == [True, True]
    assert percent(next(iter(scores.values()))) in page["top"]


def legend_rows_of(page: Page) -> list[dict]:
    drawing = page.visit.held("overlay")
    return legend_rows(drawing.coverage, drawing.colours)


def test_a_click_belongs_to_its_picture(page, tmp_path):
    page.do("top", "click", data={"x": 0.6, "y": 0.2, "picture": page.visit.picture})
    assert page["top"]
    Image.new("RGB", (230, 150), "navy").save(tmp_path / "other.png")
    page.do("picture", "input", file(tmp_path / "other.png"))
    assert not page["top"]


def test_a_class_has_its_score_map_and_one_that_is_gone_has_none(page):
    page.do("score-class", "input", "sky")
    assert page.pixels("score-map").std() > 1
    page.do("words", "submit", "hill, horse")
    assert page["score-class"] is None and page["score-map"] is None
    assert page.prop("score-class", "choices") == [["hill", "hill"], ["horse", "horse"]]


def test_a_score_map_is_never_larger_than_it_is_drawn(page, monkeypatch):
    logits = page.visit.logits
    large = replace(logits, layout=replace(logits.layout, size_hw=(40_000, 60_000)))  # 10 GB, were it made whole
    assert max(segment.score_map(large, "sky").shape[:2]) <= 2 * segment.MAP_SIDE
    whole = logits.scores("sky")
    small = replace(logits, layout=replace(logits.layout, size_hw=(whole.shape[0] // 2, whole.shape[1] // 2)))
    assert np.abs(small.scores("sky") - picture_at(whole, small.layout.size_hw)).max() < 0.05


def test_words_and_encoders_have_one_minute_together(page, portrait, monkeypatch):
    asked, refused = [], UserError("too long")

    def check_time(s, size_hw, queries, new, needed, speed):
        asked.append(needed)
        if {"words", "clip"} <= needed:
            raise refused

    monkeypatch.setattr(time_limit, "check_time", check_time)
    page.set("side", "448")
    page.do("words", "submit", "new, words")
    assert "too long" in page["message"] and {"words", "clip", "result"} <= asked[0]


def test_choosing_a_family_offers_its_patch_sizes(page):
    page.set("patch", 16)
    page.do("vfm", "input", "DINO B")
    assert page["patch"] == 16 and [size for _, size in page.prop("patch", "choices")] == [8, 16]
    page.do("vfm", "input", "DINOv2 B")
    assert page["patch"] == 14 and "DINOv2 B/14" in page["about"] and "DINOv2 B/14" in page["status"]


def test_the_threshold_moves_only_with_a_background(page):
    assert not page.prop("threshold", "interactive")
    page.do("background", "input", "short")
    assert page.prop("threshold", "interactive") and "background" in page["legend"]
    page.do("background", "input", "none")
    assert not page.prop("threshold", "interactive")


def test_the_attention_can_be_chosen(page):
    with_proxy = page.visit.held("result").labels
    page.do("fusion", "input", "clip")
    assert page.visit.asked.settings.fusion == "clip" and (page.visit.held("result").labels != with_proxy).any()
