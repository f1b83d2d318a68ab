"""What goes out of the page and comes back: the download as it was looked at, settings files, links."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image

import proxyclip_core as pc
from demo import link
from demo.answers import save_load as carry
from demo.answers.segment import Look, UserError
from demo.session import Settings, advance, within_memory
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
