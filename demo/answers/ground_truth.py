"""True label maps: of the gallery's scenes, or uploaded; and how results and features do against them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

import proxyclip_core as pc
from demo.answers.errors import UserError
from demo.asked_words import words_of
from demo.examples import Example
from demo.stages import Stages
from demo.visit import file_digest, size_of_file
from proxyclip_core import evaluation
from proxyclip_core.evaluation.scenes import UNLABELLED, UNLABELLED_16, is_labelled, is_mask, read_indices

# Pairs of patches for one curve: enough for a smooth one, and 100 MB less than what `correspondence` takes unasked.
PAIRS = 60_000
ROWS = (
    96  # patches whose CLIP attention is looked at; it is computed row by row, and a row takes longer on a finer grid
)


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """labels: (H, W) uint8 or uint16 index into words; see `evaluation.scenes.is_labelled` for the rest.

    of_mask: whether it comes from the mask of one object: then the second and last word stands for all else.
    """

    labels: np.ndarray
    words: tuple[str, ...]
    of_mask: bool = False


class WhichWord(UserError):
    """The mask of an object was given, and it is not said which word the object is."""


def of(
    stages: Stages, label_map: str | None, examples: Iterable[Example], mask_word: str | None = None
) -> GroundTruth | None:
    """The truth of the picture: an uploaded label map first, else that of the gallery; None where there is none.

    mask_word: which word the object is, where the upload is the mask of one. Raises WhichWord where it must be said.
    """
    if label_map:
        return of_upload(label_map, stages.overlay().size_hw, stages.words().names, mask_word)
    for example in examples:
        if example.labels and file_digest(example.picture) == stages.digest:
            words = tuple(group[0] for group in words_of(example.words)[0])
            return GroundTruth(evaluation.read_label_map(example.labels), words)
    return None


def of_upload(path: str, size_hw: tuple[int, int], names: Sequence[str], mask_word: str | None = None) -> GroundTruth:
    """A label map for a picture of `size_hw`, index into the result's `names`. Raises ValueError with the remedy."""
    _check_size(size_of_file(path) or size_hw, size_hw)  # before it is read: a small file may hold a very large map
    try:
        labels = read_indices(path)  # and not `read_label_map`, whose warning would go to the log
    except OSError:
        raise ValueError(
            "The label map could not be read. Give a PNG or TIFF, as JPEG and others change its numbers."
        ) from None
    _check_size(labels.shape, size_hw)  # where the file's beginning did not say, for all the metadata in it
    if is_mask(labels):
        if mask_word is None or mask_word not in names:
            raise WhichWord(
                f"This is the mask of one object: it holds the values 0 and {labels.max()} alone. Which word is the "
                "object? Choose it below the label map, under Look inside, Truth."
            )
        return GroundTruth((labels == 0).astype(np.uint8), (mask_word, "all else"), of_mask=True)
    unlabelled = UNLABELLED if labels.dtype == np.uint8 else UNLABELLED_16
    known = labels[is_labelled(labels)]
    if known.size and int(known.max()) >= len(names):
        raise ValueError(
            f"The label map holds the value {int(known.max())}, but the {len(names)} classes are numbered from 0 to "
            f"{len(names) - 1}, in the order of the words. {unlabelled} stands for pixels that do not count."
        )
    return GroundTruth(labels, tuple(names)[:unlabelled])  # a map cannot number more than that


def _check_size(found: Sequence[int], size_hw: Sequence[int]) -> None:
    if tuple(found) != tuple(size_hw):
        raise ValueError(
            f"The label map has {found[1]} × {found[0]} pixels, but the picture {size_hw[1]} × {size_hw[0]}. Give one "
            "of the same size."
        )


def score(labels: np.ndarray, names: Sequence[str], truth: GroundTruth) -> tuple[float | None, list[str]]:
    """mIoU in 0..1 of a result (H, W) index into `names`, and the true words it was not asked for.

    Those words' pixels do not count. None where no true word was asked for.
    """
    own, count = {name.casefold(): index for index, name in enumerate(names)}, len(truth.words)
    # Any class that the truth does not know.
    predicted = np.full(max(len(names), 1), count - 1 if truth.of_mask else count, np.uint16)
    true = np.full(int(np.iinfo(truth.labels.dtype).max) + 1, UNLABELLED_16, np.uint16)
    missing = []
    for index, word in enumerate(truth.words):
        if word.casefold() in own:
            predicted[own[word.casefold()]] = true[index] = index
        elif truth.of_mask and index:
            true[index] = index
        elif (truth.labels == index).any():
            missing.append(word)
    reference = true[truth.labels]
    if not is_labelled(reference).any():
        return None, missing
    nothing = np.broadcast_to(np.uint8(0), (*reference.shape, 3))
    total = evaluation.Score(with_borders=False)
    picture = evaluation.LabelledPicture("truth", nothing, reference, truth.words)
    total.add(predicted[labels], picture, (*truth.words, "anything else"))
    return total.miou, missing


def curve_of_vfm(features: pc.ImageFeatures, truth: GroundTruth) -> evaluation.PrecisionRecall:
    """Fig. 1 of the paper for a VFM: 'same class' from the similarity of its patches."""
    vfm: torch.Tensor = features.vfm  # type: ignore[assignment]  # asked of a VFM's features alone
    labels = evaluation.labels_on_patches(truth.labels, features.layout, (vfm.shape[-2], vfm.shape[-1]))
    return evaluation.correspondence(vfm, labels, PAIRS)


@torch.no_grad()
def curve_of_values(model: pc.ProxyCLIP, features: pc.ImageFeatures, truth: GroundTruth) -> evaluation.PrecisionRecall:
    """The same from the similarity of CLIP's values."""
    values = model.clip.values(features.clip_tokens.to(model.device)).cpu()  # (B, N, D)
    maps = values.transpose(1, 2).unflatten(2, features.clip_grid)
    labels = evaluation.labels_on_patches(truth.labels, features.layout, features.clip_grid)
    return evaluation.correspondence(maps, labels, PAIRS)


@torch.no_grad()
def curve_of_attention(
    model: pc.ProxyCLIP, features: pc.ImageFeatures, truth: GroundTruth
) -> evaluation.PrecisionRecall:
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
