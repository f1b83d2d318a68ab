"""Train the built-in vision foundation models without any word: patches of one region are alike, others are not.

The regions are class-agnostic, as the masks that SAM learns from. A patch on a border belongs to each region by the
share of its pixels, so the target similarity of two patches is the cosine of their shares.

B pictures, N patches, R regions of a picture.
"""

from __future__ import annotations

import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from assets.builtin.recipe.optimise import descend, follow, new_optimisers, read_checkpoint, write_checkpoint
from assets.builtin.recipe.pools import ScenePool
from assets.builtin.recipe.towers import fast_attention, smooth_positions, vfm_patches
from proxyclip_core.attention import similarity_mean
from proxyclip_core.models.registry import IMAGENET_MEAN, IMAGENET_STD
from proxyclip_core.models.vit import Network, normalise

CONFIGS: dict[str, dict[str, Any]] = {
    "vfm_patch8": {"img_size": 280, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4, "num_classes": 0},
    "vfm_patch4": {"img_size": 140, "patch_size": 4, "embed_dim": 128, "depth": 5, "num_heads": 4, "num_classes": 0},
}
LEARNING_RATE = 2e-3
# (window, pictures in a batch, zoom, how often)
WINDOWS = {
    "vfm_patch8": (
        (112, 24, (0.75, 1.3), 1),
        (168, 10, (0.75, 1.3), 2),
        (280, 4, (0.9, 1.3), 2),
        (336, 3, (1.0, 1.2), 4),
    ),
    "vfm_patch4": (
        (56, 24, (0.8, 1.3), 1),
        (112, 6, (0.75, 1.3), 2),
        (168, 3, (0.75, 1.3), 2),
        (252, 1, (0.9, 1.3), 2),
        (336, 1, (1.0, 1.2), 2),
    ),
}
MOST_REGIONS = 48
MOST_ROWS = 400
BETAS, GAMMA = (1.0, 1.6), 3.0  # the paper's range and its number: the attention is trained for these
MASK_STEEPNESS = 30.0


def new_vfm(name: str) -> VisionTransformer:
    """An untrained network with smooth position embeddings."""
    cfg = CONFIGS[name]
    model: Network = VisionTransformer(**cfg)
    model.pos_embed.data.copy_(smooth_positions(cfg["img_size"] // cfg["patch_size"], cfg["embed_dim"])[None])
    return model


def target_similarity(regions: Tensor, patch: int) -> Tensor:
    """B x S x S region numbers -> B x N x N: cosine of the patches' shares of regions."""
    cells = regions.long().clamp(max=MOST_REGIONS - 1).unflatten(1, (-1, patch)).unflatten(3, (-1, patch))
    inside = cells.transpose(2, 3).flatten(3).flatten(1, 2)  # B x N x patch^2
    shares = torch.zeros(*inside.shape[:2], MOST_REGIONS, device=regions.device)
    shares.scatter_add_(2, inside, torch.ones(1, device=regions.device).expand_as(inside))
    shares = F.normalize(shares, dim=-1)
    return shares @ shares.transpose(1, 2)


def region_loss(features: Tensor, target: Tensor, beta: float) -> Tensor:
    """Unit features B x N x D against target similarity B x N x N.

    The share of each patch's proxy attention that stays in its region (equations 6 and 7, with a soft mask), and a pull
    of the similarities to the target itself. Every patch counts the more, the smaller its region: small things would
    otherwise drown in the sky.
    """
    rows = torch.randperm(features.shape[1])[:MOST_ROWS]  # large windows: a sample of the patches against all
    similarity, target = features[:, rows] @ features.transpose(1, 2), target[:, rows]
    above = similarity - beta * similarity_mean(features.detach())[:, None, None]
    scores = GAMMA * above + F.logsigmoid(MASK_STEEPNESS * above)
    attended = scores.logsumexp(-1) - (scores + target.clamp(min=1e-6).log()).logsumexp(-1)
    alike, unlike = target.sum(-1), (1 - target).sum(-1).clamp(min=1)
    error = (similarity - target) ** 2
    per_patch = attended + (error * target).sum(-1) / alike + 3 * (error * (1 - target)).sum(-1) / unlike
    weight = alike.rsqrt()
    return (per_patch * weight).sum() / weight.sum()


class VfmTrainer:
    """One network, its optimiser, its averaged weights and its clock."""

    def __init__(self, name: str, pool: ScenePool, seconds: float, device: str, seed: int, folder: Path) -> None:
        torch.manual_seed(seed)
        self.name, self.pool, self.seconds, self.device, self.folder = name, pool, seconds, device, folder
        self.rng = np.random.default_rng(seed)
        self.model = new_vfm(name).to(device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimisers = new_optimisers(self.model.parameters(), self.model.blocks)
        self.spent, self.steps = 0.0, 0
        self.log: list[dict[str, Any]] = []

    def start_from(self, coarser: Network) -> None:
        """Take over the blocks of a network with larger patches; patch and position embeddings are learnt anew."""
        for mine, theirs in zip(self.model.blocks, coarser.blocks, strict=False):
            mine.load_state_dict(theirs.state_dict())
        self.model.norm.load_state_dict(coarser.norm.state_dict())
        self.average.load_state_dict(self.model.state_dict())

    def go_on_from(self, finished: Network) -> None:
        """Finished weights of the same network."""
        self.model.load_state_dict(finished.state_dict())
        self.average.load_state_dict(self.model.state_dict())

    def _step(self) -> float:
        windows = WINDOWS[self.name]
        often = np.array([w[-1] for w in windows], float)
        side, count, zoom, _ = windows[self.rng.choice(len(windows), p=often / often.sum())]
        batch = self.pool.draw(self.rng, count, side, zoom)
        pictures = normalise(batch.pictures, IMAGENET_MEAN, IMAGENET_STD).to(self.device)
        patch = self.model.patch_embed.patch_size[0]
        with torch.autocast(self.device, torch.bfloat16), fast_attention(pictures, patch):
            features = vfm_patches(self.model, pictures)
        target = target_similarity(batch.regions.to(self.device), patch)
        loss = region_loss(features, target, self.rng.uniform(*BETAS))
        p = min(1.0, self.spent / self.seconds)
        rate = LEARNING_RATE * min(1.0, p / 0.03 + 0.02) * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * p)))
        descend(loss, self.optimisers, rate)
        follow(self.average, self.model, keep=min(0.99, 1 - 1 / (self.steps + 1)))
        self.steps += 1
        return float(loss.detach())

    def run(self) -> None:
        """Train until the clock is full."""
        noted = None
        while self.spent < self.seconds:
            began = time.monotonic()
            loss = self._step()
            noted = loss if noted is None else 0.98 * noted + 0.02 * loss
            if self.steps % 50 == 0:
                row = {"minutes": round(self.spent / 60, 1), "steps": self.steps, "region": round(noted, 3)}
                self.log.append(row)
                print(self.name, json.dumps(row), flush=True)
            if self.steps % 200 == 0:
                self.save()
            self.spent += time.monotonic() - began
        self.save()

    def save(self) -> None:
        path, clock = self.folder / f"{self.name}.pt", (self.spent, self.steps, self.log)
        write_checkpoint(path, self.model, self.average, self.optimisers, clock=clock)

    def resume(self) -> bool:
        """Go on from the folder's checkpoint; False if there is none."""
        state = read_checkpoint(self.folder / f"{self.name}.pt", self.model, self.average, self.device)
        if state is None:
            return False
        for optimiser, kept in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(kept)
        self.spent, self.steps, self.log = state["clock"]
        return True
