"""demo.answers.compare and demo.tabs.compare: results of one picture side by side, each stage computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import proxyclip_core as pc
from demo import menus
from demo.answers import compare, ground_truth
from demo.stages import Stages
from demo.ui import build_demo
from demo.visit import Asked, Visit
from proxyclip_core.drawing.drawing import Look
from tests.page import Page, file
from tests.serving import TwoModels

CLIP_ALONE, VALUES = menus.ALONE


def visit(asked: Asked, entries: dict) -> Visit:
    return replace(Visit.of(asked), entries=entries)


@pytest.fixture(scope="module")
def models(tiny_model, other_model) -> TwoModels:
    return TwoModels(tiny_model, other_model)


@pytest.fixture(scope="module")
def asked(blocks_file) -> Asked:
    settings = pc.Settings(
        "OpenAI B/16", "DINO B/8", "red, green, blue, yellow", side=224, windows="whole", templates="simple7"
    )
    return Asked(settings, blocks_file)


@pytest.fixture
def stages(models, asked) -> Stages:
    stages = Stages(models, Visit.of(asked))
    stages.overlay()
    return stages


@pytest.mark.parametrize(
    "name", [CLIP_ALONE, VALUES, "DINO B/8", "DINO B/16", "DINO B/8, keys", "DINO B/8, queries + keys"]
)
def test_a_result_is_what_the_model_gives(stages, models, asked, name):
    s = menus.variant(name, asked.settings)
    model = models.get("", s.vfm)
    features = model.encode(asked.picture, s.side, s.windows, facet=s.facet)
    words = model.embed(s.words, templates=s.templates)
    expected = model.classify(model.fuse(features, fusion=s.fusion), words).segment()
    assert (compare.show(stages, name, None).labels == expected.labels).all()


def test_every_name_leads_to_other_settings_and_an_unknown_one_to_none(asked):
    names, settings = menus.result_names(["DINO B/8", "DINO B/16"]), replace(asked.settings, beta=2.0)
    assert len({menus.variant(name, settings) for name in names}) == len(names) == 6
    assert menus.variant(menus.CURRENT, asked.settings) == asked.settings
    with pytest.raises(ValueError, match="No VFM is called"):
        menus.variant("../x", asked.settings)


def test_each_stage_runs_once(models, asked, stages, counter, other_runs):
    names = [CLIP_ALONE, VALUES, "DINO B/8", "DINO B/16"]
    assert counter.during(lambda: [compare.show(stages, name, None) for name in names]) == {} and len(other_runs) == 1
    again = Stages(models, visit(asked, stages.entries()))
    compare.pair(again, "DINO B/16", CLIP_ALONE, None)
    assert not again.ran and len(other_runs) == 1


@pytest.mark.parametrize(
    ("change", "ran"),
    [
        ({"background": "first", "threshold": 0.3}, {"words", "logits", "result"}),
        ({"words": "sky, hill"}, {"words", "logits", "result"}),
        ({"beta": 1.4}, {"dense", "logits", "result"}),
        ({"side": 336}, {"clip", "vfm", "dense", "logits", "result"}),
    ],
)
def test_a_change_runs_only_what_depends_on_it(models, asked, stages, other_runs, change, ran):
    compare.show(stages, "DINO B/16", None)
    changed = replace(asked, settings=replace(asked.settings, **change))
    later = Stages(models, visit(changed, stages.entries()))
    compare.show(later, "DINO B/16", None)
    assert set(later.ran) == ran and len(other_runs) == 1 + ("vfm" in ran)


def test_clip_alone_does_not_depend_on_beta(models, asked, stages):
    compare.show(stages, CLIP_ALONE, None)
    later = Stages(models, visit(replace(asked, settings=replace(asked.settings, beta=2.0)), stages.entries()))
    compare.show(later, CLIP_ALONE, None)
    assert not later.ran


def test_captions_say_time_and_score_where_truth_is_known(stages, true_map):
    true = ground_truth.of(stages, true_map, ())
    name, score, seconds = compare.show(stages, "DINO B/16", true).caption.split(" · ")
    assert name == "DINO B/16" and score.startswith("mIoU ") and seconds.endswith(" s")
    assert "mIoU" not in compare.show(stages, "DINO B/16", None).caption


def test_a_pair_says_how_much_it_differs(stages, asked):
    (left, right), line = compare.pair(stages, menus.CURRENT, "DINO B/8", None)
    assert (left == right).all() and "They differ on 0 % of" in line
    (left, right), line = compare.pair(stages, CLIP_ALONE, menus.CURRENT, None)
    assert (left != right).any() and "The current result (DINO B/8)" in line
    alone = stages.result(menus.variant(CLIP_ALONE, asked.settings)).labels
    assert f"They differ on {(alone != stages.result().labels).mean() * 100:.0f} %" in line


def test_results_are_drawn_in_the_colours_of_the_page(stages):
    drawn = compare.show(stages, menus.CURRENT, None).drawn
    assert drawn.shape == stages.picture().shape  # as small as the picture: there may be many
    assert np.array_equal(drawn, stages.drawing().draw(stages.canvas(), Look()))
    half = compare.show(stages, menus.CURRENT, None, Look(0.3, names=False, hidden=("red",))).drawn
    assert np.array_equal(half, stages.drawing().draw(stages.canvas(), Look(0.3, names=False, hidden=("red",))))
    assert (stages.drawing().colours == stages.overlay().colours).all()


def test_what_the_page_found_has_its_colour_in_every_result(stages, asked):
    own, other = stages.overlay(), stages.drawing(menus.variant(CLIP_ALONE, asked.settings))
    shared = own.found().keys() & other.found().keys()
    assert shared and all((own.colours[index] == other.colours[index]).all() for index in shared)


def test_the_sheet_opens_with_all_patch_sizes_of_the_family():
    ready = ["DINO B/8", "DINO B/16", "DINO S/8"]
    assert compare.suggested("DINO B/16", ready) == [CLIP_ALONE, VALUES, "DINO B/8", "DINO B/16"]


def test_progress_is_a_bar_with_the_name_as_text():
    bar = compare.progress(1, ["a", "<b>"])
    assert '<progress max="2" value="1"' in bar and "&lt;b&gt;" in bar and "<b>" not in bar
    assert "2 of 2 · done" in compare.progress(2, ["a", "b"])


@pytest.fixture(scope="module")
def segmented(models, asked) -> Page:
    page = Page(build_demo(models, "OpenAI B/16", "DINO B/8"))
    for part, value in (("picture", file(asked.picture)), ("windows", "whole"), ("templates", "simple7")):
        page.set(part, value)
    page.do("words", "submit", "red, green, blue")
    return page


@pytest.fixture
def page(segmented) -> Page:
    return segmented.copy()


def captions(page: Page) -> list[str]:
    return [row["caption"].split(" · ")[0] for row in page["compare-sheet"] or []]


def test_the_sheet_shows_every_result_once_and_in_order(page):
    page.set("compare-chosen", ["DINO B/16", CLIP_ALONE, "DINO B/16", "DINO B/8"])
    page.do("compare-run", "click")
    assert captions(page) == ["DINO B/16", CLIP_ALONE, "DINO B/8"] and "3 of 3 · done" in page["compare-progress"]
    assert Image.open(page["compare-sheet"][0]["image"]["path"]).size == (230, 150)


def test_a_sheet_writes_each_picture_once(page, monkeypatch):
    from demo.tabs import compare as tab

    written, as_file = [], tab.as_file
    monkeypatch.setattr(tab, "as_file", lambda sheet, *shown: written.append(shown[1]) or as_file(sheet, *shown))
    page.set("compare-chosen", [CLIP_ALONE, VALUES, "DINO B/8"])
    page.do("compare-run", "click")
    assert written == [CLIP_ALONE, VALUES, "DINO B/8"]


def test_a_run_that_fails_keeps_its_results_and_says_why(page):
    page.set("compare-chosen", [CLIP_ALONE, "SAM H/16", "DINO B/8"])
    page.do("compare-run", "click")
    assert "SAM H/16 is not on this machine" in page.said("compare-progress") and captions(page) == [CLIP_ALONE]


def test_a_sheet_of_an_earlier_result_goes(page):
    page.do("compare-run", "click")
    assert captions(page)
    page.do("words", "submit", "red, hill")
    assert not captions(page) and page["compare-progress"] == ""


def test_without_a_choice_nothing_is_compared(page):
    page.set("compare-chosen", [])
    page.do("compare-run", "click")
    assert page.said("compare-progress") == "Choose what to compare."


def test_one_click_lays_the_papers_result_beside_the_refined_one(page, counter):
    page.open_view("compare")
    assert counter.during(lambda: page.do("compare-both", "click")) == {}
    assert (page["compare-left"], page["compare-right"]) == (menus.PAPER, menus.REFINED)
    assert f"Left: {menus.PAPER}" in page.said("compare-line") and f"Right: {menus.REFINED}" in page.said(
        "compare-line"
    )


def test_a_result_of_the_sheet_is_laid_under_the_line_by_a_click(page, counter):
    page.open_view("compare")
    page.do("compare-run", "click")
    clicked = {"index": 1, "value": page["compare-sheet"][1]}
    assert counter.during(lambda: page.do("compare-sheet", "select", None, clicked)) == {}
    assert page["compare-left"] == VALUES
    assert f"Left: {VALUES}" in page.said("compare-line")


@pytest.mark.parametrize("value", [None, "CLIP alone", {"caption": ["CLIP alone"]}, {"caption": "no such · 0.1 s"}])
def test_a_click_on_what_is_no_result_changes_nothing(page, value):
    before = page["compare-left"]
    page.do("compare-sheet", "select", None, {"index": 0, "value": value})
    assert page["compare-left"] == before


def test_results_are_compared_as_they_look_under_segment(page, models):
    for part, value in (("opacity", 0.2), ("names", False), ("held-hidden", '["green"]')):
        page.set(part, value)
    page.open_view("compare")
    one, _ = (np.asarray(Image.open(side["path"]).convert("RGB")) for side in page["compare-slider"])
    settings = menus.variant(CLIP_ALONE, page.visit.asked.settings)
    stages = Stages(models, page.visit)
    drawing = stages.drawing(settings)
    assert np.array_equal(one, drawing.draw(stages.canvas(), Look(0.2, names=False, hidden=("green",))))
    assert "Not drawn, as under Segment: green." in page.said("compare-line")


def test_clip_alone_is_not_refined(asked):
    refined = replace(asked.settings, refine="patches")
    assert menus.variant(CLIP_ALONE, refined).refine == "none"
