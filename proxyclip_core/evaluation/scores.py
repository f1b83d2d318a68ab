"""Scores against ground truth: mIoU and the borders' F-score.

A label map is (H, W) of indices into a list of words; UNLABELLED pixels count for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from proxyclip_core.evaluation.scenes import UNLABELLED, LabelledPicture


def borders(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose left or upper neighbour has another label, both being known (H, W) bool."""
    found = np.zeros(labels.shape, dtype=bool)
    found[1:] |= (labels[1:] != labels[:-1]) & known[1:] & known[:-1]
    found[:, 1:] |= (labels[:, 1:] != labels[:, :-1]) & known[:, 1:] & known[:, :-1]
    return found


def border_f_score(predicted: np.ndarray, truth: np.ndarray, pixels: int = 2) -> float:
    """F-score, 0..1, of the borders of two label maps, matched within `pixels` in each direction.

    Borders of, and within, what is UNLABELLED in the truth do not count.
    """
    known = truth != UNLABELLED

    def widened(edges: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(edges)[None, None].float()
        return F.max_pool2d(planes, 2 * pixels + 1, stride=1, padding=pixels)[0, 0].numpy() > 0

    ours, theirs = borders(predicted, known), borders(truth, known)
    if not ours.any() and not theirs.any():
        return 1.0
    precision = (ours & widened(theirs)).sum() / max(ours.sum(), 1)
    recall = (theirs & widened(ours)).sum() / max(theirs.sum(), 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


@dataclass
class Score:
    """Gathers label maps, each with its own words, and scores them together.

    mIoU is over the classes that the truth holds anywhere, each pooled over all pictures; a distractor that is
    never true has no IoU of its own but costs the classes it is taken for.
    """

    overlap: Counter = field(default_factory=Counter)
    union: Counter = field(default_factory=Counter)
    true: set[str] = field(default_factory=set)
    border_scores: list[float] = field(default_factory=list)

    def add(self, predicted: np.ndarray, truth: LabelledPicture, words: tuple[str, ...] | None = None) -> None:
        """predicted (H, W) index into `words`, which begin with the truth's own words (None: are the truth's)."""
        known = truth.labels != UNLABELLED
        for index, word in enumerate(words or truth.words):
            ours, theirs = (predicted == index) & known, truth.labels == index
            if index >= len(truth.words):
                theirs = np.zeros_like(ours)
            elif theirs.any():
                self.true.add(word)
            self.overlap[word] += int((ours & theirs).sum())
            self.union[word] += int((ours | theirs).sum())
        self.border_scores.append(border_f_score(predicted, truth.labels))

    @property
    def miou(self) -> float:
        """In 0..1."""
        if not self.true:
            raise ValueError("There is nothing to score: no label map has been added, or none holds a class.")
        return float(np.mean([self.overlap[word] / self.union[word] for word in sorted(self.true)]))

    @property
    def border_f(self) -> float:
        """Mean over pictures, in 0..1."""
        return float(np.mean(self.border_scores))


def score_scenes(model, scenes: Iterable[LabelledPicture], *, fusion: str | None = None, **settings) -> Score:
    """Segments every scene and scores the result. settings: as for `score_rows`, with distractors one number."""
    distractors = settings.pop("distractors", 0)
    rows = score_rows(model, scenes, [fusion or model.fusion], [distractors], **settings)
    return rows[fusion or model.fusion, distractors]


def score_rows(
    model,
    scenes: Iterable[LabelledPicture],
    fusions: Sequence[str],
    distractors: Sequence[int] = (0,),
    *,
    beta: float = 1.2,
    gamma: float = 3.0,
    side: int | None = 336,
    windows: str = "sliding",
    templates: str | None = None,
    seed: int = 0,
    words_of: Iterable[LabelledPicture] = (),
) -> dict[tuple[str, int], Score]:
    """Scores by (fusion, number of distractors); each scene is encoded once for all of them.

    model: a ProxyCLIP. distractors: how many words of other scenes, drawn at random, each scene gets on top of its own;
    words_of: more scenes to take them from. Raises ValueError where these have not so many words.
    """
    scenes = list(scenes)
    everything = sorted({word for scene in (*scenes, *words_of) for word in scene.words})
    scores = {(fusion, count): Score() for fusion in fusions for count in distractors}
    for number, scene in enumerate(scenes):
        others = [word for word in everything if word not in scene.words]
        if len(others) < max(distractors):
            raise ValueError(f"{scene.name}: other scenes have {len(others)} words, not {max(distractors)}.")
        drawn = [others[index] for index in np.random.default_rng([seed, number]).permutation(len(others))]
        features = model.encode(scene.picture, side, windows)
        for fusion in fusions:
            dense = model.fuse(features, beta, gamma, fusion)
            for count in distractors:
                words = (*scene.words, *drawn[:count])
                vocabulary = model.embed([[word] for word in words], templates=templates)
                result = model.classify(dense, vocabulary).segment()
                scores[fusion, count].add(result.labels, scene, words)
    return scores
