"""From patch grids to pixels: the last step, done in bands so that no (K, H, W) array at picture size ever exists.

In the paper's order, window logits are upsampled to window pixels, averaged where windows overlap, and resampled to
the picture: all linear, all before the softmax. `WindowLayout.to_picture` holds all three as one matrix an axis.

Axes: B windows, Q queries, h x w patches of one window, gh x gw patches of all windows side by side, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from proxyclip_core.devices import on_device
from proxyclip_core.interrupt import checkpoint
from proxyclip_core.windows import WindowLayout, axis_matrix

# Entries of a block of pixel logits: 2 M floats are 8 MB, small enough to stay near the cores while the maximum and
# the sum of exponentials are taken from it.
ENTRIES_AT_ONCE = 2_000_000
QUERIES_AT_ONCE = 32
LOGIT_SCALE = 40.0  # what cosines are multiplied by before the softmax (Sec. 4 of the paper)


class PixelReader(Protocol):
    """Logits of Q queries that can be had at any pixel of a picture, in bands."""

    size_hw: tuple[int, int]
    device: torch.device

    @property
    def highest(self) -> float:
        """No pixel has a higher logit."""
        ...

    def blocks(self, queries: Sequence[int] | None = None) -> Iterator[tuple[slice, slice, torch.Tensor]]:
        """Yields (rows, queries, block): block (queries, rows, W), new, until all of (Q, H, W) was seen.

        queries: only these, all by default; the slices count among them.
        """
        ...

    def at(self, point_xy: tuple[float, float]) -> torch.Tensor:
        """(Q,) on the CPU: logits at one pixel (x, y), which must lie in the picture."""
        ...


class PatchReader:
    """From logits (B, Q, h, w) on the patch grid, by the paper's path to pixels."""

    def __init__(self, layout: WindowLayout, values: torch.Tensor) -> None:
        self.layout, self.values = layout, values
        self.size_hw, self.device = layout.size_hw, values.device

    @cached_property
    def highest(self) -> float:
        return _highest(self.values)  # pixels are weighted means of patches

    def blocks(self, queries: Sequence[int] | None = None) -> Iterator[tuple[slice, slice, torch.Tensor]]:
        values = self.values if queries is None else self.values[:, list(queries)]
        rows, columns = self.layout.to_picture((values.shape[-2], values.shape[-1]))
        return _in_bands(self.layout.tile(values), rows, columns)

    def at(self, point_xy: tuple[float, float]) -> torch.Tensor:
        rows, columns = self.layout.to_picture((self.values.shape[-2], self.values.shape[-1]))
        row, column = rows[int(point_xy[1])], columns[int(point_xy[0])]
        # Most of both is zero: only the patches that the pixel depends on are looked at.
        at_row, at_column = row.nonzero().flatten(), column.nonzero().flatten()
        tiled = self.layout.tile(self.values)[:, at_row.to(self.device)][:, :, at_column.to(self.device)].cpu()
        return torch.einsum("a,qab,b->q", row[at_row], tiled, column[at_column])


class MapReader:
    """From logits (Q, h, w) that cover the whole picture, at its size or coarser (bilinear)."""

    def __init__(self, size_hw: tuple[int, int], values: torch.Tensor) -> None:
        self.size_hw, self.values, self.device = size_hw, values, values.device

    @cached_property
    def highest(self) -> float:
        return _highest(self.values)

    def blocks(self, queries: Sequence[int] | None = None) -> Iterator[tuple[slice, slice, torch.Tensor]]:
        values = self.values if queries is None else self.values[list(queries)]
        if tuple(values.shape[1:]) != self.size_hw:
            yield from _from_coarse(values, self.size_hw)
            return
        for chunk in _chunks(len(values)):
            for rows in _bands(self.size_hw, chunk.stop - chunk.start):
                yield rows, chunk, values[chunk, rows].clone()

    def at(self, point_xy: tuple[float, float]) -> torch.Tensor:
        row, column = (
            axis_matrix(side, full)[int(place)]
            for side, full, place in zip(self.values.shape[1:], self.size_hw, point_xy[::-1])
        )
        return torch.einsum("a,qab,b->q", row, self.values.cpu(), column)


class JoinedReader:
    """The queries of one reader, of which there are `count`, then those of another, of the same picture."""

    def __init__(self, first: PixelReader, count: int, second: PixelReader) -> None:
        self.first, self.count, self.second = first, count, second
        self.size_hw, self.device = first.size_hw, first.device

    @property
    def highest(self) -> float:
        return max(self.first.highest, self.second.highest)

    def blocks(self, queries: Sequence[int] | None = None) -> Iterator[tuple[slice, slice, torch.Tensor]]:
        ours = None if queries is None else [query for query in queries if query < self.count]
        theirs = None if queries is None else [query - self.count for query in queries if query >= self.count]
        yield from self.first.blocks(ours)
        before = self.count if ours is None else len(ours)
        for rows, chunk, block in self.second.blocks(theirs):
            yield rows, slice(chunk.start + before, chunk.stop + before), block

    def at(self, point_xy: tuple[float, float]) -> torch.Tensor:
        return torch.cat([self.first.at(point_xy), self.second.at(point_xy)])


