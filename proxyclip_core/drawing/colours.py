"""The colours of classes: the same for a word as long as that can be, and told apart by every sight.

Axes: K classes, M colours to choose from, H x W pixels. Colours are (K, 3) uint8 RGB in the order of the class names.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from proxyclip_core.drawing.natural_colours import NATURAL, natural_colour
from proxyclip_core.drawing.overlay import labels_at, size_within
from proxyclip_core.drawing.patterns import PATTERNS
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
OTHER_PATTERN = 3  # what differs in its pattern too needs so many times less of a difference in colour
NATURAL_FIRST = 8  # a natural colour gives way to another class only where that is so many times as large

Settled: TypeAlias = Mapping[int, tuple[np.ndarray, int]]  # class -> (3,) RGB in 0..255, and its pattern


def colours_of(result: Segmentation, settled: Settled | None = None) -> np.ndarray:
    """(K, 3) uint8: the colours of `shades_of`."""
    return shades_of(result, settled)[0]


def shades_of(result: Segmentation, settled: Settled | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(K, 3) uint8: the colours of a result's classes wherever they are shown: overlay, legend, label map; and (K,)
    uint8: their patterns, 0 for none (see `patterns`).

    A word's own colour is its natural one, or follows from its spelling. Of two classes in the picture that somebody
    would mix up, the smaller one steps aside, to the free colour nearest to its own; so a class that appears leaves the
    larger ones as they are (a natural colour counts as if its regions were larger). Where no colour is free, from some
    twenty classes on, it is hatched, and colours can come again; so 171 are told apart. Regions that touch
    differ most. Classes that were not found have their own colour. With a background, class 0 is grey.

    settled: class -> what it keeps, such as what it has in another result.
    """
    pool = _pool()
    given = {**({0: (BACKGROUND, 0)} if result.has_background else {}), **(settled or {})}
    chosen, patterns = np.array([pool.own(name) for name in result.names]), np.zeros(len(result.names), np.uint8)
    for index, (colour, pattern) in given.items():
        chosen[index], patterns[index] = pool.nearest(colour), pattern
    neighbours = _neighbours(result.labels)
    placed: set[int] = set()
    room_for_all = np.full((PATTERNS, len(pool.colours)), np.inf)  # how clearly each differs from those of its pattern
    for index in _order(result, given):
        room = room_for_all.copy()
        for beside in neighbours.get(index, set()) & placed:
            at = patterns[beside]
            room[at] = np.minimum(room[at], pool.clearness[chosen[beside]] / BESIDE)
        if index not in given:
            chosen[index], patterns[index] = pool.place_for(chosen[index], room)
        at = patterns[index]
        room_for_all[at] = np.minimum(room_for_all[at], pool.clearness[chosen[index]])
        placed.add(index)
    colours = pool.colours[chosen]
    for index, (colour, _) in given.items():
        colours[index] = colour
    return colours, patterns


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

    def place_for(self, own: int, room: np.ndarray) -> tuple[int, int]:
        """The colour and the pattern of a word: its own, plain, where that is free.

        room: (PATTERNS, M), how clearly each colour differs from those that have the pattern. Else it is the nearest
        to the word's own, where another lightness counts for less than another hue, in the first pattern that has a
        free one. Where colours are used up in all, it is what differs most from them, in a pattern where it is free.
        """
        among_all = OTHER_PATTERN * room.min(axis=0)
        free = np.minimum(room, among_all) >= 1
        if free[0, own]:
            return own, 0
        if free.any():
            pattern = int(free.any(axis=1).argmax())
            far = np.linalg.norm((self.lab - self.lab[own]) * (0.45, 1, 1), axis=1)
            return int(np.where(free[pattern], far, np.inf).argmin()), pattern
        told_apart = room >= 1
        best = np.where(told_apart, among_all, 0) if told_apart.any() else room
        pattern, place = (int(found) for found in np.unravel_index(best.argmax(), room.shape))
        return place, pattern


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


def hex_colour(colour: np.ndarray) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(channel) for channel in colour))
