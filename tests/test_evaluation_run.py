"""A model on a data set: exact from the picture's file to the score, and able to go on where it was stopped."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import proxyclip_core as pc
from proxyclip_core.evaluation import DataSet, ask, benchmark_data, count_areas, find_benchmark
from proxyclip_core.evaluation.partial import PartialAreas
from proxyclip_core.picture import read_image, resized
from tests import reference
from tests.replay import golden_clip, golden_vfm
from tests.tiny_sets import LAYOUTS, write_set

GOLDEN = Path(__file__).parent / "golden"
FAST = {"side": None, "templates": "none"}
LABELS = (np.arange(56)[:, None] // 28).repeat(112, 1).astype(np.uint8)


def write_pairs(folder, four_areas, count=3) -> None:
    """Pictures of 56 x 112 pixels, the upper half of class 0, each of its own brightness."""
    for number in range(count):
        Image.fromarray(four_areas // (number + 1)).save(folder / f"{number}.png")
        Image.fromarray(LABELS).save(folder / f"{number}.png.png")


@pytest.fixture
def pairs(four_areas, tmp_path) -> DataSet:
    (tmp_path / "pairs").mkdir()
    write_pairs(tmp_path / "pairs", four_areas)
    return pc.folder_data(tmp_path / "pairs", tmp_path / "pairs", "sky, hill; mountain", **FAST)


def test_the_score_is_of_what_the_model_answers(tiny_model, pairs):
    expected = sum(
        count_areas(tiny_model(item.picture, pairs.classes, **FAST).labels, LABELS, 2) for item in pairs.items
    )
    scores = pc.evaluate(tiny_model, pairs)
    assert (scores.areas == expected).all() and scores.pictures == 3 and scores.published is None
    assert scores.computed_with == tiny_model.computed_with() and scores.settings["side"] is None


def test_settings_reach_the_model(tiny_model, pairs):
    usual = pc.evaluate(tiny_model, pairs)
    for way in (
        {"fusion": "values"},
        {"reach": "picture", "beta": 2.0},
        {"facet": "keys"},
        {"refine": "pixels"},
        {"templates": "simple7"},
    ):
        expected = tiny_model(pairs.items[0].picture, pairs.classes, **FAST | way).labels
        found = pc.evaluate(tiny_model, pairs, limit=1, **way)
        assert (found.areas == count_areas(expected, LABELS, 2)).all()
        assert all(found.settings[name] == value for name, value in way.items())
    below = pc.evaluate(tiny_model, pairs, background="first", threshold=1.0)
    assert below.areas[0].tolist() == [3 * LABELS.size, 0] != usual.areas[0].tolist()


def opencv_resized(picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """The published resizing rule in plain numpy: bilinear between the four nearest pixels, in OpenCV's arithmetic,
    which rounds the weights to 11 bits."""

    def taps(full: int, scaled: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        centre = (np.arange(scaled) + 0.5) * full / scaled - 0.5
        low = np.floor(centre).astype(int)
        weight = np.rint((centre - low) * 2048).astype(int)
        return low.clip(0, full - 1), (low + 1).clip(0, full - 1), weight

    top, bottom, down = taps(picture.shape[0], size_hw[0])
    left, right, across = taps(picture.shape[1], size_hw[1])
    levels = picture.astype(np.int64)
    rows = levels[:, left] * (2048 - across)[:, None] + levels[:, right] * across[:, None]
    blended = rows[top] * (2048 - down)[:, None, None] + rows[bottom] * down[:, None, None]
    return ((blended + (1 << 21)) >> 22).astype(np.uint8)


@pytest.mark.parametrize("size_hw", [(336, 504), (90, 131), (700, 1000)])
def test_the_published_resizing_is_opencvs_to_one_level_and_not_antialiased(size_hw):
    picture = np.random.default_rng(0).integers(0, 256, (401, 602, 3), np.uint8)
    ours = resized(picture, size_hw, "bilinear").astype(int)
    difference = np.abs(ours - opencv_resized(picture, size_hw))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.02
    smaller = size_hw[0] < 401
    antialiased = np.asarray(Image.fromarray(picture).resize(size_hw[::-1], Image.Resampling.BILINEAR))
    assert (np.abs(ours - antialiased).mean() > 5) == smaller


@pytest.mark.parametrize(
    ("name", "layout", "size_hw"), [("voc21", "voc", (420, 610)), ("cityscapes", "cityscapes raw", (512, 700))]
)
def test_from_the_file_to_the_score_it_is_the_released_evaluation(tiny_model, tmp_path, name, layout, size_hw):
    """No golden case begins with a file that is resized, so the rule is held against the plain method: the picture by
    OpenCV's rule, the released windows, wordings, threshold, and the answer at the label map's own size."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (9, 13, 3), np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize(size_hw[::-1], Image.Resampling.BICUBIC)).astype(int)
    picture = (picture + rng.integers(-40, 40, picture.shape)).clip(0, 255).astype(np.uint8)
    labels = rng.integers(0, 34 if name == "cityscapes" else 21, size_hw).astype(np.uint8)
    labels[:40] = 255
    write_set(tmp_path, layout, picture, [labels])
    data, row = benchmark_data(name, tmp_path), find_benchmark(name)

    queries = [word for group in row.paper for word in group]
    classes = torch.tensor([index for index, group in enumerate(row.paper) for _ in group])
    text = reference.text_embeddings(tiny_model.clip, queries, "simple7")
    side = {"voc21": 336, "cityscapes": 448}[name]
    scaled = tuple(int(length * side / min(size_hw) + 0.5) for length in size_hw)
    logits = reference.picture_logits(
        tiny_model.clip,
        tiny_model.vfm,
        opencv_resized(read_image(data.items[0].picture), scaled),
        text,
        size_hw,
        crop={"voc21": 336, "cityscapes": 224}[name],
        stride=112,
    )
    expected, _ = reference.labels(logits, classes, {"voc21": 0.2, "cityscapes": 0.0}[name])

    scores = pc.evaluate(tiny_model, data)
    counted = data.items[0].read()[1]
    difference = np.abs(scores.areas - count_areas(expected, counted, len(row.names))).sum()
    assert difference <= 0.001 * labels.size  # one grey level here and there
    antialiased = pc.evaluate(tiny_model, data, resizing="bicubic")
    by_other_rule = np.abs(antialiased.areas - count_areas(expected, counted, len(row.names))).sum()
    assert by_other_rule > 5 * difference, (by_other_rule, difference)
    assert scores.settings["templates"] == "simple7" and scores.published and not scores.whole


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.npz")), ids=lambda path: path.stem)
def test_a_golden_case_as_files_scores_100_percent_against_the_authors_labels(path, tmp_path):
    case = np.load(path)
    meta = json.loads(str(case["meta"]))
    model = pc.ProxyCLIP(golden_clip(meta), golden_vfm(meta["vfm"]))
    Image.fromarray(case["image"]).save(tmp_path / "a.png")
    Image.fromarray(case["labels"]).save(tmp_path / "a.png.png")
    asked = {name: meta[name] for name in ("crop", "stride", "beta", "gamma", "threshold")}
    background = "first" if meta["threshold"] > 0 else "none"
    data = pc.folder_data(tmp_path, tmp_path, meta["vocabulary"], side=None, background=background, **asked)
    scores = pc.evaluate(model, data)
    assert scores.aacc == scores.macc == scores.miou == 1 and len(scores.iou) > 1


