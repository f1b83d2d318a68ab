"""How well it is known which words are in a picture at all: `presence` against words that are not there, `words_in`
against the words of the scene."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from proxyclip_core.evaluation.scenes import LabelledPicture
from proxyclip_core.presence import PERHAPS_ABSENT, TEMPLATES
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.types import DenseFeatures
from proxyclip_core.words import Classes


def roc_auc(higher: Collection[float], lower: Collection[float]) -> float:
    """The area under the ROC curve, 0..1: how often a value of the one is above a value of the other, equals half."""
    ordered = np.sort(np.asarray(list(lower), dtype=np.float64))
    values = np.asarray(list(higher), dtype=np.float64)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return float(below.mean() / 2 / len(ordered))


@dataclass
class WordScore:
    """Gathers scenes. present, absent: the presence of the scenes' own words, and of others.

    proposed, right, true: how many words were found in all scenes, how many of these rightly, how many there are.
    """

    present: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)
    proposed: int = 0
    right: int = 0
    true: int = 0

    def add(
        self, model: ProxyCLIP, dense: DenseFeatures, scene: LabelledPicture, others: Classes, candidates: Classes
    ) -> None:
        """others: classes that are not in the scene. candidates: all that words are to be found among, its own too."""
        vocabulary = model.embed((*scene.classes, *others), templates=TEMPLATES)
        values = list(model.presence(dense, vocabulary).values())
        self.present += values[: len(scene.classes)]
        self.absent += values[len(scene.classes) :]
        own = {word.casefold() for group in scene.classes for word in group}
        found = model.words_in(dense, model.embed(candidates, templates=TEMPLATES))
        self.proposed += len(found)
        self.right += sum(not own.isdisjoint(word.casefold() for word in group) for group in found)
        self.true += len(scene.classes)

    def join(self, other: WordScore) -> None:
        """Adds what another has gathered of other scenes."""
        self.present += other.present
        self.absent += other.absent
        self.proposed, self.right = self.proposed + other.proposed, self.right + other.right
        self.true += other.true

    @property
    def auc(self) -> float | None:
        """How well presence tells present from absent words, of all scenes together, 0..1; None without the latter."""
        return roc_auc(self.present, self.absent) if self.absent else None

    @property
    def unmarked(self) -> float:
        """Share of the present words that are not marked as perhaps absent."""
        return float(np.mean(np.asarray(self.present) >= PERHAPS_ABSENT))

    @property
    def marked(self) -> float | None:
        """Share of the absent words that are marked; None without any."""
        return float(np.mean(np.asarray(self.absent) < PERHAPS_ABSENT)) if self.absent else None

    @property
    def precision(self) -> float:
        """Share of the words found that are the scene's, 0..1."""
        return self.right / max(self.proposed, 1)

    @property
    def recall(self) -> float:
        """Share of the scenes' words that were found, 0..1."""
        return self.right / self.true

    def as_json(self) -> dict[str, float | None]:
        names = ("auc", "unmarked", "marked", "precision", "recall")
        return {f"words {name}": getattr(self, name) for name in names}
