"""Which words are in a picture at all. Past the paper; without training, and no image encoder runs.

The softmax shares every pixel out among the words that were asked for, so some word wins there also where none fits;
and how high a cosine is says little, as that differs from CLIP to CLIP and from patch to patch. So a word's cosine with
a patch is counted in standard deviations above the mean of what the words of a reference vocabulary have there. What it
reaches so at its best patch is the word's standing; and its presence, in 0..1, the share of the reference vocabulary
whose standing in this picture is lower.

Axes: B windows, h x w patches of one window, N of all windows together, E embedding, Q queries, R words of the
reference vocabulary, K classes.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from proxyclip_core.interrupt import checkpoint
from proxyclip_core.models.registry import BUILTIN_FOLDER, CLIP_MODELS
from proxyclip_core.words import BACKGROUND_NAME, Classes, parse_vocabulary, vocabulary_presets

# Chosen on val scenes of EmojiScenes: nine in ten of their words, and one in eight of other words, reach it.
PERHAPS_ABSENT = 0.9  # words with a presence below it are marked
LEAST_SHARE = 0.005  # of the patches, that a word must win to be proposed
TEMPLATES = "simple7"  # for hundreds of words a tenth of the time of 80, and their order is nearly the same


@lru_cache
def reference_words() -> tuple[str, ...]:
    """The words of the benchmarks' lists, each once."""
    lists = [parse_vocabulary(text) for text in vocabulary_presets().values()]
    words = dict.fromkeys(word.casefold() for classes in lists for group in classes for word in group)
    return tuple(word for word in words if word != BACKGROUND_NAME)


@lru_cache
def candidate_words(clip_name: str) -> Classes:
    """Among what words are found where nobody names others: what this CLIP was trained on, where that is known, else
    the reference vocabulary."""
    spec = CLIP_MODELS.get(clip_name)
    if spec and spec.trained_on:
        return parse_vocabulary((BUILTIN_FOLDER / spec.trained_on).read_text(encoding="utf-8"))
    return tuple((word,) for word in reference_words())


def presence_of(tokens: torch.Tensor, queries: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """(Q,) in 0..1: the presence of each query in the picture of these patches.

    tokens: (B, E, h, w), of any length. queries: (Q, E), reference: (R, E), of unit length.
    """
    centred = torch.cat([queries, reference]) - reference.mean(dim=0)
    standing = torch.full_like(centred[:, 0], float("-inf"))
    for window in tokens:  # one at a time: all words at all patches of a large picture would fill the memory
        checkpoint()
        scores = centred @ window.flatten(1)  # (Q + R, h * w), in an unknown unit,
        # which is that of the reference as well: its standard deviation, as its mean is 0 now
        spread = torch.linalg.vector_norm(scores[len(queries) :], dim=0) / (len(reference) - 1) ** 0.5
        standing = torch.maximum(standing, (scores / spread.clamp_min(1e-12)).amax(dim=1))
    ours, theirs = standing[: len(queries)], standing[len(queries) :].sort().values
    return torch.searchsorted(theirs, ours) / len(theirs)


def best_of_class(values: torch.Tensor, query_class: torch.Tensor) -> torch.Tensor:
    """(Q,) -> (K,): the highest value among the queries of each class."""
    classes = values.new_full((int(query_class.max()) + 1,), float("-inf"))
    return classes.scatter_reduce(0, query_class, values, "amax")


def winners(values: torch.Tensor, query_class: torch.Tensor, present: torch.Tensor) -> list[int]:
    """The classes that are present and win LEAST_SHARE of the patches or more among these, the largest first.

    values: (B, Q, h, w) logits. present: (K,) bool.
    """
    queries = present[query_class].nonzero().flatten()
    if not len(queries):
        return []
    best = query_class[queries[values[:, queries].argmax(dim=1)]].flatten()  # (N,)
    areas = torch.bincount(best, minlength=len(present))
    order = areas.argsort(descending=True, stable=True)
    return order[areas[order] >= LEAST_SHARE * len(best)].tolist()
