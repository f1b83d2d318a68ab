"""Where the windows lie on the picture, and how a grid of patches maps to pixels and back.

Axes: B windows in row-major order (B = rows x columns of windows), h x w patches of one window, H x W picture pixels.
A picture of `size_hw` is resized to `scaled_hw`; windows of `window_hw` are cut from it; each is padded symmetrically
to `padded_hw` (sides that are multiples of 56, as in the paper's code) before it goes into an encoder.

Everything after the encoder is linear and separable here: a map on all patch grids becomes a map on the picture as
`rows @ grids @ columns.T`. That makes cutting the padding, the mean over overlapping windows and both bilinear steps
one matrix for each axis, so results can be read out in bands without a picture-sized array per class.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from numbers import Integral

import torch
import torch.nn.functional as F

SIDE_MULTIPLE = 56
LONG_SIDE_LIMIT = 2048
RESIZINGS = ("bicubic", "bilinear")
# What `plan_windows` takes that no `Settings` hold, as no page offers it, where nobody says otherwise.
PAPERS_WINDOWS = {"crop": 336, "stride": 112, "resizing": "bicubic"}
KEPT_ENTRIES = 4_000_000  # of one axis matrix, 16 MB; larger ones are made anew rather than kept


@dataclass(frozen=True)
class WindowLayout:
    """Windows over one picture. All sizes are (height, width) in pixels.

    tops, lefts: first row of every row of windows, first column of every column of windows, in the resized picture.
    resizing: how it becomes that, one of RESIZINGS.
    """

    size_hw: tuple[int, int]
    scaled_hw: tuple[int, int]
    window_hw: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    resizing: str = "bicubic"

    def __post_init__(self) -> None:
        for name in ("size_hw", "scaled_hw", "window_hw"):
            if min(getattr(self, name)) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; both sides must be at least 1 pixel.")

    @property
    def count(self) -> int:
        """B, the number of windows."""
        return len(self.tops) * len(self.lefts)

    @property
    def padded_hw(self) -> tuple[int, int]:
        """Size of a window as the encoders see it."""
        height, width = (-(-side // SIDE_MULTIPLE) * SIDE_MULTIPLE for side in self.window_hw)
        return height, width

    @property
    def padding_top_left(self) -> tuple[int, int]:
        """Padding before the first row and before the first column; an odd rest goes below and to the right."""
        top, left = ((padded - side) // 2 for padded, side in zip(self.padded_hw, self.window_hw))
        return top, left

    @cached_property
    def corners(self) -> list[tuple[int, int]]:
        """(top, left) of each window, in order of the axis B."""
        return [(top, left) for top in self.tops for left in self.lefts]

    def scaled_point(self, point_xy: tuple[float, float]) -> tuple[float, float]:
        """(x, y) in picture pixels (pixel (0, 0) has its centre at 0.5, 0.5) -> (row, column) in the resized picture.

        Raises ValueError for a point outside the picture.
        """
        x, y = point_xy
        height, width = self.size_hw
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f"The point (x={x}, y={y}) lies outside the picture of {width} x {height} pixels; "
                f"x must be in 0..{width - 1} and y in 0..{height - 1}."
            )
        row = (int(y) + 0.5) * self.scaled_hw[0] / height
        column = (int(x) + 0.5) * self.scaled_hw[1] / width
        return row, column

    def patches_at(self, point_xy: tuple[float, float], grid_hw: tuple[int, int]) -> list[tuple[int, int]]:
        """(window, patch) for every window that contains the point; patch = row * w + column in that window's grid."""
        row, column = self.scaled_point(point_xy)
        found = []
        for index, (top, left) in enumerate(self.corners):
            inside = (row - top, column - left)
            if all(0 <= value < side for value, side in zip(inside, self.window_hw)):
                cell = [
                    min(int((value + pad) * grid / padded), grid - 1)
                    for value, pad, grid, padded in zip(inside, self.padding_top_left, grid_hw, self.padded_hw)
                ]
                found.append((index, cell[0] * grid_hw[1] + cell[1]))
        return found

    def to_picture(self, grid_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The two matrices that carry values on all patch grids to the picture, as a mean over windows.

        Returns rows (H, len(tops) * h) and columns (W, len(lefts) * w), float32 on the CPU: with `grids` of shape
        (len(tops) * h, len(lefts) * w), see `tile`, `rows @ grids @ columns.T` is the (H, W) map.
        """
        rows, columns = (
            _axis_matrix(grid, padded, before, window, starts, scaled, full)
            for grid, padded, before, window, starts, scaled, full in zip(
                grid_hw,
                self.padded_hw,
                self.padding_top_left,
                self.window_hw,
                (self.tops, self.lefts),
                self.scaled_hw,
                self.size_hw,
            )
        )
        return rows, columns

    def to_window(self, grid_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """As `to_picture` for one window at the resized picture's scale: (window height, h) and (window width, w)."""
        rows, columns = (
            _bilinear(_eye(grid), padded)[before : before + window]
            for grid, padded, before, window in zip(grid_hw, self.padded_hw, self.padding_top_left, self.window_hw)
        )
        return rows, columns

    def tile(self, grids: torch.Tensor) -> torch.Tensor:
        """(B, ..., h, w) -> (..., len(tops) * h, len(lefts) * w): the windows' grids laid side by side."""
        height, width = grids.shape[-2:]
        split = grids.unflatten(0, (len(self.tops), len(self.lefts)))  # (rows, columns, ..., h, w)
        tiled = split.movedim(0, -3).movedim(0, -2)  # (..., rows, h, columns, w)
        return tiled.reshape(*grids.shape[1:-2], len(self.tops) * height, len(self.lefts) * width)


def plan_windows(
    size_hw: tuple[int, int],
    side: int | None = 336,
    windows: str = "sliding",
    crop: int = 336,
    stride: int = 112,
    resizing: str = "bicubic",
) -> WindowLayout:
    """Lays windows over a picture as the paper does (Sec. 4: short side 336, windows 336, stride 112).

    side: the short side after resizing, in pixels (None = as is); the long side is held to 2048, as
    there, unless it is taken as is.
    windows: "sliding" for windows of `crop` pixels every `stride` pixels, the last one shifted back to fit;
    "whole" for the whole picture in one window. A side shorter than `crop` gets one window of that side.
    resizing: see `picture.resized`.
    """
    if windows not in ("sliding", "whole"):
        raise ValueError(f"windows is {windows!r}; expected 'sliding' or 'whole'.")
    if crop < 1 or not 1 <= stride <= crop:
        raise ValueError(f"crop is {crop} and stride {stride}; expected crop >= 1 and 1 <= stride <= crop.")
    if resizing not in RESIZINGS:
        raise ValueError(f"resizing is {resizing!r}; expected one of {', '.join(RESIZINGS)}.")
    scaled = _scaled_size(size_hw, side)
    if windows == "whole":
        return WindowLayout(size_hw, scaled, scaled, (0,), (0,), resizing)
    window = (min(crop, scaled[0]), min(crop, scaled[1]))
    tops, lefts = (_starts(length, part, stride) for length, part in zip(scaled, window))
    return WindowLayout(size_hw, scaled, window, tops, lefts, resizing)


def _scaled_size(size_hw: tuple[int, int], side: int | None) -> tuple[int, int]:
    if side is None:
        return size_hw
    if isinstance(side, bool) or not isinstance(side, Integral) or side < 1:
        raise ValueError(f"side is {side!r}; expected the short side in pixels, such as 336, or None for as is.")
    scale = min(side / min(size_hw), max(LONG_SIDE_LIMIT, side) / max(size_hw))
    height, width = (max(1, int(length * scale + 0.5)) for length in size_hw)
    return height, width


def _starts(length: int, window: int, stride: int) -> tuple[int, ...]:
    count = -(-(length - window) // stride) + 1
    return tuple(min(index * stride, length - window) for index in range(count))


def _bilinear(columns: torch.Tensor, length: int) -> torch.Tensor:
    """(n, M) -> (length, M): torch's bilinear rule (align_corners=False, no antialiasing) along the first axis."""
    if columns.shape[0] == length:
        return columns
    return F.interpolate(columns.T[None], size=length, mode="linear", align_corners=False)[0].T


def axis_matrix(side: int, full: int) -> torch.Tensor:
    """(full, side) float32 on the CPU: the bilinear step from one length to another."""
    return _bilinear(_eye(side), full)


def _axis_matrix(
    grid: int, padded: int, before: int, window: int, starts: tuple[int, ...], scaled: int, full: int
) -> torch.Tensor:
    """(full, len(starts) * grid): patches of every window along one axis -> pixels of the picture along that axis."""
    build = _kept_axis_matrix if full * len(starts) * grid <= KEPT_ENTRIES else _kept_axis_matrix.__wrapped__
    return build(grid, padded, before, window, starts, scaled, full)


def _eye(size: int) -> torch.Tensor:
    return torch.eye(size, dtype=torch.float32, device="cpu")  # whatever the process's own defaults are


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # it is kept, and an inference tensor would stop the gradients of whoever uses it later
def _kept_axis_matrix(
    grid: int, padded: int, before: int, window: int, starts: tuple[int, ...], scaled: int, full: int
) -> torch.Tensor:
    upsample = _bilinear(_eye(grid), padded)[before : before + window]  # (window, grid)
    stacked = torch.zeros(scaled, len(starts) * grid, dtype=torch.float32, device="cpu")
    cover = torch.zeros(scaled, 1, dtype=torch.float32, device="cpu")
    for index, start in enumerate(starts):
        stacked[start : start + window, index * grid : (index + 1) * grid] = upsample
        cover[start : start + window] += 1
    return _bilinear(stacked / cover, full).contiguous()
