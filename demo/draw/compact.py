"""What the browser computes attention from: a source's patches in so few bytes that they are sent once a picture.

With F = mean + C the similarity of two patches is

    S_ij = m + o_i + o_j + C_i C_j,   m = |mean|^2, which is the mean of S,   o = C mean

and C is kept in its main directions, 8 bits each. CLIP's own attention, the softmax of several heads, is no such
product: the closest one, A_ij = L_i R_j, stands for it, with the sum of each row as it is. `attend.js` reads both.

Axes: B windows, N patches of one window, C VFM width, D directions that are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from proxyclip_core.attention import similarity_mean
from proxyclip_core.interrupt import checkpoint

MOST_BYTES = 500_000  # of one source, whatever the picture, in all its windows
BINS = 100  # of similarities, over -1..1
MOST_PAIRS = 4_000_000  # that are counted for the histogram: of more, those of every second row, or third
# Maps of the built-in models correlate with the exact ones by 0.995 to 0.9999 with FINE directions, or twice as many of
# CLIP's attention, and by 0.94 to 0.999 with FEWEST.
FINE, FEWEST = 48, 24
# Of the similarities about their mean, by norm: where more is left out, maps fall below 0.995, and over 2 % of the
# patches are masked in one map alone. White noise, 2,646 patches of 768 channels, is out of reach: two thirds of it are
# left out, and the best of codes would need about 0.8 MB (by its rate at that distortion).
MOST_LEFT_OUT = 0.02


@dataclass(frozen=True, eq=False)
class Compact:
    """left, right: (B, N, D) int8, the same where what they stand for is symmetric. scale: (B, D) float32, of their
    product. offset: (B, N) float32, o, or of CLIP's attention what a row sums to. is_rough: whether so much is left out
    that it shows. mean: m of each window. pairs: of each window how many pairs of patches are how similar, in BINS from
    -1 to 1 (Fig. 4)."""

    left: np.ndarray
    right: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    is_rough: bool
    mean: tuple[float, ...] = ()
    pairs: tuple[tuple[int, ...], ...] = ()

    @property
    def is_symmetric(self) -> bool:
        return self.right is self.left

    @property
    def nbytes(self) -> int:
        return len(self.tobytes())

    def tobytes(self) -> bytes:
        """scale, offset, left and, where it is another, right; little-endian."""
        codes = [self.left] if self.is_symmetric else [self.left, self.right]
        numbers = [part.astype("<f4") for part in (self.scale, self.offset)]
        return b"".join(part.tobytes() for part in (*numbers, *codes))


def compact_similarity(patches: torch.Tensor) -> Compact:
    """(B, N, C) patches of unit length -> what S is computed from. With few patches all directions are kept."""
    windows, count, width = patches.shape
    mean = patches.mean(dim=1, keepdim=True)
    centred = patches - mean
    directions = min(width, most_directions(windows, count))
    strength, basis = torch.linalg.eigh(centred.mT @ centred)  # the main ones last
    left_out = strength[:, : width - directions].norm(dim=1) / strength.norm(dim=1)
    rough = directions < min(FINE, width) or bool((left_out > MOST_LEFT_OUT).any())
    left, scale = _in_8_bits(centred @ basis[..., width - directions :])
    offset, means = (centred @ mean.mT)[..., 0], similarity_mean(patches)
    pairs = tuple(pair_counts(window) for window in patches)
    return Compact(left, left, (scale**2).numpy(), offset.numpy(), rough, tuple(means.tolist()), pairs)


def compact_attention(attention: Iterable[torch.Tensor], windows: int = 1) -> Compact:
    """(N, N) attention weights of each window -> what they are computed from: their singular vectors, found by subspace
    iteration."""
    found = [_main_directions(weights, windows) for weights in attention]
    left, right, scale, offset = (np.stack(parts) for parts in zip(*found, strict=True))
    return Compact(left, right, scale, offset, left.shape[2] < min(2 * FINE, left.shape[1]))


def _main_directions(attention: torch.Tensor, windows: int) -> tuple[np.ndarray, ...]:
    """(N, N) -> left, right, scale and offset of one of so many windows."""
    count = len(attention)
    directions = min(count, most_directions(windows, count, each=2))
    start = torch.randn(count, directions, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(attention @ start).Q
    for _ in range(2):
        basis = torch.linalg.qr(attention @ (attention.T @ basis)).Q
    turned, values, across = torch.linalg.svd(basis.T @ attention, full_matrices=False)
    left, left_scale = _in_8_bits(basis @ turned * values.sqrt())
    right, right_scale = _in_8_bits(across.T * values.sqrt())
    return left, right, (left_scale * right_scale).numpy(), attention.sum(dim=1).numpy()


def pair_counts(patches: torch.Tensor) -> tuple[int, ...]:
    """(N, C) patches of unit length -> how many of their pairs are how similar, in BINS from -1 to 1."""
    checkpoint()
    rows = patches[:: -(-(len(patches) ** 2) // MOST_PAIRS)]
    return tuple(torch.histc((rows @ patches.T).clamp_(-1, 1), BINS, -1, 1).int().tolist())


def most_directions(windows: int, count: int, each: int = 1) -> int:
    """As many as fit for so many windows of `count` patches, where a direction takes `each` bytes a patch."""
    return max(1, (MOST_BYTES // windows - 4 * count) // (each * count + 4))


def is_too_much(windows: int, grid_hw: tuple[int, int], of_clip: bool = False) -> bool:
    """Whether too few directions fit for a map to be one. of_clip: CLIP's own attention."""
    return most_directions(windows, grid_hw[0] * grid_hw[1], each=2 if of_clip else 1) < FEWEST


def _in_8_bits(values: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
    """(..., N, D) -> int8 codes, and the (..., D) scales that make values of them."""
    scale = values.abs().amax(dim=-2).clamp(min=1e-30) / 127
    return (values / scale[..., None, :]).round().to(torch.int8).numpy(), scale
