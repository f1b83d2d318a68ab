"""The app: what the Segment tab answers, its one public endpoint, and the real process without network and weights."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import proxyclip_core as pc
from demo import limits
from demo.answers import segment
from demo.draw.legend import legend_rows, percent
from demo.ui import build_demo
from demo.visit import keys_of
from proxyclip_core.models.registry import BUILTIN_FOLDER
from tests.page import Page, file
from tests.serving import ROOT, OneModel, app_process, page_around

OWN = ("clip", "vfm", "overlay")  # the stages of the result on the page that no slider may run again, and what is drawn


@pytest.fixture(scope="module")
def portrait(blocks, tmp_path_factory) -> str:
    """A phone picture: 150 rows of 230 pixels in the file, which a viewer turns upright to 230 x 150."""
    path = tmp_path_factory.mktemp("pictures") / "portrait.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn clockwise to show
    Image.fromarray(blocks).save(path, exif=exif, quality=95)
    return str(path)


class Failing(OneModel):
    """Raises `error`, where there is one."""

    error: Exception | None = None

    def get(self, clip, vfm, say=lambda done, text: None):
        if self.error:
            raise self.error
        return self.model


@pytest.fixture(scope="module")
def models(tiny_model) -> Failing:
    return Failing(tiny_model)


@pytest.fixture(scope="module")
def asked(models, portrait) -> Page:
    """With a picture and two words, and nothing done yet."""
    page = Page(build_demo(models, "OpenAI B/16", "DINO B/8"))
    page.set("picture", file(portrait))
    page.set("words", "sky, tree")
    page.set("windows", "whole")
    page.set("templates", "simple7")
    return page


@pytest.fixture(scope="module")
def segmented(asked) -> Page:
    page = asked.copy()
    page.do("segment", "click")
    return page


@pytest.fixture
def page(segmented) -> Page:
    return segmented.copy()


@pytest.fixture
def empty(asked) -> Page:
    return asked.copy()


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


def test_going_back_shows_the_earlier_result_again_and_runs_nothing(page, counter):
    before = page["layers"], page["legend"]
    page.do("words", "submit", "horse, hill")
    assert counter.during(lambda: page.do("words", "submit", "sky, tree")) == {} and not page.visit.ran
    assert (page["layers"], page["legend"]) == before


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
    monkeypatch.setattr(limits, "KEPT_BYTES", sum(own) + 1000)
    monkeypatch.setattr(limits, "DRAWN_BYTES", own[-1])
    page.do("beta", "input", 1.5)
    assert not page.said() and {stage for stage, _ in page.visit.entries} == {*OWN, "words"}
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


# What is said of the picture and the words


@pytest.fixture
def cut_short(portrait, tmp_path) -> str:
    (tmp_path / "cut.jpg").write_bytes(Path(portrait).read_bytes()[:-2])
    return str(tmp_path / "cut.jpg")


NOTES = ("the end of the file is missing", "taken once: 'SKY'", "OpenAI B/16 reads English; it hardly knows 马")


@pytest.fixture
def as_openai(tiny_model, monkeypatch) -> None:
    monkeypatch.setattr(tiny_model.clip, "name", "OpenAI B/16")


def test_reservations_and_words_are_noted_beside_the_result_and_nowhere_else(empty, as_openai, cut_short, capfd):
    empty.set("picture", file(cut_short))
    empty.do("words", "submit", "sky, SKY, 马")
    assert all(text in empty.said("notes") for text in NOTES) and not empty.said()
    empty.do("gamma", "input", 8.0)  # the picture is not read again, its reservation stays
    assert NOTES[0] in empty.said("notes")
    empty.do("words", "submit", "sky, tree")
    assert NOTES[0] in empty.said("notes") and NOTES[2] not in empty.said("notes")
    assert capfd.readouterr().err == ""


def test_an_encoder_that_went_on_in_another_precision_is_noted(empty, tiny_model, monkeypatch):
    monkeypatch.setattr(tiny_model.vfm, "note", "golden overflows in float16; it goes on in float32.")
    empty.do("segment", "click")
    assert "golden overflows in float16" in empty.said("notes")
    summary = empty.call("segment", picture=empty["picture"], words="sky", windows="whole", templates="none")[2]
    assert "golden overflows in float16" in summary.root["notes"][-1]


def test_a_picture_without_reservations_takes_the_notes_away(empty, as_openai, cut_short, portrait):
    empty.set("picture", file(cut_short))
    empty.do("words", "submit", "sky, tree")
    empty.do("picture", "input", file(portrait))
    assert not empty.said("notes") and not empty.prop("notes", "visible")


def test_a_call_says_the_same_in_its_summary(asked, as_openai, cut_short, capfd):
    summary = asked.call("segment", picture=file(cut_short), words="sky, SKY, 马", windows="whole", templates="none")[2]
    notes = summary.root["notes"]
    assert len(notes) == 3 and all(text in note for text, note in zip(NOTES, notes))
    assert capfd.readouterr().err == ""


def test_one_class_alone_offers_a_background_by_one_click(empty):  # CLIP_Surgery 2, 12; clipseg 37
    empty.do("words", "submit", "horse")
    assert "'horse' is the only class" in empty.said("notes") and empty.prop("add-background", "visible")
    empty.do("add-background", "click")
    assert empty.visit.asked.settings.background == "short" and "background" in empty["legend"]
    assert not empty.said("notes") and not empty.prop("add-background", "visible")
    assert empty.prop("threshold", "interactive")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "# mine\nsky; cloud\npalm, tall\n", "sky; cloud\npalm\ntall"),
        ("a.csv", 'id,name\n1,sky;cloud\n2,"palm, tall"\n', 'sky; cloud\n"palm, tall"'),
        ("names.json", '{"names": ["sky", "hill"]}', "sky\nhill"),
    ],
)
def test_words_come_from_a_file(page, tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    page.do("words-file", "upload", file(tmp_path / name))
    assert page["words"] == words and not page.said()
    assert page.visit.asked.settings.words == words


def test_words_that_a_file_holds_twice_are_said(page, tmp_path):
    (tmp_path / "a.txt").write_text("sky\nhill\nSky\n")
    page.do("words-file", "upload", file(tmp_path / "a.txt"))
    assert page["words"] == "sky\nhill" and "taken once: 'Sky'" in page.said()


@pytest.mark.parametrize(
    ("content", "message"), [(b"sky, " * 200_000, "more than 500 kB"), (b"[3]", "Got 3"), (b"", "There are no words")]
)
def test_a_file_without_usable_words_is_said_and_the_words_stay(page, tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content) if content == b"[3]" else (tmp_path / "a.txt").write_bytes(content)
    page.do("words-file", "upload", file(next(tmp_path.glob("a.*"))))
    assert message in page.said() and page["words"] == "sky, tree"


class Arriving(OneModel):
    """Has one CLIP; the weights of others can be fetched, or not."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.here, self.fails = {"OpenAI B/16"}, False

    def ready(self, clip, vfm):
        return clip in self.here

    def fetch(self, clip, vfm):
        from demo.models import Download

        yield Download(clip, 1, 605_000_000)
        if self.fails:
            raise pc.WeightsError(f"No connection, so no {clip}.")
        self.here.add(clip)


