"""What the browser computes attention from: a source's patches in so few bytes that they are sent once a picture.

With F = mean + C the similarity of two patches is

    S_ij = m + o_i + o_j + C_i C_j,   m = |mean|^2, which is the mean of S,   o = C mean

and C is kept in its main directions, 8 bits each. CLIP's own attention, the softmax of several heads, is no such
product: the closest one, A_ij = L_i R_j, stands for it, with the sum of each row as it is. `attend.js` reads both.

Axes: N patches of one window, C VFM width, D directions that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from proxyclip_core.attention import similarity_mean

MOST_BYTES = 500_000  # of one source, whatever the picture


@dataclass(frozen=True, eq=False)
class Compact:
    """left, right: (N, D) int8, the same where what they stand for is symmetric. scale: (D,) float32, of their product.
    offset: (N,) float32, o, or of CLIP's attention what a row sums to. mean: m."""

    left: np.ndarray
    right: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    mean: float = 0.0

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
    """(N, C) patches of unit length -> what S is computed from. With few patches all directions are kept."""
    count, width = patches.shape
    mean = patches.mean(dim=0)
    centred = patches - mean
    directions = _directions(count, width, each=1)
    basis = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :directions]  # the main ones first
    left, scale = _in_8_bits(centred @ basis)
    return Compact(left, left, (scale**2).numpy(), (centred @ mean).numpy(), float(similarity_mean(patches[None])))


def compact_attention(attention: torch.Tensor) -> Compact:
    """(N, N) attention weights -> what they are computed from: its singular vectors, found by subspace iteration."""
    count = len(attention)
    directions = _directions(count, count, each=2)
    start = torch.randn(count, directions, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(attention @ start).Q
    for _ in range(2):
        basis = torch.linalg.qr(attention @ (attention.T @ basis)).Q
    turned, values, across = torch.linalg.svd(basis.T @ attention, full_matrices=False)
    left, left_scale = _in_8_bits(basis @ turned * values.sqrt())
    right, right_scale = _in_8_bits(across.T * values.sqrt())
    return Compact(left, right, (left_scale * right_scale).numpy(), attention.sum(dim=1).numpy())


def _directions(count: int, most: int, each: int) -> int:
    """As many as fit, where a direction takes `each` bytes a patch."""
    return max(1, min(most, (MOST_BYTES - 4 * count) // (each * count + 4)))


def _in_8_bits(values: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
    """(N, D) -> int8 codes, and the (D,) scales that make values of them."""
    scale = values.abs().amax(dim=0).clamp(min=1e-30) / 127
    return (values / scale).round().to(torch.int8).numpy(), scale
