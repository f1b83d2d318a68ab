"""The app: its callbacks, its one public endpoint, and the real process without network and weights."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import proxyclip_core as pc
from demo import menus
from demo.answers import segment as callbacks
from demo.answers.segment import Look, Point
from demo.draw import overlay as render
from demo.session import Settings, advance, check_amount
from demo.tabs.segment import ClassName
from tests.serving import ROOT, OneModel, app_process, page_around

MESSAGE, PICTURE, LEGEND, STATUS, STATE = range(5)
SKIPPED = gr.skip()


@pytest.fixture(scope="module")
def portrait(blocks, tmp_path_factory) -> str:
    """A phone picture: 150 rows of 230 pixels in the file, which a viewer turns upright to 230 x 150."""
    path = tmp_path_factory.mktemp("pictures") / "portrait.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn clockwise to show
    Image.fromarray(blocks).save(path, exif=exif, quality=95)
    return str(path)


@pytest.fixture
def settings(portrait) -> Settings:
    return Settings("OpenAI B/16", "DINO B/8", "sky, tree", windows="whole", templates="simple7", picture=portrait)


@pytest.fixture
def act(tiny_model):
    """The Segment button's function around the small model."""

    def segment(settings, before=None, look=None, models=None, do=callbacks.segment):
        def compute(*values):
            return advance(tiny_model, *values)

        return do(models or OneModel(tiny_model), compute, settings, look or Look(), before, lambda done, text: None)

    return segment


def test_segment_shows_picture_legend_and_time(act, settings):
    answer = act(settings)
    assert not answer[MESSAGE]["visible"]
    assert answer[PICTURE].shape == (1200, 783, 3)  # upright, and large enough to write on
    assert "sky" in answer[LEGEND] and "tree" in answer[LEGEND]
    assert "150 × 230 pixels · OpenAI B/16 + DINO B/8 on cpu" in answer[STATUS]
    assert answer[STATE].result.names == ("sky", "tree")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"picture": ""}, "There is no picture yet"),
        ({"words": ""}, "There are no words"),
        ({"words": "sky, <b>sky</b>, <b>sky</b>"}, "&lt;b&gt;sky&lt;/b&gt;"),
        ({"words": "x" * 20_001}, "at most 20000"),
        ({"picture": __file__}, "as a picture"),
        ({"side": 5}, "side is 5"),
    ],
)
def test_what_cannot_be_used_is_said_and_the_rest_stays(act, settings, change, message):
    answer = act(replace(settings, **change))
    assert message in answer[MESSAGE]["value"] and "<b>" not in answer[MESSAGE]["value"]
    assert list(answer[PICTURE:]) == [SKIPPED] * 4


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def get(self, clip, vfm, say=None):
        raise self.error

    def ready(self, clip, vfm):
        return True


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (pc.WeightsError("no weights; run this command"), "no weights; run this command"),
        (MemoryError(), "memory was not enough"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), "memory was not enough"),
        (RuntimeError("MPS backend out of memory"), "memory was not enough"),
        (ZeroDivisionError("secret"), "Something went wrong inside (ZeroDivisionError)"),
    ],
)
def test_no_error_is_a_traceback(act, settings, error, message):
    value = act(settings, models=Failing(error))[MESSAGE]["value"]
    assert message in value and "Traceback" not in value and "secret" not in value


def test_slips_are_found_before_models_load(act, settings):
    answer = act(replace(settings, words="a,,b"), models=Failing(AssertionError("a model was asked for")))
    assert "empty word" in answer[MESSAGE]["value"]


def test_a_slider_without_a_result_does_nothing(act, settings):
    assert list(act(settings, do=partial(callbacks.refresh, shown=False))) == [SKIPPED] * 5


def test_a_slider_brings_the_result_up_to_date(act, settings, counter):
    before = act(settings)[STATE]
    answers = []
    calls = counter.during(lambda: answers.append(act(replace(settings, gamma=8.0), before, do=callbacks.refresh)))
    assert calls == {} and "fusion" in answers[0][STATUS] and "encoders" not in answers[0][STATUS]