@pytest.fixture
def arriving(tiny_model, portrait) -> tuple[Page, Arriving]:
    models = Arriving(tiny_model)
    page = Page(build_demo(models, "OpenAI B/16", "DINO B/8"))
    page.set("picture", file(portrait))
    page.set("windows", "whole")
    page.do("words", "submit", "sky, tree")
    return page, models


def test_models_that_are_not_here_are_fetched_by_the_button_alone(arriving):
    page, models = arriving
    page.do("clip", "input", "OpenAI B/32")
    assert "OpenAI B/16 +" in page["status"] and models.here == {"OpenAI B/16"}  # the present ones go on
    page.do("segment", "click")
    assert "OpenAI B/32 +" in page["status"] and not page.prop("download", "visible") and not page.said()


def test_weights_that_cannot_be_had_end_the_chain_with_a_reason(arriving):
    page, models = arriving
    models.fails = True
    page.set("clip", "OpenAI B/32")
    before = page["overlay"]
    page.do("segment", "click")
    assert page.said() == "No connection, so no OpenAI B/32." and page["overlay"] == before
    assert page.toast == "" and not page.prop("download", "visible")


def test_nothing_is_fetched_for_words_with_a_slip(arriving):
    page, models = arriving
    page.set("clip", "OpenAI B/32")
    page.do("words", "submit", "sky,,tree")
    assert "empty word" in page.said() and models.here == {"OpenAI B/16"}


