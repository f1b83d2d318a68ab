"""How well similarity tells pairs of patches of one class from other pairs (Fig. 1 of the paper).

Axes: B windows, h x w patches of one window, C width of the features, P pairs, T thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from proxyclip_core.attention import unit_patches
from proxyclip_core.evaluation.scenes import is_labelled
from proxyclip_core.windows import WindowLayout


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """How well similarity tells pairs of one class from other pairs (Fig. 1 of the paper).

    recall, precision: (T,) in 0..1, from the highest threshold to the lowest. average_precision: area under it.
    """

    recall: np.ndarray
    precision: np.ndarray
    average_precision: float


def correspondence(
    features: torch.Tensor, patch_labels: torch.Tensor, pairs: int = 500_000, seed: int = 0
) -> PrecisionRecall:
    """Precision and recall of 'same class' as decided by cosine similarity of patch features.

    features (B, C, h, w), patch_labels (B, h, w) int with negative where unknown. Pairs are within one window, a
    patch is not paired with itself; above `pairs` of them, as many are drawn at random.
    """
    patches, labels = unit_patches(features), patch_labels.flatten(1)
    generator = torch.Generator().manual_seed(seed)
    scores, same = [], []
    for window in range(len(patches)):
        known = (labels[window] >= 0).nonzero().flatten()
        if len(known) < 2:
            continue
        share = max(1, pairs // len(patches))
        total = len(known) ** 2
        picks = torch.arange(total) if total <= share else torch.randint(total, (share,), generator=generator)
        first, second = known[picks // len(known)], known[picks % len(known)]
        first, second = first[first != second], second[first != second]
        scores.append((patches[window][first] * patches[window][second]).sum(dim=-1).cpu())
        same.append((labels[window][first] == labels[window][second]).cpu())
    empty = torch.zeros(0, dtype=torch.float32)
    return precision_recall(torch.cat(scores or [empty]), torch.cat(same or [empty.bool()]))


def precision_recall(scores: torch.Tensor, same: torch.Tensor) -> PrecisionRecall:
    """The curve for pairs with scores (P,), where same (P,) bool says which are of one class."""
    if not same.any() or same.all():
        raise ValueError("Precision and recall need patches of at least two classes in the label map.")
    hits = same[scores.argsort(descending=True)].double().cumsum(0).numpy()
    recall, precision = hits / hits[-1], hits / np.arange(1, len(hits) + 1)
    average = float(np.sum(np.diff(recall, prepend=0) * precision))
    return PrecisionRecall(recall, precision, average)


def labels_on_patches(labels: np.ndarray, layout: WindowLayout, grid_hw: tuple[int, int]) -> torch.Tensor:
    """(H, W) label map -> (B, h, w) int64: the label at each patch's centre, -1 where unknown or padding."""
    result = torch.full((layout.count, *grid_hw), -1, dtype=torch.int64)
    for window, (top, left) in enumerate(layout.corners):
        at = []
        for grid, padded, before, length, start, scaled, full in zip(
            grid_hw,
            layout.padded_hw,
            layout.padding_top_left,
            layout.window_hw,
            (top, left),
            layout.scaled_hw,
            layout.size_hw,
        ):
            centre = (np.arange(grid) + 0.5) * padded / grid - before
            inside = (centre >= 0) & (centre < length)
            pixel = np.clip(((centre + start) * full / scaled).astype(int), 0, full - 1)
            at.append((inside, pixel))
        (row_inside, rows), (column_inside, columns) = at
        values = labels[np.ix_(rows, columns)]
        known = is_labelled(values) & np.outer(row_inside, column_inside)
        result[window] = torch.from_numpy(np.where(known, values.astype(np.int64), -1))
    return result
