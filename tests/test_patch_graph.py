"""proxyclip_core.refine.patches and .solver: the links of patches, and scores that follow them."""

import pytest
import torch

from proxyclip_core.refine import patches, refine
from proxyclip_core.refine.patches import patch_graph
from proxyclip_core.refine.solver import propagate, solve


def test_patches_take_over_the_scores_of_those_that_are_like_them(rng):
    features = torch.tensor([[1.0, 0], [0, 1]]).repeat_interleave(10, dim=0) + 0.05 * torch.rand(20, 2, generator=rng)
    scores = torch.zeros(2, 20)
    scores[0, :10], scores[1, 10:] = 1, 1
    scores[:, 3] = torch.tensor([0.0, 1.0])  # the one that is wrong
    graph = patch_graph(features, torch.zeros(20, 2), k=10)
    assert propagate(graph, scores, 0.95).argmax(dim=0).tolist() == [0] * 10 + [1] * 10


@pytest.fixture
def some_patches(rng) -> tuple[torch.Tensor, torch.Tensor]:
    """(features, places) of 30 patches."""
    return torch.rand(30, 4, generator=rng) - 0.2, 50 * torch.rand(30, 2, generator=rng)


def test_the_graph_is_that_of_the_formula(some_patches):
    features, places = some_patches
    similarity = torch.nn.functional.normalize(features, dim=1) @ torch.nn.functional.normalize(features, dim=1).T
    links = torch.zeros(30, 30).scatter_(1, similarity.topk(7, dim=1).indices, 1)
    links *= similarity.clamp(min=0) ** 3 * torch.exp(-0.02 * torch.cdist(places, places) ** 0.5)
    both = (links + links.T).fill_diagonal_(0)
    expected = both / (both.sum(0).sqrt() * both.sum(0).sqrt()[:, None])
    graph = patch_graph(features, places, k=7, gamma=3.0, sigma=0.02, power=0.5)
    assert torch.allclose(graph(torch.eye(30)), expected, atol=1e-5)


def test_the_graph_is_made_some_patches_at_a_time(some_patches, monkeypatch):
    whole = patch_graph(*some_patches, k=7)(torch.eye(30))
    monkeypatch.setattr(patches, "ENTRIES_AT_ONCE", 100)
    assert torch.allclose(patch_graph(*some_patches, k=7)(torch.eye(30)), whole, atol=1e-6)


def test_a_sample_of_the_patches_tells_nearly_which_are_the_nearest(rng):
    features = torch.rand(6, 8, generator=rng).repeat_interleave(100, dim=0) + 0.3 * torch.rand(600, 8, generator=rng)
    places, scores = 50 * torch.rand(600, 2, generator=rng), torch.rand(3, 600, generator=rng)
    exact, sampled = (propagate(patch_graph(features, places, k=60, sampled=n), scores, 0.95) for n in (None, 20))
    assert 0 < (exact - sampled).abs().max() < 0.1 * (exact - scores).abs().max()


@pytest.fixture
def overlapping(rng) -> tuple[torch.Tensor, torch.Tensor]:
    """(features, places) of two windows of 12 x 12 patches, half of each on the other, where they nearly agree."""
    picture = torch.rand(12, 18, 4, generator=rng)
    windows = torch.cat([picture[:, :12].flatten(0, 1), picture[:, 6:].flatten(0, 1)])
    features = windows * (1 + torch.rand(288, 1, generator=rng)) + 0.01 * torch.rand(288, 4, generator=rng)
    return features, patches.grid_places([(0, 0), (0, 48)], (12, 12), (8.0, 8.0), torch.device("cpu"))


def test_patches_of_one_place_are_one_node(overlapping, rng):
    features, places = overlapping
    graph = patch_graph(features, places, k=80, sampled=1000)
    first, second = graph.nodes.unflatten(0, (2, 12, 12))
    assert torch.equal(first[:, 6:], second[:, :6]) and len(graph.nodes.unique()) == len(graph.scale) == 12 * 18
    scores = torch.rand(3, 288, generator=rng)
    seen = graph.of_patches(graph.of_nodes(scores)).unflatten(1, (2, 12, 12))
    left, right = scores.unflatten(1, (2, 12, 12)).unbind(1)
    assert torch.allclose(seen[:, 0, :, 6:], (left[:, :, 6:] + right[:, :, :6]) / 2)
    assert torch.equal(seen[:, 0, :, :6], left[:, :, :6]) and torch.equal(seen[:, 1, :, 6:], right[:, :, 6:])


def test_the_links_between_nodes_are_those_of_their_mean_directions(overlapping):
    features, places = overlapping
    graph = patch_graph(features, places, k=80, sampled=1000)
    directions, counts = torch.zeros(216, 4), torch.zeros(216, 1)
    for node, feature in zip(graph.nodes.tolist(), torch.nn.functional.normalize(features, dim=1)):
        directions[node] += feature
        counts[node] += 1
    at = torch.zeros(216, 2).index_copy(0, graph.nodes, places)
    plain = patch_graph(directions / counts, at, k=60)  # 80 of 288 patches are 60 of 216
    assert plain.nodes is None and torch.allclose(plain(torch.eye(216)), graph(torch.eye(216)), atol=1e-6)


def test_windows_agree_where_they_overlap_once_patches_are_propagated(tiny_model, four_areas):
    features = tiny_model.encode(four_areas, side=None, crop=56, stride=24)  # three patches
    logits = tiny_model.classify(tiny_model.fuse(features), tiny_model.embed("red, green, blue, yellow"))
    assert features.layout.lefts[:2] == (0, 24) and logits.values.shape[-1] == 7
    first, second = refine(logits, features, four_areas, "patches").values[:2]
    assert torch.equal(first[..., 3:], second[..., :-3])
    assert not torch.equal(logits.values[0, ..., 3:], logits.values[1, ..., :-3])


def test_a_sample_of_none_of_the_nearest_is_refused(some_patches):
    with pytest.raises(ValueError, match="sampled is 0; expected 1 or more"):
        patch_graph(*some_patches, k=7, sampled=0)


def test_patches_that_are_all_alike_do_not_all_choose_each_other():
    graph = patch_graph(torch.ones(300, 3), torch.zeros(300, 2), k=10)
    assert 0 < len(graph.weights) < 2 * 10 * 300


def test_links_go_both_ways_where_all_patches_are_alike():
    moved = patch_graph(torch.ones(12, 3), torch.zeros(12, 2), k=4)(torch.eye(12))
    assert torch.equal(moved != 0, (moved != 0).T) and torch.allclose(moved, moved.T)


def test_a_patch_without_links_keeps_its_scores(rng):
    features = torch.eye(3)  # at right angles: no similarity is above 0
    scores = torch.rand(2, 3, generator=rng)
    assert torch.allclose(propagate(patch_graph(features, torch.zeros(3, 2)), scores, 0.95), scores)


def test_equal_scores_stay_what_they_are(rng):
    graph = patch_graph(torch.rand(30, 4, generator=rng), torch.rand(30, 2, generator=rng), k=5)
    scores = torch.tensor([[0.3], [0.7]]).expand(2, 30).contiguous()
    assert torch.allclose(propagate(graph, scores, 0.95), scores, atol=1e-5)
    assert solve(graph, scores, 0.95).min() > 1  # what it is divided for