def test_other_windows_say_how_much_they_change(act, settings):
    whole = act(replace(settings, beta=1.0))[STATE]
    sliding = act(replace(settings, beta=1.0, windows="sliding"), whole, do=callbacks.refresh)
    said = re.search(
        r"Sliding windows instead of whole picture: encoders [\d.]+ × (faster|slower), (.+ %) of the labels differ",
        html.unescape(sliding[STATUS]),
    )
    differ = (whole.result.labels != sliding[STATE].result.labels).mean()
    assert said and said[2] == render.percent(float(differ))
    back = act(replace(settings, beta=1.2, windows="whole"), sliding[STATE], do=callbacks.refresh)
    assert "instead of" not in back[STATUS]  # beta was changed too, so it is not the windows alone


def test_a_model_says_with_its_result_what_it_cannot_do(act, settings, monkeypatch):
    assert "photographs" not in act(settings)[STATUS]
    row = replace(pc.find_clip("OpenAI B/16"), note="Knows drawn things, not photographs.")
    monkeypatch.setitem(pc.CLIP_MODELS, row.name, row)
    assert "Knows drawn things, not photographs." in act(settings)[STATUS]


def test_opacity_only_draws(act, settings, counter):
    staged = act(settings)[STATE]
    drawn = []
    calls = counter.during(lambda: drawn.append(callbacks.redraw(Look(0.0, False, False), staged)[1]))
    assert calls == {} and drawn[0].shape == (1200, 783, 3)
    assert (drawn[0] == render.shown_picture(pc.read_image(settings.picture), (1200, 783))).all()
    assert callbacks.redraw(Look(), None) == (SKIPPED, SKIPPED)


def test_a_result_that_is_no_longer_held_is_made_anew_or_asked_for(act, settings):
    message, picture = callbacks.redraw(Look(), None, shown=True)
    assert "no longer on the server" in message["value"] and picture == SKIPPED
    assert act(settings, do=partial(callbacks.refresh, shown=True))[STATE].result is not None


def test_a_click_belongs_to_its_picture(act, settings, tmp_path):
    staged = act(settings)[STATE]
    point = Point((0.5, 0.5), staged.made_from["picture"])
    assert set(callbacks.scores_at(staged, point)) == {"sky", "tree"}
    Image.new("RGB", (230, 150), "navy").save(tmp_path / "other.png")
    other = act(replace(settings, picture=str(tmp_path / "other.png")), look=Look(point=point))
    assert callbacks.scores_at(other[STATE], point) is None
    assert (other[PICTURE] == callbacks.draw(other[STATE], Look())).all()


def test_the_look_can_change_where_the_result_was_too_large_to_keep(act, settings):
    staged = act(settings)[STATE]
    drawn, legend = callbacks.show(replace(staged, result=None), Look(opacity=1.0))
    assert (drawn == callbacks.draw(staged, Look(opacity=1.0))).all() and legend == SKIPPED


@pytest.mark.parametrize(
    "size_hw, side, windows",
    [
        ((3000, 4000), None, "sliding"),
        ((3000, 4000), None, "whole"),
        ((336, 28_000), None, "sliding"),
        ((10, 20_000), 224, "whole"),
    ],
)
def test_what_would_keep_the_encoders_busy_for_long_is_refused(settings, size_hw, side, windows):
    asked = replace(settings, side=side, windows=windows)
    if side is None:
        with pytest.raises(ValueError, match="Choose a lower resolution"):
            check_amount(size_hw, asked)
    else:
        check_amount(size_hw, asked)  # the long side is held to 2048 there
    check_amount((1024, 2048), replace(asked, side=1024))


def test_a_call_does_not_download(act, settings, tiny_model):
    class Absent(OneModel):
        def ready(self, clip, vfm):
            return False

    with pytest.raises(gr.Error, match=r"(?s)Segment on the page downloads them.*hf download timm/"):
        callbacks.segment_for_api(Absent(tiny_model), None, settings, None, Look())


def test_a_class_that_is_gone_is_no_error():
    menu = ClassName([])
    assert menu.preprocess("snow") == "snow" and menu.preprocess(["snow"]) is None


def test_choosing_a_family_offers_its_patch_sizes():
    patch, about = callbacks.choose_models("OpenAI B/16", "DINO B", 16)
    assert patch["value"] == 16 and [value for _, value in patch["choices"]] == [8, 16]
    patch, about = callbacks.choose_models("OpenAI B/16", "DINOv2 B", 16)
    assert patch["value"] == 14 and "DINOv2 B/14" in about


