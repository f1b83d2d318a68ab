"""Attention across windows: the patches of a window attend to those of all windows of the picture.

Two forms of it. `attend_across` is the paper's own formula with one mean over all pairs of patches of all windows.
`attend_to_anchors` is GLA-CLIP (global-local aligned attention), which compares patches with anchors: with f the
features of all patches at unit length, p_i = f_i to begin with, and S_ij = p_i . f_j, twice

    P_i = {j: S_ij > 0.6}  (i alone where there is none),   p_i = unit(mean over P_i of f_j)

and then, for L windows,

    m_i = max(mean_j S_ij, 0),   beta = 1 + 0.3 ln(1 + L),   gamma_i = 1 + 30 / |P_i|
    A_ij = (S_ij - beta m_i) gamma_i,   -inf where A_ij < min(max_j A_ij, 0);   W = softmax over j of A

Axes: B windows, N patches of one window, P = B N patches of all, C VFM width, D width of the values.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from proxyclip_core.attention import ENTRIES_AT_ONCE, attention_rows, check_beta_gamma, similarity_mean, unit_patches

ALIKE = 0.6  # similarity from which a patch belongs to an anchor
ANCHOR_ROUNDS = 2
BETA_PER_LOG_WINDOWS = 0.3
GAMMA_OF_ONE_PATCH = 30.0  # shared out among the patches of the anchor


def attend_across(features: torch.Tensor, values: torch.Tensor, beta: float, gamma: float) -> torch.Tensor:
    """W V, as `attention.proxy_attention` has it, but with the patches and the mean of all windows.

    features (B, C, h, w) of the VFM, values (B, N, D) on the same grid, float32 -> (B, N, D) float32.
    """
    check_beta_gamma(beta, gamma)
    patches = unit_patches(features).flatten(0, 1)  # (P, C)
    mean = similarity_mean(patches[None])[0]
    return _weighted(lambda rows: attention_rows(patches, rows, mean, beta, gamma), values)


def attend_to_anchors(features: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """W V with GLA-CLIP's attention, which sets beta and gamma by itself; shapes as in `attend_across`."""
    patches = unit_patches(features).flatten(0, 1)  # (P, C)
    anchors, sizes = _anchors(patches)
    beta = 1 + BETA_PER_LOG_WINDOWS * math.log(1 + len(features))
    gammas = 1 + GAMMA_OF_ONE_PATCH / sizes
    shifts = beta * (anchors @ patches.mean(dim=0)).clamp_(min=0)  # beta m: the mean of S needs no S

    def rows_of(rows: torch.Tensor) -> torch.Tensor:
        scores = (anchors[rows] @ patches.T).sub_(shifts[rows, None]).mul_(gammas[rows, None])
        scores.masked_fill_(scores < scores.amax(dim=1, keepdim=True).clamp_(max=0), float("-inf"))
        return scores.softmax(dim=1)

    return _weighted(rows_of, values)


def _anchors(patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(P, C) unit patches -> their anchors (P, C), of unit length, and how many patches each is the mean of (P,)."""
    anchors, sizes = patches, torch.ones(len(patches), device=patches.device)
    for _ in range(ANCHOR_ROUNDS):
        means = []
        for rows in _chunks(len(patches), patches.device):
            alike = (anchors[rows] @ patches.T > ALIKE).to(patches.dtype)
            count = alike.sum(dim=1)
            alone = count == 0
            means.append(torch.where(alone[:, None], patches[rows], alike @ patches))
            sizes[rows] = count.clamp(min=1)
        anchors = F.normalize(torch.cat(means), dim=1)
    return anchors, sizes


def _weighted(rows_of: Callable[[torch.Tensor], torch.Tensor], values: torch.Tensor) -> torch.Tensor:
    """W V (B, N, D), some rows of the P x P matrix W at a time. rows_of: indices (R,) -> rows of W (R, P)."""
    columns = values.flatten(0, 1).T.contiguous()  # (D, P): F.linear takes V transposed, and CPUs have it quicker
    fused = torch.empty_like(values, memory_format=torch.contiguous_format)
    for rows in _chunks(columns.shape[1], values.device):
        fused.view(-1, values.shape[-1])[rows[0] : rows[-1] + 1] = F.linear(rows_of(rows), columns)
    return fused


def _chunks(count: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Indices of `count` rows in chunks, each of which has ENTRIES_AT_ONCE entries as rows of a square matrix."""
    return torch.arange(count, device=device).split(max(1, ENTRIES_AT_ONCE // count))
