"""Scope: a patch attends to the patches of its own region alone, and to those of regions that are like it (CorrCLIP).

D. Zhang et al., CorrCLIP, ICCV 2025. The region of a patch is the one at its middle; regions whose mean features are
within 0.2 of each other in cosine distance, one by one, are one scope. The attention is masked by it on top of all
else. A patch in no region attends as it does without scopes.

Axes: B windows, N = h * w patches of one window, C VFM width, R regions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from proxyclip_core.attention import unit_patches
from proxyclip_core.types import Regions
from proxyclip_core.windows import WindowLayout

NONE = -1  # the scope of patches in no region
DISTANCE = 0.2


def scopes_of(
    features: torch.Tensor, layout: WindowLayout, regions: Regions, distance: float = DISTANCE
) -> torch.Tensor:
    """(B, N) int64: numbers that patches of one scope have in common, over all windows; NONE in no region.

    features (B, C, h, w) of the VFM in the windows of `layout`.
    """
    numbers = patch_regions(layout, (features.shape[-2], features.shape[-1]), regions).to(features.device)
    patches = unit_patches(features).flatten(0, 1)  # (B N, C)
    sums = torch.zeros(regions.count + 1, patches.shape[1], device=patches.device)
    means = F.normalize(sums.index_add(0, numbers.flatten(), patches)[1:], dim=1)  # (R, C)
    merged = merged_regions(means, distance)
    return torch.cat([merged.new_full((1,), NONE), merged])[numbers]


def patch_regions(layout: WindowLayout, grid_hw: tuple[int, int], regions: Regions) -> torch.Tensor:
    """(B, N) int64: the number of the region at the middle of each patch; 0 for none, and in a window's padding."""
    found = []
    for top, left in layout.corners:
        places = []
        for start, grid, padded, before, scaled, full in zip(
            (top, left), grid_hw, layout.padded_hw, layout.padding_top_left, layout.scaled_hw, regions.numbers.shape
        ):
            middles = (torch.arange(grid) + 0.5) * padded / grid - before + start
            places.append(((middles * full / scaled).floor().long(), full))
        (rows, height), (columns, width) = places
        outside = ((rows < 0) | (rows >= height))[:, None] | ((columns < 0) | (columns >= width))
        numbers = regions.numbers.cpu()[rows.clamp(0, height - 1)][:, columns.clamp(0, width - 1)].long()
        found.append(numbers.masked_fill(outside, 0).flatten())
    return torch.stack(found)


def merged_regions(means: torch.Tensor, distance: float) -> torch.Tensor:
    """(R, C) of unit length, or 0 for a region without patches -> (R,) int64: the first region of each one's scope."""
    alike = 1 - means @ means.T <= distance
    alike.fill_diagonal_(True)
    scopes = torch.arange(len(means), device=means.device)
    while True:
        least = scopes.expand_as(alike).masked_fill(~alike, len(means)).amin(dim=1) if len(means) else scopes
        if torch.equal(least, scopes):
            return scopes
        scopes = least