def test_a_patch_size_of_another_family_falls_back():
    assert menus.vfm_name("DINO B", 16) == "DINO B/16"
    assert menus.vfm_name("DINO B", 14) == menus.vfm_name("DINO B", None) == "DINO B/8"


def test_the_threshold_moves_only_with_a_background():
    assert not callbacks.choose_background("")["interactive"]
    assert callbacks.choose_background("short")["interactive"]


@pytest.fixture(scope="module")
def address(tiny_model):
    with page_around(tiny_model) as url:
        yield url


@pytest.fixture(scope="module")
def client(address) -> Client:
    return Client(address, verbose=False)


def test_segment_is_the_only_public_endpoint_and_settings_have_defaults(client):
    described = client.view_api(return_format="dict", print_info=False)
    assert list(described["named_endpoints"]) == ["/segment"] and not described["unnamed_endpoints"]
    parameters = described["named_endpoints"]["/segment"]["parameters"]
    assert [entry["parameter_name"] for entry in parameters if not entry["parameter_has_default"]] == [
        "picture",
        "words",
    ]
    assert {"clip", "vfm", "patch", "beta", "gamma", "side"} <= {entry["parameter_name"] for entry in parameters}


def test_a_client_gets_what_the_library_gives(client, tiny_model, portrait):
    overlay, labels, summary = client.predict(
        handle_file(portrait), "sky; cloud, <b>tree</b>", windows="whole", api_name="/segment"
    )
    expected = tiny_model(portrait, "sky; cloud, <b>tree</b>", windows="whole")
    assert (np.asarray(Image.open(labels)) == expected.labels).all()
    assert Image.open(overlay).size == (150, 230)
    assert summary["names"] == ["sky", "<b>tree</b>"] and summary["size_hw"] == [230, 150]
    assert sum(row["share"] for row in summary["classes"]) == pytest.approx(1, abs=1e-4)


def test_curl_gives_a_picture_and_words_alone(address, portrait):
    with open(portrait, "rb") as file:
        path = httpx.post(f"{address}gradio_api/upload", files={"files": file}).json()[0]
    body = {"picture": {"path": path, "meta": {"_type": "gradio.FileData"}}, "words": "sky, tree"}
    event = httpx.post(f"{address}gradio_api/call/v2/segment", json=body).json()["event_id"]
    answer = httpx.get(f"{address}gradio_api/call/v2/segment/{event}", timeout=60).text
    assert "event: complete" in answer and '"names": ["sky", "tree"]' in answer


@pytest.mark.parametrize(
    ("wrong", "message"), [({"vfm": "DINO Q"}, "No VFM is called 'DINO Q'"), ({"words": "a, a"}, "given twice")]
)
def test_a_client_gets_errors_as_errors(client, portrait, wrong, message):
    with pytest.raises(AppError, match=message):
        client.predict(**({"picture": handle_file(portrait), "words": "sky"} | wrong), api_name="/segment")


def test_a_file_that_was_not_uploaded_is_not_read(address):
    body = {"picture": {"path": str(ROOT / "app.py"), "meta": {"_type": "gradio.FileData"}}, "words": "sky"}
    event = httpx.post(f"{address}gradio_api/call/v2/segment", json=body).json()["event_id"]
    answer = httpx.get(f"{address}gradio_api/call/v2/segment/{event}", timeout=60).text
    assert "event: error" in answer and "as a picture" not in answer


def test_uploads_are_bounded(address):
    answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("big.png", bytes(21_000_000))})
    assert answer.status_code == 413


def test_the_process_starts_without_network_and_answers_with_the_remedy(portrait, tmp_path):
    with app_process(tmp_path, "--vfm", "DINO B", "--patch", "16") as url:
        with pytest.raises(AppError, match=r"hf download timm/vit_base_patch16_clip_224\.openai"):
            Client(url, verbose=False).predict(handle_file(portrait), "sky", clip="OpenAI B/16", api_name="/segment")
        assert "DINO B/16" in httpx.get(url).text


def test_a_wrong_option_is_said_in_a_line():
    ended = subprocess.run(
        [sys.executable, "app.py", "--vfm", "DINO B", "--patch", "5"], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 1 and ended.stderr.startswith("app.py: ") and "Traceback" not in ended.stderr
