"""Regions vote: within each region of SAM's automatic masks all pixels take the class that most of them have.

CorrCLIP's map correction (D. Zhang et al., CorrCLIP, ICCV 2025), on the regions of Segment Anything (A. Kirillov et
al., ICCV 2023). Masks are painted from large to small, so that a part stands out from its whole; a pixel that no mask
covers keeps what it has. A region then has one row of logits: the mean over the pixels that voted for its class, and of
its wordings for the one that was the best most often. So the class that won is its best, and its softmax score is that
of the pixels that named it: threshold and softmax mean what they meant.

Axes: R regions, Q queries, K classes, H x W pixels of the picture, h x w of the working size.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from proxyclip_core import readout
from proxyclip_core.types import ClassLogits, PixelLogits, RegionLogits, Regions


def paint(masks: Iterable[np.ndarray], size_hw: tuple[int, int]) -> np.ndarray:
    """Masks (h, w) bool -> (h, w) int32: 0 where none is, else the number of the smallest one, from 1 on without gaps.

    Empty masks, and those that smaller ones hide, get no number.
    """
    numbers = np.zeros(size_hw, np.int32)
    for number, mask in enumerate(sorted(masks, key=lambda mask: -int(mask.sum())), 1):
        numbers[mask] = number
    found = np.unique(np.concatenate([[0], numbers.ravel()]))
    return np.searchsorted(found, numbers).astype(np.int32)


def vote(logits: ClassLogits | PixelLogits, regions: Regions) -> RegionLogits:
    """The logits with one row for each region, see above; regions and logits of one picture."""
    reader = logits.reader()
    classes = logits.query_classes().numpy()
    query, _ = readout.best_query(reader)
    numbers = regions.at_pixels(reader.size_hw).cpu().numpy().astype(np.int64)
    rows = region_logits(reader, numbers, regions.count, query, classes)
    return RegionLogits.over(logits, regions.numbers.to(rows.device), rows)


def region_logits(
    reader: readout.PixelReader, numbers: np.ndarray, count: int, query: np.ndarray, classes: np.ndarray
) -> torch.Tensor:
    """(R, Q) float32: one row for each of `count` regions, see above.

    numbers (H, W) int64 as in `Regions`, query (H, W) the best query, both at the reader's size; classes (Q,).
    """
    won = _most_frequent(numbers, classes[query], count + 1, int(classes.max()) + 1)
    # Of the wordings of the class that won, the one that was the best most often.
    of_winner = classes[query] == won[numbers]
    best = _most_frequent(numbers[of_winner], query[of_winner], count + 1, len(classes))
    voted = (query == best[numbers]) & (numbers > 0)
    return _means(reader, torch.from_numpy(np.where(voted, numbers, 0)).to(reader.device), count, len(classes))


def _most_frequent(numbers: np.ndarray, values: np.ndarray, regions: int, count: int) -> np.ndarray:
    """(regions,): the value, below `count`, that most pixels of a region have; the first of equals."""
    counts = np.bincount((numbers * count + values).ravel(), minlength=regions * count)
    return counts.reshape(regions, count).argmax(axis=1)


def _means(reader: readout.PixelReader, numbers: torch.Tensor, regions: int, queries: int) -> torch.Tensor:
    """(R, Q) float32: the mean of the reader's logits over the pixels with each number (H, W) but 0."""
    sums = torch.zeros(queries, regions + 1, dtype=torch.float64, device=reader.device)
    for rows, chunk, block in reader.blocks():
        chosen = numbers[rows] > 0
        sums[chunk] = sums[chunk].index_add(1, numbers[rows][chosen], block[:, chosen].double())
    counts = numbers.flatten().bincount(minlength=regions + 1).clamp(min=1)
    return (sums / counts)[:, 1:].T.float().contiguous()
