"""Label propagation over the patches of all windows (LPOSS).

V. Stojnic et al., LPOSS: Label Propagation Over Patches and Pixels for Open-vocabulary Semantic Segmentation,
CVPR 2025. A patch is linked to the k patches of all windows whose features f are most like its own:

    K_ij = max(f_i . f_j, 0)^gamma exp(-sigma |x_i - x_j|^power)   for j among the k most similar to i, else 0
    W = K + K^T, without its diagonal

with x the patches' places in pixels. `solver` moves the scores along these links. As windows that overlap see the same
things, this also removes the seams between them.

Axes: P patches of all windows one after the other, C width of the features, Q queries.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from proxyclip_core.attention import resample_patches
from proxyclip_core.interrupt import checkpoint
from proxyclip_core.types import ImageFeatures, Movable

ENTRIES_AT_ONCE = 1_000_000  # of the P x P similarities, 4 MB in float32; they are never held as a whole
MEMBERS_AT_ONCE = 16_000_000  # of P x P, whether one patch has chosen another, a byte each
# LPOSS takes 3, for the values of DINO's last block. Its outputs are so much more alike that 3 would blur all patches
# into one another.
GAMMA, OUTPUTS_GAMMA = 3.0, 40.0


@dataclass(frozen=True, eq=False)
class PatchGraph(Movable):
    """The links of P patches. A call moves scores along them once, which is the product that `solver` takes.

    neighbours (P, k) int32 and weights (P, k): K, row by row, twice where two patches have chosen each other. starts
    (P + 1,), back_neighbours (M,) int32 and back_weights (M,): the rest of K^T in rows (CSR). scale (P,): D^-1/2 of W.
    of: what else it belongs to, see `picture_graph`.
    """

    neighbours: torch.Tensor
    weights: torch.Tensor
    starts: torch.Tensor
    back_neighbours: torch.Tensor
    back_weights: torch.Tensor
    scale: torch.Tensor
    of: tuple[Any, ...] = ()

    def __call__(self, scores: torch.Tensor) -> torch.Tensor:
        """(Q, P) -> (Q, P): D^-1/2 W D^-1/2 times the scores of each query."""
        columns = (scores.T * self.scale[:, None]).contiguous()  # patch by patch, as is all that follows from it
        return self._moved(columns).mul_(self.scale[:, None]).T

    def _moved(self, columns: torch.Tensor) -> torch.Tensor:
        """(P, Q) -> (P, Q): W times columns."""
        count, k = self.weights.shape
        every_k = torch.arange(0, count * k + 1, k, dtype=torch.int32, device=columns.device)
        links = _rows(every_k, self.neighbours.flatten(), self.weights.flatten())
        return (links @ columns).add_(_rows(self.starts, self.back_neighbours, self.back_weights) @ columns)


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
    of: tuple[Any, ...] = (),
) -> PatchGraph:
    """The graph of patches.

    features (P, C), of any length. places (P, 2): row and column of each patch in pixels of the resized picture; only
    differences count. k: links that a patch chooses, itself among them; all where there are fewer patches.
    Raises ValueError for k < 1 or gamma <= 0.
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected 1 or more links a patch (LPOSS uses 400).")
    if not gamma > 0:
        raise ValueError(f"gamma is {gamma}; expected a number above 0 (LPOSS uses 3).")
    features, (down, right) = F.normalize(features.float(), dim=1), places.float().T.contiguous()
    count = len(features)
    k = min(k, count)
    neighbours = torch.empty(count, k, dtype=torch.int32, device=features.device)
    weights = torch.empty(count, k, device=features.device)
    own = torch.arange(count, device=features.device)[:, None]
    band = max(1, ENTRIES_AT_ONCE // count)
    for top in range(0, count, band):
        checkpoint()
        rows = slice(top, top + band)
        similarity, near = (features[rows] @ features.T).topk(k, dim=1, sorted=False)  # (R, k)
        distance = torch.hypot(down.take(near).sub_(down[rows, None]), right.take(near).sub_(right[rows, None]))
        # s^gamma exp(-sigma d^power) by one exponential, which is 0 where s is
        weight = similarity.clamp_(min=0).log_().mul_(gamma).sub_(distance.pow_(power), alpha=sigma).exp_()
        neighbours[rows] = near
        weights[rows] = weight.masked_fill_(near == own[rows], 0)
    mutual = _mutual(neighbours)
    row, column = (~mutual).nonzero(as_tuple=True)
    chosen, weight = neighbours[row, column], weights[row, column]
    order = chosen.argsort(stable=True)
    starts = F.pad(chosen.bincount(minlength=count).cumsum(0), (1, 0)).int()
    weights.addcmul_(weights, mutual.float())
    graph = PatchGraph(neighbours, weights, starts, row[order].int(), weight[order], weights.new_ones(count), of)
    degrees = graph._moved(weights.new_ones(count, 1))[:, 0]
    return replace(graph, scale=degrees.rsqrt().nan_to_num_(posinf=0))  # a patch without links keeps its scores


def _mutual(neighbours: torch.Tensor) -> torch.Tensor:
    """(P, k) -> (P, k) bool: whether the neighbour has chosen the patch as well."""
    count, device = len(neighbours), neighbours.device
    own = torch.arange(count, device=device)[:, None]
    asked, found = neighbours.long().mul_(count).add_(own), torch.zeros_like(neighbours, dtype=torch.bool)
    band = max(1, MEMBERS_AT_ONCE // count)
    for top in range(0, count, band):
        checkpoint()
        chosen = torch.zeros(min(band, count - top), count, dtype=torch.bool, device=device)
        chosen.scatter_(1, neighbours[top : top + band].long(), True)
        if len(chosen) == count:
            return chosen.take(asked)
        at = asked - top * count
        inside = (at >= 0) & (at < chosen.numel())
        found |= chosen.take(at.clamp_(0, chosen.numel() - 1)).logical_and_(inside)
    return found


def picture_graph(
    features: ImageFeatures,
    grid_hw: tuple[int, int] | None = None,
    *,
    gamma: float | None = None,
    device: torch.device | None = None,
    **settings: Any,
) -> PatchGraph:
    """The graph of a picture's patches, on the VFM's grid or another one.

    gamma: None for what suits the features. settings: `k`, `sigma` and `power` of `patch_graph`. It belongs to the
    picture, the VFM and its facet, the windows and the grid, which `of` holds; words, beta and gamma change nothing.
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
    return patch_graph(tokens.flatten(0, 1), places, gamma=gamma, of=graph_of(features, grid_hw), **settings)


def graph_of(features: ImageFeatures, grid_hw: tuple[int, int]) -> tuple[Any, ...]:
    """`PatchGraph.of` of these features."""
    return features.picture, features.vfm_id, features.facet, features.layout, tuple(grid_hw)


def grid_places(
    corners: list[tuple[int, int]], grid_hw: tuple[int, int], patch_hw: tuple[float, float], device: torch.device
) -> torch.Tensor:
    """(P, 2) rows and columns in pixels of the patches of windows whose first rows and columns are `corners`."""
    rows, columns = (torch.arange(side, device=device) * patch for side, patch in zip(grid_hw, patch_hw))
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2).float()
    return torch.cat([grid + torch.tensor(corner, device=device) for corner in corners])
