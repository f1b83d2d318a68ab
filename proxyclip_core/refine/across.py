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
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from proxyclip_core.attention import (
    ENTRIES_AT_ONCE,
    check_beta_gamma,
    out_of_scope,
    proxy_attention,
    unit_patches,
)
from proxyclip_core.interrupt import checkpoint

ALIKE = 0.6  # similarity from which a patch belongs to an anchor
BETA_SHARE = 0.3
GAMMA_SHARE = 30.0


def attend(
    features: torch.Tensor,
    values: torch.Tensor,
    beta: float,
    gamma: float,
    reach: str,
    scopes: torch.Tensor | None = None,
) -> torch.Tensor:
    """W V for every window, with one of the values of `settings.SETTINGS["reach"]`.

    features (B, C, h, w) of the VFM, values (B, N, D) on the same grid, float32 -> (B, N, D) float32. scopes: (B, N),
    see `attention.out_of_scope`.
    """
    if reach == "anchors":
        return attend_to_anchors(features, values, scopes=scopes)
    return (attend_across if reach == "picture" else proxy_attention)(features, values, beta, gamma, scopes)


def attend_across(
    features: torch.Tensor, values: torch.Tensor, beta: float, gamma: float, scopes: torch.Tensor | None = None
) -> torch.Tensor:
    """As `attention.proxy_attention`, but with the patches and the mean of all windows; shapes as in `attend`."""
    check_beta_gamma(beta, gamma)
    return attend_to_anchors(features, values, beta=beta, gamma=gamma, rounds=0, one_mean=True, scopes=scopes)


def attend_to_anchors(
    features: torch.Tensor,
    values: torch.Tensor,
    *,
    beta: float | None = None,
    gamma: float | None = None,
    rounds: int = 2,
    one_mean: bool = False,
    alike: float = ALIKE,
    beta_share: float = BETA_SHARE,
    gamma_share: float = GAMMA_SHARE,
    scopes: torch.Tensor | None = None,
) -> torch.Tensor:
    """GLA-CLIP's attention, or without some of its parts; shapes as in `attend`.

    beta, gamma: in place of its own. rounds: how often anchors are made; 0 compares the patches themselves. one_mean:
    m over all pairs rather than for each patch. alike, beta_share, gamma_share: the 0.6, 0.3 and 30 above.
    """
    patches = unit_patches(features).flatten(0, 1)  # (P, C)
    anchors, sizes = _anchors(patches, rounds, alike)
    beta = 1 + beta_share * math.log(1 + len(features)) if beta is None else beta
    gammas = 1 + gamma_share / sizes if gamma is None else torch.full_like(sizes, gamma)
    centre = patches.mean(dim=0)  # the mean of p . f over all f is p . centre, which needs no P x P matrix
    means = (anchors.mean(dim=0, keepdim=True) if one_mean else anchors) @ centre
    shifts = (beta * means.clamp_(min=0)).expand_as(gammas)
    columns = values.flatten(0, 1).T.contiguous()  # (D, P): F.linear takes V transposed, and CPUs have it quicker
    fused = values.new_empty(len(patches), values.shape[-1])
    for rows in _chunks(len(patches), patches.device):
        scores = F.linear(anchors[rows], patches).sub_(shifts[rows, None]).mul_(gammas[rows, None])  # A
        if scopes is not None:
            scores.masked_fill_(out_of_scope(scopes.flatten(), rows), float("-inf"))
        # The best patch of a row always counts: where all would be masked, softmax would give NaN.
        scores.masked_fill_(scores < scores.amax(dim=1, keepdim=True).clamp_(max=0), float("-inf"))
        fused[rows] = F.linear(scores.softmax(dim=1), columns)
    return fused.view_as(values)


def _anchors(patches: torch.Tensor, rounds: int, alike: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(P, C) unit patches -> their anchors (P, C), of unit length, and how many patches each is the mean of (P,)."""
    anchors, sizes = patches, torch.ones(len(patches), device=patches.device)
    for _ in range(rounds):
        means = torch.empty_like(patches)
        for rows in _chunks(len(patches), patches.device):
            members = (F.linear(anchors[rows], patches) > alike).to(patches.dtype)
            count = members.sum(dim=1)
            means[rows] = torch.where(count[:, None] > 0, members @ patches, patches[rows])
            sizes[rows] = count.clamp(min=1)
        anchors = F.normalize(means, dim=1)
    return anchors, sizes


def _chunks(count: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Indices of `count` rows in chunks, each of which has ENTRIES_AT_ONCE entries as rows of a square matrix."""
    for rows in torch.arange(count, device=device).split(max(1, ENTRIES_AT_ONCE // count)):
        checkpoint()
        yield rows
