"""Pixel-adaptive refinement (PAMR): scores follow the colours of the picture.

N. Araslanov and S. Roth, Single-Stage Semantic Segmentation from Image Labels, CVPR 2020; used without training by
NACLIP (S. Hajimiri et al., Pay Attention to Your Neighbours, WACV 2025). For the 8 neighbours n of a pixel at each of
some distances (`dilations`), with x the colours and s their standard deviation over all these neighbourhoods,

    a_n = mean over channels of -|x - x_n| / (1e-8 + 0.1 s)
    w = softmax over n of a
    scores <- sum_n w_n scores_n,   `rounds` times

As x is divided by its own deviation, a fixed mean and standard deviation of the colours make no difference.

A round is a product with a sparse matrix that has a row of weights for each pixel, over scores that lie pixel by pixel:
so the scores of a neighbour, for all queries, are one piece of memory. It is done in bands of rows, and as the picture
is padded, all bands have their neighbours in the same places: these are written down once.

Axes: Q queries, H x W pixels, D dilations, O neighbours (8 for each dilation), C channels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from proxyclip_core.interrupt import checkpoint
from proxyclip_core.types import Movable

WEIGHTS_AT_ONCE = 1_000_000  # weights of a band: 4 MB
COLOURS_AT_ONCE = 300_000  # differences of colours that are looked at together, 1 MB: a core's cache holds them
ON_CUDA = 16  # times as much there, where the many steps of small bands take longer to start than to do
QUERIES_AT_ONCE = 16  # floats of a cache line


@dataclass(frozen=True, eq=False)
class ColourGraph(Movable):
    """How much of its neighbours' scores each pixel takes. A call moves scores along these links.

    weights (H, W, O) float32: w, whose sum over O is 1. of: what else it belongs to.
    """

    weights: torch.Tensor
    dilations: tuple[int, ...]
    of: tuple[Any, ...] = ()

    def __call__(self, scores: torch.Tensor, rounds: int) -> torch.Tensor:
        """(Q, H, W) float32 -> the same after some rounds, as a new tensor. Scores of different queries do not meet, so
        a few of them can be refined alone. Raises ValueError for rounds below 0, or scores of another size."""
        if rounds < 0:
            raise ValueError(f"rounds is {rounds}; expected 0 or more.")
        if self.weights.shape[:2] != scores.shape[1:]:
            size_hw = tuple(self.weights.shape[:2])
            raise ValueError(f"The image is {size_hw}, the scores {tuple(scores.shape)}; H and W must agree.")
        refined = torch.empty_like(scores, memory_format=torch.contiguous_format)
        bands = _in_bands(self.weights, self.dilations)
        chunks = -(-len(scores) // QUERIES_AT_ONCE)
        for some, into in zip(scores.tensor_split(chunks), refined.tensor_split(chunks)):
            into.copy_(_rounds(some, bands, max(self.dilations), rounds))
        return refined


def colour_graph(
    image: torch.Tensor, dilations: Sequence[int] = (1, 2, 4, 8, 12, 24), of: tuple[Any, ...] = ()
) -> ColourGraph:
    """The links between the pixels of an image (3, H, W) float32: the colours, in any affine scale.

    dilations: distances of the neighbours in pixels; NACLIP takes (8, 16). Beyond the picture its edge is repeated.
    Raises ValueError for dilations that cannot be.
    """
    if not dilations or min(dilations) < 1:
        raise ValueError(
            f"dilations are {tuple(dilations)}; expected one or more distances of at least 1 pixel, such as (8, 16)."
        )
    return ColourGraph(_weights(image, dilations), tuple(dilations), of)


def _weights(image: torch.Tensor, dilations: Sequence[int]) -> torch.Tensor:
    """(H, W, O): w of every neighbour of every pixel."""
    (channels, height, width), reach = image.shape, max(dilations)
    padded = F.pad(image[None], (reach,) * 4, mode="replicate")[0]
    samples = 9 * len(dilations)  # each dilation's 3 x 3, the pixel itself once more in every one
    weights = image.new_empty(height, width, samples - len(dilations))
    bands = list(_bands(height, width * samples * channels, COLOURS_AT_ONCE, image.device))
    # Made once: memory that is new to the process costs more than all that is computed in it.
    buffers = image.new_empty(2, len(dilations), 3, 3, channels, bands[0].stop, width)
    for rows in bands:
        difference, squares = buffers[..., : rows.stop - rows.start, :]
        # Differences to the pixel itself leave digits that sums of colours would lose.
        for dilation, into in zip(dilations, difference):
            torch.sub(_neighbours(padded, dilation, reach, rows, width), image[:, rows], out=into)
        mean = difference.mean(dim=(0, 1, 2))
        spread = torch.mul(difference, difference, out=squares).sum(dim=(0, 1, 2)).addcmul_(mean, mean, value=-samples)
        scale = spread.div_(samples - 1).clamp_(min=0).sqrt_().mul_(0.1).add_(1e-8).reciprocal_().div_(-channels)
        affinity = difference.abs_().mul_(scale).sum(dim=3).flatten(1, 2)  # (D, 9, rows, W)
        affinity = torch.cat([affinity[:, :4], affinity[:, 5:]], dim=1).flatten(0, 1)  # without the pixel itself
        weights[rows].flatten(0, 1).copy_(affinity.softmax(dim=0).flatten(1).T)
    return weights


def _neighbours(padded: torch.Tensor, dilation: int, reach: int, rows: slice, width: int) -> torch.Tensor:
    """(3, 3, C, rows, W), without a copy: what lies a dilation above, at and below, left and right."""
    first = padded[:, rows.start + reach - dilation :, reach - dilation :]
    channel, row, column = padded.stride()
    size = 3, 3, len(padded), rows.stop - rows.start, width
    return first.as_strided(size, (dilation * row, dilation * column, channel, row, column))


def _bands(height: int, row_size: int, most: int, device: torch.device) -> Iterator[slice]:
    """Rows of `row_size` entries, at most so many entries at a time on a CPU."""
    band = max(1, most * (ON_CUDA if device.type == "cuda" else 1) // row_size)
    for top in range(0, height, band):
        checkpoint()
        yield slice(top, min(top + band, height))


def _in_bands(weights: torch.Tensor, dilations: Sequence[int]) -> list[tuple[slice, torch.Tensor]]:
    """Weights (H, W, O) -> rows, and their weights as a sparse matrix over these rows of the padded picture."""
    (height, width, offsets), reach = weights.shape, max(dilations)
    bands = list(_bands(height, width * offsets, WEIGHTS_AT_ONCE, weights.device))
    most, stride = bands[0].stop, width + 2 * reach
    steps = [(dy * d, dx * d) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    moves = torch.tensor([dy * stride + dx for dy, dx in steps], dtype=torch.int32, device=weights.device)
    places = torch.arange(most * stride, dtype=torch.int32, device=weights.device).view(most, stride)[:, :width]
    columns = (places.reshape(-1, 1) + (reach * stride + reach) + moves).flatten()
    starts = torch.arange(0, len(columns) + 1, offsets, dtype=torch.int32, device=weights.device)
    found = []
    for rows in bands:
        values, size = weights[rows].flatten(), (rows.stop - rows.start + 2 * reach) * stride
        pixels = len(values) // offsets
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            matrix = torch.sparse_csr_tensor(
                starts[: pixels + 1], columns[: len(values)], values, (pixels, size), check_invariants=False
            )
        found.append((rows, matrix))
    return found


def _rounds(scores: torch.Tensor, bands: Sequence[tuple[slice, torch.Tensor]], reach: int, rounds: int) -> torch.Tensor:
    """(Q, H, W) -> (Q, H, W), in memory pixel by pixel."""
    queries, height, width = scores.shape
    padded = scores.new_empty(height + 2 * reach, width + 2 * reach, queries)
    inside = slice(reach, reach + height), slice(reach, reach + width)
    refined = scores.permute(1, 2, 0).contiguous()
    for _ in range(rounds):
        checkpoint()
        padded[inside] = refined
        padded[inside[0], :reach], padded[inside[0], -reach:] = refined[:, :1], refined[:, -1:]
        padded[:reach], padded[-reach:] = padded[reach], padded[-reach - 1]
        for rows, matrix in bands:
            near = padded[rows.start : rows.stop + 2 * reach].flatten(0, 1)
            torch.mm(matrix, near, out=refined[rows].flatten(0, 1))
    return refined.permute(2, 0, 1)
