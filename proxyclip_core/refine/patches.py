"""Label propagation over the patches of all windows (LPOSS).

V. Stojnic et al., LPOSS: Label Propagation Over Patches and Pixels for Open-vocabulary Semantic Segmentation,
CVPR 2025. A patch is linked to the k patches of all windows whose features f are most like its own:

    K_ij = max(f_i . f_j, 0)^gamma exp(-sigma |x_i - x_j|^power)   for j among the k most similar to i, else 0
    W = K + K^T, without its diagonal

with x the patches' places in pixels. `solver` moves the scores along these links. As windows that overlap see the same
things, this also removes the seams between them.

Axes: P patches of all windows one after the other, N nodes, C width of the features, Q queries.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from proxyclip_core.attention import resample_patches
from proxyclip_core.devices import on_device
from proxyclip_core.interrupt import checkpoint
from proxyclip_core.types import ImageFeatures, Movable

ENTRIES_AT_ONCE = 1_000_000  # of the P x P similarities, 4 MB in float32; they are never held as a whole
SAMPLED = 32  # of the k nearest stand for all of them in a picture, whose labels hardly change
GOLDEN_RATIO = 0.5 * (1 + 5**0.5)  # whose multiples are spread evenly over 0..1
NEGLIGIBLE = 1e-5  # for the weight of a link, where 1 is that of the most similar patch
ROUNDED = 64  # in a pixel: patches that are less apart than one of these are at one place
APART = 1e-5  # by which the lengths of features differ
# LPOSS takes 3, for the values of DINO's last block. Its outputs are so much more alike that 3 would blur all patches
# into one another.
GAMMA, OUTPUTS_GAMMA = 3.0, 40.0


@dataclass(frozen=True, eq=False)
class PatchGraph(Movable):
    """The links of N nodes. A call moves scores along them once, which is the product that `solver` takes.

    starts (N + 1,) int32, neighbours (M,) int32 and weights (M,): each pair of W once, in rows (CSR), where the second
    node comes after the first. back_starts, back_neighbours, back_weights: the same, where it comes before.
    scale (N,): D^-1/2 of W. of: what else it belongs to, see `picture_graph`.
    nodes (P,): which node each patch is part of; None where each is one itself.
    """

    starts: torch.Tensor
    neighbours: torch.Tensor
    weights: torch.Tensor
    back_starts: torch.Tensor
    back_neighbours: torch.Tensor
    back_weights: torch.Tensor
    scale: torch.Tensor
    of: tuple[Any, ...] = ()
    nodes: torch.Tensor | None = None

    def of_nodes(self, scores: torch.Tensor) -> torch.Tensor:
        """(Q, P) -> (Q, N): the mean of each node's patches."""
        return scores if self.nodes is None else _means(scores.T, self.nodes, len(self.scale)).T

    def of_patches(self, scores: torch.Tensor) -> torch.Tensor:
        """(Q, N) -> (Q, P): each patch takes what its node has."""
        return scores if self.nodes is None else scores.T.index_select(0, self.nodes).T

    def __call__(self, scores: torch.Tensor) -> torch.Tensor:
        """(Q, N) -> (Q, N): D^-1/2 W D^-1/2 times the scores of each query."""
        columns = (scores.T * self.scale[:, None]).contiguous()  # patch by patch, as is all that follows from it
        return self._moved(columns).mul_(self.scale[:, None]).T

    def _moved(self, columns: torch.Tensor) -> torch.Tensor:
        """(N, Q) -> (N, Q): W times columns."""
        moved = _rows(self.starts, self.neighbours, self.weights) @ columns
        return moved.add_(_rows(self.back_starts, self.back_neighbours, self.back_weights) @ columns)


def _rows(starts: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    size = (len(starts) - 1,) * 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)


