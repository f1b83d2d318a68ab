"""demo.answers.alike: what is like the seeds, in the picture itself and in a second one."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import proxyclip_core as pc
from demo import limits
from demo.answers import alike
from demo.answers.inside import View
from demo.stages import Stages
from demo.visit import Asked, Visit
from proxyclip_core.export.encoding import SOFTWARE
from tests.serving import TwoModels

SEED = (30.0, 30.0)


@pytest.fixture(scope="module")
def models(tiny_model, other_model) -> TwoModels:
    return TwoModels(tiny_model, other_model)


@pytest.fixture(scope="module")
def stages(models, blocks_file) -> Stages:
    settings = pc.Settings("OpenAI B/16", "DINO B/8", "red, green", side=224, windows="whole", templates="none")
    made = Stages(models, Visit.of(Asked(settings, blocks_file)))
    made.result()
    return made


@pytest.fixture(scope="module")
def turned(blocks, tmp_path_factory) -> str:
    """The picture upside down and mirrored, twice as large."""
    path = tmp_path_factory.mktemp("second") / "turned.png"
    Image.fromarray(blocks[::-1, ::-1].repeat(2, axis=0).repeat(2, axis=1)).save(path)
    return str(path)


@pytest.fixture
def view(stages) -> View:
    return View((), seeds={"picture": stages.digest, "points": [list(SEED)]})


def masks_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_the_mask_to_take_is_that_of_the_model_at_the_pictures_own_size(stages, view):
    name, content = alike.masks(stages, view)
    expected = pc.likeness(stages.features(), SEED).mask(stages.settings.beta)
    assert name == "alike_1_DINO_B_8.png"
    assert (masks_of(content) == expected * 255).all() and set(np.unique(masks_of(content))) == {0, 255}


def test_a_share_is_that_much_of_the_picture(stages, view):
    _, content = alike.masks(stages, replace(view, by="share", share=0.25))
    assert (masks_of(content) > 0).mean() == pytest.approx(0.25, abs=0.001)


def test_several_seeds_and_sources_have_a_picture_and_a_mask_each(stages, view):
    view = replace(view, sources=("DINO B/16",), seeds=view.seeds | {"points": [[30, 30], [200, 120]]})
    found, columns = alike.alike(stages, view)
    assert columns == 2 and len({drawn.tobytes() for drawn, _ in found}) == 4
    captions = [caption.rsplit(" · ", 1)[0] for _, caption in found]
    assert captions == ["1 · DINO B/8", "1 · DINO B/16", "2 · DINO B/8", "2 · DINO B/16"]
    name, content = alike.masks(stages, view)
    held = zipfile.ZipFile(io.BytesIO(content))
    assert name == "alike.zip" and len(held.namelist()) == 4 and held.testzip() is None
    assert held.comment == SOFTWARE.encode()  # as every zip of ours


def test_outside_the_mask_the_picture_is_grey(stages, view):
    ((drawn, caption),), _ = alike.alike(stages, replace(view, by="share", share=0.1))
    coloured = np.ptp(drawn.astype(int), axis=-1) > 30
    assert 0.05 < coloured.mean() < 0.2 and caption.endswith("10 % of the picture")


def test_in_a_second_picture_the_best_match_lies_in_the_same_thing(stages, view, turned):
    ((drawn, caption),), _ = alike.alike(stages, replace(view, other=turned))
    assert "best match at (" in caption and drawn.shape[1] == 400
    x, y = (int(part) for part in caption.split("(")[1].split(")")[0].split(","))
    assert 230 <= x < 460 and 150 <= y < 300  # the red area, in pixels of the second picture
    _, content = alike.masks(stages, replace(view, other=turned))
    assert masks_of(content).shape == (300, 460)


def test_a_second_picture_is_read_once(models, stages, view, turned, counter):
    view = replace(view, other=turned, share=0.3)
    alike.alike(stages, view)
    visit = Visit.of(stages.asked)
    again = Stages(models, replace(visit, entries=stages.entries()), may_encode=False)
    assert counter.during(lambda: alike.alike(again, view)) == {}


def test_a_second_picture_that_is_none_is_said(stages, view, tmp_path):
    path = tmp_path / "no.png"
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="picture"):
        alike.alike(stages, replace(view, other=str(path)))
    with pytest.raises(ValueError, match="no longer on the server"):
        alike.alike(stages, replace(view, other=str(tmp_path / "gone.png")))


def test_masks_that_are_too_large_to_pack_are_refused(stages, view, monkeypatch):
    monkeypatch.setattr(limits, "MOST_SAVED_PIXELS", 30_000)
    with pytest.raises(ValueError, match=r"results of at most 0\.03 million can be downloaded"):
        alike.masks(stages, view)


@pytest.mark.parametrize("share", [-1, 2, float("nan"), "much"])
def test_a_share_that_cannot_be_is_said(stages, view, share):
    with pytest.raises(ValueError, match=r"share is .*; expected a number from 0 to 1"):
        alike.alike(stages, replace(view, by="share", share=share))


def test_a_click_is_a_seed_of_the_picture_itself(stages):
    height, width = alike.picked_picture(stages, View()).shape[:2]
    picked = alike.pick(stages, (0.25 * width, 0.75 * height))
    (x, y), *more = picked["points"]
    assert picked["picture"] == stages.digest and not more
    assert x == pytest.approx(0.25 * 230, abs=1) and y == pytest.approx(0.75 * 150, abs=1)
    assert alike.pick(stages, (-1e9, 1e9))["points"] == [(0, 149)]
