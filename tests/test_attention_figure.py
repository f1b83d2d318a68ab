"""proxyclip_core.drawing.attention_figure, and the page's door to it."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import proxyclip_core as pc
from demo import menus
from demo.answers import figure
from demo.answers.inside import View
from demo.stages import Stages
from demo.ui import build_demo
from demo.visit import Asked, Visit
from proxyclip_core.drawing import attention_figure as drawing
from tests.page import Page, file
from tests.serving import OneModel, TwoModels

SEEDS = [(30, 30), (200, 120)]
HOSTILE = r"$\frac{1}{0}$ _a_^2 <script>&"


@pytest.fixture(scope="module")
def features(tiny_model, blocks):
    return tiny_model.encode(blocks, 224, "whole")


@pytest.fixture(scope="module")
def plate(tiny_model, features, blocks):
    return pc.attention_figure(tiny_model, features, SEEDS, blocks, 1.1, 4.0, names=[HOSTILE, "天 nowhere"])


def test_the_arrays_are_what_seed_attention_says(plate, tiny_model, features):
    held = np.load(io.BytesIO(plate.to_bytes("npz")))
    assert held["maps"].shape == (2, 2, 150, 230) and held["sources"].tolist() == ["CLIP's own attention", "golden"]
    for row, point in enumerate(SEEDS):
        for column, source in enumerate(("clip", "vfm")):
            expected = tiny_model.seed_attention(features, point, 1.1, 4.0, source=source)
            assert (held["maps"][row, column] == expected).all()
    assert held["seeds"].tolist() == [[30, 30], [200, 120]] and held["names"][1] == "天 nowhere"
    assert (held["beta"], held["gamma"], str(held["stage"])) == (1.1, 4.0, "softmax")


def test_all_maps_and_the_colour_bar_share_one_scale(plate):
    axes = plate.figure().axes
    scales = [image.get_clim() for one in axes for image in one.images if image.get_array().ndim == 2]
    assert len(scales) == 4 and set(scales) == {plate.limits()}
    assert plate.limits() == (0.0, pytest.approx(float(np.quantile(plate.maps, 0.995))))


def test_one_patch_that_gets_nearly_all_does_not_leave_the_others_dark(plate):
    maps = np.full_like(plate.maps, 0.001)
    maps[0, 0, 0, 0] = 0.9
    assert replace(plate, maps=maps).limits() == (0.0, pytest.approx(0.001))
    maps[:] = 0
    maps[0, 0, 0, 0] = 0.9
    assert replace(plate, maps=maps).limits() == (0.0, pytest.approx(0.9))


def test_grids_of_two_sizes_compare_as_multiples_of_an_even_share(tiny_model, other_model, features, blocks):
    coarse = other_model.encode(blocks, 224, "whole", clip_from=features)
    how = {"own_attention": False, "scale": "uniform"}
    plate = pc.attention_figure(tiny_model, [features, coarse], SEEDS[:1], blocks, **how)
    assert plate.patches == (28 * 49, 14 * 24) and plate.sources == ("golden", "golden")
    assert (plate.shown()[0, 1] == plate.maps[0, 1] * (14 * 24)).all()
    assert plate.shown().mean(axis=(-1, -2)) == pytest.approx(np.ones((1, 2)), rel=0.2)  # some lies in the padding


def test_a_large_picture_has_maps_of_a_bounded_size(tiny_model, monkeypatch, blocks, features):
    monkeypatch.setattr(drawing, "MOST_SIDE", 115)
    plate = pc.attention_figure(tiny_model, features, [(229, 149)], blocks)
    assert plate.maps.shape[-2:] == plate.picture.shape[:2] == (75, 115) and plate.size_hw == (150, 230)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_every_kind_opens_and_is_small(plate, kind, tmp_path):
    path = tmp_path / f"figure.{kind}"
    plate.save(path)
    content = path.read_bytes()
    assert len(content) < 1_000_000 and len(list(tmp_path.iterdir())) == 1
    if kind == "png":
        assert Image.open(path).convert("RGB").size > (1000, 500)
    elif kind == "svg":
        ElementTree.fromstring(content)
    else:
        assert content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF") and b"/FontFile2" in content


def test_what_a_person_typed_is_text_and_never_mathematics_or_markup(plate):
    assert any(axes.get_ylabel().startswith(f"1: {HOSTILE[:25]}…") for axes in plate.figure().axes)
    svg = plate.to_bytes("svg")
    assert r"$\frac{1}{0}$ _a_^2" in svg.decode() and b"<script" not in svg
    for kind in ("png", "pdf"):
        plate.to_bytes(kind)


def test_a_persons_style_does_not_reach_the_texts(plate):
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"text.usetex": True, "text.parse_math": True}):
        assert not plate.figure().axes[0].title.get_usetex()
        assert matplotlib.rcParams["text.usetex"]


def test_a_name_that_the_font_does_not_have_is_left_out(plate):
    assert any(axes.get_ylabel() == "2 (200, 120)" for axes in plate.figure().axes)


def test_the_caption_says_with_what_it_was_made(plate, features):
    for part in (features.clip_id, features.vfm_id, "β = 1.1, γ = 4", "230 × 150", f"proxyclip {pc.__version__}"):
        assert part in plate.caption
    assert re.search(r"torch \d", plate.caption) and "arXiv:2408.04883" in plate.caption


def test_a_stage_without_clips_own_attention_leaves_it_out(tiny_model, features, blocks):
    plate = pc.attention_figure(tiny_model, features, SEEDS, blocks, stage="cosine")
    assert plate.sources == ("golden",) and plate.limits()[0] == plate.maps.min()
    assert "β" not in plate.caption


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [(230, 10)]}, "lies outside the picture of 230 x 150"),
        ({"image": np.zeros((150, 230, 3), np.uint8)}, "of another picture"),
        ({"stage": "after"}, "stage is 'after'; expected one of cosine"),
        ({"stage": "cosine", "scale": "uniform"}, "the latter for softmax alone"),
        ({"stage": "cosine", "own_attention": True}, "expected one of softmax"),
        ({"names": ["one"]}, "1 names for 2 seeds"),
    ],
)
def test_what_does_not_fit_together_is_said(tiny_model, features, blocks, given, message):
    with pytest.raises(ValueError, match=message):
        pc.attention_figure(**({"model": tiny_model, "features": features, "seeds": SEEDS, "image": blocks} | given))


def test_a_kind_of_file_that_is_none_is_said(plate, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be written as .*x.gif.; take one of png, svg, pdf, npz"):
        plate.save(tmp_path / "x.gif")


@pytest.fixture
def stages(tiny_model, other_model, blocks_file) -> Stages:
    s = pc.Settings("OpenAI B/16", "DINO B/8", "$a_b$, green", side=224, windows="whole", templates="none")
    return Stages(TwoModels(tiny_model, other_model), Visit.of(Asked(s, blocks_file)))


def test_the_page_takes_the_seeds_the_sources_and_the_stage_that_are_looked_at(stages, tiny_model):
    view = View((menus.OWN_ATTENTION, "DINO B/16"), seeds={"picture": stages.digest, "points": [[30, 30]]})
    held = np.load(io.BytesIO(figure.attention_figure(stages, view, "npz")[1]))
    assert held["maps"].shape[:2] == (1, 3) and held["names"].tolist()[0] in ("$a_b$", "green")
    assert (held["maps"][0, 1] == tiny_model.seed_attention(stages.features(), (30, 30))).all()
    held = np.load(io.BytesIO(figure.attention_figure(stages, replace(view, stage="cosine"), "npz")[1]))
    assert held["maps"].shape[:2] == (1, 2) and str(held["stage"]) == "cosine"
    held = np.load(io.BytesIO(figure.attention_figure(stages, replace(view, head=1, scale="uniform"), "npz")[1]))
    assert held["sources"][0] == "CLIP's own attention, head 2"
    assert (held["maps"][0, 0] == tiny_model.seed_attention(stages.features(), (30, 30), source="clip", head=1)).all()


def test_the_page_refuses_a_kind_that_is_none(stages):
    with pytest.raises(ValueError, match="take one of png"):
        figure.attention_figure(stages, View(), "../x")


def test_the_button_gives_a_file_of_the_chosen_kind_and_says_what_it_cannot(tiny_model, blocks_file):
    page = Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8"))
    page.do("inside-figure-take", "click")
    assert page["inside-figure-file"] is None and "No result yet" in page.said("inside-note")
    for part, value in (("picture", file(blocks_file)), ("windows", "whole"), ("templates", "simple7")):
        page.set(part, value)
    page.do("words", "submit", "red, green")
    page.set("inside-figure-kind", "svg")
    page.do("inside-figure-take", "click")
    assert not page.said("inside-note")
    assert Path(page["inside-figure-file"]["path"]).name == "attention.svg"
    page.set("inside-figure-kind", "../x")
    page.do("inside-figure-take", "click")
    assert "cannot be written as '../x'" in page.said("inside-note") and page["inside-figure-file"] is None
