"""The values that pass between the stages of the pipeline. Each is made once, checked once, and never changed.

Every value knows what it was made from: the picture by a digest of its pixels, the models by digests of their weights.
What comes from another picture or from other weights is refused where two values meet.

Axes: B windows, h x w patches of one window, D CLIP width, C VFM width, E embedding, K classes, Q queries (all
synonyms of all classes), H x W picture pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch

from proxyclip_core import readout
from proxyclip_core.segmentation import Segmentation, class_index
from proxyclip_core.settings import check_threshold
from proxyclip_core.windows import WindowLayout
from proxyclip_core.words import Classes

MOST_CLASSES = 65_535  # labels are uint16

T = TypeVar("T", bound="Movable")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class Movable:
    """`.to(device)` for frozen dataclasses that hold tensors."""

    def to(self: T, device: str | torch.device) -> T:
        """A copy with every tensor on `device`; self when nothing has to move."""
        device = torch.device(device)
        moved = {name: value.to(device) for name, value in vars(self).items() if _is_elsewhere(value, device)}
        return replace(self, **moved) if moved else self  # type: ignore[type-var]  # the subclasses are dataclasses


def _is_elsewhere(value: Any, device: torch.device) -> bool:
    if isinstance(value, Movable):
        return any(_is_elsewhere(part, device) for part in vars(value).values())
    return isinstance(value, torch.Tensor) and value.device != device


@dataclass(frozen=True, eq=False)
class ImageFeatures(Movable):
    """Stage 1: what the two encoders say of one picture.

    clip_tokens: (B, 1 + h * w, D) input of CLIP's last block, class token first. Values, CLIP's own attention and
        the plain CLIP read-out all follow from it cheaply.
    clip_grid: (h, w) of CLIP's patches.
    vfm: (B, C, h, w) patch features of the VFM, not yet of unit length; None where no VFM was loaded. facet: which they
        are, of `settings.SETTINGS["facet"]`; "tokens" are final-norm features.
    clip_name, vfm_name: the models they come from. clip_id, vfm_id: digests of these models' weights; features of one
        model mean nothing to another. picture: a digest of the picture's pixels.
    """

    layout: WindowLayout
    clip_tokens: torch.Tensor
    clip_grid: tuple[int, int]
    vfm: torch.Tensor | None
    clip_name: str
    vfm_name: str | None
    clip_id: str
    vfm_id: str | None
    picture: str
    facet: str = "tokens"

    def __post_init__(self) -> None:
        tokens = 1 + self.clip_grid[0] * self.clip_grid[1]
        _check(
            self.clip_tokens.ndim == 3 and self.clip_tokens.shape[:2] == (self.layout.count, tokens),
            f"clip_tokens has shape {tuple(self.clip_tokens.shape)}; expected ({self.layout.count}, {tokens}, D).",
        )
        _check(
            self.vfm is None or (self.vfm.ndim == 4 and self.vfm.shape[0] == self.layout.count),
            f"vfm has shape {None if self.vfm is None else tuple(self.vfm.shape)}; "
            f"expected ({self.layout.count}, C, h, w).",
        )


@dataclass(frozen=True, eq=False)
class DenseFeatures(Movable):
    """Stage 2: one embedding a patch. tokens: (B, E, h, w) in CLIP's joint space, not of unit length."""

    layout: WindowLayout
    tokens: torch.Tensor
    clip_name: str
    clip_id: str
    picture: str

    def __post_init__(self) -> None:
        _check(
            self.tokens.ndim == 4 and self.tokens.shape[0] == self.layout.count,
            f"tokens has shape {tuple(self.tokens.shape)}; expected ({self.layout.count}, E, h, w).",
        )


@dataclass(frozen=True, eq=False)
class Vocabulary(Movable):
    """Stage 3: words as embeddings.

    names: K class names (the first wording of each class). queries: Q wordings, class by class.
    query_class: (Q,) class index of each query, never falling. embeddings: (Q, E) unit length.
    has_background: whether class 0 is the background, which takes the pixels below a threshold.
    notes: what is to be said of the words, a sentence each (`word_notes`).
    plain: (Q, E) unit length, the same in the few sentences by which presence is told (`ProxyCLIP.with_plain`).
    Raises ValueError for more than MOST_CLASSES classes.
    """

    names: tuple[str, ...]
    queries: tuple[str, ...]
    query_class: torch.Tensor
    embeddings: torch.Tensor
    has_background: bool
    templates: str
    clip_name: str
    clip_id: str
    notes: tuple[str, ...] = ()
    plain: torch.Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.queries)
        _check(
            len(self.names) <= MOST_CLASSES,
            f"There are {len(self.names)} classes; a label map holds at most {MOST_CLASSES}. Take fewer words.",
        )
        _check(
            self.embeddings.ndim == 2 and self.embeddings.shape[0] == count,
            f"embeddings has shape {tuple(self.embeddings.shape)}; expected ({count}, E), one row a query.",
        )
        classes = self.query_class.tolist()
        _check(
            classes == sorted(classes) and set(classes) == set(range(len(self.names))),
            "query_class must run from 0 to K - 1 without gaps, never falling.",
        )

    @property
    def classes(self) -> Classes:
        """The wordings of each class."""
        ends = torch.bincount(self.query_class.cpu()).cumsum(0).tolist()
        return tuple(self.queries[start:end] for start, end in zip([0, *ends], ends))


