"""Regions vote: most of a region's pixels decide, the rest of the picture stays, and scores mean what they meant."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from proxyclip_core import ClassLogits, ImageFeatures, ProxyCLIP, RegionLogits, Regions, export, readout
from proxyclip_core.refine import refine
from proxyclip_core.refine.regions import paint, vote

WORDS = "red; crimson, green, blue, yellow"


@pytest.fixture(scope="module")
def features(tiny_model, four_areas) -> ImageFeatures:
    """Of `four_areas` as it is, in three windows that overlap."""
    return tiny_model.encode(four_areas, side=None, crop=56, stride=28)


@pytest.fixture(scope="module")
def logits(tiny_model, features) -> ClassLogits:
    return tiny_model.classify(tiny_model.fuse(features), tiny_model.embed(WORDS))


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((56, 112), bool)
    mask[top:bottom, left:right] = True
    return mask


def regions_of(logits: ClassLogits, *masks: np.ndarray) -> Regions:
    return Regions(torch.from_numpy(paint(masks, (56, 112))), logits.picture)


def at_pixels(logits) -> torch.Tensor:
    """(Q, H, W): all logits, in the reader's order."""
    maps = torch.zeros(len(logits.vocabulary.queries), 56, 112)
    for rows, chunk, block in logits.reader().blocks():
        maps[chunk, rows] = block
    return maps


def test_small_masks_stand_upon_large_ones_in_any_order():
    large, small = box(0, 0, 40, 40), box(10, 10, 20, 20)
    for masks in ((large, small), (small, large)):
        numbers = paint(masks, (56, 112))
        assert numbers[0, 0] == numbers[39, 39] == 1 and numbers[10, 10] == numbers[19, 19] == 2
        assert numbers[40, 0] == numbers[55, 111] == 0


def test_masks_that_are_empty_or_hidden_get_no_number():
    hidden = [box(0, 0, 10, 10), box(0, 0, 10, 5), box(0, 5, 10, 10), box(3, 3, 3, 9)]
    numbers = paint(hidden, (56, 112))
    assert sorted(np.unique(numbers)) == [0, 1, 2]
    assert paint([], (4, 5)).tolist() == [[0] * 5] * 4


def test_a_region_takes_the_class_that_most_of_its_pixels_have(logits):
    before = logits.segment()
    mask = box(5, 20, 50, 90)
    most = np.bincount(before.labels[mask]).argmax()
    assert 0 < (before.labels[mask] == most).mean() < 1
    after = vote(logits, regions_of(logits, mask)).segment()
    assert (after.labels[mask] == most).all()
    assert np.array_equal(after.labels[~mask], before.labels[~mask])
    assert np.array_equal(after.confidence[~mask], before.confidence[~mask])


def test_parts_vote_apart_from_their_whole(logits):
    before, whole, part = logits.segment().labels, box(0, 0, 56, 112), box(4, 70, 30, 100)
    after = vote(logits, regions_of(logits, whole, part)).segment().labels
    assert (after[part] == np.bincount(before[part]).argmax()).all()
    assert (after[whole & ~part] == np.bincount(before[whole & ~part]).argmax()).all()


def test_a_regions_logits_are_the_mean_of_those_that_voted_for_its_class(logits):
    mask, maps = box(5, 20, 50, 90), at_pixels(logits)
    best = maps.argmax(dim=0).numpy()
    labels = logits.vocabulary.query_class.numpy()[best]
    most = np.bincount(labels[mask]).argmax()
    wording = np.bincount(best[mask & (labels == most)]).argmax()
    expected = maps[:, torch.from_numpy(mask & (best == wording))].mean(dim=1)
    found = vote(logits, regions_of(logits, mask))
    assert torch.allclose(found.values[0], expected, atol=1e-6)
    confidence = (expected * readout.LOGIT_SCALE).softmax(dim=0).max()
    assert found.segment().confidence[mask] == pytest.approx(float(confidence), abs=1e-5)


def test_a_class_of_two_wordings_wins_as_one(logits):
    """Each of its wordings has fewer pixels than the other class; and the mean of both would lose."""
    maps = torch.zeros(5, 56, 112)
    maps[0, :, :30], maps[1, :, 30:60], maps[2, :, :] = 0.3, 0.3, 0.2
    base = replace_values(logits, maps)
    after = vote(base, regions_of(logits, box(0, 0, 56, 100))).segment()
    assert (after.labels[:, :100] == 0).all() and (after.labels[:, 100:] == 1).all()


