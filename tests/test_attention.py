"""The paper's idea, against its formulas written out for one window (Sec. 3.3)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from proxyclip_core import attention

BETA, GAMMA = 1.1, 4.0


@pytest.fixture
def features(rng) -> torch.Tensor:
    """(2, 5, 3, 4): two windows, the second of which is more alike."""
    features = torch.randn(2, 5, 3, 4, generator=rng)
    features[1] += 1.5
    return features


def written_out(features: torch.Tensor, beta: float, gamma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """One window (C, h, w) -> S and A, both (N, N)."""
    unit = F.normalize(features.flatten(1), dim=0)
    similarity = unit.T @ unit
    return similarity, (similarity - beta * similarity.mean()) * gamma


def test_every_stage_of_a_row_is_the_formula(features):
    patches = attention.unit_patches(features)
    for window in range(2):
        similarity, scores = written_out(features[window], BETA, GAMMA)
        kept = (scores >= 0) | torch.eye(12, dtype=torch.bool)
        masked = scores.masked_fill(~kept, float("-inf"))
        given = (patches[window], torch.arange(12), attention.similarity_mean(patches)[window], BETA, GAMMA)
        assert torch.allclose(attention.attention_rows(*given, "cosine"), similarity, atol=1e-6)
        assert torch.allclose(attention.attention_rows(*given, "normalised"), masked, atol=1e-5)
        assert torch.allclose(attention.attention_rows(*given), masked.softmax(dim=-1), atol=1e-6)
        assert 0 < (~kept).sum() < 144


def test_some_rows_are_rows_of_all(features):
    patches = attention.unit_patches(features)[0]
    mean = attention.similarity_mean(patches[None])[0]
    every = attention.attention_rows(patches, torch.arange(12), mean, BETA, GAMMA)
    some = attention.attention_rows(patches, torch.tensor([7, 2]), mean, BETA, GAMMA)
    assert torch.allclose(some, every[[7, 2]], atol=1e-6)


def test_a_row_that_would_be_masked_attends_to_itself(features):
    patches = attention.unit_patches(features)[1]
    weights = attention.attention_rows(patches, torch.arange(12), torch.tensor(1.0), 3.0, GAMMA)
    assert torch.equal(weights, torch.eye(12))


def test_only_scores_below_zero_are_masked():
    features = torch.eye(3).reshape(1, 3, 1, 3)  # three patches that have nothing in common: S is 0 but to themselves
    patches = attention.unit_patches(features)[0]
    weights = attention.attention_rows(patches, torch.arange(3), torch.tensor(0.0), 0.0, 2.0)
    assert torch.allclose(weights, (2 * torch.eye(3)).softmax(dim=-1))
    assert attention.similarity_statistics(features, 0.0, 2.0).masked_share == 0


@pytest.mark.parametrize(("beta", "attended"), [(1.0, 4), (1.5, 1), (3.0, 1)])
def test_statistics_count_the_patch_itself_as_attended(beta, attended):
    alike = torch.ones(1, 1, 2, 2)  # S and its mean are 1 everywhere
    assert attention.similarity_statistics(alike, beta, GAMMA).attended == attended


@pytest.mark.parametrize("entries", [1, 5 * 12, 10_000])
def test_proxy_attention_is_w_times_v_window_by_window(features, rng, monkeypatch, entries):
    monkeypatch.setattr(attention, "ENTRIES_AT_ONCE", entries)
    values = torch.randn(2, 12, 6, generator=rng)
    fused = attention.proxy_attention(features, values, BETA, GAMMA)
    for window in range(2):
        _, scores = written_out(features[window], BETA, GAMMA)
        kept = (scores >= 0) | torch.eye(12, dtype=torch.bool)
        expected = scores.masked_fill(~kept, float("-inf")).softmax(dim=-1) @ values[window]
        assert torch.allclose(fused[window], expected, atol=1e-5)


def test_values_on_another_grid_are_bilinear_and_stay_on_their_own():
    tokens = torch.arange(6.0).view(1, 6, 1)
    assert attention.resample_patches(tokens, (2, 3), (2, 3)) is tokens
    finer = attention.resample_patches(tokens, (2, 3), (4, 6))
    expected = F.interpolate(tokens.view(1, 1, 2, 3), size=(4, 6), mode="bilinear", align_corners=False)
    assert torch.equal(finer.view(4, 6), expected[0, 0])


@pytest.mark.parametrize("beta", [BETA, 3.0], ids=["some masked", "all masked"])
@pytest.mark.parametrize("entries", [30, 10_000])
def test_statistics_are_of_all_pairs_of_all_windows(features, monkeypatch, beta, entries):
    monkeypatch.setattr(attention, "ENTRIES_AT_ONCE", entries)
    found = attention.similarity_statistics(features, beta, GAMMA, bins=20)
    pairs = [written_out(window, beta, GAMMA) for window in features]
    similarity, scores = (torch.stack(part) for part in zip(*pairs))
    own = torch.eye(12, dtype=torch.bool).expand(2, 12, 12)
    masked = (scores < 0) & ~own
    assert found.mean == pytest.approx(float(similarity.mean()), abs=1e-6)
    assert found.masked_share == pytest.approx(float(masked.float().mean()), abs=1e-6)
    assert found.attended == pytest.approx(float((~masked).sum()) / 24, abs=1e-5)
    low = float((-1 - beta * similarity.mean(dim=(1, 2)).max()) * GAMMA)
    high = float((1 - beta * similarity.mean(dim=(1, 2)).min()) * GAMMA)
    assert np.allclose(found.normalised_edges, np.linspace(low, high, 21), atol=1e-4)
    assert np.allclose(found.edges, np.linspace(-1, 1, 21))
    expected, _ = np.histogram(similarity.clamp(-1, 1).numpy(), bins=found.edges)
    assert found.cosine_counts.sum() == found.normalised_counts.sum() == 288
    assert np.abs(found.cosine_counts - expected).sum() <= 4  # a pair on an edge falls either way
    expected, _ = np.histogram(scores.clamp(low, high).numpy(), bins=found.normalised_edges)
    assert np.abs(found.normalised_counts - expected).sum() <= 4


@pytest.mark.parametrize(("beta", "gamma"), [(-1e-9, 3.0), (float("nan"), 3.0), (float("inf"), 3.0)])
def test_a_beta_that_cannot_be_is_named(beta, gamma):
    with pytest.raises(ValueError, match="beta is"):
        attention.check_beta_gamma(beta, gamma)


@pytest.mark.parametrize("gamma", [0.0, -1.0, float("nan"), float("inf")])
def test_a_gamma_that_cannot_be_is_named(gamma):
    with pytest.raises(ValueError, match="gamma is"):
        attention.check_beta_gamma(0.0, gamma)
    attention.check_beta_gamma(0.0, 1e-3)


def test_a_stage_that_is_none_is_named_with_those_that_are(features):
    patches = attention.unit_patches(features)[0]
    with pytest.raises(ValueError, match="stage is 'raw'; expected one of cosine, normalised, softmax"):
        attention.attention_rows(patches, torch.tensor([0]), torch.tensor(0.0), BETA, GAMMA, "raw")
