"""proxyclip_core.correspondence: what is like a patch, in its own picture and in another."""

from __future__ import annotations

import numpy as np
import pytest

import proxyclip_core as pc

SEED = (30, 30)


@pytest.fixture(scope="module")
def features(tiny_model, blocks):
    return tiny_model.encode(blocks, 224, "whole")


@pytest.fixture(scope="module")
def turned(tiny_model, blocks):
    """The picture upside down and mirrored."""
    return tiny_model.encode(blocks[::-1, ::-1].copy(), 224, "whole")


def test_in_one_window_it_is_the_cosine_of_the_attention(tiny_model, features):
    found = pc.likeness(features, SEED)
    assert np.abs(found.values - tiny_model.seed_attention(features, SEED, stage="cosine")).max() < 1e-5
    assert found.mean == pytest.approx(tiny_model.similarity_statistics(features).mean, abs=1e-5)


def test_the_mask_is_what_the_patch_attends_to(tiny_model, features):
    attended = tiny_model.seed_attention(features, SEED, 1.1, 3.0, stage="normalised") > 0
    mask = pc.likeness(features, SEED).mask(beta=1.1)
    assert mask[SEED[::-1]] and 0 < mask.mean() < 1
    assert not (mask & ~attended).any()  # between patches an attended one reaches a little farther


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_is_that_much_of_the_picture_and_the_most_similar_of_it(features, share):
    found = pc.likeness(features, SEED)
    mask = found.mask(share=share)
    assert mask.mean() == pytest.approx(share, abs=1e-4)
    assert not mask.any() or mask.all() or found.values[mask].min() >= found.values[~mask].max()


def test_many_windows_cover_the_whole_picture(tiny_model, blocks):
    features = tiny_model.encode(blocks, 224, "sliding", crop=112, stride=56)
    found = pc.likeness(features, SEED)
    assert found.values.shape == (150, 230) and np.isfinite(found.values).all() and abs(found.values).max() <= 1
    assert found.best > 0.9


def test_in_another_picture_the_best_match_is_where_the_same_thing_is(features, turned):
    found = pc.likeness(features, SEED, turned)
    red = np.zeros((150, 230), dtype=bool)
    red[75:, 115:] = True  # where the seed's area is in the other picture
    x, y = found.best_xy
    assert found.values.shape == (150, 230) and found.values[y, x] == found.best == found.values.max()
    assert red[y, x] and found.values[red].mean() > found.values[~red].mean()


def test_every_pair_of_patches_counts_in_the_mean(features, turned):
    grids = [one.vfm[0].flatten(1) / one.vfm[0].flatten(1).norm(dim=0) for one in (features, turned)]
    assert pc.likeness(features, SEED, turned).mean == pytest.approx(float((grids[0].T @ grids[1]).mean()), abs=1e-5)


def test_patches_of_different_models_or_facets_are_not_compared(tiny_model, other_model, features, blocks):
    for other in (other_model.encode(blocks, 224, "whole"), tiny_model.encode(blocks, 224, "whole", facet="keys")):
        with pytest.raises(ValueError, match=r"cannot be compared\. Encode both pictures with the same"):
            pc.likeness(features, SEED, other)


def test_what_cannot_be_is_said(features):
    with pytest.raises(ValueError, match="lies outside the picture of 230 x 150"):
        pc.likeness(features, (230, 0))
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="expected a number from 0 to 1"):
            pc.likeness(features, SEED).mask(share=share)
    with pytest.raises(ValueError, match="beta is -1"):
        pc.likeness(features, SEED).mask(beta=-1)
