"""The download: every file in the zip against the labels, and settings that give the same masks again."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

import proxyclip_core as pc
from demo import link
from demo.answers import save_load as carry
from demo.answers.segment import Look, UserError
from demo.session import Settings, advance, within_memory
from proxyclip_core import cli as command_line
from proxyclip_core import export
from proxyclip_core.settings import Settings as SavedSettings
from tests.serving import OneModel

AWKWARD = "sky; cloud, CON, ../up \\ down, água, “hill”"


@pytest.fixture
def settings(blocks, tmp_path) -> Settings:
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    picture = str(tmp_path / "blocks.png")
    return Settings("OpenAI B/16", "DINO B/8", AWKWARD, 1.3, 4.0, windows="whole", templates="simple7", picture=picture)


@pytest.fixture
def staged(tiny_model, settings):
    return advance(tiny_model, settings)


def saved(model, staged, look=None) -> zipfile.ZipFile:
    def compute(*values):
        return advance(model, *values)

    with tempfile.TemporaryDirectory() as folder:
        path = carry.save(OneModel(model), compute, staged, look or Look(), lambda done, text: None, folder)
        return zipfile.ZipFile(io.BytesIO(Path(path).read_bytes()))


def picture_in(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(archive.read(name))))


def test_every_file_of_the_zip_agrees_with_the_labels(tiny_model, staged, settings):
    labels, names = staged.result.labels, list(staged.result.names)
    archive = saved(tiny_model, staged)
    assert archive.testzip() is None
    assert Image.open(io.BytesIO(archive.read("labels.png"))).mode == "I;16"
    assert (picture_in(archive, "labels.png") == labels).all()
    assert archive.read("names.txt").decode().splitlines() == names == json.loads(archive.read("names.json"))
    masks = sorted(name for name in archive.namelist() if name.startswith("masks/"))
    assert len(masks) == len(names)
    for index, name in enumerate(masks):
        assert (picture_in(archive, name) == np.where(labels == index, 255, 0)).all()
    arrays = np.load(io.BytesIO(archive.read("result.npz")))
    assert (arrays["labels"] == labels).all() and arrays["names"].tolist() == names
    assert (arrays["confidence"] == staged.result.confidence).all()
    assert picture_in(archive, "overlay.png").shape == (*labels.shape, 3)
    assert SavedSettings.from_json(archive.read("settings.json").decode()) == settings.savable


def test_coco_masks_decode_to_the_labels(staged):
    written = json.loads(json.dumps(export.coco(staged.result, "blocks.png")))
    numbers = {row["id"]: row["name"] for row in written["categories"]}
    assert list(numbers.values()) == list(staged.result.names)
    seen = np.zeros(staged.result.labels.shape, dtype=int)
    for row in written["annotations"]:
        mask = rle.decode(row["segmentation"]).astype(bool)
        assert (mask == staged.result.mask(numbers[row["category_id"]])).all()
        assert row["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        left, top, width, height = row["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
        seen += mask
    assert (seen == 1).all()
    assert written["images"] == [{"id": 1, "file_name": "blocks.png", "width": 230, "height": 150}]


def test_mask_names_are_safe_and_never_the_same():
    names = [export.mask_name(index, name) for index, name in enumerate(["a b", "a-b", "../x", "CON", "山", "x" * 300])]
    assert names == ["000_a_b.png", "001_a_b.png", "002_x.png", "003_CON.png", "004.png", f"005_{'x' * 60}.png"]


def test_the_overlay_is_as_it_was_looked_at(tiny_model, staged, settings):
    look = Look(opacity=0.0, outlines=False, names=False)
    assert (picture_in(saved(tiny_model, staged, look), "overlay.png") == pc.read_image(settings.picture)).all()
    hidden = Look(1.0, False, False, hidden=staged.result.names)
    assert (picture_in(saved(tiny_model, staged, hidden), "overlay.png") == pc.read_image(settings.picture)).all()


def test_a_result_that_was_not_kept_is_made_again(tiny_model, counter, staged):
    light = within_memory(staged, limit=0)
    archives = []
    assert counter.during(lambda: archives.append(saved(tiny_model, light))) == {}
    assert (picture_in(archives[0], "labels.png") == staged.result.labels).all()


def test_without_a_result_the_remedy_is_said(tiny_model):
    with pytest.raises(UserError, match="press Segment"):
        saved(tiny_model, None)


def test_the_command_line_gives_the_same_masks(tiny_model, staged, settings, tmp_path, monkeypatch, capsys):
    (tmp_path / "settings.json").write_bytes(saved(tiny_model, staged).read("settings.json"))
    asked = []
    monkeypatch.setattr(command_line, "load", lambda *names, **more: asked.append((names, more)) or tiny_model)
    arguments = ["segment", settings.picture, "--settings", str(tmp_path / "settings.json"), "--out", str(tmp_path)]
    assert command_line.main(arguments) == 0, capsys.readouterr().err
    assert asked[0][0] == ("OpenAI B/16", "DINO B/8") and asked[0][1]["templates"] == "simple7"
    assert (np.asarray(Image.open(tmp_path / "blocks_labels.png")) == staged.result.labels).all()


def test_settings_fill_the_page_as_they_were(settings):
    filled = dict(zip(carry.FILLED, carry.fill(settings)))
    assert filled["picture"] == settings.picture and filled["words"] == AWKWARD and filled["beta"] == 1.3
    assert (filled["family"]["value"], filled["patch"]["value"]) == ("DINO B", 8)
    assert filled["side"]["value"] == 336 and not filled["threshold"]["interactive"]


def test_a_file_that_is_no_settings_is_said_so(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no text"):
        carry.read_settings(str(path))
    path.write_text(SavedSettings("OpenAI B/99", "DINO B/8", "sky").to_json())
    with pytest.raises(ValueError, match="No CLIP is called"):
        carry.read_settings(str(path))


DEFAULT = SavedSettings("OpenAI B/16", "DINO B/8", "sky", templates="simple7")


@pytest.mark.parametrize(
    "settings",
    [
        DEFAULT,
        SavedSettings("LAION B/16", "SAM B/16", "a & b = c; ü, #", 0.9, 7.5, None, "whole", "none", "short", 0.25),
    ],
)
def test_a_link_brings_back_the_settings(settings):
    assert link.from_query(dict(parse_qsl(link.to_query(settings, DEFAULT))), DEFAULT) == settings


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"beta": "high"}, "beta is 'high'"),
        ({"beta": "nan"}, "beta is nan"),
        ({"gamma": "99"}, "gamma is 99.0"),
        ({"side": "5"}, "side is 5"),
        ({"vfm": "DINO Q"}, "No VFM is called 'DINO Q'"),
        ({"windows": "<b>"}, "windows is '<b>'"),
        ({"templates": "none2"}, "templates is 'none2'"),
    ],
)
def test_a_link_that_cannot_be_is_said_and_the_page_opens_all_the_same(query, message):
    default = Settings.of(DEFAULT, "")
    settings, said = carry.opening(query, default, ())
    assert settings == default and message in said


def test_a_link_never_names_a_file(tmp_path):
    settings, said = carry.opening({"picture": "/etc/passwd", "other": "x"}, Settings.of(DEFAULT, ""), ())
    assert settings.picture == "" and said == ""
