"""True label maps: of the gallery's scenes, or uploaded; and how results and features do against them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

import proxyclip_core as pc
from demo.examples import Example
from demo.session import file_digest
from demo.variants import Bench
from proxyclip_core import evaluation

# Pairs of patches for one curve: enough for a smooth one, and 100 MB less than what `correspondence` takes unasked.
PAIRS = 60_000
ROWS = 96  # patches whose CLIP attention is looked at: a row at a time costs the more the finer the grid


@dataclass(frozen=True, eq=False)
class Truth:
    """labels: (H, W) uint8 index into words, or evaluation.UNLABELLED."""

    labels: np.ndarray
    words: tuple[str, ...]


def of(bench: Bench, label_map: str | None, examples: Iterable[Example]) -> Truth | None:
    """The truth of the staged picture: an uploaded label map first, else that of the gallery; None where is none."""
    staged = bench.staged
    if label_map:
        return of_upload(label_map, staged.logits.layout.size_hw, staged.vocabulary.names)
    return of_example(staged.settings.picture, examples)


def of_example(picture: str, examples: Iterable[Example]) -> Truth | None:
    """The truth of a picture that is one of the gallery's, by its content."""
    digest = file_digest(picture)
    for example in examples:
        if example.labels and _digest_of(example.picture) == digest:
            words = tuple(group[0] for group in pc.parse_vocabulary(example.words))
            return Truth(evaluation.read_label_map(example.labels), words)
    return None


_digest_of = lru_cache(maxsize=256)(file_digest)


def of_upload(path: str, size_hw: tuple[int, int], names: Sequence[str]) -> Truth:
    """A label map for a picture of `size_hw`, index into the result's `names`. Raises ValueError with the remedy."""
    try:
        labels = evaluation.read_label_map(path)
    except OSError:
        raise ValueError("The label map could not be read. Give a PNG.") from None
    if labels.shape != tuple(size_hw):
        raise ValueError(
            f"The label map has {labels.shape[1]} × {labels.shape[0]} pixels, but the picture "
            f"{size_hw[1]} × {size_hw[0]}. Give one of the same size."
        )
    known = labels[labels != evaluation.UNLABELLED]
    if known.size and int(known.max()) >= len(names):
        raise ValueError(
            f"The label map holds the value {int(known.max())}, but the {len(names)} classes are numbered from 0 to "
            f"{len(names) - 1}, in the order of the words. 255 stands for pixels that do not count."
        )
    return Truth(labels, tuple(names)[: evaluation.UNLABELLED])  # a byte a pixel numbers no more


def score(labels: np.ndarray, names: Sequence[str], truth: Truth) -> tuple[float | None, list[str]]:
    """mIoU in 0..1 of a result (H, W) index into `names`, and the true words it was not asked for.

    Those words' pixels do not count. None where no true word was asked for.
    """
    own = {name.casefold(): index for index, name in enumerate(names)}
    count = len(truth.words)
    predicted = np.full(max(len(names), 1), count)  # any class that the truth does not know
    true = np.append(np.arange(count), np.full(256 - count, evaluation.UNLABELLED)).astype(np.uint8)
    missing = []
    for index, word in enumerate(truth.words):
        if word.casefold() in own:
            predicted[own[word.casefold()]] = index
        else:
            true[index] = evaluation.UNLABELLED
            if (truth.labels == index).any():
                missing.append(word)
    reference = true[truth.labels]
    if (reference == evaluation.UNLABELLED).all():
        return None, missing
    empty = np.broadcast_to(np.uint8(0), (*reference.shape, 3))
    total = evaluation.Score()
    total.add(
        predicted[labels],
        evaluation.LabelledPicture("truth", empty, reference, truth.words),
        (*truth.words, "anything else"),
    )
    return total.miou, missing


def curve_of_vfm(features: pc.ImageFeatures, truth: Truth) -> evaluation.PrecisionRecall:
    """Fig. 1 of the paper for a VFM: 'same class' from the similarity of its patches."""
    labels = evaluation.labels_on_patches(truth.labels, features.layout, tuple(features.vfm.shape[-2:]))
    return evaluation.correspondence(features.vfm, labels, PAIRS)


@torch.inference_mode()
def curve_of_values(model: pc.ProxyCLIP, features: pc.ImageFeatures, truth: Truth) -> evaluation.PrecisionRecall:
    """The same from the similarity of CLIP's values."""
    values = model.clip.values(features.clip_tokens.to(model.device)).cpu()  # (B, N, D)
    maps = values.transpose(1, 2).unflatten(2, features.clip_grid)
    labels = evaluation.labels_on_patches(truth.labels, features.layout, features.clip_grid)
    return evaluation.correspondence(maps, labels, PAIRS)


@torch.inference_mode()
def curve_of_attention(model: pc.ProxyCLIP, features: pc.ImageFeatures, truth: Truth) -> evaluation.PrecisionRecall:
    """The same from CLIP's own attention: how much of its attention one patch gives to another."""
    labels = evaluation.labels_on_patches(truth.labels, features.layout, features.clip_grid).flatten(1)  # (B, N)
    known = (labels >= 0).nonzero()  # (any, 2): window, patch
    chosen = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[:ROWS]]
    scores, same = [torch.zeros(0)], [torch.zeros(0, dtype=torch.bool)]
    for window, row in chosen.tolist():
        others = labels[window] >= 0
        others[row] = False
        attended = model.clip.own_attention(features.clip_tokens[window : window + 1].to(model.device), row).cpu()
        scores.append(attended[others])
        same.append(labels[window][others] == labels[window, row])
    return evaluation.precision_recall(torch.cat(scores), torch.cat(same))
