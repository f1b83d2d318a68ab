"""The method as the paper states it and its authors run it, with nothing saved: the plain baseline.

One window at a time, the attention matrix repeated for every head, text at the full 77 tokens, logits of all queries
at picture size. Written from the paper's formulas (Sec. 3); `proxyclip_core` must agree with it, and the benchmarks are
measured against it.

What it shares with `proxyclip_core` are the encoders up to the last features of the VFM and up to CLIP's last block.
The benchmarks load these with PROXYCLIP_PLAIN=1 and timm's unfused attention, so that they too are as in the authors'
code; up to 360fd2f the baseline ran with the CPU's faster kernels, and ratios from then are too low.

Axes: N patches, D CLIP width, Q queries, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from proxyclip_core.models.clip import ClipEncoder
from proxyclip_core.models.vfm import PatchEncoder
from proxyclip_core.words import templates_of


def text_embeddings(clip: ClipEncoder, queries: Sequence[str], templates: str = "imagenet80") -> torch.Tensor:
    """(Q, E): one query at a time, all its prompts at 77 tokens."""
    rows = []
    for query in queries:
        prompts = [template.replace("{}", query) for template in templates_of(templates)]
        embeddings = clip.network.encode_text(clip.tokenizer(prompts).to(clip.device), normalize=True)
        rows.append(F.normalize(embeddings.mean(dim=0), dim=0))
    return torch.stack(rows).float()


def window_logits(
    clip: ClipEncoder, vfm: PatchEncoder, window: torch.Tensor, text: torch.Tensor, beta: float, gamma: float
) -> torch.Tensor:
    """One padded window (1, 3, H, W) in 0..1 -> (1, Q, H, W) cosine logits at its pixels."""
    tokens = clip.encode_windows(window)
    rows, columns = clip.grid_of((window.shape[-2], window.shape[-1]))
    block, tower = clip.last_block, clip.network.visual
    heads, width = block.attn.num_heads, tokens.shape[-1]
    value = F.linear(block.ln_1(tokens), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)[2]
    features = vfm.encode_windows(window)
    grid = features.shape[-2:]
    maps = value[:, 1:].transpose(1, 2).reshape(1, width, rows, columns)
    maps = F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
    value = maps.reshape(heads, width // heads, -1).transpose(1, 2)  # (heads, N, D / heads)

    unit = F.normalize(features.flatten(2), dim=1)
    similarity = unit.transpose(1, 2) @ unit  # (1, N, N)
    scores = (similarity - similarity.mean() * beta) * gamma
    keep = torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill((scores < 0) & ~keep, float("-inf"))
    attention = scores.repeat(heads, 1, 1).softmax(dim=-1)
    attended = torch.bmm(attention, value).transpose(0, 1).reshape(1, -1, width)

    dense = tower.ln_post(block.attn.out_proj(attended)) @ tower.proj
    cosine = F.normalize(dense, dim=-1) @ text.T  # (1, N, Q)
    cosine = cosine.transpose(1, 2).reshape(1, len(text), *grid)
    return F.interpolate(cosine, size=window.shape[-2:], mode="bilinear", align_corners=False)


@torch.no_grad()
def picture_logits(
    clip: ClipEncoder,
    vfm: PatchEncoder,
    picture: np.ndarray,
    text: torch.Tensor,
    size_hw: tuple[int, int],
    beta: float = 1.2,
    gamma: float = 3.0,
    crop: int = 336,
    stride: int = 112,
) -> torch.Tensor:
    """picture (h, w, 3) uint8, already resized -> (Q, *size_hw) logits, mean over overlapping windows."""
    device = clip.device
    mean, std = (torch.tensor(numbers, device=device).view(1, 3, 1, 1) for numbers in (clip.mean, clip.std))
    pixels = (torch.from_numpy(picture.copy()).to(device).permute(2, 0, 1)[None].float() / 255 - mean) / std
    height, width = pixels.shape[-2:]
    total = torch.zeros(1, len(text), height, width, device=device)
    count = torch.zeros(1, 1, height, width, device=device)
    for row in range(max(height - crop + stride - 1, 0) // stride + 1):
        for column in range(max(width - crop + stride - 1, 0) // stride + 1):
            bottom, right = min(row * stride + crop, height), min(column * stride + crop, width)
            top, left = max(bottom - crop, 0), max(right - crop, 0)
            window = pixels[:, :, top:bottom, left:right]
            missing_y, missing_x = ((-side) % 56 for side in window.shape[-2:])
            before_y, before_x = missing_y // 2, missing_x // 2
            padded = F.pad(window, (before_x, missing_x - before_x, before_y, missing_y - before_y))
            logits = window_logits(clip, vfm, padded * std + mean, text, beta, gamma)
            logits = logits[:, :, before_y : before_y + bottom - top, before_x : before_x + right - left]
            total[:, :, top:bottom, left:right] += logits
            count[:, :, top:bottom, left:right] += 1
    return F.interpolate(total / count, size=size_hw, mode="bilinear", align_corners=False)[0]


def labels(
    logits: torch.Tensor, query_class: torch.Tensor, threshold: float = 0.0, scale: float = 40.0
) -> tuple[np.ndarray, np.ndarray]:
    """(Q, H, W) logits -> (H, W) labels and confidence: softmax over queries, the best synonym of each class."""
    scores = (logits * scale).softmax(dim=0)
    classes = torch.stack([scores[query_class == index].amax(dim=0) for index in range(int(query_class.max()) + 1)])
    confidence, best = classes.max(dim=0)
    best[confidence < threshold] = 0
    return best.numpy(), confidence.numpy()