def replace_values(logits: ClassLogits, maps: torch.Tensor):
    from proxyclip_core import PixelLogits

    return PixelLogits(logits.layout, maps, torch.arange(len(maps)), logits.values, logits.vocabulary, logits.picture)


def test_the_threshold_takes_a_region_as_a_whole(tiny_model, features, logits):
    words = tiny_model.embed(WORDS, "first")
    declared = vote(replace(logits, vocabulary=words), regions_of(logits, box(5, 20, 50, 90)))
    score = float(declared.segment().confidence[30, 30])
    assert (declared.segment(score - 1e-4).labels[5:50, 20:90] == declared.segment().labels[30, 30]).all()
    assert (declared.segment(score + 1e-4).labels[5:50, 20:90] == 0).all()


def test_scores_are_read_as_before(logits):
    found = vote(logits, regions_of(logits, box(5, 20, 50, 90), box(0, 0, 9, 9)))
    for x, y in ((40, 20), (100, 54), (3, 3)):
        at = found.scores_at((x, y))
        assert sum((found.reader().at((x, y)) * readout.LOGIT_SCALE).softmax(dim=0)) == pytest.approx(1)
        for name, score in at.items():
            assert found.scores(name)[y, x] == pytest.approx(score, abs=1e-5)


def test_without_regions_all_stays(logits):
    after, before = vote(logits, regions_of(logits)).segment(), logits.segment()
    assert np.array_equal(after.labels, before.labels) and np.array_equal(after.confidence, before.confidence)


def test_regions_of_a_coarser_size_are_those_at_the_middles_of_pixels(logits):
    numbers = torch.zeros(28, 56, dtype=torch.int32)
    numbers[:14, :20] = 1
    fine = Regions(numbers, logits.picture).at_pixels((56, 112))
    assert fine[:28, :40].eq(1).all() and fine.sum() == 28 * 40
    after = vote(logits, Regions(numbers, logits.picture)).segment().labels
    assert len(np.unique(after[:28, :40])) == 1


def test_regions_vote_on_what_is_refined_at_pixels_too(logits, features, four_areas):
    pixels = refine(logits, features, four_areas, "pixels")
    found = vote(pixels, regions_of(logits, box(5, 20, 50, 90)))
    labels = pixels.segment().labels
    assert (found.segment().labels[5:50, 20:90] == np.bincount(labels[5:50, 20:90].ravel()).argmax()).all()
    assert found.scores_at((100, 54)) == pytest.approx(pixels.scores_at((100, 54)))


def test_a_file_of_arrays_holds_the_regions_and_their_logits(logits):
    found = vote(logits, regions_of(logits, box(5, 20, 50, 90)))
    (content,) = dict(export.files_of(found.segment(), formats=["npz"], logits=found)).values()
    saved = np.load(io.BytesIO(content))
    assert saved["regions"].shape == (56, 112) and saved["region_logits"].shape == (1, 5)
    assert np.array_equal(saved["region_logits"], found.values) and saved["logits"].shape == logits.values.shape


def test_regions_that_are_missing_or_of_another_picture_are_named(logits, features, four_areas):
    with pytest.raises(ValueError, match="needs regions="):
        refine(logits, features, four_areas, "sam")
    with pytest.raises(ValueError, match="regions are of another picture"):
        refine(logits, features, four_areas, "sam", regions=replace(regions_of(logits), picture="other"))


def test_a_call_votes_by_sams_regions(tiny_model, four_areas):
    result = tiny_model(four_areas, WORDS, side=None, refine="sam")
    features = tiny_model.encode(four_areas, side=None)
    logits = tiny_model.classify(tiny_model.fuse(features), tiny_model.embed(WORDS))
    regions = tiny_model.regions(tiny_model.sam_views(four_areas, features))
    expected = refine(logits, features, four_areas, "sam", regions=regions)
    assert isinstance(expected, RegionLogits) and result.settings.refine == "sam"
    assert np.array_equal(result.labels, expected.segment().labels)


def test_masks_that_sam_does_not_trust_make_no_regions(tiny_model, four_areas):
    views = tiny_model.sam_views(four_areas)
    assert tiny_model.regions(views, points=2, iou=1e9).count == 0
    assert isinstance(tiny_model, ProxyCLIP) and tiny_model.regions(views, points=2, iou=-1e9, stability=0.0).count > 0
