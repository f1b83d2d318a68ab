"""demo.answers.inside and demo.answers.ground_truth: looking inside, from the visitor's stages alone."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

import proxyclip_core as pc
from demo import limits, menus
from demo.answers import ground_truth, inside, segment
from demo.answers.inside import Seeds, View
from demo.answers.live import live
from demo.examples import Example
from demo.runner import Runner
from demo.stages import Stages
from demo.visit import Asked, Visit
from proxyclip_core.evaluation.scenes import UNLABELLED
from proxyclip_core.windows import WindowLayout
from tests.serving import TwoModels

WORDS = "red, green, blue, yellow"


def visit(asked: Asked, entries: dict) -> Visit:
    return replace(Visit.of(asked), entries=entries)


@pytest.fixture(scope="module")
def models(tiny_model, other_model) -> TwoModels:
    return TwoModels(tiny_model, other_model)


@pytest.fixture(scope="module")
def asked(blocks_file) -> Asked:
    settings = pc.Settings("OpenAI B/16", "DINO B/8", WORDS, side=224, windows="whole", templates="simple7")
    return Asked(settings, blocks_file)


@pytest.fixture(scope="module")
def kept(models, asked) -> dict:
    """What is kept once the result is on the page."""
    stages = Stages(models, Visit.of(asked))
    stages.overlay()
    return stages.entries()


@pytest.fixture
def stages(models, asked, kept) -> Stages:
    return Stages(models, visit(asked, kept))


def held(stages: Stages, *points: tuple[float, float]) -> View:
    """With seeds, as a browser holds them."""
    return View(seeds={"picture": stages.digest, "points": [list(point) for point in points]})


def test_seeds_are_limited_and_belong_to_their_picture(stages):
    given = held(stages, *((float(x), 9.0) for x in range(9))).seeds
    assert len(Seeds.read(given, stages.digest).points) == limits.MOST_SEEDS
    assert Seeds.read(given | {"picture": "another"}, stages.digest).points == ()
    assert inside.shown_points(stages, View()) == ((115.0, 75.0),)  # the middle stands in


def own_grid(stages: Stages) -> tuple[WindowLayout, tuple[int, int]]:
    features = stages.features()
    return features.layout, inside.grid_of(features)


def test_a_patch_box_holds_its_point_and_is_one_patch_large(stages):
    x0, y0, x1, y1 = inside.patch_box(*own_grid(stages), (100, 70))
    assert x0 <= 100.5 <= x1 and y0 <= 70.5 <= y1
    assert y1 - y0 == pytest.approx(8 * 150 / 224)  # 8 pixels of the picture at 224 rows


def test_every_seed_has_its_own_map_from_every_source(stages):
    view = replace(held(stages, (30.0, 30.0), (200.0, 120.0)), sources=(menus.OWN_ATTENTION, "DINO B/16"))
    maps, sources = inside.attention_maps(stages, view)
    names = ["CLIP's own attention", "DINO B/8", "DINO B/16"]
    told = [caption.rpartition(" · ")[0] for _, caption in maps]
    assert told == [f"{seed} · {name}" for seed in (1, 2) for name in names]
    assert len({drawn.tobytes() for drawn, _ in maps}) == 6 and sources == 3


def test_maps_are_drawn_also_once_the_picture_had_to_make_room_and_its_file_is_gone(models, asked, monkeypatch):
    segmented = Runner(models)(segment._prepare, Visit.of(asked))[1]
    monkeypatch.setattr(limits, "KEPT_BYTES", segmented.size - 1)
    entries = Stages(models, segmented).entries()
    assert "picture" not in {stage for stage, _ in entries}
    monkeypatch.setattr(pc, "read_picture", lambda path: pytest.fail("the file was read again"))
    stages = Stages(models, replace(segmented, entries=entries), may_encode=False)
    maps, _ = inside.attention_maps(stages, held(stages, (30.0, 30.0)))
    assert [caption.split(" · ")[1] for _, caption in maps] == ["CLIP's own attention", "DINO B/8"]


@pytest.mark.parametrize(("name", "facet"), [(n, f) for n, f in menus.FACETS.items() if not f.startswith("block")])
def test_each_facet_of_the_vision_model_has_a_map_of_its_own(stages, tiny_model, name, facet):
    assert f"DINO B/8{name}" in menus.vfm_names(["DINO B/8"], "DINO B/8")
    own, other = inside.sources(stages, View(sources=(f"DINO B/8{name}",)))
    assert (other.name, other.settings.facet, own.settings.facet) == (f"DINO B/8{name}", facet, "tokens")
    expected = tiny_model.encode(stages.asked.picture, 224, "whole", facet=facet)
    assert other.features.vfm is not None and torch.equal(other.features.vfm, expected.vfm)


def test_at_most_four_sources_are_side_by_side(stages, models, monkeypatch):
    monkeypatch.setattr(models, "ready", lambda clip, vfm: True)
    view = View((menus.OWN_ATTENTION, "DINO B/16", "DINO S/8", "DINO S/16", "MAE B/16"))
    maps, sources = inside.attention_maps(stages, view)
    assert len(maps) == sources == limits.MOST_SOURCES


def test_a_map_is_what_the_model_says(stages, tiny_model, monkeypatch):
    seen = {}
    monkeypatch.setattr(inside, "heat_map", lambda values, picture, *_: seen.update(values=values) or picture)
    monkeypatch.setattr(inside, "STRIP", 0)
    inside.attention_maps(stages, replace(held(stages, (30.0, 30.0)), sources=(), stage="cosine"))
    expected = tiny_model.seed_attention(stages.features(), (30, 30), stage="cosine")
    height, width = seen["values"].shape
    rows, columns = (np.arange(150) + 0.5) * height / 150, (np.arange(230) + 0.5) * width / 230
    assert np.abs(seen["values"][np.ix_(rows.astype(int), columns.astype(int))] - expected).max() < 0.1


def ends(maps: inside.Captioned) -> list[tuple[float, float]]:
    """The values at the ends of the colours, as the captions say them."""
    said = [caption.rpartition(" · ")[2].split(" to ") for _, caption in maps]
    return [(float(low), float(high)) for low, high in said]


def test_maps_have_scales_of_their_own_or_one_in_common_or_multiples_of_uniform(stages):
    view = held(stages, (30.0, 30.0), (200.0, 120.0))
    own, shared, times = (
        ends(inside.attention_maps(stages, replace(view, scale=scale))[0]) for scale in ("own", "shared", "uniform")
    )
    assert len(set(own)) == 4
    assert set(shared) == {(min(low for low, _ in own), max(high for _, high in own))}
    counts = [14 * 24, 28 * 49] * 2  # patches of CLIP and of the VFM, of the whole picture in 224 x 392 pixels
    assert times[0][1] == pytest.approx(max(high * count for (_, high), count in zip(own, counts)), rel=0.01)


def test_one_head_of_clips_own_attention_is_not_their_mean(stages):
    mean, second = (inside.attention_maps(stages, View(head=head))[0][0] for head in (None, 1))
    assert second[1].startswith("1 · CLIP's own attention, head 2 ·") and (mean[0] != second[0]).any()
    with pytest.raises(ValueError, match="head is 7"):
        inside.attention_maps(stages, View(head=7))


def test_the_whole_picture_is_one_grid_unless_the_windows_are_asked_for(models, asked, monkeypatch):
    sliding = Stages(models, Visit.of(replace(asked, settings=replace(asked.settings, windows="sliding", side=336))))
    seen = []
    monkeypatch.setattr(inside, "with_windows", lambda drawn, boxes: seen.append(boxes) or drawn)
    inside.attention_maps(sliding, View())
    assert {source.features.layout.count for source in inside.sources(sliding, View())} == {1} and seen == []
    inside.attention_maps(sliding, replace(held(sliding, (60.0, 75.0)), windows=True))
    scale = 400 / 515  # the picture is read with 515 columns, in windows of 336, and drawn with 400
    assert list(seen[0]) == ["window 1 of 3", "window 2 of 3"]  # that hold the seed
    assert seen[0]["window 2 of 3"] == pytest.approx((112 * scale, 0, 448 * scale, 261), abs=0.5)


OTHER = View((menus.OWN_ATTENTION, "DINO B/16"))


@pytest.mark.parametrize(
    ("action", "others"),
    [
        (lambda stages: live(stages, View()), 0),
        (lambda stages: inside.attention_maps(stages, View()), 0),
        (lambda stages: inside.similarity(stages, View()), 0),
        (lambda stages: inside.feature_pictures(stages, View()), 0),
        (lambda stages: live(stages, OTHER), 1),
        (lambda stages: inside.attention_maps(stages, OTHER), 1),
        (lambda stages: inside.similarity(stages, OTHER), 1),
        (lambda stages: inside.feature_pictures(stages, OTHER), 1),
    ],
    ids=["live", "maps", "similarity", "features", "another VFM, live", "its maps", "its similarity", "its features"],
)
def test_what_an_action_may_run(models, asked, stages, counter, other_runs, action, others):
    assert counter.during(lambda: action(stages)) == {}  # never CLIP, the words, or the page's VFM
    assert len(other_runs) == others
    # Kept from one event for the next: nothing runs a second time.
    action(Stages(models, visit(asked, stages.entries()), may_encode=False))
    assert len(other_runs) == others


def test_a_vision_model_that_is_not_here_is_not_fetched(stages):
    with pytest.raises(ValueError, match="DINO S/8 is not on this machine yet"):
        inside.similarity(stages, View(("DINO S/8",)))


def test_looking_inside_without_a_vision_model_in_the_result(models, asked):
    alone = Stages(models, Visit.of(replace(asked, settings=replace(asked.settings, fusion="values"))))
    assert [row[0] for row in inside.similarity(alone, View())[1]] == ["DINO B/8"]
    assert inside.attention_maps(alone, View())[1] == 2


def test_unknown_sources_are_passed_over(stages):
    assert [row[0] for row in inside.similarity(stages, View(("../x", "DINO B/16", "nothing")))[1]] == [
        "DINO B/8",
        "DINO B/16",
    ]


def test_the_statistics_move_with_beta(models, asked, stages):
    figure, rows = inside.similarity(stages, OTHER)
    less = Stages(models, visit(replace(asked, settings=replace(asked.settings, beta=0.6)), stages.entries()))
    _, moved = inside.similarity(less, OTHER)
    assert [row[0] for row in rows] == ["DINO B/8", "DINO B/16"] and "<svg" in figure
    assert rows[0][1] == moved[0][1]  # the mean is that of the features
    masked, masked_less = (float(table[0][2].split()[0]) for table in (rows, moved))
    assert masked > masked_less


def test_features_as_pictures(stages):
    pictures = inside.feature_pictures(stages, View())
    assert [caption for _, caption in pictures] == ["DINO B/8", "CLIP's values, fused by DINO B/8"]
    for drawn, _ in pictures:
        assert drawn.dtype == np.uint8 and drawn.shape[:2] == inside.drawn_size(stages, inside.MAP_SIDE)
        assert drawn.std() > 10


def test_a_true_map_gives_curves_and_the_miou(stages, true_map):
    line, figure, _ = inside.against_truth(stages, View(label_map=true_map))
    assert "mIoU" in line and "Not among" not in line
    for name in ("CLIP's values", "CLIP's own attention", "DINO B/8"):
        assert f"{name}: average precision" in figure
    exact = ground_truth.curve_of_vfm(stages.features(), ground_truth.of(stages, true_map, ()))
    assert exact.average_precision > 0.5  # plain areas: any network tells them apart


def test_the_gallerys_pictures_bring_their_truth(stages, true_map, asked):
    example = Example("Blocks", asked.picture, "red, green, blue, purple", true_map)
    true = ground_truth.of(stages, None, [Example("other", true_map, "a", true_map), example])
    assert true.words == ("red", "green", "blue", "purple")
    line = inside.miou_line(stages, true)
    assert "Not among your words, so not counted: purple" in line
    assert ground_truth.of(stages, None, [Example("other", true_map, "a", true_map)]) is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((10, 10), dtype=np.uint8), "10 × 10 pixels, but the picture 230 × 150"),
        (np.full((150, 230), 9, dtype=np.uint8), "numbered from 0 to 3, in the order of the words"),
        (np.full((150, 230), 255, dtype=np.uint16), "value 255.* 65535 stands for pixels that do not count"),
        (np.zeros((150, 230, 1), dtype=np.uint8) + np.arange(3, dtype=np.uint8), "palette or grey PNG"),
    ],
)
def test_a_map_that_does_not_fit_is_said(stages, tmp_path, labels, message):
    Image.fromarray(labels).save(tmp_path / "labels.png")
    with pytest.raises(ValueError, match=message):
        ground_truth.of(stages, str(tmp_path / "labels.png"), ())


def test_a_map_of_another_size_is_said_before_it_is_read(stages, tmp_path, monkeypatch):
    Image.new("L", (10, 10)).save(tmp_path / "labels.png")
    monkeypatch.setattr(ground_truth, "read_indices", lambda path: pytest.fail("it was read"))
    with pytest.raises(ValueError, match="10 × 10 pixels, but the picture 230 × 150"):
        ground_truth.of(stages, str(tmp_path / "labels.png"), ())


def test_the_label_map_of_the_download_is_a_truth_that_is_met_in_full(stages, tmp_path):
    Image.fromarray(stages.result().labels).save(tmp_path / "labels.png")  # 16 bits
    true = ground_truth.of(stages, str(tmp_path / "labels.png"), ())
    assert true.labels.dtype == np.uint16 and "mIoU 100.0 %" in inside.miou_line(stages, true)


@pytest.mark.filterwarnings("error::proxyclip_core.evaluation.MaskWarning")  # which would go to the log
def test_the_mask_of_an_object_is_a_truth_once_it_is_said_which_word_it_is(stages, tmp_path):  # mmsegmentation 1609
    result, words = stages.result(), stages.words().names
    path, word = tmp_path / "mask_0_255.png", words[int(result.labels[0, 0])]
    Image.fromarray(np.uint8(result.mask(word)) * 255).save(path)
    for unsaid in (None, "none of them"):
        line, _, offered = inside.against_truth(stages, inside.View(label_map=str(path), mask_word=unsaid))
        assert "0 and 255 alone. Which word is the object" in line and offered == list(words)
    line, figure, _ = inside.against_truth(stages, inside.View(label_map=str(path), mask_word=word))
    assert figure == "" and f"mIoU 100.0 %</strong> of the current result: {word} against all else" in line
    shifted = ground_truth.of_upload(
        str(path), result.labels.shape, words, next(other for other in words if other != word)
    )
    assert ground_truth.score(result.labels, words, shifted)[0] < 0.5


def test_a_label_map_of_another_size_is_refused_however_much_stands_before_its_pixels(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 2**21))
    for more in (None, info):
        Image.fromarray(np.zeros((2, 4), dtype=np.uint8)).save(tmp_path / "labels.png", pnginfo=more)
        with pytest.raises(ValueError, match="The label map has 4 × 2 pixels, but the picture 4 × 3"):
            ground_truth.of_upload(str(tmp_path / "labels.png"), (3, 4), ("sky", "tree"))


def test_more_words_than_a_label_map_can_number_are_scored_all_the_same(tmp_path):
    Image.fromarray(np.zeros((2, 4), dtype=np.uint8)).save(tmp_path / "labels.png")
    words = tuple(f"word {number}" for number in range(300))
    true = ground_truth.of_upload(str(tmp_path / "labels.png"), (2, 4), words)
    assert ground_truth.score(np.zeros((2, 4), dtype=np.uint16), words, true) == (1, [])


def test_a_score_counts_the_words_that_were_asked_for():
    labels = np.array([[0, 0, 1, 1], [2, 2, 255, 255]], dtype=np.uint8)
    true = ground_truth.GroundTruth(labels, ("sky", "Tree", "cow"))
    found = np.array([[1, 1, 0, 2], [2, 2, 0, 0]], dtype=np.uint16)
    miou, missing = ground_truth.score(found, ("tree", "sky", "car"), true)
    assert missing == ["cow"] and miou == pytest.approx((1 + 0.5) / 2)
    assert ground_truth.score(found, ("a", "b", "c"), true) == (None, ["sky", "Tree", "cow"])
    many = tuple(f"word {number}" for number in range(300))  # more words than a label map has numbers
    assert ground_truth.score(np.full((2, 4), 299, dtype=np.uint16), (*many[:-1], "sky"), true)[0] == 1


def test_one_class_alone_has_no_curve(stages, tmp_path):
    for value in (0, UNLABELLED):
        Image.fromarray(np.full((150, 230), value, dtype=np.uint8)).save(tmp_path / "one.png")
        with pytest.raises(ValueError, match="at least two classes"):
            inside.against_truth(stages, View(label_map=str(tmp_path / "one.png")))


def test_without_a_truth_the_section_says_so(stages):
    line, figure, _ = inside.against_truth(stages, View())
    assert "no true label map yet" in line and figure == ""
