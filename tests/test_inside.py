"""demo.answers.inside, demo.answers.ground_truth and demo.variants: looking inside, from staged values alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import proxyclip_core as pc
from demo.answers import ground_truth as truth
from demo.answers import inside
from demo.examples import Example
from demo.session import Settings, Staged, advance
from demo.variants import Bench, Kept, Variant, ready_vfms
from proxyclip_core.evaluation import UNLABELLED
from tests.replay import golden_vfm
from tests.serving import OneModel

WORDS = "red, green, blue, yellow"


@pytest.fixture(scope="module")
def other_model(tiny_model) -> pc.ProxyCLIP:
    """With patches of 16 pixels."""
    return pc.ProxyCLIP(tiny_model.clip, golden_vfm("dino16"), templates="simple7")


@pytest.fixture(scope="module")
def models(tiny_model, other_model):
    class Two(OneModel):
        def get(self, clip, vfm, say=None):
            return other_model if vfm == "DINO B/16" else tiny_model

        def ready(self, clip, vfm):
            return vfm in ("DINO B/8", "DINO B/16")

    return Two(tiny_model)


@pytest.fixture(scope="module")
def settings(blocks, tmp_path_factory) -> Settings:
    path = tmp_path_factory.mktemp("pictures") / "blocks.png"
    Image.fromarray(blocks).save(path)
    return Settings("OpenAI B/16", "DINO B/8", WORDS, side=224, windows="whole", templates="simple7", picture=str(path))


@pytest.fixture(scope="module")
def staged(tiny_model, settings) -> Staged:
    return advance(tiny_model, settings)


@pytest.fixture(scope="module")
def true_map(blocks, tmp_path_factory) -> str:
    labels = np.zeros(blocks.shape[:2], dtype=np.uint8)
    labels[:75, 115:], labels[75:, :115], labels[75:, 115:] = 1, 2, 3
    path = tmp_path_factory.mktemp("truth") / "labels.png"
    Image.fromarray(labels).save(path)
    return str(path)


@pytest.fixture
def bench(models, staged) -> Bench:
    return Bench(models, staged)


def shown_at(staged: Staged, x: float, y: float) -> tuple[int, int]:
    """A point of the picture, as shares of its sides -> pixel of the picture that is clicked."""
    height, width = inside.drawn_size(staged, inside.CLICK_SIDE)
    return int(x * width), int(y * height)


@pytest.mark.parametrize("share", [(0.25, 0.75), (0.0, 0.0), (0.999, 0.999)])
def test_a_click_is_a_point_of_the_picture_itself(staged, share):
    x, y = inside.click(staged, None, shown_at(staged, *share)).points[0]
    assert x == pytest.approx(share[0] * 230, abs=1) and y == pytest.approx(share[1] * 150, abs=1)
    assert 0 <= x < 230 and 0 <= y < 150


def test_seeds_are_limited_and_belong_to_their_picture(staged):
    seeds = None
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        seeds = inside.click(staged, seeds, shown_at(staged, share, 0.5))
    assert len(seeds.points) == inside.MOST_SEEDS and seeds.points[-1][0] == pytest.approx(0.9 * 230, abs=1)
    assert len(inside.undo(staged, seeds).points) == inside.MOST_SEEDS - 1
    other = replace(staged, made_from=staged.made_from | {"picture": ("another",)})
    assert inside.seeds_of(other, seeds).points == ()
    assert inside.undo(staged, None).points == ()


@pytest.mark.parametrize("step", [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_a_step_goes_to_the_neighbouring_patch(bench, step):
    before = inside.Seeds(bench.staged.made_from["picture"], ((100.0, 70.0),))
    after = inside.move(bench, before, step)
    layout, grid_hw = bench.features().layout, tuple(bench.features().vfm.shape[-2:])
    first, second = (layout.patches_at(seeds.points[-1], grid_hw)[0][1] for seeds in (before, after))
    assert second - first == step[0] + step[1] * grid_hw[1]


def test_a_step_does_not_leave_the_picture(bench):
    seeds = inside.Seeds(bench.staged.made_from["picture"], ((1.0, 1.0),))
    for step in ((-1, 0), (0, -1)):
        assert inside.move(bench, seeds, step) == seeds


def test_a_patch_box_holds_its_point_and_is_one_patch_large(bench):
    layout, grid_hw = bench.features().layout, tuple(bench.features().vfm.shape[-2:])
    x0, y0, x1, y1 = inside.patch_box(layout, grid_hw, (100, 70))
    assert x0 <= 100.5 <= x1 and y0 <= 70.5 <= y1
    assert y1 - y0 == pytest.approx(8 * 150 / 224)  # 8 pixels of the picture at 224 rows


def test_grid_lines_tell_patch_sizes_apart_and_never_lie_twice(tiny_model, other_model, blocks):
    counts = []
    for model in (tiny_model, other_model):
        features = model.encode(blocks, 224, "sliding", crop=112, stride=100)
        rows, columns = inside.grid_lines(features.layout, tuple(features.vfm.shape[-2:]))
        assert rows == sorted(set(rows)) and rows[0] > 0 and rows[-1] < 150 and columns[-1] < 230
        counts.append(len(rows))
    assert counts[0] > 1.7 * counts[1]


def test_every_seed_has_its_own_map_from_every_source(bench):
    seeds = inside.Seeds(bench.staged.made_from["picture"], ((30.0, 30.0), (200.0, 120.0)))
    maps = inside.attention_maps(bench, seeds, inside.Look(others=("DINO B/16",)))
    names = ["CLIP's own attention", "DINO B/8", "DINO B/16"]
    assert [caption for _, caption in maps] == [f"{seed} · {name}" for seed in (1, 2) for name in names]
    pictures = [drawn.tobytes() for drawn, _ in maps]
    assert len(set(pictures)) == 6
    assert inside.columns(bench, inside.Look(others=("DINO B/16",))) == 3


def test_at_most_four_sources_are_side_by_side(bench):
    look = inside.Look(others=("DINO B/16", "DINO S/8", "DINO S/16", "MAE B/16"))
    assert len(inside.attention_maps(bench, inside.seeds_of(bench.staged, None), look)) == inside.MOST_SOURCES
    assert inside.columns(bench, look) == inside.MOST_SOURCES


def test_a_map_is_what_the_model_says(bench, tiny_model, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        inside.figures, "heat_map", lambda picture, values, *rest: seen.update(values=values) or picture
    )
    seeds = inside.Seeds(bench.staged.made_from["picture"], ((30.0, 30.0),))
    inside.attention_maps(bench, seeds, inside.Look(own_attention=False, stage="cosine"))
    expected = tiny_model.seed_attention(bench.staged.features, (30, 30), stage="cosine")
    height, width = seen["values"].shape
    rows, columns = (np.arange(150) + 0.5) * height / 150, (np.arange(230) + 0.5) * width / 230
    assert np.abs(seen["values"][np.ix_(rows.astype(int), columns.astype(int))] - expected).max() < 0.1


LOOK = inside.Look(others=("DINO B/16",))


@pytest.mark.parametrize(
    ("action", "calls"),
    [
        (lambda bench: inside.click(bench.staged, None, (5, 5)), {}),
        (lambda bench: inside.move(bench, None, (1, 0)), {}),
        (lambda bench: inside.picture_with_seeds(bench, inside.seeds_of(bench.staged, None), LOOK), {}),
        (lambda bench: inside.attention_maps(bench, inside.seeds_of(bench.staged, None), inside.Look(beta=1.5)), {}),
        (lambda bench: inside.similarity(bench, inside.Look(gamma=5.0)), {}),
        (lambda bench: inside.feature_pictures(bench, inside.Look()), {}),
        (lambda bench: inside.attention_maps(bench, inside.seeds_of(bench.staged, None), LOOK), {"other": 1}),
        (lambda bench: inside.similarity(bench, LOOK), {"other": 1}),
        (lambda bench: inside.feature_pictures(bench, LOOK), {"other": 1}),
    ],
    ids=["click", "step", "grid", "beta", "gamma", "features", "another VFM", "its similarity", "its features"],
)
def test_what_an_action_may_run(models, staged, counter, other_model, monkeypatch, action, calls):
    others, encode = [], other_model.vfm.encode_windows
    monkeypatch.setattr(other_model.vfm, "encode_windows", lambda pixels: others.append(1) or encode(pixels))
    bench = Bench(models, staged)
    counted = counter.during(lambda: action(bench))
    assert counted | ({"other": len(others)} if others else {}) == calls  # never CLIP, the words, or the page's VFM
    assert bench.features() is staged.features
    # Kept from one event for the next: nothing runs a second time.
    again = counter.during(lambda: action(Bench(models, staged, bench.kept)))
    assert again == {} and len(others) == calls.get("other", 0)


def test_features_that_were_too_large_to_keep_are_made_again(models, staged, counter):
    made_from = {name: key for name, key in staged.made_from.items() if name not in ("features", "dense")}
    small = replace(staged, features=None, dense=None, made_from=made_from)
    bench = Bench(models, small)
    calls = counter.during(lambda: inside.similarity(bench, inside.Look()))
    assert calls == {"clip": 1, "vfm": 1}
    assert counter.during(lambda: inside.similarity(Bench(models, small, bench.kept), inside.Look())) == {}


def test_what_is_kept_is_bounded_and_the_oldest_goes_first():
    kept = Kept()
    for name in "abc":
        kept = kept.adding((name,), np.zeros(100, dtype=np.uint8), 1.0)
    assert list(kept.within(250).values) == [("b",), ("c",)] and list(kept.within(250).seconds) == [("b",), ("c",)]
    assert list(kept.within(1000).values) == [("a",), ("b",), ("c",)]


def test_the_statistics_move_with_beta(bench):
    figure, rows = inside.similarity(bench, inside.Look(others=("DINO B/16",)))
    _, moved = inside.similarity(bench, inside.Look(others=("DINO B/16",), beta=0.6))
    assert [row[0] for row in rows] == ["DINO B/8", "DINO B/16"] and figure.startswith("<svg")
    assert rows[0][1] == moved[0][1]  # the mean is that of the features
    masked, masked_less = (float(table[0][2].split()[0]) for table in (rows, moved))
    assert masked > masked_less


def test_features_as_pictures(bench):
    pictures = inside.feature_pictures(bench, inside.Look())
    assert [caption for _, caption in pictures] == ["DINO B/8", "CLIP's values, fused by DINO B/8"]
    for drawn, _ in pictures:
        assert drawn.dtype == np.uint8 and drawn.shape[:2] == inside.drawn_size(bench.staged, inside.MAP_SIDE)
        assert drawn.std() > 10


def test_a_true_map_gives_curves_and_the_miou(bench, true_map):
    true = truth.of(bench, true_map, ())
    figure, line = inside.against_truth(bench, inside.Look(), true)
    assert "mIoU" in line and "Not among" not in line
    for name in ("CLIP&#x27;s values", "CLIP&#x27;s own attention", "DINO B/8"):
        assert f"{name}: average precision" in figure
    exact = truth.curve_of_vfm(bench.features(), true)
    assert exact.average_precision > 0.5  # plain areas: any network tells them apart


def test_the_gallerys_pictures_bring_their_truth(bench, true_map, settings):
    example = Example("Blocks", settings.picture, "red, green, blue, purple", true_map)
    true = truth.of(bench, None, [Example("other", true_map, "a", true_map), example])
    assert true.words == ("red", "green", "blue", "purple")
    line = inside.miou_line(bench, true)
    assert "Not among your words, so not counted: purple" in line
    assert truth.of(bench, None, [Example("other", true_map, "a", true_map)]) is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((10, 10), dtype=np.uint8), "10 × 10 pixels, but the picture 230 × 150"),
        (np.full((150, 230), 9, dtype=np.uint8), "numbered from 0 to 3, in the order of the words"),
        (np.zeros((150, 230, 3), dtype=np.uint8), "palette or grey PNG"),
    ],
)
def test_a_map_that_does_not_fit_is_said(bench, tmp_path, labels, message):
    Image.fromarray(labels).save(tmp_path / "labels.png")
    with pytest.raises(ValueError, match=message):
        truth.of(bench, str(tmp_path / "labels.png"), ())


def test_more_words_than_a_label_map_can_number_are_scored_all_the_same(tmp_path):
    Image.fromarray(np.zeros((2, 4), dtype=np.uint8)).save(tmp_path / "labels.png")
    words = tuple(f"word {number}" for number in range(300))
    true = truth.of_upload(str(tmp_path / "labels.png"), (2, 4), words)
    assert truth.score(np.zeros((2, 4), dtype=np.uint16), words, true) == (1, [])


def test_a_score_counts_the_words_that_were_asked_for():
    true = truth.Truth(np.array([[0, 0, 1, 1], [2, 2, 255, 255]], dtype=np.uint8), ("sky", "Tree", "cow"))
    labels = np.array([[1, 1, 0, 2], [2, 2, 0, 0]], dtype=np.uint16)
    miou, missing = truth.score(labels, ("tree", "sky", "car"), true)
    assert missing == ["cow"] and miou == pytest.approx((1 + 0.5) / 2)
    assert truth.score(labels, ("a", "b", "c"), true) == (None, ["sky", "Tree", "cow"])
    many = tuple(f"word {number}" for number in range(300))  # more words than a label map has numbers
    assert truth.score(np.full((2, 4), 299, dtype=np.uint16), (*many[:-1], "sky"), true)[0] == 1


def test_one_class_alone_has_no_curve(bench):
    with pytest.raises(ValueError, match="at least two classes"):
        inside.against_truth(bench, inside.Look(), truth.Truth(np.zeros((150, 230), dtype=np.uint8), ("red",)))
    nothing = truth.Truth(np.full((150, 230), UNLABELLED, dtype=np.uint8), ("red",))
    with pytest.raises(ValueError, match="at least two classes"):
        inside.against_truth(bench, inside.Look(), nothing)


def test_vfms_without_a_download_are_offered(models):
    assert ready_vfms(models, "OpenAI B/16") == ["DINO B/8", "DINO B/16"]


def test_a_variant_has_one_name():
    assert [Variant("clip").label, Variant("values").label, Variant(vfm="DINO B/8").label] == [
        "CLIP alone", "CLIP's values alone", "DINO B/8"
    ]  # fmt: skip
