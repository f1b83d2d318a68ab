"""Regions prompt SAM: each connected part of a class asks SAM's decoder for the thing that it lies on (Trident).

Y. Shi et al., Harnessing Vision Foundation Models for High-Performance, Training-Free Open Vocabulary Segmentation,
ICCV 2025. At half the picture's size, each 8-connected part of a class's pixels is a point (where its score is the
best), a box and a faint mask (the class's scores, times 0.005). SAM answers with one mask and its own guess of how good
that is; poor ones are dropped. A pixel in several masks goes to the one where sigmoid(mask) x score is the largest; a
pixel in none keeps what it has.

A mask's pixels take the logits of the part that asked for it, made as in `regions`, so that threshold and softmax mean
what they meant.

Axes: N parts, Q queries, V views of the picture, H x W pixels of SAM's working size, h x w of half the picture's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from proxyclip_core import readout
from proxyclip_core.models.sam import LONG_SIDE, SamModel
from proxyclip_core.refine.regions import region_logits
from proxyclip_core.types import ClassLogits, RegionLogits, SamViews

AT_ONCE = 16  # prompts
MASK_SCALE = 0.005


@dataclass(frozen=True, eq=False)
class Parts:
    """What may prompt. numbers: (h, w) int, 0 for none, else 1 to N; scores: (h, w), of each pixel's own class.

    classes: (N,) the class of each part. maps: class -> (h, w) its scores everywhere.
    """

    numbers: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    maps: dict[int, torch.Tensor]


def prompt(
    logits: ClassLogits,
    views: SamViews,
    sam: SamModel,
    *,
    score: float = 0.05,
    area: int = 225,
    iou: float = 0.8,
    most: int = 200,
) -> RegionLogits:
    """The logits with one row for each part, at the pixels of its mask.

    score: softmax score above which a pixel counts as its class's. area: pixels that a part has at least, at half the
    picture's size. iou: what SAM guesses of a mask at least. most: parts that may ask, the largest ones.
    Raises ValueError where the logits and the views are of different pictures.
    """
    if logits.picture != views.picture:
        raise ValueError("SAM has read another picture. Let it read this one.")
    scale = min(0.5, LONG_SIDE / max(logits.layout.size_hw))
    height, width = (max(1, round(side * scale)) for side in logits.layout.size_hw)
    reader = readout.PatchReader(replace(logits.layout, size_hw=(height, width)), logits.values)
    classes = logits.query_classes().numpy()
    query, best = readout.best_query(reader)
    numbers = _largest(connected(np.where(best > score, classes[query], -1)), area, most)
    firsts = [np.flatnonzero(numbers == number)[0] for number in range(1, numbers.max(initial=0) + 1)]
    of_parts = classes[query.ravel()[np.array(firsts, dtype=int)]]
    parts = Parts(numbers, best, of_parts, _score_maps(reader, classes, sorted(set(of_parts.tolist()))))
    rows = region_logits(reader, numbers, len(of_parts), query, classes)
    strength = torch.zeros(views.working_hw, device=reader.device)
    winner = torch.zeros(views.working_hw, dtype=torch.int32, device=reader.device)
    for predictor, place in sam.predictors(views):
        _ask(predictor, place, parts, iou, strength, winner)
    return RegionLogits.over(logits, winner, rows)


def connected(labels: np.ndarray) -> np.ndarray:
    """(h, w) -> (h, w) int: which 8-connected part of equal labels a pixel is of, by numbers with gaps; -1 where the
    label is -1."""
    index = np.arange(labels.size).reshape(labels.shape)
    steps: list[tuple[Any, Any]] = [
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ]
    same = [
        (index[one][alike], index[other][alike]) for one, other in steps for alike in [labels[one] == labels[other]]
    ]
    one, other = (np.concatenate([pair[side] for pair in same]) for side in (0, 1))
    root = index.ravel().copy()
    while (differ := root[one] != root[other]).any():
        one, other = one[differ], other[differ]
        here, there = root[one], root[other]
        np.minimum.at(root, np.maximum(here, there), np.minimum(here, there))
        while (root[root] != root).any():
            root = root[root]
    return np.where(labels < 0, -1, root.reshape(labels.shape))


def _largest(parts: np.ndarray, area: int, most: int) -> np.ndarray:
    """Parts with at least `area` pixels, `most` of them at most, numbered from 1 on, the largest first; else 0."""
    roots, counts = np.unique(parts[parts >= 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    kept = roots[order][counts[order] >= area]
    numbers = np.zeros(parts.size, np.int64)
    numbers[kept] = np.arange(1, len(kept) + 1)  # at their roots, which are pixels of theirs
    return np.where(parts < 0, 0, numbers[parts])


def _score_maps(reader: readout.PatchReader, classes: np.ndarray, wanted: list[int]) -> dict[int, torch.Tensor]:
    return {
        one: torch.from_numpy(readout.score_map(reader, np.flatnonzero(classes == one).tolist())).to(reader.device)
        for one in wanted
    }


def _ask(
    predictor: Any,
    place: tuple[int, int, int, int],
    parts: Parts,
    iou: float,
    strength: torch.Tensor,
    winner: torch.Tensor,
) -> None:
    """One view's masks, laid onto `strength` (H, W) and the numbers of the parts in `winner` (H, W) where stronger."""
    top, left, high, wide = place
    scale = np.array(strength.shape) / np.array(parts.numbers.shape)  # from half the picture's size to SAM's
    rows, columns = (_inside(start, length, full) for start, length, full in zip(place[:2], place[2:], strength.shape))
    near = tuple(slice(int(part.start / by), int(np.ceil(part.stop / by))) for part, by in zip((rows, columns), scale))
    numbers, scores = parts.numbers[near], parts.scores[near]
    masks = {one: _mask_input(predictor, place, found, strength.shape) for one, found in parts.maps.items()}
    asking = [int(number) for number in np.unique(numbers) if number > 0]
    for first in range(0, len(asking), AT_ONCE):
        some, points, boxes, bests = asking[first : first + AT_ONCE], [], [], []
        for number in some:
            ys, xs = np.nonzero(numbers == number)
            here = scores[ys, xs]
            at = here.argmax()
            bests.append(float(here[at]))
            shift = np.array([near[1].start, near[0].start])
            points.append((np.array([xs[at], ys[at]]) + shift + 0.5) * scale[::-1] - (left, top))
            corners = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]]) + shift
            boxes.append(corners * scale[::-1] - (left, top))
        coords, corners = (predictor.transform.apply_coords(np.array(given), (high, wide)) for given in (points, boxes))
        device = predictor.device  # SAM's, which need not be that of the logits
        found, guessed, _ = predictor.predict_torch(
            torch.as_tensor(coords, dtype=torch.float32)[:, None].to(device),
            torch.ones(len(some), 1, dtype=torch.int, device=device),
            boxes=torch.as_tensor(corners, dtype=torch.float32).flatten(1).to(device),
            mask_input=torch.stack([masks[int(parts.classes[number - 1])] for number in some]).to(device),
            multimask_output=False,
            return_logits=True,
        )
        for number, mask, guess, best in zip(some, found[:, 0].to(strength.device), guessed[:, 0].tolist(), bests):
            if guess < iou:
                continue
            mask = mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            value = torch.where(mask > 0, mask.sigmoid() * best, 0.0)
            stronger = value > strength[rows, columns]
            strength[rows, columns][stronger] = value[stronger]
            winner[rows, columns][stronger] = number


def _inside(start: int, length: int, full: int) -> slice:
    return slice(max(0, start), min(full, start + length))


def _mask_input(
    predictor: Any, place: tuple[int, int, int, int], scores: torch.Tensor, size_hw: tuple[int, ...]
) -> torch.Tensor:
    """(1, side, side): a class's scores (h, w), as SAM takes a mask of the view; 0 past the picture and the view."""
    top, left, high, wide = place
    height, width = size_hw
    full = F.interpolate(scores[None, None], size=size_hw, mode="bilinear", align_corners=False)
    view = F.pad(full, (-left, left + wide - width, -top, top + high - height))  # cuts where it is negative
    side = predictor.model.prompt_encoder.mask_input_size[0]
    shrunk = [round(length * side / predictor.transform.target_length) for length in predictor.input_size]
    small = F.interpolate(view, size=shrunk, mode="bilinear", align_corners=False)[0]
    return F.pad(small * MASK_SCALE, (0, side - shrunk[1], 0, side - shrunk[0]))
