"""The colours of classes: the same for a word as long as that can be, and told apart by every sight.

Axes: K classes, M colours to choose from, H x W pixels. Colours are (K, 3) uint8 RGB in the order of the class names.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from functools import lru_cache

import numpy as np

from proxyclip_core.drawing.natural_colours import NATURAL, natural_colour
from proxyclip_core.drawing.overlay import labels_at, size_within
from proxyclip_core.drawing.sight import clearness, from_oklab, linear, oklab
from proxyclip_core.segmentation import Segmentation

BACKGROUND = np.array([0x80, 0x80, 0x80], dtype=np.uint8)
# For words without a natural colour, by their spelling: mostly hues that nature's large regions do not have.
TONES = (
    *("#ad215f", "#8ce5d3", "#cd4805", "#6967e1", "#cfa508", "#d75eb4", "#24c1c9", "#8d1828", "#ba93fb"),
    *("#f8495a", "#4f3797", "#d7d958", "#9a42ae", "#f99c7c", "#2833bd", "#c671fe", "#cf8792", "#6f287e"),
)
BESIDE = 1.4  # regions that touch differ this many times as much as others
COARSE, TOUCH = 192, 3  # longer side on which regions are looked at; steps along a common border from which they touch
NATURAL_FIRST = 8  # a natural colour gives way to another class only where that is so many times as large


def colours_of(result: Segmentation, settled: Mapping[int, np.ndarray] | None = None) -> np.ndarray:
    """(K, 3) uint8: the colours of a result's classes wherever they are shown: overlay, legend, label map.

    A word's own colour is its natural one, or follows from its spelling. Of two classes in the picture that somebody
    would mix up, the smaller one steps aside, to the free colour nearest to its own; so a class that appears leaves the
    larger ones as they are (a natural colour counts as if its regions were larger). Regions that touch differ most.
    Classes that were not found have their own colour. With a background, class 0 is grey.

    settled: class -> (3,) RGB, 0..255, for classes that keep a colour, such as the one they have in another result.
    """
    pool = _pool()
    given = {**({0: BACKGROUND} if result.has_background else {}), **(settled or {})}
    chosen = np.array([pool.own(name) for name in result.names])
    for index, colour in given.items():
        chosen[index] = pool.nearest(colour)
    neighbours = _neighbours(result.labels)
    placed: set[int] = set()
    room_for_all = np.full(len(pool.colours), np.inf)  # (M,): how clearly a colour differs from those in the picture
    for index in _order(result, given):
        beside = chosen[list(neighbours.get(index, set()) & placed)]
        room = np.minimum(room_for_all, pool.clearness[beside].min(axis=0, initial=np.inf) / BESIDE)
        if room[chosen[index]] < 1 and index not in given:
            free = room >= 1
            chosen[index] = np.where(free, pool.steps(chosen[index]), np.inf).argmin() if free.any() else room.argmax()
        np.minimum(room_for_all, pool.clearness[chosen[index]], out=room_for_all)
        placed.add(index)
    colours = pool.colours[chosen]
    for index, colour in given.items():
        colours[index] = colour
    return colours


def _order(result: Segmentation, given: Collection[int]) -> list[int]:
    """The classes that were found, those first that do not step aside for the ones after them."""
    weights = result.areas * [NATURAL_FIRST if natural_colour(name) else 1 for name in result.names]
    weights[list(given)] += weights.max()
    found = np.flatnonzero(result.areas)
    return found[np.argsort(-weights[found], kind="stable")].tolist()


class _Pool:
    """All colours to choose from: those of words, and a grid of lightness, chroma and hue for those that step aside."""

    def __init__(self) -> None:
        grid = [
            (light, chroma * np.cos(hue), chroma * np.sin(hue))
            for light in np.arange(0.34, 0.97, 0.08)
            for chroma in (0.0, 0.05, 0.10, 0.15, 0.20)
            for hue in np.radians(np.arange(0, 360 if chroma else 15, 15))
        ]
        colours, can_be_shown = from_oklab(np.array(grid))
        codes = dict.fromkeys([*TONES, *NATURAL, hex_colour(BACKGROUND), *map(hex_colour, colours[can_be_shown])])
        self.place = {code: place for place, code in enumerate(codes)}
        self.colours = np.array([list(bytes.fromhex(code[1:])) for code in self.place], dtype=np.uint8)  # (M, 3)
        self.lab = oklab(linear(self.colours))
        self.clearness = clearness(self.colours)

    def own(self, name: str) -> int:
        """The place of the colour that a word has where nothing is in its way."""
        return self.place[natural_colour(name) or TONES[zlib.crc32(name.casefold().encode()) % len(TONES)]]

    def nearest(self, colour: np.ndarray) -> int:
        """The place of the colour that is most like an RGB colour."""
        return int(np.linalg.norm(self.lab - oklab(linear(colour)), axis=1).argmin())

    def steps(self, own: int) -> np.ndarray:
        """(M,): how far each colour is from a word's own, where another lightness counts for less than another hue."""
        return np.linalg.norm((self.lab - self.lab[own]) * (0.45, 1, 1), axis=1)


@lru_cache(maxsize=1)
def _pool() -> _Pool:
    return _Pool()


def _neighbours(labels: np.ndarray) -> dict[int, set[int]]:
    """Class -> the classes that its regions touch."""
    coarse = labels_at(labels, size_within(labels.shape, most=COARSE)).astype(np.int64)
    beside = [(coarse[1:], coarse[:-1]), (coarse[:, 1:], coarse[:, :-1])]
    codes = [np.minimum(one, other)[one != other] << 16 | np.maximum(one, other)[one != other] for one, other in beside]
    pairs, steps = np.unique(np.concatenate(codes), return_counts=True)
    found: dict[int, set[int]] = {}
    for pair in pairs[steps >= TOUCH].tolist():
        one, other = divmod(pair, 1 << 16)
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return found


def text_on(colour: np.ndarray) -> str:
    """'#000000' or '#ffffff', whichever reads better on the colour (WCAG contrast)."""
    luminance = float(linear(colour) @ (0.2126, 0.7152, 0.0722))
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"


def hex_colour(colour: np.ndarray) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(channel) for channel in colour))
