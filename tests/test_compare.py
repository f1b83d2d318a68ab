# ruff: noqa: F811 fixtures are imported by name
"""demo.answers.compare: results of one picture side by side, each stage computed once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from demo import variants
from demo.answers import compare
from demo.answers import segment as callbacks
from demo.session import advance
from demo.tabs import compare as compare_tab
from demo.variants import LABELS, Bench, Variant, variant_of
from tests.test_inside import models, other_model, settings, staged, true_map  # noqa: F401

CLIP_ALONE, VALUES = LABELS.values()


@pytest.fixture
def bench(models, staged):
    return Bench(models, staged)


@pytest.fixture
def others(other_model, monkeypatch) -> list[int]:
    """One entry for each time the other VFM runs."""
    runs, encode = [], other_model.vfm.encode_windows
    monkeypatch.setattr(other_model.vfm, "encode_windows", lambda pixels: runs.append(1) or encode(pixels))
    return runs


@pytest.mark.parametrize("name", [CLIP_ALONE, VALUES, "DINO B/8", "DINO B/16"])
def test_a_variant_is_what_the_model_gives(bench, models, settings, name):
    variant = variant_of(name)
    model = models.get("", variant.vfm)
    features = model.encode(settings.picture, settings.side, settings.windows)
    words = model.embed(settings.words, templates=settings.templates)
    expected = model.segment(model.classify(model.fuse(features, fusion=variant.fusion), words), words)
    assert (bench.labels(variant) == expected.labels).all()


def test_names_lead_back_to_their_variants(bench):
    for name in compare.choices(["DINO B/8", "DINO B/16"]):
        assert variant_of(name).label == name
    assert compare.variant(bench, compare.CURRENT) == bench.current == Variant(vfm="DINO B/8")


def test_each_stage_runs_once(models, staged, settings, tiny_model, counter, others):
    names = [CLIP_ALONE, VALUES, "DINO B/8", "DINO B/16"]
    bench = Bench(models, staged)
    assert counter.during(lambda: [compare.show(bench, name, None) for name in names]) == {} and len(others) == 1
    again = Bench(models, staged, bench.kept)
    assert counter.during(lambda: compare.pair(again, "DINO B/16", CLIP_ALONE, None)) == {} and len(others) == 1
    assert again.kept.values.keys() == bench.kept.values.keys()


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"threshold": 0.3}, {"result"}),
        ({"words": "sky, hill"}, {"logits", "result"}),
        ({"beta": 1.4}, {"dense", "logits", "result"}),
        ({"side": 336}, {"features", "dense", "logits", "result"}),
    ],
)
def test_a_change_runs_only_what_depends_on_it(models, staged, settings, tiny_model, others, change, stages):
    before = Bench(models, staged)
    before.labels(Variant(vfm="DINO B/16"))
    changed = Bench(models, advance(tiny_model, replace(settings, **change), staged), before.kept)
    changed.labels(Variant(vfm="DINO B/16"))
    assert {stage for stage, _ in changed.kept.values.keys() - before.kept.values.keys()} == stages
    assert len(others) == 1 + ("features" in stages)


def test_clip_alone_does_not_depend_on_beta(models, staged, settings, tiny_model):
    before = Bench(models, staged)
    before.labels(Variant("clip"))
    changed = Bench(models, advance(tiny_model, replace(settings, beta=2.0), staged), before.kept)
    changed.labels(Variant("clip"))
    assert changed.kept.values.keys() == before.kept.values.keys()


def sheet(models, staged, names, label_map=None):
    """The contact sheet as the page runs it: (note, kept, rows, progress) after each result."""
    parts = SimpleNamespace(kept="kept", chosen="chosen", label_map="label map")
    shared = SimpleNamespace(state="state", examples=(), answer=partial(variants.answer, models))
    values = {"state": staged, "kept": None, "chosen": names, "label map": label_map}
    return compare_tab._sheet(parts, shared, values)


def test_a_run_can_be_stopped_between_two_results(models, staged, others):
    run = sheet(models, staged, [CLIP_ALONE, "DINO B/16"])
    assert next(run)[2] == []
    assert len(next(run)[2]) == 1
    run.close()
    assert others == []


def test_a_run_that_fails_keeps_its_results_and_says_why(models, staged, monkeypatch):
    def get(*names):
        raise ValueError("No such model here.")

    monkeypatch.setattr(models, "get", get)
    said, *_, progress = list(sheet(models, staged, [compare.CURRENT, "DINO B/16"]))[-1]
    assert "No such model here." in said["value"] and progress == ""


def test_captions_say_time_and_score_where_truth_is_known(bench, true_map):
    rows = list(sheet(bench.models, bench.staged, ["DINO B/8", "DINO B/16"], true_map))[-1][2]
    assert [caption.split(" · ")[0] for _, caption in rows] == ["DINO B/8", "DINO B/16"]
    assert all(" · mIoU " in caption and caption.endswith(" s") for _, caption in rows)
    assert "mIoU" not in compare.show(bench, "DINO B/16", None).caption
    for drawn, _ in rows:
        assert drawn.shape == bench.staged.picture.shape


def test_a_time_that_is_not_all_of_it_says_so(models, staged, settings, tiny_model):
    later = advance(tiny_model, replace(settings, threshold=0.1), staged)
    assert "the rest was there" in compare.show(Bench(models, later), "DINO B/8", None).caption


def test_a_pair_says_how_much_it_differs(bench):
    (left, right), line = compare.pair(bench, compare.CURRENT, "DINO B/8", None)
    assert (left == right).all() and "They differ on 0 % of" in line
    (left, right), line = compare.pair(bench, CLIP_ALONE, compare.CURRENT, None)
    assert (left != right).any() and "The current result (DINO B/8)" in line
    differ = (bench.labels(Variant("clip")) != bench.labels(bench.current)).mean()
    assert f"They differ on {differ * 100:.0f} %" in line


def test_results_are_drawn_in_the_colours_of_the_page(bench):
    drawn = compare.show(bench, compare.CURRENT, None).drawn
    expected = callbacks.draw_labels(bench.staged.picture, bench.staged.labels, bench.staged, compare.LOOK)
    assert np.array_equal(drawn, expected)


def test_the_sheet_opens_with_all_patch_sizes_of_the_family():
    ready = ["DINO B/8", "DINO B/16", "DINO S/8"]
    assert compare.suggested("DINO B/16", ready) == [CLIP_ALONE, VALUES, "DINO B/8", "DINO B/16"]


def test_progress_is_a_bar_with_the_name_as_text():
    bar = compare.progress(1, ["a", "<b>"])
    assert '<progress max="2" value="1"' in bar and "&lt;b&gt;" in bar and "<b>" not in bar
    assert "2 of 2 · done" in compare.progress(2, ["a", "b"])


def test_unknown_names_from_outside_are_dropped():
    assert compare_tab.Names.preprocess(None, ["DINO B/8", "../x", CLIP_ALONE]) == ["DINO B/8", CLIP_ALONE]
    assert compare_tab.Name.preprocess(None, "nothing") == compare.CURRENT
