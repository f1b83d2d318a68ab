"""A scene while it is painted: pictures, labels and regions grow together, back to front."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from assets.builtin.recipe.drawings import Drawing, Thing
from assets.builtin.recipe.stuff import PAINTERS, STUFF, noise
from assets.builtin.recipe.stuff import sky as paint_sky
from proxyclip_core.evaluation import UNLABELLED, LabelledPicture

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Scene(LabelledPicture):
    """A drawn picture with its ground truth; unlabelled is where too little of something shows.

    regions: (H, W) uint16, one number for each thing and each patch of stuff, without any name.
    """

    regions: np.ndarray


class Bank:
    """Drawings to choose from, by thing and by where they are placed."""

    def __init__(self, drawings: list[Drawing], things: list[Thing]) -> None:
        self.things = {thing.name: thing for thing in things}
        self.looks: dict[str, list[np.ndarray]] = defaultdict(list)
        for drawing in drawings:
            self.looks[drawing.thing].append(drawing.rgba)
        self.by_place: dict[str, list[str]] = defaultdict(list)
        for name in self.looks:
            self.by_place[self.things[name].place].append(name)
            self.by_place["any"].append(name)

    def pick(self, rng: Rng, place: str) -> str:
        names = self.by_place[place] or self.by_place["any"]
        return names[rng.integers(len(names))]

    def look(self, rng: Rng, name: str) -> np.ndarray:
        looks = self.looks[name]
        return looks[rng.integers(len(looks))]


class Canvas:
    """A scene while it is painted, back to front."""

    def __init__(self, rng: Rng, height: int, width: int) -> None:
        self.rng, self.height, self.width = rng, height, width
        self.picture = np.full((height, width, 3), 128, np.float32)
        self.names = np.full((height, width), UNLABELLED, np.uint8)
        self.regions = np.zeros((height, width), np.uint16)
        self.words: list[str] = []
        self.count = 0
        self.areas: dict[int, int] = {}  # region -> pixels of a thing when it was placed
        self.patches: dict[str, int] = {}  # stuff -> region: all sky is one region, each dog its own

    def _mark(self, word: str, box: tuple[slice, slice], mask: np.ndarray) -> None:
        if word not in self.words:
            self.words.append(word)
        self.names[box][mask] = self.words.index(word)
        if word not in self.patches:
            self.count += 1
        if word in STUFF:
            self.patches.setdefault(word, self.count)
        self.regions[box][mask] = self.patches.get(word, self.count)

    def stuff(self, name: str, mask: np.ndarray, **options: str) -> None:
        """Paint one stuff where mask (H x W bool) holds; its texture spans the mask's box."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows) < 4 or len(columns) < 4:
            return
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        inside = mask[box]
        painter = paint_sky if name == "sky" else PAINTERS[name]
        self.picture[box][inside] = painter(self.rng, *inside.shape, **options)[inside]
        self._mark(name, box, inside)

    def below(self, y: float, roughness: float = 0.0, cell: float = 0.4) -> np.ndarray:
        """H x W bool: under a horizon at y, which may roll (roughness and cell in shares of the picture)."""
        line = y + roughness * self.height * noise(self.rng, 1, self.width, 1, cell * self.width)[0]
        return np.arange(self.height)[:, None] >= line[None]

    def thing(
        self, name: str, rgba: np.ndarray, foot_xy: tuple[float, float], share: float, shadow: bool = False
    ) -> bool:
        """Set a drawing down: foot_xy is where its lower middle stands, `share` its longer side in picture heights.

        Returns False, and paints nothing, where it would hide too much of another thing or leave the picture.
        """
        scale = share * self.height / max(rgba.shape[:2])
        height, width = (max(6, round(side * scale)) for side in rgba.shape[:2])
        left, top = round(foot_xy[0] - width / 2), round(foot_xy[1] - height)
        y0, y1, x0, x1 = max(top, 0), min(top + height, self.height), max(left, 0), min(left + width, self.width)
        if (y1 - y0) * (x1 - x0) < 0.55 * height * width:
            return False
        small = (
            Image.fromarray(rgba).convert("RGBa").resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        )
        part = np.asarray(small)[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
        box, alpha = (slice(y0, y1), slice(x0, x1)), part[..., 3:] / 255
        mask = alpha[..., 0] > 0.5
        if self._hides_too_much(box, mask):
            return False
        if shadow:
            self._shadow(foot_xy, width)
        self.picture[box] = part[..., :3] + self.picture[box] * (1 - alpha)
        self._mark(name, box, mask)
        self.areas[self.count] = int(mask.sum())
        return True

    def _hides_too_much(self, box: tuple[slice, slice], mask: np.ndarray) -> bool:
        under = self.regions[box][mask]
        for region, area in self.areas.items():
            if (under == region).any():
                left = int((self.regions == region).sum()) - int((under == region).sum())
                if left < 0.6 * area:
                    return True
        return False

    def _shadow(self, foot_xy: tuple[float, float], width: int) -> None:
        rx, ry = width * 0.45, max(1.5, width * 0.09)
        y0, y1 = int(max(0, foot_xy[1] - ry)), int(min(self.height, foot_xy[1] + ry + 1))
        x0, x1 = int(max(0, foot_xy[0] - rx)), int(min(self.width, foot_xy[0] + rx + 1))
        if y1 <= y0 or x1 <= x0:
            return
        y, x = np.mgrid[y0:y1, x0:x1]
        inside = np.clip(1.3 - ((x - foot_xy[0]) / rx) ** 2 - ((y - foot_xy[1]) / ry) ** 2, 0, 1)
        self.picture[y0:y1, x0:x1] *= (1 - 0.35 * inside)[..., None]

    def finish(self, light: float, name: str) -> Scene:
        """Light, blur and noise; words and labels of what is large enough to be seen."""
        rng = self.rng
        lit = self.picture * (1 + light * rng.normal(0, 0.12, 3)) * (1 + light * rng.normal(0, 0.15))
        lit = lit + light * rng.normal(0, 12)
        final = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
        if rng.random() < 0.5 * light:
            final = final.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
        picture = np.asarray(final)
        if rng.random() < 0.6 * light:
            grain = rng.normal(0, rng.uniform(1, 7) * light, (self.height, self.width, 1))
            picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
        counts = np.bincount(self.names[self.names != UNLABELLED], minlength=len(self.words))
        kept = np.flatnonzero(counts >= 0.0012 * self.height * self.width)
        lookup = np.full(UNLABELLED + 1, UNLABELLED, np.uint8)
        lookup[kept] = np.arange(len(kept))
        return Scene(name, picture, lookup[self.names], tuple(self.words[i] for i in kept), self.regions)