# The endpoint


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"side": 2**31}, "side is 2147483648; expected 224 to 1024 pixels, or 'as-is'"),
        ({"side": 10**40}, "side is a number of over 20 digits"),
        ({"side": 0}, "side is 0; expected 224 to 1024 pixels, or 'as-is'"),
        ({"beta": 99}, "beta is 99.* expected a number from"),
        ({"gamma": 0}, "gamma is 0.* expected a number from"),
        ({"threshold": 2, "background": "first"}, "threshold is 2.* expected a number from 0 to 1"),
        ({"threshold": 0.5}, "no class is the background"),
        ({"background": "yes"}, "background is 'yes'; expected one of 'none', 'first', 'short', 'long'"),
        ({"windows": "all"}, "windows is 'all'; expected one of 'sliding', 'whole'"),
        ({"templates": "some"}, "templates is 'some'"),
        ({"fusion": "none"}, "fusion is 'none'"),
        ({"refine": "more"}, "refine is 'more'"),
        ({"vfm": "DINO Q"}, "No VFM is called 'DINO Q'"),
        ({"patch": 5}, "'DINO B' comes with patch size 8 and 16"),
        ({"words": "a, b; a"}, "given twice"),
        ({"words": "x" * 20_001}, "at most 20000"),
    ],
)
def test_a_call_that_cannot_be_answered_gets_the_reason(asked, portrait, wrong, message):
    with pytest.raises(gr.Error, match=message):
        asked.call("segment", **({"picture": file(portrait), "words": "sky"} | wrong))


@pytest.mark.parametrize("side", [448, "448", "as-is"])
def test_a_call_gives_the_side_as_a_number_or_as_is(asked, portrait, side):
    labels = asked.call("segment", picture=file(portrait), words="sky, tree", side=side, windows="whole")[1]
    assert Image.open(labels["path"]).size == (150, 230)


def test_a_call_does_not_download(arriving, portrait):
    page, _ = arriving
    with pytest.raises(gr.Error, match=r"(?s)Segment on the page downloads them.*hf download timm/"):
        page.call("segment", picture=file(portrait), words="sky", clip="OpenAI B/32")


@pytest.mark.parametrize("endpoint", ["segment", "attention", "words"])
def test_the_endpoints_have_the_tables_defaults(asked, endpoint):
    api = asked.demo.get_api_info()["named_endpoints"][f"/{endpoint}"]
    given = {row["parameter_name"]: row for row in api["parameters"]}
    assert endpoint != "segment" or set(pc.SETTINGS) <= set(given)
    numbers = {name: row for name, row in pc.SETTINGS.items() if row.kind in ("number", "choice") and name in given}
    assert {"beta", "gamma", "windows"} <= set(numbers)
    for name, row in numbers.items():
        assert given[name]["parameter_default"] == row.default
        assert row.expected in given[name]["label"]
    assert given["side"]["parameter_default"] == "336"


def test_the_page_opens_with_the_tables_defaults_but_for_what_refines(tiny_model):
    opened = Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8"))
    rows = {name: row for name, row in pc.SETTINGS.items() if row.kind != "text"}
    shown = {name: row.from_text(str(opened[name])) for name, row in rows.items()}
    assert {name for name, row in rows.items() if shown[name] != row.default} == {"refine"}


@pytest.fixture(scope="module")
def address(tiny_model):
    with page_around(tiny_model) as url:
        yield url


@pytest.fixture(scope="module")
def client(address) -> Client:
    return Client(address, verbose=False)


