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

from proxyclip_core.windows import WindowLayout

# Entries of a block of pixel logits: 2 M floats are 8 MB, small enough to stay near the cores while the maximum and
# the sum of exponentials are taken from it.
ENTRIES_AT_ONCE = 2_000_000
QUERIES_AT_ONCE = 32
LOGIT_SCALE = 40.0  # what cosines are multiplied by before the softmax (Sec. 4 of the paper)


def pixel_logits(
    layout: WindowLayout, values: torch.Tensor, queries: Sequence[int] | None = None
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Yields (rows, queries, block): logits at pixels, block (queries, rows, W), until all of (Q, H, W) was seen.

    values (B, Q, h, w): logits on the patch grid. queries: only these, all by default.
    """
    values = values if queries is None else values[:, list(queries)]
    tiled = layout.tile(values)  # (Q, gh, gw)
    row_matrix, column_matrix = layout.to_picture((values.shape[-2], values.shape[-1]))
    # Patches that each row of pixels depends on, asked on the CPU: on a GPU every answer would be waited for.
    reached = (row_matrix != 0).numpy()
    first, end = reached.argmax(axis=1), reached.shape[1] - reached[:, ::-1].argmax(axis=1)
    row_matrix, column_matrix = row_matrix.to(values.device), column_matrix.to(values.device)
    height, width = layout.size_hw
    for start in range(0, len(tiled), QUERIES_AT_ONCE):
        chunk = slice(start, min(start + QUERIES_AT_ONCE, len(tiled)))
        widened = tiled[chunk] @ column_matrix.T  # (q, gh, W)
        band = max(1, ENTRIES_AT_ONCE // (width * len(widened)))
        for top in range(0, height, band):
            rows = slice(top, min(top + band, height))
            near = slice(int(first[rows].min()), int(end[rows].max()))
            yield rows, chunk, row_matrix[rows, near] @ widened[:, near]


def best_query(layout: WindowLayout, values: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) int64 index of the best query, the first of equals, and (H, W) float32 its softmax score."""
    height, width = layout.size_hw
    device = values.device
    highest = float(values.max())  # bounds every pixel, as pixels are weighted means of patches
    best = torch.full((height, width), float("-inf"), dtype=torch.float32, device=device)
    query = torch.zeros((height, width), dtype=torch.int64, device=device)
    total = torch.zeros((height, width), dtype=torch.float32, device=device)
    for rows, chunk, block in pixel_logits(layout, values):
        block_best, block_query = block.max(dim=0)
        better = block_best > best[rows]
        query[rows] = torch.where(better, block_query + chunk.start, query[rows])
        best[rows] = torch.where(better, block_best, best[rows])
        total[rows] += block.sub_(highest).mul_(LOGIT_SCALE).exp_().sum(dim=0)
    confidence = best.sub_(highest).mul_(LOGIT_SCALE).exp_().div_(total)
    return query.cpu().numpy(), confidence.cpu().numpy()


def score_map(layout: WindowLayout, values: torch.Tensor, queries: Sequence[int]) -> np.ndarray:
    """(H, W) float32 in 0..1: the highest softmax score among some queries."""
    highest = float(values.max())
    total = torch.zeros(layout.size_hw, dtype=torch.float32, device=values.device)
    for rows, _, block in pixel_logits(layout, values):
        total[rows] += block.sub_(highest).mul_(LOGIT_SCALE).exp_().sum(dim=0)
    chosen = torch.full_like(total, float("-inf"))
    for rows, _, block in pixel_logits(layout, values, queries):
        chosen[rows] = torch.maximum(chosen[rows], block.max(dim=0).values)
    return chosen.sub_(highest).mul_(LOGIT_SCALE).exp_().div_(total).cpu().numpy()


def scores_at(layout: WindowLayout, values: torch.Tensor, point_xy: tuple[float, float]) -> torch.Tensor:
    """(Q,) float32 on the CPU: softmax scores at one pixel (x, y). Raises ValueError for a point outside."""
    layout.scaled_point(point_xy)
    rows, columns = layout.to_picture((values.shape[-2], values.shape[-1]))
    row, column = rows[int(point_xy[1])], columns[int(point_xy[0])]
    # Most of both is zero: only the patches that the pixel depends on are looked at.
    at_row, at_column = row.nonzero().flatten(), column.nonzero().flatten()
    tiled = layout.tile(values)[:, at_row.to(values.device)][:, :, at_column.to(values.device)].cpu()
    return (torch.einsum("a,qab,b->q", row[at_row], tiled, column[at_column]) * LOGIT_SCALE).softmax(dim=0)


def window_maps(layout: WindowLayout, maps: dict[int, torch.Tensor], shares: bool) -> np.ndarray:
    """Maps (h, w) on the patch grids of some windows -> (H, W) float32.

    shares: True where a map says how much of a whole goes to each patch: then pixels outside a window get 0 from it,
    and all windows count the same. False for other quantities: the mean of the windows that hold the pixel, NaN
    where none does.
    """
    grid_h, grid_w = next(iter(maps.values())).shape
    rows, columns = layout.to_window((grid_h, grid_w))
    total = torch.zeros(layout.scaled_hw, dtype=torch.float32, device="cpu")
    count = torch.zeros(layout.scaled_hw, dtype=torch.float32, device="cpu")
    for window, values in maps.items():
        top, left = layout.corners[window]
        area = (slice(top, top + layout.window_hw[0]), slice(left, left + layout.window_hw[1]))
        total[area] += rows @ values.float().cpu() @ columns.T
        count[area] += 1
    mean = total / len(maps) if shares else total / count  # 0 / 0 is NaN
    if tuple(mean.shape) != layout.size_hw:
        mean = F.interpolate(mean[None, None], size=layout.size_hw, mode="bilinear")[0, 0]
    return mean.numpy()
