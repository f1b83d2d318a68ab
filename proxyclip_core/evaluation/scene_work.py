"""Scenes one by one, so that several processes can share them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyclip_core.evaluation.scenes import LabelledPicture, read_scenes
from proxyclip_core.evaluation.scores import Score, Way, classes_of, score_rows
from proxyclip_core.evaluation.words_present import WordScore
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.types import DenseFeatures
from proxyclip_core.words import Classes


@dataclass(frozen=True)
class Part:
    """What one scene adds. place: of the scene. scores: by way and number of distractors; words: by fusion."""

    place: int
    scores: Mapping[tuple[Way, int], Score]
    words: Mapping[Way, WordScore]


@dataclass(frozen=True)
class SceneJob:
    """All that a process needs to know to take part. load: gives its model. index: the file that lists the scenes.
    ways, others, settings: of `score_rows`, which scores without and with as many distractors."""

    load: Callable[[], ProxyCLIP]
    index: Path
    ways: tuple[Way, ...]
    others: int
    settings: Mapping[str, Any]

    def __call__(self) -> SceneWork:
        return SceneWork(self, self.load(), list(read_scenes(self.index)))


class SceneWork:
    """Scores scenes that are called by their places; see `folders.Work`."""

    def __init__(self, job: SceneJob, model: ProxyCLIP, scenes: Sequence[LabelledPicture]) -> None:
        self.job, self.model, self.scenes, self.device = job, model, scenes, model.device
        self.known = classes_of(scenes)

    def __call__(self, places: Sequence[int]) -> list[Part]:
        return [self._scored(place) for place in places]

    def _scored(self, place: int) -> Part:
        job = self.job
        words: dict[Way, WordScore] = {way: WordScore() for way in job.ways if isinstance(way, str)}

        def each(fusion: str, scene: LabelledPicture, dense: DenseFeatures, drawn: Classes) -> None:
            words[fusion].add(self.model, dense, scene, drawn[: job.others], self.known)

        more: dict[str, Any] = {**job.settings, "words_of": self.scenes, "first": place, "each": each}
        return Part(place, score_rows(self.model, [self.scenes[place]], job.ways, (0, job.others), **more), words)


def joined(parts: Iterable[Part]) -> tuple[dict[tuple[Way, int], Score], dict[Way, WordScore]]:
    """The scores of all scenes together, in the order of the scenes."""
    scores: dict[tuple[Way, int], Score] = {}
    words: dict[Way, WordScore] = {}
    for part in sorted(parts, key=lambda part: part.place):
        for key, score in part.scores.items():
            scores.setdefault(key, Score()).join(score)
        for way, found in part.words.items():
            words.setdefault(way, WordScore()).join(found)
    return scores, words
