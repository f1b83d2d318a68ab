"""Pools of scenes for training: painted ahead by all cores, drawn from with random crops, zoom, mirror and colour."""

from __future__ import annotations

import os
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from assets.builtin.recipe.canvas import Bank
from assets.builtin.recipe.drawings import STYLES, Drawing, Thing, load_drawings, load_things
from assets.builtin.recipe.scenes import make_scene
from assets.builtin.recipe.stuff import STUFF
from assets.builtin.recipe.stylise import colour_in, palette, variants
from proxyclip_core.evaluation import UNLABELLED

Workers = get_context("fork").Pool  # forked, they share the drawings
TRAIN_STYLES = [name for name, style in STYLES.items() if style.split == "train" and not style.bare]
UNNAMED = 65535  # where no class number is
BARE_STYLES = [name for name, style in STYLES.items() if style.bare]


def class_words(things: list[Thing]) -> dict[str, tuple[str, ...]]:
    """Every class of EmojiScenes, things then stuff, with all its words."""
    return {thing.name: thing.words for thing in things} | STUFF


def _vary(job: tuple[Drawing, np.ndarray | None, int]) -> list[Drawing]:
    """A drawing, the look that lends a bare one its colours, a seed -> the drawing and its variants."""
    drawing, lender, seed = job
    rng = np.random.default_rng(seed)
    first = drawing.rgba if lender is None else colour_in(drawing.rgba, palette(lender, rng), rng)
    return [Drawing(drawing.thing, drawing.style, drawing.label, look) for look in (first, *variants(first, rng))]


def training_bank(work: Path, seed: int) -> Bank:
    """The seen styles less the held-out drawings, and the bare ones coloured in; each with three variants."""
    drawings = [drawing for drawing in load_drawings(work, TRAIN_STYLES) if not drawing.held_out]
    coloured, rng = Bank(drawings, load_things()), np.random.default_rng(seed)
    jobs: list[tuple[Drawing, np.ndarray | None]] = [(drawing, None) for drawing in drawings]
    for drawing in load_drawings(work, BARE_STYLES):
        if drawing.thing in coloured.looks and not (STYLES[drawing.style].kin and drawing.held_out):
            jobs.append((drawing, coloured.look(rng, drawing.thing)))
    with Workers() as workers:
        varied = workers.map(_vary, [(*job, seed + i) for i, job in enumerate(jobs)], chunksize=32)
    return Bank([drawing for group in varied for drawing in group], load_things())


_BANK: Bank  # set before the workers fork: they share its memory


def _paint(job: tuple[int, int, str | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> picture, labels as class numbers, regions."""
    seed, side, kind = job
    scene = make_scene(np.random.default_rng(seed), _BANK, (side, side), kind, light=1.0)
    number = {name: i for i, name in enumerate([*_BANK.things, *STUFF])}
    lookup = np.full(UNLABELLED + 1, UNNAMED, np.uint16)
    lookup[: len(scene.words)] = [number[name] for name in scene.names]
    return scene.picture, lookup[scene.labels], scene.regions.astype(np.uint8)


@dataclass
class Batch:
    """What one training step sees."""

    pictures: Tensor  # B x 3 x S x S, 0..1
    present: Tensor  # C x K bool: the classes that each caption names; a caption each, or one for each cell of each
    plain: Tensor  # C bool: has a part that no word names
    regions: Tensor  # B x S x S uint8: numbers without names (empty for close-ups)


class ScenePool:
    """`count` scenes of side x side pixels; `renew` paints them anew."""

    def __init__(self, bank: Bank, count: int, side: int, kind: str | None, seed: int) -> None:
        self.bank, self.count, self.side, self.kind, self.seed = bank, count, side, kind, seed
        self.classes = len(bank.things) + len(STUFF)
        self.rounds = 0
        self.pictures = np.zeros((count, side, side, 3), np.uint8)
        self.labels = np.zeros((count, side, side), np.uint16)
        self.regions = np.zeros((count, side, side), np.uint8)

    def renew(self, share: float = 1.0) -> None:
        """Paint a share of the pool anew, a different part each time."""
        global _BANK
        _BANK = self.bank
        fresh = int(self.count * share)
        slots = (np.arange(fresh) + self.rounds * fresh) % self.count
        first = self.seed * 1_000_003 + self.rounds * self.count
        with Workers(os.cpu_count()) as workers:
            jobs = [(first + i, self.side, self.kind) for i in range(fresh)]
            for slot, painted in zip(slots, workers.imap(_paint, jobs, chunksize=16), strict=True):
                self.pictures[slot], self.labels[slot], self.regions[slot] = painted
        self.rounds += 1

    def draw(
        self, rng: np.random.Generator, batch: int, window: int, zoom: tuple[float, float], across: int = 1
    ) -> Batch:
        """Random windows; zoom is how many window pixels one scene pixel becomes, at random between the two.

        across: a caption for each of across x across cells of a window, row by row.
        """
        pictures = torch.empty(batch, 3, window, window)
        regions = torch.empty(batch, window, window, dtype=torch.uint8)
        present = torch.zeros(batch, across**2, self.classes, dtype=torch.bool)
        plain = torch.zeros(batch, across**2, dtype=torch.bool)
        for i, which in enumerate(rng.integers(0, self.count, batch)):
            cut = min(self.side, round(window / rng.uniform(*zoom)))
            y, x = rng.integers(0, self.side - cut + 1, 2)
            box = (which, slice(y, y + cut), slice(x, x + cut))
            mirror = slice(None, None, -1 if rng.random() < 0.5 else 1)
            picture = torch.from_numpy(self.pictures[box][:, mirror].copy()).permute(2, 0, 1)[None].float() / 255
            pictures[i] = F.interpolate(picture, (window, window), mode="bilinear", antialias=True)[0]
            region = torch.from_numpy(self.regions[box][:, mirror].copy())[None, None]
            regions[i] = F.interpolate(region, (window, window), mode="nearest")[0, 0]
            labels = self.labels[box][:, mirror]
            rows = (cell for row in np.array_split(labels, across) for cell in np.array_split(row, across, axis=1))
            for j, cell in enumerate(rows):
                seen, counts = np.unique(cell, return_counts=True)
                named = seen[(seen != UNNAMED) & (counts > 0.004 * across**0.5 * cell.size)]
                present[i, j, torch.from_numpy(named.astype(np.int64))] = True
                plain[i, j] = bool(counts[seen == UNNAMED].sum() > 0.1 * cell.size)
        tint = 1 + 0.1 * torch.from_numpy(rng.standard_normal((batch, 3, 1, 1))).float()
        tone = 0.06 * torch.from_numpy(rng.standard_normal((batch, 1, 1, 1))).float()
        pictures = (pictures * tint + tone).clamp_(0, 1)
        return Batch(pictures, present.flatten(0, 1), plain.flatten(), regions)
