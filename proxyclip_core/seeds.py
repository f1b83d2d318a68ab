"""Attention seeds: what the patch under a pixel attends to (Fig. 2 of the paper).

Axes: B windows, h x w patches of one window, C VFM width, H x W picture pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from proxyclip_core import attention, readout
from proxyclip_core.models.clip import ClipEncoder
from proxyclip_core.refine.scope import scopes_of
from proxyclip_core.types import ImageFeatures, Regions


def seed_attention(
    clip: ClipEncoder,
    features: ImageFeatures,
    point_xy: tuple[float, float],
    beta: float,
    gamma: float,
    stage: str = "softmax",
    source: str = "vfm",
    on: str = "picture",
    regions: Regions | None = None,
    head: int | None = None,
) -> np.ndarray:
    """What the patch under a pixel attends to, float32; reads stage 1 alone.

    point_xy: (x, y) in picture pixels. stage: "cosine" (similarity S), "normalised" (A, masked entries as 0) or
    "softmax" (W). source: "vfm" for the proxy attention, "clip" for CLIP's own in its last block (softmax only), where
    head is one of its heads, from 0 on, or None for their mean.
    on: "picture" gives (H, W). Where windows overlap, the mean over those that hold the point; pixels in none of
    these windows cannot be attended to: 0 for "softmax", NaN for the other stages. "grid" gives the row itself on
    the patches (h, w) of the first window that holds the point; for "softmax" it sums to 1 (for CLIP's own
    attention to 1 less what goes to the class token).
    regions: of the VFM's attention alone, as in `ProxyCLIP.fuse`.
    """
    attention.check_beta_gamma(beta, gamma)
    _check_choice("source", source, ("vfm", "clip"))
    _check_choice("stage", stage, attention.STAGES if source == "vfm" else ("softmax",))
    _check_choice("on", on, ("picture", "grid"))
    grid_hw = features.clip_grid if source == "clip" else grid_of(require_vfm(features))
    scopes = None if regions is None or source == "clip" else scopes_of(require_vfm(features), features.layout, regions)
    maps: dict[int, torch.Tensor] = {}
    for window, patch in features.layout.patches_at(point_xy, grid_hw):
        if source == "clip":
            row = clip.own_attention(features.clip_tokens[window : window + 1].to(clip.device), patch, head)
        else:
            vfm = require_vfm(features)[window : window + 1].to(clip.device)
            own = None if scopes is None else scopes[window].to(clip.device)
            row = _vfm_row(vfm, patch, beta, gamma, stage, own)
        maps[window] = row.unflatten(0, grid_hw)
        if on == "grid":
            return maps[window].cpu().numpy()
    return readout.window_maps(features.layout, maps, shares=stage == "softmax")


def grid_of(vfm: torch.Tensor) -> tuple[int, int]:
    return vfm.shape[-2], vfm.shape[-1]


def _check_choice(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{what} is {value!r}; expected one of {', '.join(known)}.")


def require_vfm(features: ImageFeatures) -> torch.Tensor:
    if features.vfm is None:
        raise ValueError(
            "These features hold no VFM. Load the model with one, such as vfm='DINO B/8', and encode again."
        )
    return features.vfm


def _vfm_row(
    features: torch.Tensor, patch: int, beta: float, gamma: float, stage: str, scopes: torch.Tensor | None
) -> torch.Tensor:
    """(1, C, h, w) -> (h * w,): one row of the attention of one window."""
    patches = attention.unit_patches(features)
    rows = torch.tensor([patch], device=patches.device)
    mean = attention.similarity_mean(patches)[0]
    row = attention.attention_rows(patches[0], rows, mean, beta, gamma, stage, scopes)[0]
    return row.clamp(min=0) if stage == "normalised" else row
