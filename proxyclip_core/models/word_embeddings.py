"""Words to embeddings: the mean over a set of templates, by a text tower that reads only words it has not seen.

Q words, E embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from proxyclip_core.models.clip import ClipEncoder, Progress
from proxyclip_core.presence import TEMPLATES as PLAIN
from proxyclip_core.words import prompts_for, templates_of


def embed_words(clip: ClipEncoder, words: Sequence[str], templates: str, progress: Progress = iter) -> torch.Tensor:
    """(Q, E) of unit length, on the CLIP's device. progress: wraps the batches of new words, as tqdm does."""
    clip.notice_changes()
    cache = clip.word_cache
    known = {word: found for word in words if cache and (found := cache.get(word, templates)) is not None}
    new = [word for word in dict.fromkeys(words) if word not in known]
    if new:
        prompts = [prompt for word in new for prompt in prompts_for(word, templates)]
        embeddings = clip.encode_text(prompts, progress).unflatten(0, (len(new), -1))  # (new, templates, E)
        means = _means(embeddings, templates)
        known |= zip(new, means[templates])
        if cache:
            for name, found in means.items():
                for word, embedding in zip(new, found):
                    cache.put(word, name, embedding)
    return torch.stack([known[word] for word in words]).to(clip.device)


def _means(embeddings: torch.Tensor, templates: str) -> dict[str, torch.Tensor]:
    """(Q, templates, E) -> (Q, E) on the CPU, by template set: also of the one in which `presence` asks for each word,
    where its sentences are among these."""
    sentences, plain = templates_of(templates), templates_of(PLAIN)
    means = {templates: embeddings.mean(dim=1)}
    if templates != PLAIN and set(plain) <= set(sentences):
        means[PLAIN] = embeddings[:, [sentences.index(one) for one in plain]].mean(dim=1)
    return {name: F.normalize(found, dim=-1).cpu() for name, found in means.items()}