def test_a_client_gets_what_the_library_gives(client, tiny_model, portrait):
    overlay, labels, summary, files = client.predict(
        handle_file(portrait), "sky; cloud, <b>tree</b>", windows="whole", api_name="/segment"
    )
    expected = tiny_model(portrait, "sky; cloud, <b>tree</b>", windows="whole", templates="imagenet80")
    assert (np.asarray(Image.open(labels)) == expected.labels).all()
    assert Image.open(overlay).size == (150, 230)
    assert summary["names"] == ["sky", "<b>tree</b>"] and summary["size_hw"] == [230, 150]
    assert sum(row["share"] for row in summary["classes"]) == pytest.approx(1, abs=1e-4) and files is None
    assert {row["name"]: row["words"] for row in summary["classes"]}["sky"] == "sky; cloud"


def test_a_client_gets_the_formats_that_it_names_in_a_zip(client, tiny_model, portrait):
    given = {"windows": "whole", "templates": "simple7", "formats": "labels, settings", "api_name": "/segment"}
    labels, files = client.predict(handle_file(portrait), "sky, tree", **given)[1::2]
    with zipfile.ZipFile(files) as archive:
        assert {"labels.png", "names.txt", "settings.json"} <= set(archive.namelist())
        packed = np.asarray(Image.open(io.BytesIO(archive.read("labels.png"))))
    assert (packed == np.asarray(Image.open(labels))).all()
    with pytest.raises(AppError, match="formats has 'gif'; expected some of labels, overlay"):
        client.predict(handle_file(portrait), "sky, tree", **given | {"formats": "gif"})


def test_a_client_gets_errors_as_errors(client, portrait):
    with pytest.raises(AppError, match="beta is 99"):
        client.predict(handle_file(portrait), "sky", beta=99, api_name="/segment")


def post(address: str, body: dict) -> str:
    event = httpx.post(f"{address}gradio_api/call/v2/segment", json=body).json()["event_id"]
    return httpx.get(f"{address}gradio_api/call/v2/segment/{event}", timeout=60).text


def test_curl_needs_no_more_than_a_picture_and_words(address, portrait):
    with open(portrait, "rb") as opened:
        path = httpx.post(f"{address}gradio_api/upload", files={"files": opened}).json()[0]
    answer = post(address, {"picture": {"path": path, "meta": {"_type": "gradio.FileData"}}, "words": "sky, tree"})
    assert "event: complete" in answer and '"names": ["sky", "tree"]' in answer


@pytest.mark.parametrize(
    "picture",
    [
        {"path": str(ROOT / "app.py")},
        {"path": "http://example.org/picture.png"},
        {"path": None, "url": "data:image/png;base64,iVBORw0KGgo="},
    ],
)
def test_only_files_that_were_uploaded_are_read(address, picture):
    answer = post(address, {"picture": picture | {"meta": {"_type": "gradio.FileData"}}, "words": "sky"})
    assert "event: error" in answer and "as a picture" not in answer


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"beta": 99}, "beta is 99"), ({"words": "a,,b"}, "empty word"), ({"vfm": "DINO Q"}, "No VFM is called")],
)
def test_curl_gets_the_reason_of_a_wrong_value(address, portrait, wrong, reason):
    with open(portrait, "rb") as opened:
        path = httpx.post(f"{address}gradio_api/upload", files={"files": opened}).json()[0]
    picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
    answer = post(address, {"picture": picture, "words": "sky"} | wrong)
    assert "event: error" in answer and reason in answer


def test_uploads_are_bounded(address):
    answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("big.png", bytes(21_000_000))})
    assert answer.status_code == 413


# The process


def test_the_process_starts_without_network_and_answers_with_the_remedy(portrait, tmp_path):
    with app_process(tmp_path, "--vfm", "DINO B", "--patch", "16") as url:
        with pytest.raises(AppError, match=r"hf download timm/vit_base_patch16_clip_224\.openai"):
            Client(url, verbose=False).predict(handle_file(portrait), "sky", api_name="/segment")
        assert "DINO B/16" in httpx.get(url).text


@pytest.mark.parametrize(
    "proxy",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},  # Qwen 1101, chat-with-mlx 13
        {"ALL_PROXY": "socks5://127.0.0.1:1080"},  # gradio 4007, 7798
    ],
)
def test_a_proxy_in_the_environment_does_not_stand_between_the_page_and_itself(tmp_path, proxy):
    if "ALL_PROXY" in proxy:
        pytest.importorskip("socksio")
    with app_process(tmp_path, **proxy) as url:
        assert httpx.get(url, trust_env=False).status_code == 200


