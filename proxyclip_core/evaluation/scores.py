"""Scores against ground truth: mIoU and the borders' F-score.

A label map is (H, W) of indices into a list of classes; pixels that name none (`is_labelled`) count for nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from proxyclip_core.evaluation.scenes import LabelledPicture, is_labelled
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.settings import check_threshold, default
from proxyclip_core.types import DenseFeatures
from proxyclip_core.words import BACKGROUND_NAME, Classes

Way = str | tuple[str, str]  # a fusion, or a fusion and a refinement
PIXELS_AT_ONCE = 4_000_000  # counted together: numpy counts in int64, eight bytes a pixel


def borders(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose left or upper neighbour has another label, both being known (H, W) bool."""
    found = np.zeros(labels.shape, dtype=bool)
    found[1:] |= (labels[1:] != labels[:-1]) & known[1:] & known[:-1]
    found[:, 1:] |= (labels[:, 1:] != labels[:, :-1]) & known[:, 1:] & known[:, :-1]
    return found


def border_f_score(predicted: np.ndarray, truth: np.ndarray, pixels: int = 2) -> float:
    """F-score, 0..1, of the borders of two label maps, matched within `pixels` in each direction.

    Borders of, and within, what is not labelled in the truth do not count.
    """
    known = is_labelled(truth)
    ours, theirs = borders(predicted, known), borders(truth, known)
    if not ours.any() and not theirs.any():
        return 1.0
    precision = (ours & _widened(theirs, pixels)).sum() / max(ours.sum(), 1)
    recall = (theirs & _widened(ours, pixels)).sum() / max(theirs.sum(), 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def _widened(edges: np.ndarray, pixels: int) -> np.ndarray:
    """(H, W) bool: within `pixels` of an edge in each direction, which is a square."""
    for _ in range(2):  # along the columns, then, transposed, along the rows
        wide = edges.copy()
        for step in range(1, pixels + 1):
            wide[step:] |= edges[:-step]
            wide[:-step] |= edges[step:]
        edges = wide.T
    return edges


@dataclass
class Score:
    """Gathers label maps, each with its own words, and scores them together.

    with_borders: whether the borders' F-score is wanted as well as the mIoU.
    overlap, union: pixels by class name, of all pictures together.
    seconds: of each picture, where somebody took the time.
    """

    with_borders: bool = True
    overlap: Counter[str] = field(default_factory=Counter)
    union: Counter[str] = field(default_factory=Counter)
    true: set[str] = field(default_factory=set)
    border_scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, predicted: np.ndarray, truth: LabelledPicture, names: Sequence[str] | None = None) -> None:
        """predicted (H, W) index into `names`, which begin with the truth's own (None: are the truth's)."""
        names = truth.names if names is None else tuple(names)
        if predicted.shape != truth.labels.shape or int(predicted.max(initial=0)) >= len(names):
            raise ValueError(
                f"{truth.name}: the prediction is {predicted.shape} with labels to {int(predicted.max(initial=0))}; "
                f"expected {truth.labels.shape} with labels below {len(names)}."
            )
        ours, theirs, both = count_areas(predicted, truth.labels, len(names))
        for name, overlap, union in zip(names, both.tolist(), (ours + theirs - both).tolist()):
            self.overlap[name] += overlap
            self.union[name] += union
        self.true.update(names[index] for index in theirs.nonzero()[0])
        if self.with_borders:
            self.border_scores.append(border_f_score(predicted, truth.labels))

    def join(self, other: Score) -> None:
        """Adds what another has gathered of other pictures."""
        self.overlap.update(other.overlap)
        self.union.update(other.union)
        self.true |= other.true
        self.border_scores += other.border_scores
        self.seconds += other.seconds

    @property
    def iou(self) -> dict[str, float]:
        """Class name -> IoU in 0..1, for the classes that the truth holds anywhere, each pooled over all pictures.

        A class that is never true has no IoU of its own, but costs those that it is taken for.
        """
        return {name: self.overlap[name] / self.union[name] for name in sorted(self.true)}

    @property
    def miou(self) -> float:
        """Mean of `iou`, in 0..1. Raises ValueError where there is none."""
        if not self.true:
            raise ValueError("There is nothing to score: no label map has been added, or none holds a class.")
        return float(np.mean(list(self.iou.values())))

    @property
    def border_f(self) -> float:
        """The borders' F-score, mean over pictures, in 0..1. Raises ValueError where it was not asked for."""
        if not self.border_scores:
            raise ValueError("No borders were scored: no label map has been added, or with_borders is False.")
        return float(np.mean(self.border_scores))


