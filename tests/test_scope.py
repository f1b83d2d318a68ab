"""Scope: attention stays within regions that are alike, on top of all other masks and along every path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from proxyclip_core import ImageFeatures, Regions
from proxyclip_core.attention import attention_rows, similarity_mean, unit_patches
from proxyclip_core.refine import across
from proxyclip_core.refine.scope import NONE, merged_regions, patch_regions, scopes_of
from proxyclip_core.windows import plan_windows


@pytest.fixture(scope="module")
def features(tiny_model, four_areas) -> ImageFeatures:
    """Of `four_areas` as it is, in three windows that overlap."""
    return tiny_model.encode(four_areas, side=None, crop=56, stride=28)


def halves(picture: str) -> Regions:
    """Left and right of the middle, and nothing in the lowest quarter."""
    numbers = torch.ones(56, 112, dtype=torch.int32)
    numbers[:, 56:], numbers[42:] = 2, 0
    return Regions(numbers, picture)


def test_a_patch_is_of_the_region_at_its_middle(features):
    numbers = patch_regions(features.layout, (7, 7), halves("")).unflatten(1, (7, 7))
    assert (numbers[0, :5] == 1).all() and (numbers[2, :5] == 2).all() and (numbers[:, 6] == 0).all()
    assert (numbers[1, :5, :3] == 1).all() and (numbers[1, :5, 4:] == 2).all()  # the middle window begins at 28
    assert numbers[1, 0, 3] == 2  # whose middle, 28 + 28, is the first column of the right half


def test_the_padding_of_a_window_is_in_no_region():
    layout = plan_windows((56, 90), None, "whole")  # padded to 112, by 11 to the left
    numbers = patch_regions(layout, (7, 14), Regions(torch.ones(28, 45, dtype=torch.int32), "")).unflatten(1, (7, 14))
    assert (numbers[0, :, 0] == 0).all() and (numbers[0, :, 1:12] == 1).all() and (numbers[0, :, 13] == 0).all()


def test_regions_that_are_alike_one_by_one_are_one_scope():
    angles = torch.tensor([0.0, 0.5, 1.0, 2.5])  # cosines of neighbours: 0.88; of the first and the third: 0.54
    means = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert merged_regions(means, 0.2).tolist() == [0, 0, 0, 3]
    assert merged_regions(means, 0.0).tolist() == [0, 1, 2, 3]
    assert merged_regions(torch.zeros(2, 3), 0.2).tolist() == [0, 1]  # without patches
    assert merged_regions(torch.zeros(0, 3), 0.2).tolist() == []


def test_without_merging_scopes_are_the_regions_over_all_windows(features):
    regions = halves(features.picture)
    scopes = scopes_of(features.vfm, features.layout, regions, distance=-1.0)
    numbers = patch_regions(features.layout, (7, 7), regions)
    assert torch.equal(scopes, torch.where(numbers > 0, numbers - 1, NONE))


def test_what_is_out_of_scope_is_masked_on_top_of_the_rest(features):
    patches = unit_patches(features.vfm)[1]
    scopes = scopes_of(features.vfm, features.layout, halves(features.picture), distance=-1.0)[1]
    rows, mean = torch.arange(49), similarity_mean(patches[None])[0]
    plain = attention_rows(patches, rows, mean, 1.2, 3.0, "normalised")
    masked = attention_rows(patches, rows, mean, 1.2, 3.0, "normalised", scopes)
    apart = (scopes[:, None] >= 0) & (scopes[:, None] != scopes)
    assert apart.any() and (masked[apart] == float("-inf")).all() and torch.equal(masked[~apart], plain[~apart])
    assert not apart[scopes == NONE].any()
    assert torch.allclose(attention_rows(patches, rows, mean, 1.2, 3.0, "softmax", scopes).sum(dim=1), torch.ones(49))


@pytest.mark.parametrize("reach", ["windows", "picture", "anchors"])
def test_what_lies_out_of_scope_changes_nothing(features, reach, rng):
    values = torch.randn(3, 49, 5, generator=rng)
    scopes = scopes_of(features.vfm, features.layout, halves(features.picture), distance=-1.0)
    left = scopes == 0
    others = torch.where(left[..., None], values, torch.randn(3, 49, 5, generator=rng))
    one, two = (across.attend(features.vfm, each, 1.2, 3.0, reach, scopes) for each in (values, others))
    assert torch.equal(one[left], two[left]) and not torch.allclose(one[~left], two[~left])
    free = (across.attend(features.vfm, each, 1.2, 3.0, reach) for each in (values, others))
    assert not torch.allclose(*(each[left] for each in free))


@pytest.mark.parametrize("reach", ["windows", "picture", "anchors"])
def test_one_region_everywhere_is_no_scope(tiny_model, features, reach):
    everywhere = Regions(torch.ones(56, 112, dtype=torch.int32), features.picture)
    scoped = tiny_model.fuse(features, reach=reach, regions=everywhere)
    assert torch.equal(scoped.tokens, tiny_model.fuse(features, reach=reach).tokens)


def test_a_seed_attends_within_its_scope(tiny_model, features):
    numbers = torch.arange(1, 5, dtype=torch.int32).view(2, 2)
    regions = Regions(numbers, features.picture)
    scopes = scopes_of(features.vfm, features.layout, regions)
    row = tiny_model.seed_attention(features, (10, 10), on="grid", regions=regions)
    assert row.sum() == pytest.approx(1, abs=1e-5) and (row.ravel()[(scopes[0] != scopes[0, 8]).numpy()] == 0).all()
    assert tiny_model.seed_attention(features, (10, 10), source="clip", regions=regions).any()


def test_regions_of_another_picture_are_refused(tiny_model, features):
    with pytest.raises(ValueError, match="regions are of another picture"):
        tiny_model.fuse(features, regions=replace(halves(""), picture="other"))


def test_a_call_keeps_attention_within_sams_regions(tiny_model, four_areas):
    result = tiny_model(four_areas, "red, green, blue", side=None, scope="regions")
    features = tiny_model.encode(four_areas, side=None)
    regions = tiny_model.regions(tiny_model.sam_views(four_areas))
    dense = tiny_model.fuse(features, regions=regions)
    expected = tiny_model.classify(dense, tiny_model.embed("red, green, blue")).segment()
    assert np.array_equal(result.confidence, expected.confidence) and result.settings.scope == "regions"
