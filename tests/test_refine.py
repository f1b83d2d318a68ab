"""Refinement past the paper: scores follow what looks alike, and keep their meaning."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from proxyclip_core import ClassLogits, ImageFeatures, PixelLogits, readout
from proxyclip_core.refine import BY_COLOURS, across, pixels, refine
from proxyclip_core.refine.pixel_graph import pixel_graph
from proxyclip_core.refine.pixels import colour_graph
from proxyclip_core.refine.solver import propagate

WORDS = "red; crimson, green, blue, yellow"
METHODS = ("patches", "pixels", "quick", "pixels+")


@pytest.fixture(scope="module")
def features(tiny_model, four_areas) -> ImageFeatures:
    """Of `four_areas` as it is, in three windows that overlap."""
    return tiny_model.encode(four_areas, side=None, crop=56, stride=28)


@pytest.fixture(scope="module")
def logits(tiny_model, features) -> ClassLogits:
    return tiny_model.classify(tiny_model.fuse(features), tiny_model.embed(WORDS))


@pytest.fixture
def halves() -> torch.Tensor:
    """(3, 20, 30): dark to the left of column 15, bright from there."""
    image = torch.zeros(3, 20, 30)
    image[:, :, 15:] = 1
    return image + 0.01 * torch.rand(image.shape, generator=torch.Generator().manual_seed(0))


def shifted_scores() -> torch.Tensor:
    """(2, 20, 30): scores of left and right, with the border three pixels too far to the right."""
    left = torch.zeros(20, 30)
    left[:, :18] = 1
    return torch.stack([left, 1 - left])


def test_none_leaves_the_logits_as_they_are(tiny_model, logits, features, four_areas):
    assert refine(logits, features, four_areas) is logits
    assert tiny_model.refine(logits, features, four_areas) is logits


@pytest.mark.parametrize("method", ["none", *METHODS])
def test_logits_and_features_of_different_pictures_are_refused(logits, features, four_areas, method):
    others = (logits, replace(features, picture="other")), (replace(logits, picture="other"), features)
    for mixed in others:
        with pytest.raises(ValueError, match="not of one picture"):
            refine(*mixed, four_areas, method)


@pytest.mark.parametrize("method", METHODS)
def test_another_picture_is_refused(logits, features, four_areas, method):
    with pytest.raises(ValueError, match="not of one picture"):
        refine(logits, features, four_areas[::-1], method)


def test_features_in_other_windows_are_refused(tiny_model, logits, four_areas):
    whole = tiny_model.encode(four_areas, side=None)
    with pytest.raises(ValueError, match="different windows"):
        refine(logits, whole, four_areas, "patches")


@pytest.mark.parametrize(("facet", "gamma"), [("tokens", 40.0), ("values", 3.0), ("q+k", 3.0)])
def test_the_graph_of_patches_takes_lposss_gamma_but_for_outputs(tiny_model, four_areas, facet, gamma):
    features = tiny_model.encode(four_areas, side=None, facet=facet)
    logits = tiny_model.classify(tiny_model.fuse(features), tiny_model.embed(WORDS))
    usual, same, other = (
        refine(logits, features, four_areas, "patches", **more).values
        for more in ({}, {"gamma": gamma}, {"gamma": 43.0 - gamma})
    )
    assert torch.equal(usual, same) and not torch.allclose(usual, other)


@pytest.mark.parametrize("method", ["patches", "pixels+"])
def test_a_graph_that_is_kept_gives_the_same(tiny_model, logits, features, four_areas, method):
    kept = tiny_model.refine(logits, features, four_areas, method, graph=tiny_model.patch_graph(features))
    assert torch.equal(kept.values, tiny_model.refine(logits, features, four_areas, method).values)


@pytest.mark.parametrize("method", BY_COLOURS)
def test_a_graph_of_colours_serves_whatever_the_words_are(tiny_model, features, logits, four_areas, method):
    graph = tiny_model.colour_graph(four_areas, method)
    other = tiny_model.classify(tiny_model.fuse(features, beta=1.5), tiny_model.embed("red, sand"))
    for given in (logits, other):
        kept, made = (tiny_model.refine(given, features, four_areas, method, **more) for more in ({"graph": graph}, {}))
        assert torch.equal(kept.values, made.values)


def test_a_graph_of_other_colours_is_refused(tiny_model, features, logits, four_areas):
    for image, ways in ((four_areas, {"long_side": 50}), (four_areas[::-1], {})):
        with pytest.raises(ValueError, match="another picture or working size"):
            tiny_model.refine(logits, features, four_areas, "quick", graph=tiny_model.colour_graph(image), **ways)


def test_a_graph_of_colours_is_of_a_method_that_has_one(tiny_model, four_areas):
    with pytest.raises(ValueError, match="method is 'patches'; expected one of pixels, quick"):
        tiny_model.colour_graph(four_areas, "patches")


def test_scores_of_another_size_are_refused(halves):
    with pytest.raises(ValueError, match=r"The image is \(20, 30\), the scores \(2, 20, 31\)"):
        colour_graph(halves)(torch.rand(2, 20, 31), 1)


def test_a_graph_of_other_features_is_refused(tiny_model, logits, features, four_areas):
    for change in ({"picture": "other"}, {"facet": "keys"}, {"vfm_id": "other"}):
        graph = tiny_model.patch_graph(replace(features, **change))
        with pytest.raises(ValueError, match="The graph is of another picture, vision model, facet, windows or grid"):
            refine(logits, features, four_areas, "patches", graph=graph)


def test_without_a_vfm_there_is_no_graph_of_patches(logits, features, four_areas):
    with pytest.raises(ValueError, match="hold no VFM"):
        refine(logits, replace(features, vfm=None), four_areas, "patches")


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("more", {}, "refine is 'more'; expected one of 'none', 'quick', 'pixels', 'patches', 'pixels+'"),
        ("none", {"k": 3}, "no setting k; it has: none"),
        ("pixels", {"steps": 3}, "no setting steps; it has: dilations, rounds, on, rivals, long_side"),
        ("pixels", {"dilations": ()}, "expected one or more distances"),
        ("pixels", {"rounds": -1}, "rounds is -1"),
        ("pixels", {"on": "labels"}, "on is 'labels'; expected one of scores, logits"),
        ("pixels", {"rivals": -1}, "rivals is -1"),
        ("pixels", {"long_side": 0}, "long_side is 0"),
        ("patches", {"k": 0}, "k is 0"),
        ("patches", {"gamma": 0.0}, "gamma is 0.0; expected a number above 0"),
        ("patches", {"alpha": 1.0}, "alpha is 1.0; expected at least 0 and less than 1"),
        ("pixels+", {"tau": 0.0}, "tau is 0.0"),
    ],
)
def test_what_a_method_does_not_know_is_named(logits, features, four_areas, method, settings, message):
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        refine(logits, features, four_areas, method, **settings)


@pytest.mark.parametrize("method", ["patches", "pixels", "pixels+"])
def test_refined_cosines_lie_among_the_cosines(logits, features, four_areas, method):
    refined = refine(logits, features, four_areas, method)
    assert refined.values.min() >= logits.values.min() - 1e-5
    assert refined.values.max() <= logits.values.max() + 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_refined_scores_are_read_as_before(logits, features, four_areas, method):
    refined = refine(logits, features, four_areas, method)
    result, at = refined.segment(), refined.scores_at((40, 20))
    assert result.labels.shape == four_areas.shape[:2] and result.names == ("red", "green", "blue", "yellow")
    assert next(iter(at)) == result.names[result.labels[20, 40]]
    for name, score in at.items():
        assert refined.scores(name)[20, 40] == pytest.approx(score, abs=1e-5)
    with pytest.raises(ValueError, match="outside the picture"):
        refined.scores_at((112, 0))


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_of_one_colour_is_no_difficulty(tiny_model, method):
    plain = np.full((56, 56, 3), 90, np.uint8)
    features = tiny_model.encode(plain, side=None)
    logits = tiny_model.classify(tiny_model.fuse(features), tiny_model.embed(WORDS))
    assert np.isfinite(refine(logits, features, plain, method).segment().confidence).all()


def test_the_call_of_the_model_refines_and_says_so(tiny_model, four_areas):
    result = tiny_model(four_areas, WORDS, side=None, refine="pixels")
    features = tiny_model.encode(four_areas, side=None)
    logits = tiny_model.classify(tiny_model.fuse(features), tiny_model.embed(WORDS))
    staged = tiny_model.refine(logits, features, four_areas, "pixels").segment()
    assert np.array_equal(result.labels, staged.labels) and result.settings.refine == "pixels"
    assert not np.array_equal(result.confidence, logits.segment().confidence)
    assert np.array_equal(tiny_model.run(four_areas, result.settings).confidence, result.confidence)


def test_refined_scores_are_those_of_the_softmax_refined(logits, features, four_areas):
    refined = refine(logits, features, four_areas, "quick", rivals=None, dilations=(1, 3), rounds=2)
    blocks = [block for _, _, block in readout.PatchReader(logits.layout, logits.values).blocks()]
    scores = (torch.cat(blocks, dim=1) * readout.LOGIT_SCALE).softmax(dim=0)
    image = torch.from_numpy(four_areas.copy()).permute(2, 0, 1) / 255
    expected = colour_graph(image, (1, 3))(scores, 2)
    for number, name in ((2, "green"), (4, "yellow")):
        assert refined.scores(name) == pytest.approx(expected[number].numpy(), abs=1e-5)


def test_queries_that_win_nowhere_keep_their_logits(logits, features, four_areas):
    values = logits.values * 0.05
    values[:, 2] += 0.1
    values[:, 4] += 0.06
    ahead = replace(logits, values=values)
    reduced = refine(ahead, features, four_areas, "pixels")
    exact = refine(ahead, features, four_areas, "pixels", rivals=None)
    assert reduced.queries.tolist() == [2, 4] and exact.queries.tolist() == [0, 1, 2, 3, 4]
    assert torch.allclose(reduced.values, exact.values[[2, 4]], atol=1e-6)
    assert torch.equal(reduced.reader().at((40, 20))[2:], ahead.reader().at((40, 20))[[0, 1, 3]])
    assert np.array_equal(reduced.segment().labels, exact.segment().labels)
    assert reduced.segment().confidence == pytest.approx(exact.segment().confidence, abs=0.03)


def test_patches_that_win_nowhere_keep_their_logits_too(logits, features, four_areas):
    values = logits.values * 0.05
    values[:, 2] += 0.1
    values[:, 4] += 0.06
    ahead = replace(logits, values=values)
    reduced = refine(ahead, features, four_areas, "patches")
    exact = refine(ahead, features, four_areas, "patches", rivals=None)
    assert torch.allclose(reduced.values[:, [2, 4]], exact.values[:, [2, 4]], atol=1e-5)
    assert torch.equal(reduced.values[:, [0, 1, 3]], values[:, [0, 1, 3]])
    assert not torch.allclose(exact.values, values, atol=1e-4)


def test_a_device_without_sparse_products_leaves_them_to_the_cpu(logits, features, four_areas, monkeypatch):
    expected = refine(logits, features, four_areas, "pixels").values
    monkeypatch.setattr("proxyclip_core.refine.WITH_SPARSE", ())
    assert torch.equal(refine(logits, features, four_areas, "pixels").values, expected)


def test_a_large_picture_is_refined_coarser_and_answered_at_its_size(logits, features, four_areas):
    coarse = refine(logits, features, four_areas, "pixels", long_side=56)
    assert isinstance(coarse, PixelLogits) and coarse.values.shape[1:] == (28, 56)
    assert coarse.segment().labels.shape == (56, 112)
    assert (coarse.segment().labels == refine(logits, features, four_areas, "pixels").segment().labels).mean() > 0.8


def test_pixels_moves_a_border_to_where_the_colours_change(halves):
    refined = colour_graph(halves, (1, 2, 4, 8))(shifted_scores(), 10)
    assert (refined.argmax(dim=0) == (halves[0] > 0.5)).all()


def test_the_pixel_graph_moves_a_border_to_where_the_colours_change(halves):
    refined = propagate(pixel_graph(halves.round()), shifted_scores(), 0.95)
    assert (refined.argmax(dim=0) == (halves[0] > 0.5)).all()


def test_queries_are_refined_each_on_its_own(halves, monkeypatch, rng):
    scores = torch.rand(7, 20, 30, generator=rng)
    together = colour_graph(halves)(scores, 10)
    monkeypatch.setattr(pixels, "QUERIES_AT_ONCE", 2)
    monkeypatch.setattr(pixels, "WEIGHTS_AT_ONCE", 10_000)  # seven rows, so that the last band has fewer
    monkeypatch.setattr(pixels, "COLOURS_AT_ONCE", 30_000)
    assert torch.allclose(colour_graph(halves)(scores, 10), together, atol=1e-6)


def test_the_scale_of_the_colours_makes_no_difference(halves, rng):
    scores = torch.rand(2, 20, 30, generator=rng)
    shifted = torch.tensor([0.3, -2.0, 1.0]).view(3, 1, 1)
    assert torch.allclose(colour_graph(halves * 4 + shifted)(scores, 10), colour_graph(halves)(scores, 10), atol=1e-4)


def test_quick_is_pixels_with_other_settings(logits, features, four_areas):
    ways = {"dilations": (1, 2, 4, 8, 12, 24), "on": "scores", "long_side": 448}
    expected = refine(logits, features, four_areas, "pixels", **ways).values
    assert torch.equal(refine(logits, features, four_areas, "quick").values, expected)


def test_within_one_window_the_whole_picture_is_the_window(tiny_model, four_areas):
    features = tiny_model.encode(four_areas, side=None)
    assert features.layout.count == 1
    tokens = tiny_model.fuse(features, reach="picture").tokens
    assert torch.allclose(tokens, tiny_model.fuse(features).tokens, atol=1e-5)


def test_windows_in_which_a_patch_lies_agree_when_they_reach_across(rng):
    patches = torch.randn(2, 6, 3, 3, generator=rng)
    patches[1, :, :, 0] = patches[0, :, :, 2]  # the same patches, seen by both windows
    values = torch.randn(2, 9, 5, generator=rng)
    for reach in ("picture", "anchors"):
        first, second = across.attend(patches, values, 1.2, 3.0, reach).unflatten(1, (3, 3))
        assert torch.allclose(first[:, 2], second[:, 0], atol=1e-5)
    first, second = across.attend(patches, values, 1.2, 3.0, "windows").unflatten(1, (3, 3))
    assert not torch.allclose(first[:, 2], second[:, 0], atol=1e-2)


@pytest.mark.parametrize("reach", ["picture", "anchors"])
def test_rows_of_the_attention_are_made_some_at_a_time(reach, monkeypatch, rng):
    features, values = torch.randn(3, 6, 4, 4, generator=rng), torch.randn(3, 16, 5, generator=rng)
    whole = across.attend(features, values, 1.2, 3.0, reach)
    monkeypatch.setattr(across, "ENTRIES_AT_ONCE", 100)
    assert torch.allclose(across.attend(features, values, 1.2, 3.0, reach), whole, atol=1e-6)


def test_a_reach_that_does_not_exist_is_named(tiny_model, features):
    with pytest.raises(ValueError, match="reach is 'city'; expected one of 'windows', 'picture', 'anchors'"):
        tiny_model.fuse(features, reach="city")


def test_across_is_one_word_for_the_proxy_attention_by_anchors(tiny_model, four_areas, features):
    by_anchors = tiny_model.fuse(features, fusion="proxy", reach="anchors").tokens
    assert torch.equal(tiny_model.fuse(features, fusion="proxy-across").tokens, by_anchors)
    settings = tiny_model(four_areas, WORDS, fusion="proxy-across").settings
    assert (settings.fusion, settings.reach) == ("proxy", "anchors")


def test_the_reach_of_a_call_is_that_of_the_stage(tiny_model, four_areas, features):
    result = tiny_model(four_areas, WORDS, side=None, crop=56, stride=28, reach="picture")
    dense = tiny_model.fuse(features, reach="picture")
    expected = tiny_model.classify(dense, tiny_model.embed(WORDS)).segment()
    assert np.array_equal(result.confidence, expected.confidence) and result.settings.reach == "picture"
    assert not torch.equal(dense.tokens, tiny_model.fuse(features).tokens)
