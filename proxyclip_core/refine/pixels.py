"""Pixel-adaptive refinement (PAMR): scores follow the colours of the picture.

N. Araslanov and S. Roth, Single-Stage Semantic Segmentation from Image Labels, CVPR 2020; used without training by
NACLIP (S. Hajimiri et al., Pay Attention to Your Neighbours, WACV 2025). For the 8 neighbours n of a pixel at each of
some distances (`dilations`), with x the colours and s their standard deviation over all these neighbourhoods,

    a_n = mean over channels of -|x - x_n| / (1e-8 + 0.1 s)
    w = softmax over n of a
    scores <- sum_n w_n scores_n,   `rounds` times

As x is divided by its own deviation, a fixed mean and standard deviation of the colours make no difference.

Axes: Q queries, H x W pixels, O offsets (8 for each dilation).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

# Entries of a band of scores: 64 K floats are 256 KB, which stays in a core's cache over all offsets.
ENTRIES_AT_ONCE = 65_536
QUERIES_AT_ONCE = 16


def refine_pixels(
    image: torch.Tensor,
    scores: torch.Tensor,
    *,
    dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
    rounds: int = 10,
) -> torch.Tensor:
    """Scores (Q, H, W) float32 after some rounds of refinement, as a new tensor of that shape.

    image (3, H, W) float32: the colours, in any affine scale. scores: cosines or softmax scores; those of different
    queries do not meet, so a few of them can be refined alone.
    dilations: distances of the neighbours in pixels; NACLIP takes (8, 16). Beyond the picture its edge is repeated.
    Raises ValueError for dilations or rounds that cannot be, or a picture of another size.
    """
    if not dilations or min(dilations) < 1 or rounds < 0:
        raise ValueError(
            f"dilations are {tuple(dilations)} and rounds {rounds}; expected one or more distances of at least 1 "
            "pixel, such as (8, 16), and 0 or more rounds."
        )
    if image.shape[1:] != scores.shape[1:]:
        raise ValueError(f"The image is {tuple(image.shape)}, the scores {tuple(scores.shape)}; H and W must agree.")
    offsets = [(dy * d, dx * d) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    weights = _weights(image, offsets)
    refined = torch.empty_like(scores, memory_format=torch.contiguous_format)
    for some, into in zip(scores.split(QUERIES_AT_ONCE), refined.split(QUERIES_AT_ONCE)):
        into.copy_(_rounds(some, weights, offsets, rounds))
    return refined


def _weights(image: torch.Tensor, offsets: Sequence[tuple[int, int]]) -> torch.Tensor:
    """(O, H, W): w of every neighbour of every pixel."""
    height, width = image.shape[1:]
    padded, reach = _padded(image, offsets)
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    for offset in offsets:  # of differences to the pixel itself, which leaves digits that sums of colours would lose
        difference = _shifted(padded, offset, reach, 0, height, width) - image
        total += difference
        squares.addcmul_(difference, difference)
    samples = len(offsets) * 9 // 8  # each dilation's 3 x 3, the pixel itself once more in every one
    deviation = (squares - total.square() / samples).div_(samples - 1).clamp_(min=0).sqrt_()
    scale = deviation.mul_(0.1).add_(1e-8).reciprocal_().div_(-len(image))
    weights = image.new_empty(len(offsets), height, width)
    for offset, weight in zip(offsets, weights):
        difference = _shifted(padded, offset, reach, 0, height, width) - image
        torch.sum(difference.abs_().mul_(scale), dim=0, out=weight)
    weights.sub_(weights.amax(dim=0)).exp_()
    return weights.div_(weights.sum(dim=0))


def _rounds(
    scores: torch.Tensor, weights: torch.Tensor, offsets: Sequence[tuple[int, int]], rounds: int
) -> torch.Tensor:
    height, width = scores.shape[1:]
    band = max(1, ENTRIES_AT_ONCE // (len(scores) * width))
    for _ in range(rounds):
        padded, reach = _padded(scores, offsets)
        scores = torch.zeros_like(scores)
        for top in range(0, height, band):
            rows = slice(top, min(top + band, height))
            into = scores[:, rows]
            for offset, weight in zip(offsets, weights):
                into.addcmul_(weight[rows], _shifted(padded, offset, reach, top, rows.stop, width))
    return scores


def _padded(maps: torch.Tensor, offsets: Sequence[tuple[int, int]]) -> tuple[torch.Tensor, int]:
    """(Q, H, W) with its edge repeated as far as the offsets reach, and that reach."""
    reach = max(dy for dy, _ in offsets)
    return F.pad(maps[None], (reach,) * 4, mode="replicate")[0], reach


def _shifted(padded: torch.Tensor, offset: tuple[int, int], reach: int, top: int, end: int, width: int) -> torch.Tensor:
    """(Q, end - top, W): the neighbours at this offset of the pixels in rows top..end, without a copy."""
    dy, dx = offset[0] + reach, offset[1] + reach
    return padded[:, top + dy : end + dy, dx : dx + width]
