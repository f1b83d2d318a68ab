"""Other styles for the training drawings: ink outlines, flat colours, sketches, shifted hues, other proportions.

There are a dozen artists; without this the networks learn how these draw rather than what they draw.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

Rng = np.random.Generator


def _flat_colours(rgb: Image.Image, count: int) -> tuple[np.ndarray, np.ndarray]:
    """-> flat picture H x W x 3 and colour index H x W."""
    smooth = rgb.filter(ImageFilter.MedianFilter(3))
    indexed = smooth.quantize(count, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
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


def bend(rgba: np.ndarray, rng: Rng) -> np.ndarray:
    """Other proportions: stretched, sheared and bent by a smooth field, up to a tenth of the drawing."""
    height, width = rgba.shape[:2]
    margin = max(height, width) // 6
    padded = np.pad(rgba, ((margin, margin), (margin, margin), (0, 0)))
    field = np.stack([ndimage.zoom(rng.normal(0, 0.035, (4, 4)), [s / 4 for s in padded.shape[:2]]) for _ in range(2)])
    y, x = np.mgrid[-1 : 1 : padded.shape[0] * 1j, -1 : 1 : padded.shape[1] * 1j]
    stretch, shear = np.exp(rng.normal(0, 0.12)), rng.normal(0, 0.1)
    from_y, from_x = y * stretch + field[0], (x + shear * y) / stretch + field[1]
    at = [(from_y + 1) / 2 * (padded.shape[0] - 1), (from_x + 1) / 2 * (padded.shape[1] - 1)]
    soft = np.asarray(Image.fromarray(padded).convert("RGBa"))  # premultiplied, or edges take what is transparent
    moved = np.dstack([ndimage.map_coordinates(soft[..., c], at, order=1) for c in range(4)])
    picture = Image.frombytes("RGBa", moved.shape[1::-1], moved.tobytes()).convert("RGBA")
    return np.asarray(picture.crop(picture.getchannel("A").point(lambda a: 255 * (a > 24)).getbbox()))


def palette(rgba: np.ndarray, rng: Rng, count: int = 4) -> np.ndarray:
    """Some colours of a drawing, `count` x 3 in 0..255, the commonest first."""
    solid = rgba[rgba[..., 3] > 128][:, :3]
    row = Image.fromarray(solid[rng.integers(len(solid), size=2048)][None])
    indexed = row.quantize(count, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    common = np.argsort(-np.bincount(np.asarray(indexed).ravel(), minlength=count))
    colours = np.array((indexed.getpalette() or [])[: 3 * count], float).reshape(-1, 3)
    return np.resize(colours, (count, 3))[common]


def colour_in(rgba: np.ndarray, colours: np.ndarray, rng: Rng) -> np.ndarray:
    """A drawing of shapes or lines of one colour -> shapes with a colour each: what they enclose is filled as well."""
    alpha = np.pad(rgba[..., 3], 1)
    parts, _ = ndimage.label(alpha < 128)
    enclosed = (parts > 0) & (parts != parts[0, 0])  # the first pixel is outside
    shade = rng.permutation(np.r_[colours[1:], [[255.0] * 3], [colours[0] * 0.6]])
    colour = shade[parts % len(shade)]
    lines = ndimage.binary_erosion(alpha >= 128, iterations=5).mean() < 0.05  # thin everywhere
    ink = rng.uniform(0, 60) * np.ones(3) if lines or rng.random() < 0.2 else colours[0]
    share = alpha[..., None] / 255.0
    colour = np.where(enclosed[..., None], colour * (1 - share) + ink * share, ink)
    filled = np.dstack([colour, np.where(enclosed, 255, alpha)])
    return np.clip(filled[1:-1, 1:-1], 0, 255).astype(np.uint8)


def variants(rgba: np.ndarray, rng: Rng) -> list[np.ndarray]:
    """Other looks of one drawing, made once before training: two inked, one recoloured; two in other proportions."""
    return [ink(rgba, rng), ink(recolour(bend(rgba, rng), rng), rng), recolour(bend(rgba, rng), rng)]