def test_a_word_may_stand_in_the_background_and_be_an_object(tiny_model, four_areas, tmp_path):
    write_set(tmp_path, "coco raw", four_areas, [LABELS])
    vocabulary = ask(tiny_model, benchmark_data("coco-object", tmp_path), **FAST).vocabulary
    beds = [index for index, word in enumerate(vocabulary.queries) if word == "bed"]
    assert vocabulary.query_class[beds].tolist() == [0, 60] and vocabulary.has_background
    assert torch.equal(*vocabulary.embeddings[beds])
    assert len(vocabulary.names) == 81 and len(vocabulary.queries) == 97


def test_the_papers_wording_of_the_background_gives_way_to_a_chosen_one(tiny_model, four_areas, tmp_path):
    write_set(tmp_path, "voc", four_areas, [LABELS])
    for names in ("paper", "official"):
        data = benchmark_data("voc21", tmp_path, names)
        vocabulary = ask(tiny_model, data, **FAST, background="short").vocabulary
        assert vocabulary.queries[0] == "background" and int((vocabulary.query_class == 0).sum()) == 9
        assert len(vocabulary.names) == 21
    with pytest.raises(ValueError, match="class 0 of VOC20 is 'aeroplane'"):
        ask(tiny_model, benchmark_data("voc20", tmp_path), background="long")
    with pytest.raises(ValueError, match="no class is the background"):
        ask(tiny_model, benchmark_data("voc20", tmp_path), threshold=0.1)


