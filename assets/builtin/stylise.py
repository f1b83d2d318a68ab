"""Other hands for the training drawings: ink outlines, flat colours, sketches, shifted hues.

The towers see seven artists; without this they learn those artists rather than the things.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

Rng = np.random.Generator


def _flat_colours(rgb: Image.Image, count: int) -> tuple[np.ndarray, np.ndarray]:
    """-> flat picture H x W x 3 and colour index H x W."""
    indexed = rgb.filter(ImageFilter.MedianFilter(3)).quantize(count, method=Image.Quantize.MEDIANCUT, dither=0)
    return np.asarray(indexed.convert("RGB")), np.asarray(indexed)


def _inner_edges(flat: np.ndarray, threshold: float) -> np.ndarray:
    """H x W bool: where neighbouring flat colours differ clearly."""
    colour = flat.astype(np.int16)
    edge = np.zeros(colour.shape[:2], bool)
    edge[:-1] |= np.abs(colour[1:] - colour[:-1]).sum(-1) > threshold
    edge[:, :-1] |= np.abs(colour[:, 1:] - colour[:, :-1]).sum(-1) > threshold
    return edge


def ink(rgba: np.ndarray, rng: Rng) -> np.ndarray:
    """Dark lines along the alpha and the inner edges; colours kept, made flat, or paled to a sketch."""
    width = int(rng.integers(3, 8)) | 1  # odd, for the filter; 112 px drawings
    padded = Image.fromarray(np.pad(rgba, ((width, width), (width, width), (0, 0))))
    solid = padded.getchannel("A").point(lambda a: 255 * (a > 128))
    backed = Image.new("RGBA", padded.size, (128, 128, 128, 255))
    backed.alpha_composite(padded)
    flat, _ = _flat_colours(backed.convert("RGB"), int(rng.integers(4, 9)))
    edges = Image.fromarray(_inner_edges(flat, rng.uniform(70, 170)).astype(np.uint8) * 255)
    if width > 3:
        edges = edges.filter(ImageFilter.MaxFilter(3))
    outer = np.asarray(solid.filter(ImageFilter.MaxFilter(width))) > 0
    inside = np.asarray(solid) > 0
    manner = rng.random()
    colour = (flat if manner < 0.65 else np.asarray(padded)[..., :3]).astype(np.float32)
    if manner > 0.85:  # a sketch: the fill pales towards white
        colour = colour + (255 - colour) * rng.uniform(0.6, 1.0)
    elif manner > 0.5:  # pastel or stronger
        grey = colour.mean(-1, keepdims=True)
        colour = grey + (colour - grey) * rng.uniform(0.5, 1.7) + rng.uniform(-15, 40)
    lines = (outer & ~inside) | ((np.asarray(edges) > 0) & inside)
    shade = rng.uniform(0, 45, 3) * (rng.random() < 0.5)
    colour[lines] = shade
    alpha = outer.astype(np.uint8) * 255
    soft = Image.fromarray(np.dstack([np.clip(colour, 0, 255).astype(np.uint8), alpha]))
    return np.asarray(soft.convert("RGBa").filter(ImageFilter.BoxBlur(0.6)).convert("RGBA"))


def recolour(rgba: np.ndarray, rng: Rng) -> np.ndarray:
    """Shift hue, saturation and tone; now and then grey or posterised."""
    picture = Image.fromarray(rgba)
    hsv = np.asarray(picture.convert("RGB").convert("HSV")).astype(np.int16)
    shift = rng.integers(-12, 13) if rng.random() < 0.7 else rng.integers(0, 256)
    hsv[..., 0] = (hsv[..., 0] + shift) % 256
    hsv[..., 1] = np.clip(hsv[..., 1] * (0 if rng.random() < 0.12 else rng.uniform(0.6, 1.3)), 0, 255)
    hsv[..., 2] = np.clip(hsv[..., 2] * rng.uniform(0.75, 1.2) + rng.uniform(-15, 25), 0, 255)
    rgb = np.asarray(Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB"))
    if rng.random() < 0.25:
        rgb = _flat_colours(Image.fromarray(rgb), int(rng.integers(3, 7)))[0]
    return np.dstack([rgb, rgba[..., 3]])


def variants(rgba: np.ndarray, rng: Rng) -> list[np.ndarray]:
    """Other looks of one drawing, made once before training: two inked, one recoloured."""
    return [ink(rgba, rng), ink(recolour(rgba, rng), rng), recolour(rgba, rng)]
