"""Proxy attention: the paper's idea, as pure functions on tensors (Sec. 3.3 of the paper).

For one window, with F the VFM's N patch features at unit length,

    S = F F^T,   m = mean(S)
    A = (S - beta m) gamma           adaptive normalisation
    A_ij = -inf where A_ij < 0       masking
    W = softmax over j of A          the proxy attention

W replaces the attention of CLIP's last block. It is the same for all heads, so one N x N matrix times all values is
exact; and since rows do not depend on each other, N x N is never held as a whole.

Axes: B windows, N patches of one window, C VFM width, D width of the values, R some rows (seed patches).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from proxyclip_core.interrupt import checkpoint

# Rows of W made at a time: 2 M entries are 8 MB in float32, which stays in a CPU's cache hierarchy and is still a
# large enough matrix product to run at full speed.
ENTRIES_AT_ONCE = 2_000_000

STAGES = ("cosine", "normalised", "softmax")
# No entry of A lies between this and 0: float32 similarities near beta m differ by far more. Above it is 0 or more.
BELOW_0 = -torch.finfo(torch.float32).tiny


def unit_patches(features: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) -> (B, N, C) float32 of unit length."""
    return F.normalize(features.float().flatten(2), dim=1).transpose(1, 2).contiguous()


def similarity_mean(patches: torch.Tensor) -> torch.Tensor:
    """(B, N, C) unit patches -> (B,) the mean m of S, per window.

    mean(F F^T) = |mean of the rows of F|^2, which needs no N x N matrix.
    """
    return patches.mean(dim=1).square().sum(dim=-1)


def attention_rows(
    patches: torch.Tensor,
    rows: torch.Tensor,
    mean: torch.Tensor,
    beta: float,
    gamma: float,
    stage: str = "softmax",
    scopes: torch.Tensor | None = None,
) -> torch.Tensor:
    """Some rows of one window's attention.

    patches (N, C) of unit length, rows (R,) patch indices, mean a scalar tensor (`similarity_mean`).
    stage: "cosine" gives S in -1..1, "normalised" A with masked entries at -inf, "softmax" W, whose rows sum to 1.
    scopes: (N,) see `out_of_scope`; what is out of scope is masked too.
    """
    if stage not in STAGES:
        raise ValueError(f"stage is {stage!r}; expected one of {', '.join(STAGES)}.")
    similarity = F.linear(patches[rows], patches)  # F F^T
    if stage == "cosine":
        return similarity
    scores = similarity.sub_(beta * mean).mul_(gamma)  # A, in place: this matrix is the largest of the whole method
    # A patch always attends to itself. Where a picture is nearly uniform, beta m exceeds every similarity, the whole
    # row would be masked and softmax would give NaN.
    own = scores.gather(1, rows[:, None])  # by index, a GPU would be waited for at every block
    F.threshold(scores, BELOW_0, float("-inf"), inplace=True)
    if scopes is not None:
        scores.masked_fill_(out_of_scope(scopes, rows), float("-inf"))
    scores.scatter_(1, rows[:, None], own)
    return scores if stage == "normalised" else scores.softmax(dim=-1)


