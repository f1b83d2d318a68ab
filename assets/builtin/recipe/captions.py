"""The caption loss of the built-in CLIP, and the prompts that its text tower is trained on.

B pictures, N patches, D width, E embedding, K classes.
"""

from __future__ import annotations

import math

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from assets.builtin.recipe.pools import Batch
from assets.builtin.recipe.stuff import STUFF
from assets.builtin.recipe.towers import class_embedding, clip_tokens, clip_values, fast_attention, project
from proxyclip_core.models.registry import OPENAI_MEAN, OPENAI_STD
from proxyclip_core.models.vit import Network, normalise
from proxyclip_core.words import prompts_for

STUFF_WEIGHT = 8.0


def named(logits: Tensor, present: Tensor) -> Tensor:
    """Every present class against all absent ones; present ones do not compete. logits, present: B x K -> scalar."""
    absent = logits.masked_fill(present, -1e4).logsumexp(1, keepdim=True)
    loss = F.softplus(absent - logits) * present
    return (loss.sum(1) / present.sum(1).clamp(min=1)).mean()


def tile(pictures: Tensor, across: int) -> Tensor:
    """B * across^2 square pictures -> B pictures of across x across tiles."""
    rows = pictures.unflatten(0, (-1, across, across)).permute(0, 3, 1, 4, 2, 5)  # B, 3, row, y, column, x
    return rows.flatten(4, 5).flatten(2, 3)


def untile(values: Tensor, across: int) -> Tensor:
    """B x N x D of tiled pictures -> B * across^2 x P x D, P patches of one tile."""
    side = math.isqrt(values.shape[1]) // across
    split = values.unflatten(1, (across, side, across, side)).transpose(2, 3)
    return split.flatten(3, 4).flatten(0, 2)


def caption_losses(
    visual: Network, batch: Batch, across: int, vectors: Tensor, nothing: Tensor, scale: Tensor, frequency: Tensor
) -> dict[str, Tensor]:
    """The caption loss of pictures that are tiled across x across before they are seen, or that have so many captions.

    Each tile answers for its own caption alone. Attention crosses the tiles, so without them every patch learns to
    answer for the whole picture, and nothing is found in it. vectors: K x E unit; nothing: E, what unnamed grounds are;
    frequency: K + 1, how often captions name each class, and nothing. It is added to the logits here, so that the
    vectors need not encode it: a word such as sky, in every other caption, would otherwise win everywhere over one of
    559 things.
    """
    apart = len(batch.pictures) == len(batch.present)
    pictures, patch = tile(batch.pictures, across) if apart else batch.pictures, visual.conv1.kernel_size[0]
    with torch.autocast(batch.present.device.type, torch.bfloat16), fast_attention(pictures, patch):
        tokens = clip_tokens(visual, normalise(pictures, OPENAI_MEAN, OPENAI_STD))
        values = untile(clip_values(visual, tokens), across)  # T tiles x P x D
        parts = class_embedding(visual, tokens), project(visual, values.mean(1)), project(visual, values)
    whole, mean, places = (F.normalize(part.float(), dim=-1) for part in parts)  # T x E twice, T x P x E
    classes = torch.cat([vectors, F.normalize(nothing, dim=-1)[None]])
    prior = frequency.log()
    logits = scale * places @ classes.T  # T x P x (K + 1)
    allowed = torch.cat([batch.present, batch.plain[:, None]], 1)
    pooled = (logits + prior).logsumexp(1)[:, :-1] - math.log(logits.shape[1])
    inside = (logits + prior).masked_fill(~allowed[:, None], -1e4).logsumexp(-1) - (logits + prior).logsumexp(-1)
    shares = logits.masked_fill(~allowed[:, None], -1e4).softmax(-1).mean(1)  # T x (K + 1)
    missing = -((shares + 0.02).log() * allowed).sum(1) / allowed.sum(1)
    together = batch.present.unflatten(0, (-1, across**2)).any(1)
    return {
        "class": named(scale * whole @ vectors.T + prior[:-1], together) / across,  # one token for so many captions
        "mean": named(scale * mean @ vectors.T + prior[:-1], batch.present),
        "somewhere": named(pooled, batch.present),  # each word of the caption is matched by some patch
        "everywhere": -inside.mean(),  # each patch matches a word of the caption
        "shares": missing.mean(),  # and no word of the caption takes all patches
    }


class Prompts:
    """Every word of every class in every template, tokenised once.

    Words for stuff are drawn STUFF_WEIGHT times as often as words for things: stuff is in every scene, and its few
    words would otherwise be embedded least exactly.
    """

    def __init__(self, words: list[tuple[str, ...]], context_length: int) -> None:
        tokenizer = open_clip.SimpleTokenizer(context_length=context_length)
        rows = [(k, word) for k, group in enumerate(words) for word in group]
        prompts = [[*prompts_for(word, "imagenet80"), word, f"a {word}"] for _, word in rows]
        self.tokens = torch.stack([tokenizer(of_word) for of_word in prompts]).int()
        self.classes = torch.tensor([k for k, _ in rows])
        weight = np.where(self.classes.numpy() < len(words) - len(STUFF), 1.0, STUFF_WEIGHT)
        self.chance = weight / weight.sum()

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """-> prompts count x context, and the class of each."""
        row = torch.from_numpy(rng.choice(len(self.tokens), count, p=self.chance))
        template = torch.from_numpy(rng.integers(0, self.tokens.shape[1], count))
        return self.tokens[row, template].long(), self.classes[row]
