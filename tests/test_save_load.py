"""demo.answers.save_load: the download, settings files and links."""

from __future__ import annotations

import io
import json
import zipfile
from urllib.parse import parse_qsl, urlencode

import numpy as np
import pytest
from PIL import Image

import proxyclip_core as pc
from demo import limits
from demo.answers import save_load
from demo.answers.errors import NO_RESULT
from demo.ui import build_demo
from tests.page import Page, file
from tests.serving import OneModel

AWKWARD = "sky; cloud, CON, ../up \\ down, água, “hill”"
DEFAULT = pc.Settings("OpenAI B/16", "DINO B/8", "sky")


@pytest.fixture(scope="module")
def segmented(tiny_model, blocks_file) -> Page:
    page = Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8"))
    for part, value in (("picture", file(blocks_file)), ("windows", "whole"), ("templates", "simple7"), ("beta", 1.3)):
        page.set(part, value)
    page.do("words", "submit", AWKWARD)
    return page


@pytest.fixture
def page(segmented) -> Page:
    return segmented.copy()


def download(page: Page) -> zipfile.ZipFile:
    page.do("save", "click")
    assert not page.said()
    with open(page["zip-file"]["path"], "rb") as opened:
        return zipfile.ZipFile(io.BytesIO(opened.read()))


def picture_in(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(archive.read(name))))


def test_the_download_is_the_result_on_the_page_with_its_settings_and_what_computed_it(page, tiny_model):
    archive = download(page)
    assert (picture_in(archive, "labels.png") == page.visit.held("result").labels).all()
    written = archive.read("settings.json").decode()
    assert pc.Settings.from_json(written) == page.visit.asked.settings
    assert json.loads(written)["computed_with"] == json.loads(json.dumps(tiny_model.computed_with()))


def test_the_download_holds_what_is_ticked(page):
    usual = {"labels.png", "names.txt", "names.json", "overlay.png", "coco.json", "settings.json"}
    assert {name for name in download(page).namelist() if "/" not in name} == usual
    page.set("formats", ["npz", "coco"])
    page.set("wishes", ["polygons", "split", "logits"])
    archive = download(page)
    assert archive.namelist() == ["coco.json", "result.npz"]
    rows = json.loads(archive.read("coco.json"))["annotations"]
    assert all(len(row["segmentation"]) == 1 and isinstance(row["segmentation"][0], list) for row in rows)
    logits = np.load(io.BytesIO(archive.read("result.npz")))["logits"]
    assert (logits == page.visit.held("logits").values.numpy()).all()


@pytest.mark.parametrize(
    ("formats", "message"), [([], "Tick at least one"), (["yolo"], "formats is 'yolo'; expected a list of some of")]
)
def test_what_cannot_be_downloaded_is_said(page, formats, message):
    page.set("formats", formats)
    page.do("save", "click")
    assert message in page.said() and page["zip-file"] is None


def test_a_picture_too_large_to_pack_is_said(page, monkeypatch):
    monkeypatch.setattr(limits, "MOST_SAVED_PIXELS", 30_000)
    page.do("save", "click")
    assert "results of at most 0.03 million can be downloaded" in page.said()


def test_more_masks_than_can_be_packed_are_said(page, monkeypatch):
    monkeypatch.setattr(limits, "MOST_PACKED_PIXELS", 40_000)  # one mask of 150 x 230 pixels
    page.set("formats", ["labels", "masks"])
    page.do("save", "click")
    assert "too much for one download; at most 1 can be had. Untick the masks" in page.said()
    page.set("formats", ["labels"])
    page.do("save", "click")
    assert not page.said()


def test_the_overlay_of_the_download_is_as_it_was_looked_at_and_as_large_as_the_picture(page, blocks):
    page.do("names", "input", False)
    page.do("outlines", "input", False)
    page.do("opacity", "input", 0.0)
    assert (picture_in(download(page), "overlay.png") == blocks).all()


def test_a_download_runs_no_encoder(page, counter):
    assert counter.during(lambda: download(page)) == {}


@pytest.mark.parametrize("formats", [["coco"], ["masks"], ["cutouts"]])
def test_what_takes_too_long_to_pack_is_ended_and_said(page, monkeypatch, formats):
    monkeypatch.setattr(limits, "REQUEST_SECONDS", -1)
    page.set("formats", formats)
    page.do("save", "click")
    assert page.said() == save_load.TOO_MUCH and page["zip-file"] is None


def test_without_a_result_the_remedy_is_said(segmented):
    page = Page(segmented.demo)
    page.do("save", "click")
    assert page.said() == NO_RESULT


def test_a_download_that_fails_hands_out_nothing_and_says_why(page, monkeypatch):
    download(page)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pc.Segmentation, "save", full)
    page.do("save", "click")
    assert "no room left on the server's disk" in page.said() and page["zip-file"] is None


def test_settings_fill_the_page_as_they_were(page, tmp_path):
    saved = pc.Settings("LAION B/16", "SAM B/16", AWKWARD, 0.9, 7.5, 500, "whole", "none", "short", 0.25, "values")
    (tmp_path / "settings.json").write_text(saved.to_json())
    page.do("load", "upload", file(tmp_path / "settings.json"))
    assert page.visit.asked.settings == saved and not page.said()
    assert ["500", "500"] in page.prop("side", "choices") and page.prop("threshold", "interactive")