class RegionReader:
    """Another reader's logits, but those of regions where these are, see `types.RegionLogits`."""

    def __init__(self, base: PixelReader, numbers: torch.Tensor, values: torch.Tensor) -> None:
        self.base, self.numbers, self.values = base, numbers, values
        self.size_hw, self.device = base.size_hw, base.device

    @property
    def highest(self) -> float:
        return max(self.base.highest, _highest(self.values))

    def blocks(self, queries: Sequence[int] | None = None) -> Iterator[tuple[slice, slice, torch.Tensor]]:
        if not len(self.values):
            yield from self.base.blocks(queries)
            return
        numbers = nearest(self.numbers, self.size_hw)
        columns = (self.values if queries is None else self.values[:, list(queries)]).T  # (q, R)
        for rows, chunk, block in self.base.blocks(queries):
            # Of every pixel, and not of those inside alone: on a GPU their number would be waited for.
            of_regions = columns[chunk][:, numbers[rows].long().clamp(min=1) - 1]
            yield rows, chunk, torch.where(numbers[rows] > 0, of_regions, block)

    def at(self, point_xy: tuple[float, float]) -> torch.Tensor:
        number = int(nearest(self.numbers, self.size_hw)[int(point_xy[1]), int(point_xy[0])])
        return self.values[number - 1].cpu() if number else self.base.at(point_xy)


def nearest(maps: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """(h, w) -> (H, W): what lies at the middle of each pixel."""
    rows, columns = (
        ((torch.arange(full, device=maps.device) + 0.5) * side / full).long() for side, full in zip(maps.shape, size_hw)
    )
    return maps[rows][:, columns]


def _from_coarse(maps: torch.Tensor, size_hw: tuple[int, int]) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Blocks of maps (Q, h, w) at another size, by torch's bilinear rule. A pixel lies between two rows and two columns
    of the maps: to look at these alone takes a small part of the time of `_in_bands`, where maps are fine."""
    (height, width), side = size_hw, maps.shape[1]
    places = (torch.arange(height, dtype=torch.float32, device=maps.device) + 0.5) * (side / height) - 0.5
    above = places.clamp_(min=0).long()
    below, share = (above + 1).clamp(max=side - 1), (places - above)[:, None]
    for chunk in _chunks(len(maps)):
        widened = F.interpolate(maps[chunk], size=width, mode="linear")
        for rows in _bands(size_hw, chunk.stop - chunk.start):
            yield rows, chunk, torch.lerp(widened[:, above[rows]], widened[:, below[rows]], share[rows])


def _highest(values: torch.Tensor) -> float:
    return float(values.max()) if values.numel() else float("-inf")


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, QUERIES_AT_ONCE):
        yield slice(start, min(start + QUERIES_AT_ONCE, count))


def _bands(size_hw: tuple[int, int], queries: int) -> Iterator[slice]:
    height, width = size_hw
    band = max(1, ENTRIES_AT_ONCE // (width * queries))
    for top in range(0, height, band):
        checkpoint()
        yield slice(top, min(top + band, height))


def _in_bands(
    maps: torch.Tensor, row_matrix: torch.Tensor, column_matrix: torch.Tensor
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Blocks of `row_matrix @ maps @ column_matrix.T`, for maps (Q, gh, gw)."""
    # Rows of the maps that each row of pixels depends on, asked on the CPU: on a GPU every answer would be waited for.
    reached = (row_matrix != 0).numpy()
    first, end = reached.argmax(axis=1), reached.shape[1] - reached[:, ::-1].argmax(axis=1)
    row_matrix, column_matrix = (on_device(matrix, maps.device) for matrix in (row_matrix, column_matrix))
    size_hw = len(row_matrix), len(column_matrix)
    for chunk in _chunks(len(maps)):
        widened = maps[chunk] @ column_matrix.T  # (q, gh, W)
        for rows in _bands(size_hw, len(widened)):
            near = slice(int(first[rows].min()), int(end[rows].max()))
            yield rows, chunk, row_matrix[rows, near] @ widened[:, near]


def best_query(reader: PixelReader) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) int64 index of the best query, the first of equals, and (H, W) float32 its softmax score."""
    size_hw, device, highest = reader.size_hw, reader.device, reader.highest
    best = torch.full(size_hw, float("-inf"), dtype=torch.float32, device=device)
    query = torch.zeros(size_hw, dtype=torch.int64, device=device)
    total = torch.zeros(size_hw, dtype=torch.float32, device=device)
    for rows, chunk, block in reader.blocks():
        block_best, block_query = block.max(dim=0)
        better = block_best > best[rows]
        query[rows] = torch.where(better, block_query + chunk.start, query[rows])
        best[rows] = torch.where(better, block_best, best[rows])
        total[rows] += block.sub_(highest).mul_(LOGIT_SCALE).exp_().sum(dim=0)
    confidence = best.sub_(highest).mul_(LOGIT_SCALE).exp_().div_(total)
    return query.cpu().numpy(), confidence.cpu().numpy()


def score_map(reader: PixelReader, queries: Sequence[int]) -> np.ndarray:
    """(H, W) float32 in 0..1: the highest softmax score among some queries."""
    highest = reader.highest
    total = torch.zeros(reader.size_hw, dtype=torch.float32, device=reader.device)
    for rows, _, block in reader.blocks():
        total[rows] += block.sub_(highest).mul_(LOGIT_SCALE).exp_().sum(dim=0)
    chosen = torch.full_like(total, float("-inf"))
    for rows, _, block in reader.blocks(queries):
        chosen[rows] = torch.maximum(chosen[rows], block.max(dim=0).values)
    return chosen.sub_(highest).mul_(LOGIT_SCALE).exp_().div_(total).cpu().numpy()


def scores_at(reader: PixelReader, point_xy: tuple[float, float]) -> torch.Tensor:
    """(Q,) float32 on the CPU: softmax scores at one pixel (x, y), which must lie in the picture."""
    return (reader.at(point_xy) * LOGIT_SCALE).softmax(dim=0)


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