class _Readable(Movable):
    """Labels and scores at the picture's size, for values that hold logits of a vocabulary's queries."""

    vocabulary: Vocabulary
    layout: WindowLayout

    def reader(self) -> readout.PixelReader:
        """The logits at pixels, for the functions of `readout`."""
        raise NotImplementedError

    def query_order(self) -> torch.Tensor:
        """(Q,) on the CPU: the vocabulary's queries in the order in which the reader has them."""
        raise NotImplementedError

    def query_classes(self) -> torch.Tensor:
        """(Q,) on the CPU: the class of each of the reader's queries."""
        return self.vocabulary.query_class.cpu()[self.query_order()]

    @torch.no_grad()
    def segment(self, threshold: float = 0.0) -> Segmentation:
        """Stage 6: labels at the picture's size.

        threshold: softmax score in 0..1 below which a pixel goes to class 0. Raises ValueError where class 0 is not
        declared the background.
        """
        check_threshold(threshold, self.vocabulary.has_background)
        query, confidence = readout.best_query(self.reader())
        labels = self.query_classes().numpy()[query].astype(np.uint16)
        labels[confidence < threshold] = 0
        names, has_background = self.vocabulary.names, self.vocabulary.has_background
        return Segmentation(labels, names, confidence, has_background, notes=self.vocabulary.notes)

    @torch.no_grad()
    def scores(self, name: str | int) -> np.ndarray:
        """(H, W) float32 in 0..1: softmax score of one class, by name or index; of several synonyms the best one's.

        The softmax is over all wordings, as the paper's authors take it: a class with several of them shares its score
        out among them. Raises ValueError for a class that is not there.
        """
        index = class_index(self.vocabulary.names, name)
        queries = (self.query_classes() == index).nonzero().flatten().tolist()
        return readout.score_map(self.reader(), queries)

    @torch.no_grad()
    def scores_at(self, point_xy: tuple[float, float]) -> dict[str, float]:
        """Softmax score, 0..1, of every class at one pixel (x, y), the best class first; as in `scores`.

        Raises ValueError for a point outside the picture.
        """
        self.layout.scaled_point(point_xy)
        scores = readout.scores_at(self.reader(), point_xy)  # (Q,)
        best = torch.zeros(len(self.vocabulary.names), dtype=torch.float32, device="cpu")
        best = best.scatter_reduce(0, self.query_classes(), scores, "amax")
        return dict(sorted(zip(self.vocabulary.names, best.tolist()), key=lambda pair: -pair[1]))


@dataclass(frozen=True, eq=False)
class ClassLogits(_Readable):
    """Stage 4: cosine of every patch with every query, and the vocabulary that the queries are of.

    values: (B, Q, h, w) in -1..1, on the patch grid. picture: as in `ImageFeatures`.
    """

    layout: WindowLayout
    values: torch.Tensor
    vocabulary: Vocabulary
    picture: str = ""

    def __post_init__(self) -> None:
        windows, queries = self.layout.count, len(self.vocabulary.queries)
        _check(
            self.values.ndim == 4 and self.values.shape[:2] == (windows, queries),
            f"values has shape {tuple(self.values.shape)}; expected ({windows}, {queries}, h, w).",
        )

    def reader(self) -> readout.PixelReader:
        return readout.PatchReader(self.layout, self.values)

    def query_order(self) -> torch.Tensor:
        return torch.arange(len(self.vocabulary.queries), device="cpu")


