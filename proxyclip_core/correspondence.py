"""What is like a patch, as the vision model alone sees it: in the same picture, or in another one.

Axes: B windows, N patches of one window, C VFM width, H x W pixels of the picture that is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch

from proxyclip_core import attention
from proxyclip_core.seeds import grid_of, require_vfm
from proxyclip_core.settings import default
from proxyclip_core.types import ImageFeatures


@dataclass(frozen=True, eq=False)
class Likeness:
    """Made by `likeness`. values: (H, W) float32 cosines in -1..1. mean: of all pairs of patches, what beta counts in.

    best_xy: the pixel (x, y) that is most like the patch; best: its cosine.
    """

    values: np.ndarray
    mean: float
    best_xy: tuple[int, int]
    best: float

    def mask(self, beta: float = default("beta"), share: float | None = None) -> np.ndarray:
        """(H, W) bool: where it is like the patch.

        That is at beta times the mean or more, as proxy attention has it; or, where a share in 0..1 is given, in this
        share of the picture. Raises ValueError for what neither can be.
        """
        if share is None:
            attention.check_beta_gamma(beta, 1)
            return self.values >= beta * self.mean
        if not isinstance(share, Real) or not 0 <= share <= 1:  # false for NaN, too
            raise ValueError(f"share is {str(share)[:80]!r}; expected a number from 0 to 1, such as 0.1.")
        count = round(share * self.values.size)
        most = np.zeros(self.values.size, dtype=bool)
        if count:
            most[np.argpartition(self.values.ravel(), -count)[-count:]] = True
        return most.reshape(self.values.shape)


@torch.no_grad()
def likeness(features: ImageFeatures, point_xy: tuple[float, float], other: ImageFeatures | None = None) -> Likeness:
    """How like the patch under a pixel is to all of its picture, or to all of another one: cosines of VFM features.

    point_xy: (x, y) in pixels of the picture of `features`. other: features of the other picture; where it is None, the
    picture itself is meant. Where windows overlap, the mean over them; without, `encode(..., windows="whole")`, no seam
    is seen. Raises ValueError for a point outside, and for features of different VFMs or facets.
    """
    other = features if other is None else other
    vfm, others = require_vfm(features), require_vfm(other)
    if (features.vfm_id, features.facet) != (other.vfm_id, other.facet):
        raise ValueError(
            f"The patches of {features.vfm_name} ({features.facet}) and of {other.vfm_name} ({other.facet}) cannot be "
            "compared. Encode both pictures with the same vision model and facet."
        )
    places = features.layout.patches_at(point_xy, grid_of(vfm))
    windows = [attention.unit_patches(vfm[window : window + 1])[0] for window, _ in places]
    seed = torch.stack([patches[patch] for patches, (_, patch) in zip(windows, places)]).mean(dim=0)  # (C,)
    around = torch.stack([patches.mean(dim=0) for patches in windows]).mean(dim=0)
    cosines, means = [], []
    for window in others.split(1):
        patches = attention.unit_patches(window)[0].to(seed.device)
        cosines.append((patches @ seed).cpu())
        means.append(patches.mean(dim=0))
    rows, columns = other.layout.to_picture(grid_of(others))
    grids = other.layout.tile(torch.stack(cosines).unflatten(1, grid_of(others)))
    values = (rows @ grids @ columns.T).clamp_(-1, 1).numpy()
    y, x = divmod(int(values.argmax()), values.shape[1])
    mean = float(around @ torch.stack(means).mean(dim=0))
    return Likeness(values, mean, (x, y), float(values[y, x]))
