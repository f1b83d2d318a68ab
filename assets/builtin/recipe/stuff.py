"""The stuff of EmojiScenes, drawn by formula: sky, cloud, sea, lake, grass, sand, snow, mountain, forest, road, ...

Every painter takes (rng, height, width) and returns an H x W x 3 float32 picture in 0..255; it fills the rectangle.
The layout (scenes.py) decides which part of it shows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

Rng = np.random.Generator

# stuff classes and what else they are called
STUFF: dict[str, tuple[str, ...]] = {
    "sky": ("sky", "blue sky", "night sky", "evening sky"),
    "cloud": ("cloud", "clouds"),
    "sea": ("sea", "ocean", "water"),
    "lake": ("lake", "pond"),
    "grass": ("grass", "lawn", "meadow"),
    "sand": ("sand", "beach", "desert"),
    "snow": ("snow", "snowy ground"),
    "mountain": ("mountain", "mountains", "hill"),
    "forest": ("forest", "woods", "trees"),
    "road": ("road", "street", "asphalt"),
    "brick wall": ("brick wall", "wall", "bricks"),
    "wooden floor": ("wooden floor", "floor", "wood floor"),
    "field": ("field", "farmland", "crop field"),
}


def noise(rng: Rng, height: int, width: int, cell_y: float, cell_x: float) -> np.ndarray:
    """Smooth noise, H x W in about -1..1, with blobs of cell_y x cell_x pixels."""
    rows, columns = (max(2, round(side / max(cell, 1.0))) + 2 for side, cell in ((height, cell_y), (width, cell_x)))
    grid = Image.fromarray(rng.uniform(-1, 1, (rows, columns)).astype(np.float32))
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))


def fractal(rng: Rng, height: int, width: int, cell: float) -> np.ndarray:
    """Three octaves of noise."""
    return sum(noise(rng, height, width, cell / 2**k, cell / 2**k) / 2**k for k in range(3)) / 1.75


def _colour(rng: Rng, *options: tuple[int, int, int], spread: float = 10) -> np.ndarray:
    return np.array(options[rng.integers(len(options))], np.float32) + rng.normal(0, spread, 3).astype(np.float32)


def _ramp(top: np.ndarray, bottom: np.ndarray, height: int, width: int) -> np.ndarray:
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.broadcast_to(top * (1 - t) + bottom * t, (height, width, 3)).copy()


def sky(rng: Rng, height: int, width: int, hour: str | None = None) -> np.ndarray:
    """Day, dusk or night; a plain ramp, with stars at night."""
    hour = hour or rng.choice(["day", "day", "day", "dusk", "night"])
    if hour == "day":
        top, bottom = (
            _colour(rng, (70, 150, 235), (95, 180, 245), (60, 130, 215)),
            _colour(rng, (190, 225, 250), (215, 235, 250)),
        )
    elif hour == "dusk":
        top = _colour(rng, (90, 70, 150), (60, 60, 130), (200, 110, 140))
        bottom = _colour(rng, (255, 170, 100), (250, 140, 120), (255, 200, 140))
    else:
        top, bottom = (
            _colour(rng, (10, 14, 45), (16, 24, 66), spread=5),
            _colour(rng, (40, 50, 105), (30, 60, 110), spread=6),
        )
    picture = _ramp(top, bottom, height, width)
    if hour == "night":
        count = max(3, height * width // 900)
        y, x = rng.integers(0, height, count), rng.integers(0, width, count)
        picture[y, x] += rng.uniform(60, 200, (count, 1)).astype(np.float32)
    return picture


def sea(rng: Rng, height: int, width: int) -> np.ndarray:
    """Blue to teal, with wave crests that grow towards the viewer."""
    deep, near = (
        _colour(rng, (20, 85, 160), (15, 100, 150), (25, 70, 130)),
        _colour(rng, (40, 150, 190), (50, 130, 200)),
    )
    picture = _ramp(deep, near, height, width)
    waves = noise(rng, height, width, max(2.0, height / 22), width / 7) + 0.5 * noise(rng, height, width, 3, width / 16)
    picture += 22 * waves[..., None]
    picture[waves > rng.uniform(0.62, 0.8)] += 55
    return picture


def lake(rng: Rng, height: int, width: int) -> np.ndarray:
    """Still water: pale, with a few long level reflections."""
    picture = _ramp(
        _colour(rng, (130, 195, 215), (110, 180, 205)), _colour(rng, (80, 160, 190), (95, 170, 180)), height, width
    )
    lines = noise(rng, height, width, max(2.0, height / 12), width / 1.5)
    return picture + 30 * np.clip(lines - 0.25, 0, 1)[..., None]


def grass(rng: Rng, height: int, width: int) -> np.ndarray:
    """Green, with upright blades."""
    picture = _ramp(
        _colour(rng, (120, 180, 70), (100, 170, 80), (140, 185, 80)),
        _colour(rng, (70, 145, 50), (60, 130, 55)),
        height,
        width,
    )
    blades = noise(rng, height, width, 7, 1.5) + 0.6 * fractal(rng, height, width, max(height, width) / 5)
    return picture + blades[..., None] * np.array([16, 24, 10], np.float32)


def sand(rng: Rng, height: int, width: int) -> np.ndarray:
    """Beige, grained, gently rippled."""
    picture = _ramp(
        _colour(rng, (240, 215, 160), (235, 205, 150)), _colour(rng, (225, 190, 130), (215, 180, 125)), height, width
    )
    ripples = noise(rng, height, width, max(3.0, height / 14), width / 4)
    return picture + 9 * ripples[..., None] + rng.normal(0, 7, (height, width, 1)).astype(np.float32)


def snow(rng: Rng, height: int, width: int) -> np.ndarray:
    """White with bluish hollows."""
    picture = _ramp(_colour(rng, (232, 240, 250), spread=4), _colour(rng, (245, 248, 252), spread=4), height, width)
    hollows = np.clip(fractal(rng, height, width, max(height, width) / 3), -1, 0)
    return picture + hollows[..., None] * np.array([42, 30, 14], np.float32)


def mountain(rng: Rng, height: int, width: int) -> np.ndarray:
    """Rock with slanting light and dark faces."""
    base = _colour(rng, (120, 115, 120), (110, 120, 140), (140, 120, 105), (95, 105, 120))
    slant = np.arange(width, dtype=np.float32)[None] + np.arange(height, dtype=np.float32)[:, None] * rng.choice(
        [-0.8, 0.8]
    )
    faces = np.sign(np.sin(slant * (6.28 / rng.uniform(18, 45)) + 2.5 * fractal(rng, height, width, width / 4)))
    picture = _ramp(base + 25, base - 10, height, width) + 13 * faces[..., None]
    return picture + 12 * fractal(rng, height, width, 14)[..., None]


def forest(rng: Rng, height: int, width: int) -> np.ndarray:
    """Rows of overlapping dark crowns, pointed or round."""
    dark = _colour(rng, (30, 80, 45), (25, 70, 50), (45, 90, 40), spread=7)
    picture = np.broadcast_to(dark * 0.7, (height, width, 3)).copy()
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pointed, step = rng.random() < 0.6, rng.uniform(9, 20)
    for row in np.arange(0.0, height + step, step * 0.8):
        phase = (x + rng.uniform(0, step)) / step
        across = np.abs(phase % 1 - 0.5) * 2  # 0 at a trunk, 1 between two
        jitter = np.sin(np.floor(phase) * 12.9898 + row) * 0.3 * step
        crown = across * 1.5 * step if pointed else (1 - np.sqrt(np.clip(1 - across**2, 0, 1))) * step
        inside = y >= row + jitter + crown - step
        shade = dark * (0.75 + 0.4 * np.cos(np.floor(phase) * 7.7 + row))[..., None].clip(0.6, 1.3)
        light = np.clip(1.15 - (y - row - jitter) / (2.5 * step), 0.6, 1.25)[..., None]
        picture = np.where(inside[..., None], shade * light, picture)
    return picture


def road(rng: Rng, height: int, width: int) -> np.ndarray:
    """Asphalt with a dashed line along it."""
    grey = rng.uniform(75, 120)
    picture = np.full((height, width, 3), grey, np.float32) + rng.normal(0, 5, (height, width, 1)).astype(np.float32)
    thick, period = max(2, height // 22), max(16, width // 6)
    line = slice(height // 2, height // 2 + thick)
    dashes = (np.arange(width) + rng.integers(period)) % period < period * 0.55
    picture[line, dashes] = rng.choice([235.0, 240.0]) if rng.random() < 0.6 else np.array([240, 205, 80], np.float32)
    picture[: max(1, thick // 2)] += 70  # kerb
    return picture


def brick_wall(rng: Rng, height: int, width: int) -> np.ndarray:
    """Courses of bricks in running bond."""
    tall = int(rng.integers(9, 17))
    wide = int(tall * rng.uniform(1.9, 2.6))
    base = _colour(rng, (180, 85, 65), (160, 75, 60), (200, 120, 85), (150, 95, 85))
    mortar = _colour(rng, (215, 205, 195), (190, 180, 170))
    y, x = np.mgrid[0:height, 0:width]
    course = y // tall
    shifted = x + (course % 2) * (wide // 2)
    tone = np.sin(course * 12.9898 + (shifted // wide) * 78.233) * 43758.5453
    picture = base * (0.88 + 0.24 * (tone - np.floor(tone)))[..., None]
    joint = max(1, tall // 7)
    return np.where(((y % tall < joint) | (shifted % wide < joint))[..., None], mortar, picture).astype(np.float32)


def wooden_floor(rng: Rng, height: int, width: int) -> np.ndarray:
    """Planks side by side, grain along them."""
    tall = int(rng.integers(12, 26))
    base = _colour(rng, (190, 135, 85), (165, 110, 65), (210, 165, 115), (140, 95, 60))
    y, x = np.mgrid[0:height, 0:width]
    plank = y // tall
    long = max(40, width // 2)
    shifted = x + (np.sin(plank * 91.7) * long).astype(int)
    tone = np.sin(plank * 37.7 + (shifted // long) * 17.3) * 0.09 + 1
    picture = base * tone[..., None] + 10 * noise(rng, height, width, 2, 40)[..., None]
    seam = (y % tall == 0) | (shifted % long < 1)
    return np.where(seam[..., None], base * 0.55, picture).astype(np.float32)


def field(rng: Rng, height: int, width: int) -> np.ndarray:
    """Furrows that run together at the horizon; earth, green or ripe."""
    light, dark = [
        (_colour(rng, (225, 190, 90)), _colour(rng, (190, 145, 60))),
        (_colour(rng, (160, 120, 80)), _colour(rng, (115, 80, 50))),
        (_colour(rng, (150, 180, 80)), _colour(rng, (130, 100, 60))),
    ][rng.integers(3)]
    depth = np.linspace(0.25, 1, height, dtype=np.float32)[:, None]
    across = (np.arange(width, dtype=np.float32)[None] - width * rng.uniform(0.1, 0.9)) / depth
    furrow = 0.5 + 0.5 * np.sin(across * (6.28 / rng.uniform(14, 26)) + 0.7 * noise(rng, height, width, 20, 60))
    return dark + (light - dark) * furrow[..., None] + 8 * noise(rng, height, width, 2, 2)[..., None]


def cloud(rng: Rng, height: int, width: int) -> np.ndarray:
    """White, greyer below."""
    picture = _ramp(
        _colour(rng, (252, 252, 255), spread=2), _colour(rng, (215, 222, 235), (235, 238, 245), spread=4), height, width
    )
    return picture + 6 * fractal(rng, height, width, max(height, width) / 3)[..., None]


def cloud_shape(rng: Rng, height: int, width: int) -> np.ndarray:
    """H x W bool: puffs on a flat base."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    shape = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(4, 8))):
        cx, r = rng.uniform(0.2, 0.8) * width, rng.uniform(0.16, 0.3) * width
        cy = height - r * rng.uniform(0.3, 0.75)
        shape |= ((x - cx) / r) ** 2 + ((y - cy) / min(r, height * 0.55)) ** 2 < 1
    return shape


PAINTERS: dict[str, Callable[[Rng, int, int], np.ndarray]] = {
    "sky": sky,
    "cloud": cloud,
    "sea": sea,
    "lake": lake,
    "grass": grass,
    "sand": sand,
    "snow": snow,
    "mountain": mountain,
    "forest": forest,
    "road": road,
    "brick wall": brick_wall,
    "wooden floor": wooden_floor,
    "field": field,
}