def count_areas(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """(3, classes) int64: pixels predicted as, being, and rightly predicted as each class, where the truth is labelled.

    These are the row sums, column sums and diagonal of the confusion matrix, which with thousands of classes would
    itself be too large; those of several pictures add up. Labels of the truth past the classes are none of them, but
    what is predicted there counts.
    """
    sums = np.zeros((3, classes), dtype=np.int64)
    band = max(1, PIXELS_AT_ONCE // max(1, truth.shape[1]))
    for top in range(0, len(truth), band):
        rows = slice(top, top + band)
        known = is_labelled(truth[rows])
        ours, theirs = predicted[rows][known], truth[rows][known]
        for total, labels in zip(sums, (ours, theirs[theirs < classes], theirs[ours == theirs])):
            total += np.bincount(labels, minlength=classes)
    return sums


def score_scenes(
    model: ProxyCLIP, scenes: Iterable[LabelledPicture], *, fusion: str | None = None, **settings: Any
) -> Score:
    """Segments every scene and scores the result. settings: as for `score_rows`, with distractors one number."""
    distractors = settings.pop("distractors", 0)
    way = fusion or model.fusion
    return score_rows(model, scenes, [way], [distractors], **settings)[way, distractors]


def score_rows(
    model: ProxyCLIP,
    scenes: Iterable[LabelledPicture],
    ways: Sequence[Way],
    distractors: Sequence[int] = (0,),
    *,
    beta: float = default("beta"),
    gamma: float = default("gamma"),
    side: int | None = default("side"),
    windows: str = default("windows"),
    templates: str | None = None,
    background: str = default("background"),
    threshold: float = default("threshold"),
    facet: str = default("facet"),
    reach: str = default("reach"),
    scope: str = default("scope"),
    refine: str = default("refine"),
    sam: str = default("sam"),
    seed: int = 0,
    words_of: Iterable[LabelledPicture] = (),
    first: int = 0,
    each: Callable[[str, LabelledPicture, DenseFeatures, Classes], None] = lambda *seen: None,
    progress: Callable[[list[LabelledPicture]], Iterable[LabelledPicture]] = iter,
) -> dict[tuple[Way, int], Score]:
    """Scores by (way, number of distractors); each scene is encoded once for all of them.

    ways: fusions, or pairs of a fusion and a refinement, which then takes the place of `refine`. The seconds of a score
    are those from the logits on: what the refinement and the labels took.
    distractors: how many classes of other scenes, drawn at random, each scene gets on top of its own; words_of: more
    scenes to take them from; first: the place of the first scene, as what is drawn depends on the place.
    background: with "short" or "long" each scene's first class must be 'background'.
    each: called for each scene and fusion with its patches, and the classes of other scenes as they were drawn.
    progress: what the scenes are counted through, such as `tqdm`. The rest as in `ProxyCLIP`.
    Raises ValueError where other scenes have too few classes, or a setting does not fit.
    """
    check_threshold(threshold, background != "none")
    scenes = list(scenes)
    known = classes_of([*scenes, *words_of])
    scores = {(way, count): Score() for way in ways for count in distractors}
    for number, scene in enumerate(progress(scenes), first):
        others = other_classes(scene, known)
        if len(others) < max(distractors):
            raise ValueError(f"{scene.name}: other scenes have {len(others)} words, not {max(distractors)}.")
        if background in ("short", "long") and scene.names[0].casefold() != BACKGROUND_NAME:
            raise ValueError(
                f"{scene.name}: background is {background!r}, but class 0 of the label map is {scene.names[0]!r}. It "
                f"must be called {BACKGROUND_NAME!r}."
            )
        drawn = [others[index] for index in np.random.default_rng([seed, number]).permutation(len(others))]
        features = model.encode(scene.picture, side, windows, facet=facet)
        regions = model.regions(model.sam_views(scene.picture, features, sam)) if scope == "regions" else None
        dense: dict[str, DenseFeatures] = {}
        for way in ways:
            fusion, method = (way, refine) if isinstance(way, str) else way
            if fusion not in dense:
                dense[fusion] = model.fuse(features, beta, gamma, fusion, reach, regions=regions)
                each(fusion, scene, dense[fusion], tuple(drawn))
            seen = model.seen_by_sam(scene.picture, features, method, sam=sam)
            for count in distractors:
                vocabulary = model.embed((*scene.classes, *drawn[:count]), background, templates)
                logits, start = model.classify(dense[fusion], vocabulary), time.perf_counter()
                result = model.refine(logits, features, scene.picture, method, **seen).segment(threshold)
                scores[way, count].seconds.append(time.perf_counter() - start)
                scores[way, count].add(result.labels, scene, result.names)
    return scores


def classes_of(scenes: Iterable[LabelledPicture]) -> Classes:
    """The classes of all scenes in alphabetical order; of those that share a wording, the first."""
    taken: set[str] = set()
    kept = []
    for group in sorted({group for scene in scenes for group in scene.classes}):
        if taken.isdisjoint(_folded([group])):
            taken |= _folded([group])
            kept.append(group)
    return tuple(kept)


def other_classes(scene: LabelledPicture, classes: Classes) -> Classes:
    """Those of the classes that share no wording with the scene's own."""
    own = _folded(scene.classes)
    return tuple(group for group in classes if own.isdisjoint(_folded([group])))


def _folded(classes: Iterable[Sequence[str]]) -> set[str]:
    """All wordings as they are compared: upper and lower case are one."""
    return {word.casefold() for group in classes for word in group}