def test_weights_of_ones_own_open_on_a_local_page_whose_visitors_name_no_files(portrait, tmp_path):
    own = shutil.copy(BUILTIN_FOLDER / "vfm_patch8.safetensors", tmp_path / "mine.safetensors")
    given = {"windows": "whole", "templates": "none", "api_name": "/segment"}
    with app_process(tmp_path, "--clip", "Built-in", "--vfm", str(own)) as url:
        client = Client(url, verbose=False)
        summary = client.predict(handle_file(portrait), "sky, grass", **given)[2]
        assert summary["models"]["vfm"] == "mine.safetensors as Built-in/8"
        with pytest.raises(AppError, match="No VFM is called"):
            client.predict(handle_file(portrait), "sky, grass", vfm=str(own), **given)


def test_a_page_that_is_ended_in_the_middle_leaves_nothing_behind(portrait, tmp_path):
    own = tmp_path / "temporary"
    own.mkdir()
    (own / "gradio").write_text("where gradio puts uploads is somebody else's")
    with app_process(tmp_path, TMPDIR=str(own), GRADIO_TEMP_DIR="") as url:
        with open(portrait, "rb") as opened:
            (path,) = httpx.post(f"{url}gradio_api/upload", files={"files": opened}).json()
        picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
        words = ", ".join(f"word {number}" for number in range(300))
        httpx.post(f"{url}gradio_api/call/v2/segment", json={"picture": picture, "words": words}).raise_for_status()
        assert len(list(own.iterdir())) > 1
    assert [path.name for path in own.iterdir()] == ["gradio"]


@pytest.mark.parametrize(
    ("arguments", "environment", "public"),
    [
        ([], {}, False),
        (["--host", "127.0.0.1"], {}, False),
        (["--host", "0.0.0.0"], {}, True),
        (["--share"], {}, True),
        (["--root-path", "/proxyclip"], {}, True),
        ([], {"SPACE_ID": "somebody/proxyclip"}, True),
        ([], {"GRADIO_SERVER_NAME": "0.0.0.0"}, True),
    ],
)
def test_whether_strangers_can_reach_the_page(monkeypatch, arguments, environment, public):
    import app

    for name in ("SPACE_ID", "GRADIO_SERVER_NAME", "GRADIO_SHARE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
    assert app.is_public(app.read_arguments()) is public


@pytest.mark.parametrize("visitors_may", [True, False])
def test_what_visitors_may_not_have_downloaded_the_start_downloads(monkeypatch, tiny_model, visitors_may):
    import app

    fetched: list[str] = []
    monkeypatch.setattr(limits, "DOWNLOADS", visitors_may)
    monkeypatch.setattr("proxyclip_core.models.weights.find_weights", lambda spec: fetched.append(spec.name))
    app.warm_up(OneModel(tiny_model), "OpenAI B/16", "DINO B/8")
    assert fetched == ([] if visitors_may else ["OpenAI B/16", "DINO B/8"])


def test_a_wrong_option_is_said_in_a_line():
    ended = subprocess.run(
        [sys.executable, "app.py", "--vfm", "DINO B", "--patch", "5"], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 1 and ended.stderr.startswith("app.py: ") and "Traceback" not in ended.stderr


# What a page needs once somebody asks for it, seconds of import each.
LATER = ("segment_anything", "torchvision", "open_clip", "timm", "diffusers", "matplotlib.figure")
NOT_YET = f"assert not set({LATER}) & set(sys.modules)"


# gradio's stubs are made from their classes' sources.
NO_STUBS = "import ast; ast.get_source_segment = None"


@pytest.mark.parametrize("before", [NO_STUBS, "import gradio"])
def test_importing_the_page_writes_nothing_beside_its_sources_and_waits_for_no_model(before):
    subprocess.run([sys.executable, "-c", f"{before}; import sys, demo.ui; {NOT_YET}"], cwd=ROOT, check=True)
    assert not list(Path(ROOT / "demo").rglob("*.pyi"))
