"""ProxyCLIP in one small file, for scoring while training; the app's own code is proxyclip_core.

N patches of the VFM, M patches of CLIP, D width, E embedding, Q words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from towers import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    clip_class,
    clip_text,
    clip_tokens,
    clip_values,
    normalise,
    read_out,
    vfm_patches,
)


@dataclass(frozen=True)
class Reading:
    """How a scene is read: the resize, the window, proxy attention's two numbers."""

    short_side: int = 336
    window: int = 336
    stride: int = 112
    beta: float = 1.2
    gamma: float = 3.0


class Towers:
    """A CLIP and some VFMs, ready to read pictures with."""

    def __init__(self, clip: nn.Module, vfms: dict[str, nn.Module]) -> None:
        self.clip, self.vfms = clip.eval(), {name: vfm.eval() for name, vfm in vfms.items()}
        self.tokenizer = open_clip.SimpleTokenizer(context_length=clip.context_length)
        self._said: dict[str, Tensor] = {}

    @classmethod
    def read(cls, folder: Path, vfms: tuple[str, ...] = ("vfm_patch8", "vfm_patch4")) -> Towers:
        """The weights of one folder, with as many of the VFMs as it holds."""
        networks: dict[str, nn.Module] = {"clip": open_clip.CLIP(**json.loads((folder / "clip.json").read_text()))}
        for name in vfms:
            if (folder / f"{name}.safetensors").exists():
                networks[name] = VisionTransformer(**json.loads((folder / f"{name}.json").read_text()))
        for name, network in networks.items():
            network.load_state_dict(load_file(folder / f"{name}.safetensors"))
        return cls(networks.pop("clip"), networks)

    def teach(self, words: list[str], vectors: Tensor) -> None:
        """Let these unit vectors, Q x E, stand for the words in place of what the text tower says."""
        self._said |= dict(zip(words, vectors))

    @torch.no_grad()
    def say(self, words: list[str]) -> Tensor:
        """Words -> Q x E, each the mean over open_clip's templates."""
        for word in words:
            if word not in self._said:
                prompts = self.tokenizer([template(word) for template in open_clip.OPENAI_IMAGENET_TEMPLATES])
                self._said[word] = F.normalize(clip_text(self.clip, prompts).mean(0), dim=-1)
        return torch.stack([self._said[word] for word in words])

    @torch.no_grad()
    def whole(self, pictures: Tensor) -> Tensor:
        """B x 3 x H x W in 0..1 -> B x E."""
        return clip_class(self.clip.visual, clip_tokens(self.clip.visual, normalise(pictures, CLIP_MEAN, CLIP_STD))[0])


def proxy_attention(features: Tensor, beta: float, gamma: float) -> Tensor:
    """Unit features N x D -> weights N x N (equations 6 and 7)."""
    similarity = features @ features.T
    scores = (similarity - beta * similarity.mean()) * gamma
    masked = (scores < 0) & ~torch.eye(len(scores), dtype=torch.bool)
    return scores.masked_fill(masked, float("-inf")).softmax(-1)


def read_window(towers: Towers, pixels: Tensor, words: Tensor, how: str, reading: Reading) -> Tensor:
    """3 x H x W in 0..1, sides multiples of 56 -> logits Q x H x W. how: 'clip', 'values' or a VFM's name."""
    visual, size = towers.clip.visual, pixels.shape[1:]
    tokens, grid = clip_tokens(visual, normalise(pixels[None], CLIP_MEAN, CLIP_STD))
    if how == "clip":  # its own attention, its residual and its MLP
        out = visual.ln_post(visual.transformer.resblocks[-1](tokens)[:, 1:]) @ visual.proj
        dense = F.normalize(out[0], dim=-1)
    else:
        values = clip_values(visual, tokens)[0]  # M x D
        if how != "values":
            vfm = towers.vfms[how]
            patch = vfm.patch_embed.patch_size[0]
            fine = (size[0] // patch, size[1] // patch)
            square = values.T.unflatten(1, grid)[None]
            values = F.interpolate(square, fine, mode="bilinear").flatten(2)[0].T
            features = vfm_patches(vfm, normalise(pixels[None], IMAGENET_MEAN, IMAGENET_STD))[0]
            values, grid = proxy_attention(features, reading.beta, reading.gamma) @ values, fine
        dense = read_out(visual, values)
    logits = (dense @ words.T).T.unflatten(1, grid)
    return F.interpolate(logits[None], size, mode="bilinear")[0]


def _starts(side: int, window: int, stride: int) -> list[int]:
    return sorted({min(start, max(side - window, 0)) for start in range(0, max(side - window, 0) + stride, stride)})


@torch.no_grad()
def logits_of(towers: Towers, picture: np.ndarray, words: list[str], how: str, reading: Reading) -> Tensor:
    """H x W x 3 uint8 -> Q x H x W: the likeness of every pixel to every word."""
    pixels = torch.tensor(picture).permute(2, 0, 1).float()[None] / 255
    scale = reading.short_side / min(picture.shape[:2])
    height, width = (round(side * scale) for side in picture.shape[:2])
    pixels = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True).clamp(0, 1)[0]
    said = towers.say(words)
    total, count = torch.zeros(len(words), height, width), torch.zeros(height, width)
    for y in _starts(height, reading.window, reading.stride):
        for x in _starts(width, reading.window, reading.stride):
            part = pixels[:, y : y + reading.window, x : x + reading.window]
            h, w = part.shape[1:]
            top, left = (-h % 56) // 2, (-w % 56) // 2
            padded = F.pad(part[None], (left, -w % 56 - left, top, -h % 56 - top), mode="replicate")[0]
            logits = read_window(towers, padded, said, how, reading)[:, top : top + h, left : left + w]
            total[:, y : y + h, x : x + w] += logits
            count[y : y + h, x : x + w] += 1
    return F.interpolate((total / count)[None], picture.shape[:2], mode="bilinear")[0]
