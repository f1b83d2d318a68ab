"""Features as a picture: their first three principal components as red, green and blue.

Axes: B windows, C features, h x w patches, H x W picture pixels.
"""

from __future__ import annotations

import numpy as np
import torch

from proxyclip_core.windows import WindowLayout

# Ends of the colour range, as shares of the patches: a few outliers should not turn all others grey.
LOW, HIGH = 0.01, 0.99


def pca_picture(features: torch.Tensor, layout: WindowLayout) -> np.ndarray:
    """Features (B, C, h, w) with C >= 3 -> (H, W, 3) float32 in 0..1, where like colours mean like features.

    The components are those of all patches of all windows together, so that colours agree across windows; where
    windows overlap, their mean. A component's sign is chosen so that its largest loading is positive: the same
    features always give the same colours.
    """
    windows, channels, height, width = features.shape
    if channels < 3:
        raise ValueError(f"The features have {channels} channels; a picture in three colours needs at least 3.")
    patches = features.float().cpu().movedim(1, -1).reshape(-1, channels)  # (B * h * w, C)
    centred = patches - patches.mean(dim=0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)  # eigenvalues rise
    components = vectors[:, -3:].flip(-1)  # (C, 3), the strongest first
    strongest = components.gather(0, components.abs().argmax(dim=0, keepdim=True))
    projected = centred @ (components * strongest.sign())  # (B * h * w, 3)
    low, high = torch.quantile(_at_most(projected, 100_000), projected.new_tensor([LOW, HIGH]), dim=0)
    colours = ((projected - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    grids = colours.view(windows, height, width, 3).movedim(-1, 1)  # (B, 3, h, w)
    rows, columns = layout.to_picture((height, width))
    return (rows @ layout.tile(grids) @ columns.T).movedim(0, -1).clamp(0, 1).numpy()


def _at_most(rows: torch.Tensor, count: int) -> torch.Tensor:
    """Every n-th row, for as many rows as `count` at most: torch.quantile takes no very large inputs."""
    return rows[:: -(-len(rows) // count)]