@dataclass(frozen=True, eq=False)
class PixelLogits(_Readable):
    """Stage 5 at pixels (`refine`): logits of some queries at the picture's size or coarser.

    values: (q, h, w) over the whole picture. queries: (q,) which of the vocabulary's queries these are, each at most
    once. patch_values: (B, Q, h', w') as in `ClassLogits`; the queries that were not refined keep these.
    """

    layout: WindowLayout
    values: torch.Tensor
    queries: torch.Tensor
    patch_values: torch.Tensor
    vocabulary: Vocabulary
    picture: str = ""

    def __post_init__(self) -> None:
        count, chosen = len(self.vocabulary.queries), self.queries.tolist()
        _check(
            self.values.ndim == 3 and self.queries.shape == self.values.shape[:1],
            f"values has shape {tuple(self.values.shape)} and queries {tuple(self.queries.shape)}; expected (q, h, w) "
            "and (q,).",
        )
        _check(
            len(set(chosen)) == len(chosen) and all(0 <= query < count for query in chosen),
            f"queries must be different numbers from 0 to {count - 1}.",
        )
        _check(
            self.patch_values.ndim == 4 and self.patch_values.shape[:2] == (self.layout.count, count),
            f"patch_values has shape {tuple(self.patch_values.shape)}; expected ({self.layout.count}, {count}, h, w).",
        )

    def reader(self) -> readout.PixelReader:
        count = len(self.values)
        refined = readout.MapReader(self.layout.size_hw, self.values)
        others = readout.PatchReader(self.layout, self.patch_values[:, self.query_order()[count:].tolist()])
        return readout.JoinedReader(refined, count, others)

    def query_order(self) -> torch.Tensor:
        chosen = self.queries.cpu()
        left = torch.ones(len(self.vocabulary.queries), dtype=torch.bool, device="cpu")
        left[chosen] = False
        return torch.cat([chosen, left.nonzero().flatten()])


@dataclass(frozen=True, eq=False)
class SamViews(Movable):
    """A picture as SAM has read it, in V views (`models.sam`).

    embeddings: (V, C, h, w) of SAM's neck. working_hw: the size in pixels at which masks are made. places: (top, left,
    height, width) of each view in such pixels; it may reach past the picture, where the view is padded. stretched:
    whether a view fills SAM's square, as a VFM's windows do, or its long side alone, as SAM has it itself.
    picture, sam_id: digests of the picture and of the encoder's weights. sam: the name of its row.
    """

    embeddings: torch.Tensor
    working_hw: tuple[int, int]
    places: tuple[tuple[int, int, int, int], ...]
    stretched: bool
    picture: str
    sam: str
    sam_id: str


@dataclass(frozen=True, eq=False)
class Regions(Movable):
    """Regions of a picture that know no words.

    numbers: (h, w) int32 over the whole picture, at its size or coarser: 0 where there is none, else 1 to `count`.
    picture: as in `ImageFeatures`.
    """

    numbers: torch.Tensor
    picture: str

    def __post_init__(self) -> None:
        _check(
            self.numbers.ndim == 2 and self.numbers.dtype == torch.int32 and int(self.numbers.min()) >= 0,
            f"numbers is {self.numbers.dtype} of shape {tuple(self.numbers.shape)}; expected int32 of shape (h, w), "
            "none below 0.",
        )

    @cached_property
    def count(self) -> int:
        """How many regions there are."""
        return int(self.numbers.max())

    def at_pixels(self, size_hw: tuple[int, int]) -> torch.Tensor:
        """(H, W) int32 at another size: each pixel's number is that at its middle."""
        return readout.nearest(self.numbers, size_hw)


@dataclass(frozen=True, eq=False)
class RegionLogits(_Readable):
    """Stage 5 where regions have logits of their own (`refine`).

    base: what holds where no region is. numbers: as in `Regions`. values: (R, Q) logits of each region, for the queries
    in the order in which the base's reader has them.
    """

    base: ClassLogits | PixelLogits
    numbers: torch.Tensor
    values: torch.Tensor
    layout: WindowLayout
    vocabulary: Vocabulary
    picture: str = ""

    @classmethod
    def over(cls, base: ClassLogits | PixelLogits, numbers: torch.Tensor, values: torch.Tensor) -> RegionLogits:
        """Of what the base is of."""
        return cls(base, numbers, values, base.layout, base.vocabulary, base.picture)

    def __post_init__(self) -> None:
        queries = len(self.vocabulary.queries)
        _check(
            self.values.ndim == 2 and self.values.shape[1] == queries,
            f"values has shape {tuple(self.values.shape)}; expected (R, {queries}).",
        )
        _check(
            self.numbers.ndim == 2 and int(self.numbers.max()) <= len(self.values),
            f"numbers has shape {tuple(self.numbers.shape)} and goes to {int(self.numbers.max())}; expected (h, w) and "
            f"at most {len(self.values)}, the number of regions.",
        )

    def reader(self) -> readout.PixelReader:
        return readout.RegionReader(self.base.reader(), self.numbers, self.values)

    def query_order(self) -> torch.Tensor:
        return self.base.query_order()


Refined = ClassLogits | PixelLogits | RegionLogits  # what may come out of `refine`
