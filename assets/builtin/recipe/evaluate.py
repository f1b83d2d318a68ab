"""Score the built-in pair on EmojiScenes: mIoU, borders, close-ups. Everything follows from a seed."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from drawings import Drawing, load_drawings, load_things
from method import Reading, Towers, logits_of
from PIL import Image, ImageFilter
from pools import TRAIN_STYLES
from scenes import KINDS, UNLABELLED, Bank, Scene, make_scene
from stuff import STUFF

SPLIT_STYLES = {"test-near": ["twemoji"], "test-far": ["openmoji"]}
SEEDS = {"val": 11, "test-near": 23, "test-far": 37}
SIZES = ((320, 320), (320, 448), (320, 384))


def split_bank(work: Path, split: str, size: int = 160) -> Bank:
    """The drawings of a split: val takes the held-out drawings of the seen styles."""
    drawings: list[Drawing] = load_drawings(work, SPLIT_STYLES.get(split, TRAIN_STYLES), size)
    if split == "val":
        drawings = [drawing for drawing in drawings if drawing.held_out]
    return Bank(drawings, load_things())


def split_scenes(bank: Bank, split: str, count: int) -> list[Scene]:
    """The first `count` scenes of a split."""
    scenes = []
    for i in range(count):
        rng = np.random.default_rng([SEEDS[split], i])
        scenes.append(make_scene(rng, bank, SIZES[rng.integers(len(SIZES))], KINDS[i % len(KINDS)], light=0.4))
    return scenes


def distractors(scene: Scene, index: int, count: int) -> list[str]:
    """The scene's words and `count` others that are not in it."""
    rng = np.random.default_rng([99, index])
    others = [name for name in [*(t.name for t in load_things()), *STUFF] if name not in scene.words]
    return scene.words + [others[i] for i in rng.choice(len(others), count, replace=False)]


def _near(edges: np.ndarray, pixels: int) -> np.ndarray:
    return np.asarray(Image.fromarray(edges.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(2 * pixels + 1))) > 0


def _edges(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    edges = np.zeros(labels.shape, bool)
    edges[1:] |= (labels[1:] != labels[:-1]) & known[1:] & known[:-1]
    edges[:, 1:] |= (labels[:, 1:] != labels[:, :-1]) & known[:, 1:] & known[:, :-1]
    return edges


def boundary_f(predicted: np.ndarray, truth: np.ndarray, pixels: int = 2) -> float:
    """F-score of the borders, matched within a few pixels; those of unlabelled parts do not count."""
    known = truth != UNLABELLED
    ours, theirs = _edges(predicted, known), _edges(truth, known)
    precision = (ours & _near(theirs, pixels)).sum() / max(ours.sum(), 1)
    recall = (theirs & _near(ours, pixels)).sum() / max(theirs.sum(), 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


class Score:
    """Gathers scenes; mIoU both ways: by class over all scenes, and by scene."""

    def __init__(self) -> None:
        self.overlap, self.union = defaultdict(int), defaultdict(int)
        self.by_scene: list[float] = []
        self.borders: list[float] = []

    def add(self, predicted: np.ndarray, scene: Scene, words: list[str]) -> None:
        known = scene.labels != UNLABELLED
        ious = []
        for k, word in enumerate(words):
            ours, theirs = (predicted == k) & known, scene.labels == k
            overlap, union = int((ours & theirs).sum()), int((ours | theirs).sum())
            self.overlap[word] += overlap
            self.union[word] += union
            if k < len(scene.words):
                ious.append(overlap / max(union, 1))
        self.by_scene.append(float(np.mean(ious)))
        self.borders.append(boundary_f(predicted, scene.labels))

    def result(self, classes: set[str]) -> dict[str, float]:
        """Percent; classes: those that the truth holds, a distractor has no IoU of its own."""
        by_class = [self.overlap[word] / self.union[word] for word in classes if self.union[word]]
        things = [self.overlap[word] / self.union[word] for word in classes if self.union[word] and word not in STUFF]
        figures = {"miou": np.mean(by_class), "miou_things": np.mean(things), "miou_by_scene": np.mean(self.by_scene)}
        figures["boundary_f"] = np.mean(self.borders)
        return {name: round(100 * float(value), 1) for name, value in figures.items()}


def score_scenes(
    towers: Towers, scenes: list[Scene], how: str, reading: Reading, others: int = 40
) -> tuple[dict[str, float], dict[str, float]]:
    """-> two rows of the table: with the scene's own words, and with `others` distractor words on top of them."""
    alone, among = Score(), Score()
    for i, scene in enumerate(scenes):
        words = distractors(scene, i, others)
        logits = logits_of(towers, scene.picture, words, how, reading)
        alone.add(logits[: len(scene.words)].argmax(0).numpy(), scene, scene.words)
        among.add(logits.argmax(0).numpy(), scene, words)
    true = {word for scene in scenes for word in scene.words}
    return alone.result(true), among.result(true)


def score_close_ups(towers: Towers, bank: Bank, split: str, count: int = 500, side: int = 224) -> float:
    """Top-1 of five words on single close-ups, percent."""
    right, names = 0, list(bank.looks)
    for i in range(count):
        rng = np.random.default_rng([SEEDS[split], 7, i])
        only = Bank([], list(bank.things.values()))
        name = names[rng.integers(len(names))]
        only.looks, only.by_place = {name: bank.looks[name]}, defaultdict(list, {"any": [name]})
        scene = make_scene(rng, only, (side, side), "close-up", light=0.4)
        picture = torch.tensor(scene.picture).permute(2, 0, 1)[None].float() / 255
        wrong = [n for n in names if n != name]
        words = [name] + [wrong[k] for k in rng.choice(len(wrong), 4, replace=False)]
        right += int((towers.whole(picture) @ towers.say(words).T).argmax()) == 0
    return round(100 * right / count, 1)


def table(folder: Path, work: Path, count: int, reading: Reading, splits: tuple[str, ...]) -> dict[str, dict]:
    """Every figure of the model card for the weights in `folder`."""
    towers = Towers.read(folder)
    found: dict[str, dict] = {}
    for split in splits:
        bank = split_bank(work, split)
        scenes = split_scenes(bank, split, count)
        rows = {}
        for how in ("clip", "values", *towers.vfms):
            rows[how], rows[f"{how} + 40 others"] = score_scenes(towers, scenes, how, reading)
            print(split, how, rows[how], flush=True)
        found[split] = {"scenes": rows, "close-ups, 1 of 5": score_close_ups(towers, bank, split)}
    return found