def out_of_scope(scopes: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(R, N) bool: which patches some of them must not attend to. scopes: (N,) numbers; below 0 all may be seen."""
    own = scopes[rows, None]
    return (own >= 0) & (own != scopes)


def check_beta_gamma(beta: float, gamma: float) -> None:
    """Raises ValueError unless beta >= 0 and gamma > 0, both finite."""
    if not (np.isfinite(beta) and beta >= 0):
        raise ValueError(f"beta is {beta}; expected a number of 0 or more (the paper uses 1.2).")
    if not (np.isfinite(gamma) and gamma > 0):
        raise ValueError(f"gamma is {gamma}; expected a number above 0 (the paper uses 3.0).")


def proxy_attention(
    features: torch.Tensor, values: torch.Tensor, beta: float, gamma: float, scopes: torch.Tensor | None = None
) -> torch.Tensor:
    """W V for every window: the VFM's proxy attention applied to CLIP's values.

    features (B, C, h, w) of the VFM, values (B, N, D) on the same grid, float32 -> (B, N, D) float32. scopes: (B, N),
    see `out_of_scope`.
    """
    check_beta_gamma(beta, gamma)
    patches = unit_patches(features)
    mean = similarity_mean(patches)
    count = patches.shape[1]
    fused = torch.empty_like(values, memory_format=torch.contiguous_format)
    at_once = max(1, ENTRIES_AT_ONCE // count)
    for window in range(len(patches)):
        columns = values[window].T.contiguous()  # (D, N): F.linear takes V transposed, and CPUs have it quicker
        for first in range(0, count, at_once):
            checkpoint()
            rows = torch.arange(first, min(first + at_once, count), device=patches.device)
            own = None if scopes is None else scopes[window]
            weights = attention_rows(patches[window], rows, mean[window], beta, gamma, scopes=own)
            fused[window, first : first + len(rows)] = F.linear(weights, columns)
    return fused


def resample_patches(tokens: torch.Tensor, grid_hw: tuple[int, int], wanted_hw: tuple[int, int]) -> torch.Tensor:
    """(B, N, D) on one grid -> (B, N', D) on another, bilinear; unchanged where the grid is the same."""
    if tuple(grid_hw) == tuple(wanted_hw):
        return tokens
    maps = tokens.transpose(1, 2).unflatten(2, grid_hw)
    return F.interpolate(maps, size=tuple(wanted_hw), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


@dataclass(frozen=True, eq=False)
class SimilarityStatistics:
    """Fig. 4 of the paper for one picture, over all pairs of patches of all its windows.

    mean: m, averaged over windows. masked_share: share of pairs with A < 0, in 0..1.
    attended: how many patches an average row keeps. edges: (bins + 1,), cosine_counts and normalised_counts: (bins,)
    histograms of S over -1..1 and of A over `normalised_edges`.
    """

    mean: float
    masked_share: float
    attended: float
    edges: np.ndarray
    cosine_counts: np.ndarray
    normalised_edges: np.ndarray
    normalised_counts: np.ndarray


def similarity_statistics(features: torch.Tensor, beta: float, gamma: float, bins: int = 100) -> SimilarityStatistics:
    """Statistics of S and A for features (B, C, h, w) of a VFM."""
    check_beta_gamma(beta, gamma)
    patches = unit_patches(features)
    mean = similarity_mean(patches)
    windows, count, _ = patches.shape
    edges = np.linspace(-1, 1, bins + 1)
    # A is an affine map of S, but with another shift in every window: so it gets bins of its own.
    means = mean.tolist()
    low, high = float((-1 - beta * mean.max()) * gamma), float((1 - beta * mean.min()) * gamma)
    counted: list[tuple[torch.Tensor, ...]] = []  # read at the end: on a GPU every number would be waited for
    for window in range(windows):
        for rows in patches[window].split(max(1, ENTRIES_AT_ONCE // count)):
            checkpoint()
            similarity = (rows @ patches[window].T).clamp_(-1, 1)
            scores = (similarity - beta * mean[window]) * gamma
            kept = len(rows) if beta * means[window] > 1 else 0  # a patch attends to itself, see `attention_rows`
            histograms = torch.histc(similarity, bins, -1, 1), torch.histc(scores, bins, low, high)
            counted.append(((scores < 0).sum() - kept, *histograms))
    masks, cosines, normals = (torch.stack(parts).cpu().double().sum(dim=0).numpy() for parts in zip(*counted))
    masked, cosine_counts, normalised_counts = int(masks), cosines, normals
    pairs = windows * count * count
    return SimilarityStatistics(
        mean=float(mean.mean()),
        masked_share=masked / pairs,
        attended=(pairs - masked) / (windows * count),
        edges=edges,
        cosine_counts=cosine_counts,
        normalised_edges=np.linspace(low, high, bins + 1),
        normalised_counts=normalised_counts,
    )
