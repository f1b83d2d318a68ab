"""Label propagation over pixels (LPOSS+).

V. Stojnic et al., LPOSS: Label Propagation Over Patches and Pixels for Open-vocabulary Semantic Segmentation,
CVPR 2025. Every pixel is linked to the others of a square around it, more strongly where the colours are alike:

    W_ij = exp(-|c_i - c_j| / tau)   for pixels that lie within `radius` rows and columns of each other

with c the colour in Lab (D65), divided by (100, 128, 128). `solver` moves the scores along these links.

Axes: Q queries, H x W pixels, O offsets from a pixel to half of its square (W is symmetric).
"""

from __future__ import annotations

import torch

from proxyclip_core.refine.solver import Product

# From linear sRGB to XYZ, with its white point for D65, and the two constants of CIE's cube root.
XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
LINEAR_BELOW, SLOPE = 0.008856, 7.787

# Entries of a band of scores: 64 K floats are 256 KB, which stays in a CPU core's cache over all offsets. A GPU has no
# use for bands, whose many small steps take longer to start than to do.
ENTRIES_AT_ONCE = 65_536


def lab(image: torch.Tensor) -> torch.Tensor:
    """(3, H, W) sRGB in 0..1 -> (3, H, W) float32 Lab divided by (100, 128, 128)."""
    image = image.double()  # on the CPU 1e-7 of a colour is 1e-5 of a weight
    linear = torch.where(image > 0.04045, ((image + 0.055) / 1.055) ** 2.4, image / 12.92)
    to_xyz = image.new_tensor(XYZ) / image.new_tensor(WHITE)[:, None]
    xyz = torch.einsum("ij,jhw->ihw", to_xyz, linear)
    root = torch.where(xyz > LINEAR_BELOW, xyz.clamp(min=LINEAR_BELOW) ** (1 / 3), SLOPE * xyz + 16 / 116)
    x, y, z = root
    return torch.stack([(116 * y - 16) / 100, 500 * (x - y) / 128, 200 * (y - z) / 128]).float()


def pixel_graph(image: torch.Tensor, *, tau: float = 0.01, radius: int = 6) -> Product:
    """The graph of pixels as the product (Q, H, W) -> (Q, H, W) that `solver` takes.

    image (3, H, W) sRGB in 0..1. Raises ValueError for tau <= 0 or radius < 1.
    """
    if tau <= 0 or radius < 1:
        raise ValueError(f"tau is {tau} and radius {radius}; expected above 0 and at least 1 (LPOSS+: 0.01 and 6).")
    colours = lab(image)
    height, width = colours.shape[1:]
    offsets = [(dy, dx) for dy in range(radius + 1) for dx in range(-radius, radius + 1) if (dy, dx) > (0, 0)]
    offsets = [(dy, dx) for dy, dx in offsets if dy < height and abs(dx) < width]
    weights, degrees = [], torch.zeros_like(colours[0])
    for offset in offsets:
        one, other = _ends(offset, width)
        weight = (colours[one] - colours[other]).square_().sum(dim=0).sqrt_().div_(-tau).exp_()
        degrees[one[1:]] += weight
        degrees[other[1:]] += weight
        weights.append(weight)
    scale = degrees.rsqrt().nan_to_num_(posinf=0)  # a pixel without links keeps its scores
    for offset, weight in zip(offsets, weights):
        one, other = _ends(offset, width)
        weight.mul_(scale[one[1:]]).mul_(scale[other[1:]])

    def product(scores: torch.Tensor) -> torch.Tensor:
        moved = torch.zeros_like(scores)
        band = max(1, ENTRIES_AT_ONCE // (len(scores) * width)) if scores.device.type == "cpu" else height
        for top in range(0, height, band):
            for offset, weight in zip(offsets, weights):
                end = min(top + band, height - offset[0])
                if top < end:
                    one, other = _ends(offset, width, top, end)
                    part = weight[top:end]
                    moved[one].addcmul_(part, scores[other])
                    moved[other].addcmul_(part, scores[one])
        return moved

    return product


def _ends(
    offset: tuple[int, int], width: int, top: int = 0, end: int | None = None
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Indices of (..., H, W): the pixels of rows top..end that have a partner at this offset, and their partners."""
    dy, dx = offset
    columns = slice(max(0, -dx), width - max(0, dx)), slice(max(0, dx), width - max(0, -dx))
    rows = slice(top, -dy or None) if end is None else slice(top, end)
    partners = slice(top + dy, None if end is None else end + dy)
    return (slice(None), rows, columns[0]), (slice(None), partners, columns[1])
