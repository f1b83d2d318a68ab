"""What both encoders share: pixels as a network wants them, positions on another grid.

Axes: B windows, h x w patches, N = h * w, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from proxyclip_core.devices import on_device

Network = Any  # open_clip and timm declare no types of their networks' parts
RGB = tuple[float, float, float]

POSITION_MODES = ("scale", "size", "timm", "native")


def normalise(windows: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(B, 3, H, W) in 0..1 -> (rgb - mean) / std."""
    shape, dtype = (1, 3, 1, 1), windows.dtype
    means, stds = (torch.tensor(each, dtype=dtype, device="cpu").view(shape) for each in (mean, std))
    return (windows - on_device(means, windows.device)) / on_device(stds, windows.device)


def resample_positions(
    positions: torch.Tensor, native_hw: tuple[int, int], grid_hw: tuple[int, int], mode: str = "scale"
) -> torch.Tensor:
    """Position embeddings (N, D) of the native grid -> (h * w, D) for another grid, bicubic without antialiasing.

    mode: "scale" maps coordinates by (grid + 0.1) / native, as DINO does and the paper's authors do for CLIP too;
    "size" by the sizes themselves.
    """
    if tuple(native_hw) == tuple(grid_hw):
        return positions
    planes = positions.float().unflatten(0, tuple(native_hw))  # (*native, D)
    # One axis after the other, as two products: torch takes four times as long for both at once.
    down, across = (on_device(_bicubic(native, grid, mode), planes.device) for native, grid in zip(native_hw, grid_hw))
    planes = torch.einsum("hy,yxd->hxd", down, planes)
    return torch.einsum("wx,hxd->hwd", across, planes).flatten(0, 1).to(positions.dtype)


def _bicubic(native: int, grid: int, mode: str) -> torch.Tensor:
    """(grid, native): bicubic interpolation of one axis as a matrix."""
    # (1, native, 1, native): one place of the axis a channel
    each = torch.eye(native, dtype=torch.float32)[None, :, None]
    if mode == "scale":
        scale = (1.0, (grid + 0.1) / native)
        rows = F.interpolate(each, scale_factor=scale, mode="bicubic", align_corners=False)
    else:
        rows = F.interpolate(each, size=(1, grid), mode="bicubic", align_corners=False)
    return rows[0, :, 0].T


def all_finite(parts: Sequence[torch.Tensor]) -> bool:
    ends = [end for part in parts for end in part.aminmax()]  # which need no memory, and are NaN where one number is
    return bool(torch.stack(ends).isfinite().all())


def check_finite(name: str, parts: Sequence[torch.Tensor]) -> None:
    """Raises ValueError for NaN or infinity, which would come out as a clean picture of the first class."""
    if not all_finite(parts):
        raise ValueError(f"{name} gave features that are no finite numbers: its weights are damaged. Fetch them again.")
