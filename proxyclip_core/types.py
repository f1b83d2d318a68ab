"""The values that pass between the stages of the pipeline. Each is made once, checked once, and never changed.

Axes: B windows, h x w patches of one window, D CLIP width, C VFM width, E embedding, K classes, Q queries (all
synonyms of all classes), H x W picture pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from proxyclip_core.windows import WindowLayout


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class _Movable:
    """`.to(device)` for frozen dataclasses that hold tensors."""

    def to(self, device: str | torch.device):
        """A copy with every tensor on `device`; self when nothing has to move."""
        device = torch.device(device)
        moved = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, torch.Tensor) and value.device != device
        }
        return replace(self, **moved) if moved else self


@dataclass(frozen=True, eq=False)
class ImageFeatures(_Movable):
    """Stage 1: what the two encoders say of one picture.

    clip_tokens: (B, 1 + h * w, D) input of CLIP's last block, class token first. Values, CLIP's own attention and
        the plain CLIP read-out all follow from it cheaply.
    clip_grid: (h, w) of CLIP's patches.
    vfm: (B, C, h, w) final-norm patch features of the VFM, not yet of unit length; None where no VFM was loaded.
    clip_name, vfm_name: the models they come from; features of one model mean nothing to another.
    """

    layout: WindowLayout
    clip_tokens: torch.Tensor
    clip_grid: tuple[int, int]
    vfm: torch.Tensor | None
    clip_name: str
    vfm_name: str | None

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
class DenseFeatures(_Movable):
    """Stage 2: one embedding a patch. tokens: (B, E, h, w) in CLIP's joint space, not of unit length."""

    layout: WindowLayout
    tokens: torch.Tensor
    clip_name: str

    def __post_init__(self) -> None:
        _check(
            self.tokens.ndim == 4 and self.tokens.shape[0] == self.layout.count,
            f"tokens has shape {tuple(self.tokens.shape)}; expected ({self.layout.count}, E, h, w).",
        )


@dataclass(frozen=True, eq=False)
class Vocabulary(_Movable):
    """Stage 3: words as embeddings.

    names: K class names (the first wording of each class). queries: Q wordings, class by class.
    query_class: (Q,) class index of each query, never falling. embeddings: (Q, E) unit length.
    background: whether class 0 is the background, which the threshold feeds.
    """

    names: tuple[str, ...]
    queries: tuple[str, ...]
    query_class: torch.Tensor
    embeddings: torch.Tensor
    background: bool
    templates: str
    clip_name: str

    def __post_init__(self) -> None:
        count = len(self.queries)
        _check(
            self.embeddings.ndim == 2 and self.embeddings.shape[0] == count,
            f"embeddings has shape {tuple(self.embeddings.shape)}; expected ({count}, E), one row a query.",
        )
        _check(
            self.query_class.tolist() == sorted(self.query_class.tolist())
            and set(self.query_class.tolist()) == set(range(len(self.names))),
            "query_class must run from 0 to K - 1 without gaps, never falling.",
        )


@dataclass(frozen=True, eq=False)
class ClassLogits(_Movable):
    """Stage 4: cosine of every patch with every query. values: (B, Q, h, w) in -1..1, on the patch grid."""

    layout: WindowLayout
    values: torch.Tensor

    def __post_init__(self) -> None:
        _check(
            self.values.ndim == 4 and self.values.shape[0] == self.layout.count,
            f"values has shape {tuple(self.values.shape)}; expected ({self.layout.count}, Q, h, w).",
        )


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Stage 5: the answer, at the picture's own size.

    labels: (H, W) uint16 index into `names`. confidence: (H, W) float32, softmax score of the best class in 0..1
    (also where it fell below the threshold and class 0 was taken instead).
    """

    labels: np.ndarray
    names: tuple[str, ...]
    confidence: np.ndarray

    def __post_init__(self) -> None:
        _check(
            self.labels.ndim == 2 and self.labels.dtype == np.uint16,
            f"labels is {self.labels.dtype} of shape {self.labels.shape}; expected uint16 of shape (H, W).",
        )
        _check(
            self.confidence.shape == self.labels.shape,
            f"confidence has shape {self.confidence.shape}; expected {self.labels.shape}.",
        )
        _check(
            int(self.labels.max(initial=0)) < len(self.names),
            f"labels holds {int(self.labels.max(initial=0))}, but there are only {len(self.names)} names.",
        )

    def mask(self, name: str) -> np.ndarray:
        """(H, W) bool: where the class `name` is. Raises ValueError for a name that was not asked for."""
        if name not in self.names:
            raise ValueError(f"No class is called {name!r}; this result knows: {', '.join(self.names)}.")
        return self.labels == self.names.index(name)

    def coverage(self) -> dict[str, float]:
        """Share of the picture by class name, in 0..1, summing to 1; classes that were not found have 0."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.names))
        return {name: float(count) / self.labels.size for name, count in zip(self.names, counts)}


def check_same_words(logits: ClassLogits, vocabulary: Vocabulary) -> None:
    """Raises ValueError where the logits cannot be of these words."""
    if logits.values.shape[1] != len(vocabulary.queries):
        raise ValueError(
            f"The logits are of {logits.values.shape[1]} words, but the vocabulary has {len(vocabulary.queries)}. "
            "Classify with this vocabulary again."
        )
