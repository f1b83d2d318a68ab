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

import torch
import torch.nn.functional as F

from proxyclip_core.interrupt import checkpoint
from proxyclip_core.refine.solver import Product

ENTRIES_AT_ONCE = 4_000_000  # of the P x P similarities, 16 MB in float32; they are never held as a whole


def patch_graph(
    features: torch.Tensor,
    places: torch.Tensor,
    *,
    k: int = 400,
    gamma: float = 3.0,
    sigma: float = 0.01,
    power: float = 1.0,
) -> Product:
    """The graph of patches as the product (Q, P) -> (Q, P) that `solver` takes.

    features (P, C), of any length. places (P, 2): row and column of each patch in pixels of the resized picture; only
    differences count. k: links that a patch chooses, itself among them; all where there are fewer patches.
    Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected 1 or more links a patch (LPOSS uses 400).")
    features, places = F.normalize(features.float(), dim=1), places.float()
    count = len(features)
    k = min(k, count)
    neighbours = torch.empty(count, k, dtype=torch.int64, device=features.device)
    weights = torch.empty(count, k, device=features.device)
    for rows in torch.arange(count, device=features.device).split(max(1, ENTRIES_AT_ONCE // count)):
        checkpoint()
        similarity, near = (features[rows] @ features.T).topk(k, dim=1, sorted=False)  # (R, k)
        distance = (places[rows, None] - places[near]).square_().sum(dim=2).sqrt_()
        weight = similarity.clamp_(min=0).pow_(gamma) * distance.pow_(power).mul_(-sigma).exp_()
        neighbours[rows] = near
        weights[rows] = weight.masked_fill_(near == rows[:, None], 0)
    degrees = weights.sum(dim=1).index_add_(0, neighbours.flatten(), weights.flatten())
    scale = degrees.rsqrt().nan_to_num_(posinf=0)  # a patch without links keeps its scores
    links, back = _both_ways(neighbours, weights.mul_(scale[:, None]).mul_(scale[neighbours]))

    def product(scores: torch.Tensor) -> torch.Tensor:
        columns = scores.T.contiguous()  # patch by patch, which is how all that follows from it lies in memory
        return (links @ columns).add_(back @ columns).T

    return product


def _both_ways(neighbours: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """K and K^T in rows (CSR), from column indices and weights (P, k) of K. Adding them up would take far longer."""
    count, k = weights.shape
    columns, size = neighbours.flatten().int(), (count, count)  # indices of 32 bits, which products need no copy of
    order = columns.argsort(stable=True)
    starts = F.pad(columns.bincount(minlength=count).cumsum(0), (1, 0)).int()
    every_k = torch.arange(0, count * k + 1, k, dtype=torch.int32, device=weights.device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        links = torch.sparse_csr_tensor(every_k, columns, weights.flatten(), size, check_invariants=False)
        back = torch.sparse_csr_tensor(
            starts, (order // k).int(), weights.flatten()[order], size, check_invariants=False
        )
    return links, back


def grid_places(
    corners: list[tuple[int, int]], grid_hw: tuple[int, int], patch_hw: tuple[float, float], device: torch.device
) -> torch.Tensor:
    """(P, 2) rows and columns in pixels of the patches of windows whose first rows and columns are `corners`."""
    rows, columns = (torch.arange(side, device=device) * patch for side, patch in zip(grid_hw, patch_hw))
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2).float()
    return torch.cat([grid + torch.tensor(corner, device=device) for corner in corners])