def test_it_goes_on_where_it_was_stopped(tiny_model, pairs, four_areas, counter, tmp_path):
    whole = pc.evaluate(tiny_model, pairs)
    last = pairs.items[2].picture
    sound = last.read_bytes()
    last.write_bytes(sound[:50])
    with pytest.raises(ValueError, match=r"2\.png"):
        pc.evaluate(tiny_model, pairs, partial=tmp_path / "kept", workers=1)
    last.write_bytes(sound)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    scores = []
    calls = counter.during(lambda: scores.append(pc.evaluate(tiny_model, pairs, partial=tmp_path / "kept")))
    assert calls == {"clip": 1, "vfm": 1, "text": 1}  # one picture of one window, and the words once
    assert (scores[0].areas == whole.areas).all() and scores[0].pictures == 3
    assert not list((tmp_path / "kept").iterdir())


def stopped(model, data, folder) -> None:
    """An evaluation that ended after two of three pictures."""
    hidden = data.items[2].picture.with_name("hidden")
    data.items[2].picture.rename(hidden)
    with pytest.raises(ValueError, match="no picture file"):
        pc.evaluate(model, data, partial=folder, workers=1)
    hidden.rename(data.items[2].picture)


def test_it_begins_anew_where_anything_differs(tiny_model, pairs, counter, tmp_path):
    kept = tmp_path / "kept"
    for change in ({"beta": 1.5}, {"fresh": True}, {"limit": 2}):
        stopped(tiny_model, pairs, kept)
        calls = counter.during(partial(pc.evaluate, tiny_model, pairs, partial=kept, **change))
        assert calls["vfm"] == change.get("limit", 3)
    stopped(tiny_model, pairs, kept)
    Image.fromarray(255 * LABELS).save(pairs.items[0].source.path)
    expected = pc.evaluate(tiny_model, pairs)
    assert (pc.evaluate(tiny_model, pairs, partial=kept).areas == expected.areas).all()
    stopped(tiny_model, pairs, kept)
    next(kept.iterdir()).write_text('{"done": 2}')  # damaged
    assert (pc.evaluate(tiny_model, pairs, partial=kept).areas == expected.areas).all()


def test_a_folder_that_cannot_be_written_to_only_costs_the_going_on(tiny_model, pairs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="would begin anew") as said:
        scores = pc.evaluate(tiny_model, pairs, partial=tmp_path / "file")
    assert scores.pictures == 3 and len(said) == 1


def test_pictures_come_in_any_order_and_a_stopped_evaluation_asks_for_the_others_alone(pairs, tmp_path):
    one, models = np.arange(6).reshape(3, 2), {"device": "cpu"}
    begun = PartialAreas(tmp_path, pairs.items, 2, ["this"])
    for place in (2, 0):
        begun.add(place, one * (place + 1), models)
    kept = PartialAreas(tmp_path, pairs.items, 2, ["this"])
    assert kept.todo == [1] and kept.done == 2 and (kept.areas == 4 * one).all() and kept.computed_with == models
    kept.add(1, one, models)
    assert PartialAreas(tmp_path, pairs.items, 2, ["this"]).todo == []
    assert PartialAreas(tmp_path, pairs.items, 2, ["that"]).todo == [0, 1, 2]
    pairs.items[2].picture.write_bytes(b"another")
    assert PartialAreas(tmp_path, pairs.items, 2, ["this"]).todo == [0, 1, 2]


def test_an_evaluation_on_ray_says_what_it_needs(tiny_model, pairs):
    with pytest.raises(ValueError, match="load"):
        pc.evaluate(tiny_model, pairs, ray="local")


def test_a_picture_that_fails_is_named(tiny_model, four_areas, tmp_path):
    write_set(tmp_path, "ade", four_areas, [LABELS])
    (item,) = benchmark_data("ade20k", tmp_path).items
    broken = LAYOUTS["ade"].picture.format(item.name)
    (tmp_path / broken).write_bytes(b"<html>")
    with pytest.raises(ValueError, match="ADE_val_00000001"):
        pc.evaluate(tiny_model, benchmark_data("ade20k", tmp_path), **FAST)