def test_settings_that_were_saved_elsewhere_say_what_is_not_the_same(page, tmp_path, tiny_model):
    record = tiny_model.computed_with()
    saved = pc.Settings("OpenAI B/16", "DINO B/8", "sky, lake", windows="whole", templates="none")
    (tmp_path / "here.json").write_text(saved.to_json(record))
    page.do("load", "upload", file(tmp_path / "here.json"))
    assert not page.said()
    elsewhere = record | {"versions": record["versions"] | {"timm": "0.1"}, "clip_weights": "of another kind"}
    (tmp_path / "there.json").write_text(saved.to_json(elsewhere))
    page.do("load", "upload", file(tmp_path / "there.json"))
    said = page.said()
    assert (
        said.startswith("These settings were saved with timm 0.1 (here ") and "CLIP's weights of another kind" in said
    )
    assert page.visit.asked.settings == saved


def test_a_few_settings_with_a_byte_order_mark_are_read(page, tmp_path):  # playwright PR 39420
    (tmp_path / "settings.json").write_bytes(b'\xef\xbb\xbf{"words": "sky, grass", "beta": 1.5, "gamma": 3.0}')
    page.do("load", "upload", file(tmp_path / "settings.json"))
    found = page.visit.asked.settings
    assert (found.words, found.beta, found.clip, page.said()) == ("sky, grass", 1.5, "OpenAI B/16", "")


def test_settings_of_today_without_a_vision_model_and_of_an_older_format_are_read(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(pc.Settings("OpenAI B/16", "", "sky", fusion="clip").to_json())
    assert save_load.read_settings(str(path), DEFAULT).vfm == "DINO B/8"
    old = {"proxyclip_settings": 1, "clip": "OpenAI B/16", "vfm": "DINO B/8", "words": "sky", "side": None}
    path.write_text(json.dumps(old | {"background": "", "versions": {}}))
    assert save_load.read_settings(str(path), DEFAULT).side is None


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])  # as PowerShell writes it
def test_settings_in_utf_16_and_without_models_are_read(page, tmp_path, encoding):
    text = '{"words": "sky, grass", "beta": 1.1, "templates": "none"}'
    (tmp_path / "settings.json").write_text(text, encoding=encoding)
    page.do("load", "upload", file(tmp_path / "settings.json"))
    settings = page.visit.asked.settings
    assert not page.said() and (settings.words, settings.beta) == ("sky, grass", 1.1)
    assert (settings.clip, settings.vfm) == (DEFAULT.clip, DEFAULT.vfm)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "the file is no text"),
        (b"[1]", "These are no settings"),
        (b'{"words": "\\ud800, sky"}', "These are no settings: they hold half of a character"),
        (pc.Settings("OpenAI B/99", "DINO B/8", "sky").to_json().encode(), "No CLIP is called"),
    ],
)
def test_a_file_that_is_no_settings_is_said_and_changes_nothing(page, tmp_path, content, message):
    (tmp_path / "x.json").write_bytes(content)
    before = page.visit
    page.do("load", "upload", file(tmp_path / "x.json"))
    assert message in page.said() and page.visit is before


@pytest.mark.parametrize(
    "settings",
    [
        DEFAULT,
        pc.Settings(
            "LAION B/16", "SAM B/16", "a & b = c; ü, #", 0.9, 7.5, None, "whole", "none", "short", 0.25, "clip"
        ),
    ],
)
def test_a_link_brings_back_the_settings(settings):
    assert save_load.from_query(dict(parse_qsl(urlencode(save_load.to_query(settings, DEFAULT)))), DEFAULT) == settings


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"beta": "high"}, "beta is 'high'"),
        ({"beta": "nan"}, "beta is nan"),
        ({"gamma": "99"}, "gamma is 99.0"),
        ({"side": "5"}, "side is 5"),
        ({"side": "9" * 30}, "side is a number of over 20 digits"),
        ({"vfm": "DINO Q"}, "No VFM is called 'DINO Q'"),
        ({"windows": "<b>"}, "windows is '<b>'"),
        ({"templates": "none2"}, "templates is 'none2'"),
        ({"threshold": "0.5"}, "no class is the background"),
    ],
)
def test_a_link_that_cannot_be_is_said_and_the_page_opens_all_the_same(query, message):
    asked, said = save_load.opening(query, DEFAULT, ())
    assert asked.settings == DEFAULT and message in said


def test_a_link_never_names_a_file():
    asked, said = save_load.opening({"picture": "/etc/passwd", "other": "x"}, DEFAULT, ())
    assert asked.picture == "" and said == ""


def test_copy_link_gives_what_differs(page):
    page.do("copy", "click")
    query = dict(parse_qsl(page["link"]))
    assert query == {"words": AWKWARD, "beta": "1.3", "windows": "whole", "templates": "simple7"}


@pytest.mark.parametrize(
    "kept", [None, 3, {}, {"words": 3}, {"words": "sky", "clip": "OpenAI B/99"}, {"words": "a", "x": 1}]
)
def test_what_a_browser_kept_is_read_with_care(kept):
    assert save_load.reopening(kept, "farm.png", DEFAULT) is None
    assert save_load.reopening({"words": "sky"}, None, DEFAULT) is None
    assert save_load.reopening({"words": "sky", "beta": 1.5}, "farm.png", DEFAULT).settings.beta == 1.5
