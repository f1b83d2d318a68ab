"""Scores against true label maps: mIoU, the borders' F-score, and how well similarity tells classes apart.

A label map is (H, W) of indices into a list of words; UNLABELLED pixels count for nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from proxyclip_core.attention import unit_patches
from proxyclip_core.image import MAX_PIXELS
from proxyclip_core.windows import WindowLayout

UNLABELLED = 255


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture with its truth: picture (H, W, 3) uint8, labels (H, W) uint8 index into words or UNLABELLED."""

    name: str
    picture: np.ndarray
    labels: np.ndarray
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.labels.shape != self.picture.shape[:2]:
            raise ValueError(
                f"{self.name}: the label map is {self.labels.shape}, but the picture {self.picture.shape[:2]}; "
                "both need the same height and width."
            )
        known = self.labels[self.labels != UNLABELLED]
        if known.size and int(known.max()) >= len(self.words):
            raise ValueError(
                f"{self.name}: the label map holds the index {int(known.max())}, but there are {len(self.words)} words."
            )


def read_label_map(path: str | Path) -> np.ndarray:
    """A label map from a palette or grey PNG: the pixel values are the indices. (H, W) uint8.

    Raises ValueError for a picture of another kind or size, OSError for what is no PNG or a damaged one.
    """
    try:
        return _read_indices(path)
    except Image.DecompressionBombError:
        raise ValueError(f"{Path(path).name} has more than {MAX_PIXELS / 1e6:g} million pixels.") from None
    except SyntaxError as error:  # Pillow's word for a broken PNG
        raise OSError(f"{Path(path).name} is damaged: {error}") from None


def _read_indices(path: str | Path) -> np.ndarray:
    with Image.open(path, formats=["PNG"]) as image:  # Pillow goes by the content, and would run PostScript, say
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{Path(path).name} has more than {MAX_PIXELS / 1e6:g} million pixels.")
        if image.mode not in ("P", "L"):
            raise ValueError(
                f"{Path(path).name} has mode {image.mode}; a label map is a palette or grey PNG whose pixel values "
                "are class numbers."
            )
        return np.array(image)


def read_scenes(index: str | Path) -> Iterator[LabelledPicture]:
    """The scenes that a JSON file lists: a list of {"file", "labels", "words"}, paths relative to it."""
    index = Path(index)
    for number, entry in enumerate(json.loads(index.read_text(encoding="utf-8"))):
        missing = [key for key in ("file", "labels", "words") if key not in entry]
        if missing:
            raise ValueError(f"{index.name}: scene {number} has no {', '.join(missing)}.")
        with Image.open(index.parent / entry["file"]) as image:
            picture = np.array(image.convert("RGB"))
        labels = read_label_map(index.parent / entry["labels"])
        yield LabelledPicture(entry["file"], picture, labels, tuple(entry["words"]))


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
                result = model.segment(model.classify(dense, vocabulary), vocabulary)
                scores[fusion, count].add(result.labels, scene, words)
    return scores


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """How well similarity tells pairs of one class from other pairs (Fig. 1 of the paper).

    recall, precision: (T,) in 0..1, from the highest threshold to the lowest. average_precision: area under it.
    """

    recall: np.ndarray
    precision: np.ndarray
    average_precision: float


def correspondence(
    features: torch.Tensor, patch_labels: torch.Tensor, pairs: int = 500_000, seed: int = 0
) -> PrecisionRecall:
    """Precision and recall of 'same class' as decided by cosine similarity of patch features.

    features (B, C, h, w), patch_labels (B, h, w) int with negative where unknown. Pairs are within one window, a
    patch is not paired with itself; above `pairs` of them, as many are drawn at random.
    """
    patches, labels = unit_patches(features), patch_labels.flatten(1)
    generator = torch.Generator().manual_seed(seed)
    scores, same = [], []
    for window in range(len(patches)):
        known = (labels[window] >= 0).nonzero().flatten()
        if len(known) < 2:
            continue
        share = max(1, pairs // len(patches))
        total = len(known) ** 2
        picks = torch.arange(total) if total <= share else torch.randint(total, (share,), generator=generator)
        first, second = known[picks // len(known)], known[picks % len(known)]
        first, second = first[first != second], second[first != second]
        scores.append((patches[window][first] * patches[window][second]).sum(dim=-1).cpu())
        same.append((labels[window][first] == labels[window][second]).cpu())
    empty = torch.zeros(0)
    return precision_recall(torch.cat(scores or [empty]), torch.cat(same or [empty.bool()]))


def precision_recall(scores: torch.Tensor, same: torch.Tensor) -> PrecisionRecall:
    """The curve for pairs with scores (P,), where same (P,) bool says which are of one class."""
    if not same.any() or same.all():
        raise ValueError("Precision and recall need patches of at least two classes in the label map.")
    hits = same[scores.argsort(descending=True)].double().cumsum(0).numpy()
    recall, precision = hits / hits[-1], hits / np.arange(1, len(hits) + 1)
    average = float(np.sum(np.diff(recall, prepend=0) * precision))
    return PrecisionRecall(recall, precision, average)


def labels_on_patches(labels: np.ndarray, layout: WindowLayout, grid_hw: tuple[int, int]) -> torch.Tensor:
    """(H, W) label map -> (B, h, w) int64: the label at each patch's centre, -1 where unknown or padding."""
    result = torch.full((layout.count, *grid_hw), -1, dtype=torch.int64)
    for window, (top, left) in enumerate(layout.corners):
        at = []
        for grid, padded, before, length, start, scaled, full in zip(
            grid_hw,
            layout.padded_hw,
            layout.padding_top_left,
            layout.window_hw,
            (top, left),
            layout.scaled_hw,
            layout.size_hw,
        ):
            centre = (np.arange(grid) + 0.5) * padded / grid - before
            inside = (centre >= 0) & (centre < length)
            pixel = np.clip(((centre + start) * full / scaled).astype(int), 0, full - 1)
            at.append((inside, pixel))
        (row_inside, rows), (column_inside, columns) = at
        values = torch.from_numpy(labels[np.ix_(rows, columns)].astype(np.int64))
        values[values == UNLABELLED] = -1
        values[~torch.from_numpy(np.outer(row_inside, column_inside))] = -1
        result[window] = values
    return result