def patch_graph(
    features: torch.Tensor,
    places: torch.Tensor,
    *,
    k: int = 400,
    gamma: float = GAMMA,
    sigma: float = 0.01,
    power: float = 1.0,
    sampled: int | None = None,
    of: tuple[Any, ...] = (),
) -> PatchGraph:
    """The graph of patches. Links that weigh next to nothing beside a patch's strongest are left out.

    features (P, C), of any length. places (P, 2): row and column of each patch in pixels of the resized picture; only
    differences count. k: links that a patch chooses, itself among them; all where there are fewer patches.
    sampled: how many of the k are looked for among as large a share of the patches, to tell how similar the k-th is; a
    patch then chooses about k. Patches of one place, where windows overlap, are also one node then, with the mean of
    their directions, and k is smaller by the same share as the nodes are fewer. None is exact.
    Raises ValueError for k < 1, sampled < 1 or gamma <= 0.
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected 1 or more links a patch (LPOSS uses 400).")
    if sampled is not None and sampled < 1:
        raise ValueError(f"sampled is {sampled}; expected 1 or more of the k links, or None for all of them.")
    if not gamma > 0:
        raise ValueError(f"gamma is {gamma}; expected a number above 0 (LPOSS uses 3).")
    features, places, nodes = F.normalize(features.float(), dim=1), places.float(), None
    if sampled is not None:
        features, places, nodes = _one_a_place(features, places)
    count = len(features)
    k = k if nodes is None else math.ceil(k * count / len(nodes))
    features, (y, x) = _apart(features), places.T.contiguous()
    least = _least_similarities(features, k, gamma, sampled or k)
    found: list[tuple[torch.Tensor, ...]] = []
    band = max(1, ENTRIES_AT_ONCE // count)
    for top in range(0, count, band):
        checkpoint()
        similarity = features[top : top + band] @ features[top:].T  # each pair once: with the patches that follow
        chosen = similarity >= torch.minimum(least[top : top + band, None], least[top:])
        row, column = chosen.triu_(1).nonzero(as_tuple=True)
        similarity = similarity[row, column]
        row, column = row.int().add_(top), column.int().add_(top)
        down, right = (at.index_select(0, row).sub_(at.index_select(0, column)) for at in (y, x))
        distance = down.mul_(down).addcmul_(right, right).sqrt_()
        # s^gamma exp(-sigma d^power) by one exponential, which is 0 where s is
        weight = similarity.log().mul_(gamma).sub_(distance.pow_(power), alpha=sigma).exp_()
        both = (similarity >= least.index_select(0, row)) & (similarity >= least.index_select(0, column))
        found.append((row, column, weight.addcmul_(weight, both.float())))
    row, column, weight = (torch.cat(parts) for parts in zip(*found))
    order = column.argsort(stable=True)
    starts, back_starts = (F.pad(ends.bincount(minlength=count).cumsum(0), (1, 0)).int() for ends in (row, column))
    back = back_starts, row.index_select(0, order), weight.index_select(0, order)
    graph = PatchGraph(starts, column, weight, *back, weight.new_ones(count), of, nodes)
    degrees = graph._moved(weight.new_ones(count, 1))[:, 0]
    return replace(graph, scale=degrees.rsqrt().nan_to_num_(posinf=0))  # a patch without links keeps its scores


def _one_a_place(
    features: torch.Tensor, places: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """(P, C) unit length, (P, 2) -> (N, C) unit length, (N, 2), and which of these each patch became part of (P,), None
    where all are at different places."""
    row, column = (places - places.amin(dim=0)).mul_(ROUNDED).round_().long().unbind(1)
    wide = column.max() + 1
    found, nodes = (row * wide + column).unique(return_inverse=True)
    if len(found) == len(nodes):
        return features, places, None
    return F.normalize(_means(features, nodes, len(found)), dim=1), _means(places, nodes, len(found)), nodes


def _means(rows: torch.Tensor, groups: torch.Tensor, count: int) -> torch.Tensor:
    """(P, C), group of each row (P,) -> (count, C)."""
    sums = rows.new_zeros(count, rows.shape[1]).index_add_(0, groups, rows)
    return sums.div_(groups.bincount(minlength=count)[:, None])


def _apart(features: torch.Tensor) -> torch.Tensor:
    """(P, C), each patch made longer by a hardly noticeable share of its own: where many are equal, all of them would
    be the nearest otherwise, however many there are."""
    shares = torch.arange(len(features), device=features.device).mul(GOLDEN_RATIO).frac_()
    return features * (1 + APART * shares[:, None])


def _least_similarities(features: torch.Tensor, k: int, gamma: float, sampled: int) -> torch.Tensor:
    """(P, C) unit length -> (P,): how similar a patch has to be at least to be chosen."""
    count = len(features)
    k = min(k, count)
    nearer = min(k, sampled)
    compared = count * nearer // k
    step = torch.arange(compared, device=features.device)
    # One of each count / compared patches that follow each other, wherever that falls in their rows.
    within = (step * GOLDEN_RATIO).frac() * (compared < count)
    sample = features[((step + within) * (count / compared)).long().clamp_(max=count - 1)]
    least, band = features.new_empty(count), max(1, ENTRIES_AT_ONCE // compared)
    for top in range(0, count, band):
        checkpoint()
        nearest = (features[top : top + band] @ sample.T).topk(min(nearer + 1, compared), dim=1).values
        weak = nearest[:, min(1, compared - 1)] * NEGLIGIBLE ** (1 / gamma)  # the first may be the patch itself
        # Halfway to the next: similarities of the same pair differ by rounding.
        edge = nearest[:, nearer - 1 : nearer + 1].mean(dim=1) if nearer < compared else weak
        least[top : top + band] = torch.maximum(edge, weak)
    return least.clamp_(min=0)


def picture_graph(
    features: ImageFeatures,
    grid_hw: tuple[int, int] | None = None,
    *,
    gamma: float | None = None,
    sampled: int | None = SAMPLED,
    device: torch.device | None = None,
    **settings: Any,
) -> PatchGraph:
    """The graph of a picture's patches, on the VFM's grid or another one.

    gamma: None for what suits the features. sampled: None for LPOSS's own graph, slower. settings: `k`, `sigma` and
    `power` of `patch_graph`. It belongs to the picture, the VFM and its facet, the windows and the grid, which `of`
    holds; words, beta and gamma change nothing.
    Raises ValueError without a VFM.
    """
    if features.vfm is None:
        raise ValueError("These features hold no VFM, whose similarities refinement needs. Load one and encode again.")
    vfm = features.vfm.to(device or features.vfm.device).float()
    own_hw = vfm.shape[-2], vfm.shape[-1]
    grid_hw = grid_hw or own_hw
    tokens = resample_patches(vfm.flatten(2).transpose(1, 2), own_hw, grid_hw)  # (B, N, C)
    patch_hw = features.layout.padded_hw[0] / grid_hw[0], features.layout.padded_hw[1] / grid_hw[1]
    places = grid_places(features.layout.corners, grid_hw, patch_hw, vfm.device)
    if gamma is None:
        gamma = OUTPUTS_GAMMA if features.facet == "tokens" else GAMMA
    named = {**settings, "gamma": gamma, "sampled": sampled, "of": graph_of(features, grid_hw)}
    return patch_graph(tokens.flatten(0, 1), places, **named)


def graph_of(features: ImageFeatures, grid_hw: tuple[int, int]) -> tuple[Any, ...]:
    """`PatchGraph.of` of these features."""
    return features.picture, features.vfm_id, features.facet, features.layout, tuple(grid_hw)


def grid_places(
    corners: list[tuple[int, int]], grid_hw: tuple[int, int], patch_hw: tuple[float, float], device: torch.device
) -> torch.Tensor:
    """(P, 2) rows and columns in pixels of the patches of windows whose first rows and columns are `corners`."""
    rows, columns = (torch.arange(side, device=device) * patch for side, patch in zip(grid_hw, patch_hw))
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2).float()
    return (grid + on_device(torch.tensor(corners, device="cpu"), device)[:, None]).flatten(0, 1)
