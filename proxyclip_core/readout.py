"""From patch grids to pixels: the last step, done in bands so that no (K, H, W) array at picture size ever exists.

In the paper's order, window logits are upsampled to window pixels, averaged where windows overlap, and resampled to
the picture: all linear, all before the softmax. `WindowLayout.to_picture` holds all three as one matrix an axis.

Axes: B windows, Q queries, h x w patches of one window, gh x gw patches of all windows side by side, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from proxyclip_core.types import ClassLogits
from proxyclip_core.windows import WindowLayout

# Entries of a block of pixel logits: 2 M floats are 8 MB, small enough to stay near the cores while the maximum and
# the sum of exponentials are taken from it.
ENTRIES_AT_ONCE = 2_000_000
QUERIES_AT_ONCE = 32


def pixel_logits(
    logits: ClassLogits, queries: Sequence[int] | None = None
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Yields (rows, queries, block): logits at pixels, block (queries, rows, W), until all of (Q, H, W) was seen."""
    values = logits.values if queries is None else logits.values[:, list(queries)]
    tiled = logits.layout.tile(values)  # (Q, gh, gw)
    row_matrix, column_matrix = (matrix.to(values.device) for matrix in logits.layout.to_picture(values.shape[-2:]))
    height, width = logits.layout.size_hw
    for start in range(0, len(tiled), QUERIES_AT_ONCE):
        chunk = slice(start, min(start + QUERIES_AT_ONCE, len(tiled)))
        widened = tiled[chunk] @ column_matrix.T  # (q, gh, W)
        band = max(1, ENTRIES_AT_ONCE // (width * len(widened)))
        for top in range(0, height, band):
            rows = slice(top, min(top + band, height))
            reached = row_matrix[rows].abs().sum(dim=0).nonzero().flatten()  # patches these rows depend on
            near = slice(int(reached[0]), int(reached[-1]) + 1)
            yield rows, chunk, row_matrix[rows, near] @ widened[:, near]


def best_query(logits: ClassLogits, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) int64 index of the best query, the first of equals, and (H, W) float32 its softmax score."""
    height, width = logits.layout.size_hw
    device = logits.values.device
    highest = float(logits.values.max())  # bounds every pixel, as pixels are weighted means of patches
    best = torch.full((height, width), float("-inf"), device=device)
    query = torch.zeros((height, width), dtype=torch.int64, device=device)
    total = torch.zeros((height, width), device=device)
    for rows, chunk, block in pixel_logits(logits):
        block_best, block_query = block.max(dim=0)
        better = block_best > best[rows]
        query[rows] = torch.where(better, block_query + chunk.start, query[rows])
        best[rows] = torch.where(better, block_best, best[rows])
        total[rows] += block.sub_(highest).mul_(scale).exp_().sum(dim=0)
    confidence = best.sub_(highest).mul_(scale).exp_().div_(total)
    return query.cpu().numpy(), confidence.cpu().numpy()


def score_map(logits: ClassLogits, queries: Sequence[int], scale: float) -> np.ndarray:
    """(H, W) float32 in 0..1: the highest softmax score among some queries."""
    highest = float(logits.values.max())
    total = torch.zeros(logits.layout.size_hw, device=logits.values.device)
    for rows, _, block in pixel_logits(logits):
        total[rows] += block.sub_(highest).mul_(scale).exp_().sum(dim=0)
    chosen = torch.full_like(total, float("-inf"))
    for rows, _, block in pixel_logits(logits, queries):
        chosen[rows] = torch.maximum(chosen[rows], block.max(dim=0).values)
    return chosen.sub_(highest).mul_(scale).exp_().div_(total).cpu().numpy()


def scores_at(logits: ClassLogits, point_xy: tuple[float, float], scale: float) -> torch.Tensor:
    """(Q,) float32 on the CPU: softmax scores at one pixel (x, y)."""
    logits.layout.scaled_point(point_xy)  # says so if the point lies outside
    x, y = int(point_xy[0]), int(point_xy[1])
    row_matrix, column_matrix = logits.layout.to_picture(logits.values.shape[-2:])
    tiled = logits.layout.tile(logits.values).cpu()
    return (torch.einsum("a,qab,b->q", row_matrix[y], tiled, column_matrix[x]) * scale).softmax(dim=0)


def window_maps(layout: WindowLayout, maps: dict[int, torch.Tensor], shares: bool) -> np.ndarray:
    """Maps (h, w) on the patch grids of some windows -> (H, W) float32.

    shares: True where a map says how much of a whole goes to each patch: then pixels outside a window get 0 from it,
    and all windows count the same. False for other quantities: the mean of the windows that hold the pixel, NaN
    where none does.
    """
    grid_hw = next(iter(maps.values())).shape
    rows, columns = layout.to_window(grid_hw)
    total = torch.zeros(layout.scaled_hw)
    count = torch.zeros(layout.scaled_hw)
    for window, values in maps.items():
        top, left = layout.corners[window]
        area = (slice(top, top + layout.window_hw[0]), slice(left, left + layout.window_hw[1]))
        total[area] += rows @ values.float().cpu() @ columns.T
        count[area] += 1
    mean = total / len(maps) if shares else total / count  # 0 / 0 is NaN
    if tuple(mean.shape) != layout.size_hw:
        mean = F.interpolate(mean[None, None], size=layout.size_hw, mode="bilinear")[0, 0]
    return mean.numpy()
