"""Train the built-in CLIP from captions alone: which words are in the picture, never where.

Three stages on one clock. Names: single drawings on simple grounds, because an untrained network learns stuff from
whole scenes at once, and things hardly at all. Tiles: close-ups and crops of scenes, each with its own caption, tiled
into larger windows. In both, each class has a trainable vector in place of a text embedding (all of them are `table`),
as contrastive training of two untrained towers stalls. Text: the text tower is trained to give these vectors'
directions for every word in every template.

From the first step the loss is computed from the last block's class token and from the mean of its values, over tiles
also from its values patch by patch. That aligns the values with the words, which proxy attention relies on.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assets.builtin.recipe.captions import Prompts, caption_losses
from assets.builtin.recipe.close_ups import CloseUps
from assets.builtin.recipe.drawings import load_things
from assets.builtin.recipe.optimise import descend, follow, new_optimisers, read_checkpoint, write_checkpoint
from assets.builtin.recipe.pools import Batch, ScenePool, class_words
from assets.builtin.recipe.scoring import pair
from assets.builtin.recipe.towers import (
    class_embedding,
    clip_text,
    clip_tokens,
    clip_values,
    fast_attention,
    project,
    smooth_positions,
)
from proxyclip_core.models.registry import OPENAI_MEAN, OPENAI_STD
from proxyclip_core.models.vit import Network, normalise

CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 280, "layers": 6, "width": 192, "head_width": 64, "patch_size": 14},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 3},
}
STAGES = {"names": 0.15, "tiles": 0.95, "text": 1.0}  # until which share of the clock
RATES = {"names": 3e-3, "tiles": 2.5e-3, "text": 2e-3}
# (side of a tile, tiles across, pictures in a batch, zoom into a scene or None for close-ups, how often)
APART = (
    (56, 1, 224, None, 1.5),
    (56, 2, 60, None, 1.0),
    (56, 3, 28, None, 1.0),
    (84, 2, 28, None, 1.0),
    (112, 1, 60, None, 1.0),
    (168, 1, 24, None, 0.8),
    (224, 1, 14, None, 1.2),
    (112, 2, 14, None, 0.5),
    (56, 5, 10, None, 0.5),
    (70, 4, 9, (0.8, 1.2), 0.8),
    (112, 2, 14, (0.8, 1.4), 0.8),
    (140, 1, 36, (0.8, 1.4), 0.8),
    (140, 2, 9, (0.8, 1.4), 0.8),
)
# the same with neighbouring tiles of one scene: what the app will see, with a caption for every part of it
TOGETHER = (
    (56, 4, 16, (0.9, 1.4), 1.0),
    (70, 4, 9, (1.0, 1.4), 1.5),
    (112, 3, 6, (1.2, 1.5), 1.5),
    (84, 4, 6, (1.2, 1.5), 1.5),
    (56, 6, 6, (1.2, 1.5), 1.5),
)
TILES = [(False, *row) for row in APART] + [(True, *row) for row in TOGETHER]


def new_clip() -> Network:
    """An untrained CLIP with smooth position embeddings."""
    cfg = copy.deepcopy(CONFIG)
    model = open_clip.CLIP(cfg["embed_dim"], cfg["vision_cfg"], cfg["text_cfg"])
    native = CONFIG["vision_cfg"]["image_size"] // CONFIG["vision_cfg"]["patch_size"]
    model.visual.positional_embedding.data.copy_(smooth_positions(native, CONFIG["vision_cfg"]["width"], 0.1))
    return model


class ClipTrainer:
    """Model, averaged weights, optimisers and clock; everything that a checkpoint holds."""

    def __init__(
        self,
        pool: ScenePool,
        close_ups: CloseUps,
        seconds: float,
        device: str,
        seed: int,
        folder: Path,
        watch: Callable[[Network, Tensor], float],
    ) -> None:
        torch.manual_seed(seed)
        self.pool, self.close_ups, self.seconds, self.device, self.folder = pool, close_ups, seconds, device, folder
        self.watch = watch  # called now and then with the averaged model and the class vectors -> a score for the log
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.model = new_clip().to(device)
        self.model.logit_scale.data.fill_(math.log(16))
        self.table = nn.Parameter(torch.randn(pool.classes, CONFIG["embed_dim"], device=device))
        self.nothing = nn.Parameter(torch.randn(CONFIG["embed_dim"], device=device))
        self.frequency = torch.full((pool.classes + 1,), 1 / pool.classes, device=device)  # of classes in captions
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.prompts: Prompts  # made when the text stage begins
        self.spent, self.steps, self.stage = 0.0, 0, ""
        self.log: list[dict[str, Any]] = []

    def start_from(self, finished: Network) -> None:
        """Go on from finished weights. They know the names, and their words' embeddings are the table."""
        self.model.load_state_dict(finished.state_dict())
        self.average.load_state_dict(self.model.state_dict())
        names = [[name] for name in class_words(load_things())]
        self.table.data = pair(finished).embed(names, templates="imagenet80").embeddings.clone().to(self.device)
        self.spent, self.stage = STAGES["names"] * self.seconds + 0.001, "finished"  # above it, however it is rounded

    def _enter(self, stage: str) -> None:
        """New optimisers; what one stage hands to the next."""
        if self.stage == "names":
            self._fold_centre()
        if stage == "text":  # for what the averaged vision tower sees
            self.model.load_state_dict(self.average.state_dict())
            self.prompts = Prompts(list(class_words(load_things()).values()), CONFIG["text_cfg"]["context_length"])
            text = [p for n, p in self.model.named_parameters() if not n.startswith(("visual.", "logit_scale"))]
            self.optimisers = new_optimisers(text)
        else:
            seeing = [*self.model.visual.parameters(), self.table, self.nothing, self.model.logit_scale]
            self.optimisers = new_optimisers(seeing, self.model.visual.transformer)
        self.stage, self.stage_steps = stage, 0

    @torch.no_grad()
    def _fold_centre(self) -> None:
        """The names stage centres each batch's embeddings; here the mean moves into the bias of ln_post for good."""
        whole, mean = self._see(self.close_ups.draw(self.rng, 512, 56).pictures.to(self.device))
        shift = (whole.mean(0) + mean.mean(0)) / 2
        self.model.visual.ln_post.bias.sub_(shift @ torch.linalg.pinv(self.model.visual.proj))

    def _see(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The class token's embedding and that of the mean value, (B, E) each, any length."""
        visual, patch = self.model.visual, CONFIG["vision_cfg"]["patch_size"]
        with torch.autocast(self.device, torch.bfloat16), fast_attention(pictures, patch):
            tokens = clip_tokens(visual, normalise(pictures, OPENAI_MEAN, OPENAI_STD))
            whole, mean = class_embedding(visual, tokens), project(visual, clip_values(visual, tokens).mean(1))
        return whole.float(), mean.float()

    def _name(self) -> dict[str, Tensor]:
        """Close-ups against all things. Without centring each batch's embeddings the accuracy does not rise."""
        batch = self.close_ups.draw(self.rng, 256, 56, plain=0.6)
        things = batch.present[:, : len(self.close_ups.names)].int().argmax(1).to(self.device)
        vectors, scale = F.normalize(self.table[: len(self.close_ups.names)], dim=-1), self.model.logit_scale.exp()
        seen = (F.normalize(part - part.mean(0), dim=-1) for part in self._see(batch.pictures.to(self.device)))
        return {name: F.cross_entropy(scale * part @ vectors.T, things) for name, part in zip(("class", "mean"), seen)}

    def _caption(self) -> dict[str, Tensor]:
        often = np.array([row[-1] for row in TILES])
        together, side, across, count, zoom, _ = TILES[self.rng.choice(len(TILES), p=often / often.sum())]
        if together:
            batch = self.pool.draw(self.rng, count, side * across, zoom, across)
        elif zoom:
            batch = self.pool.draw(self.rng, count * across**2, side, zoom)
        else:
            batch = self.close_ups.draw(self.rng, count * across**2, side, plain=0.45)
        batch = Batch(*(part.to(self.device) for part in (batch.pictures, batch.present, batch.plain, batch.regions)))
        named = torch.cat([batch.present, batch.plain[:, None]], 1).float().mean(0)
        self.frequency.lerp_(named.clamp(min=1e-4), max(0.01, 1 / (self.stage_steps + 1)))
        vectors, scale = F.normalize(self.table, dim=-1), self.model.logit_scale.exp()
        return caption_losses(self.model.visual, batch, across, vectors, self.nothing, scale, self.frequency)

    def _embed(self) -> dict[str, Tensor]:
        """Prompts against the table's directions."""
        prompts, classes = (part.to(self.device) for part in self.prompts.draw(self.rng, 256))
        target = F.normalize(self.table.detach(), dim=-1)
        with torch.autocast(self.device, torch.bfloat16):
            embedded = clip_text(self.model, prompts)
        direction = 1 - (embedded * target[classes]).sum(-1).mean()
        return {"word": F.cross_entropy(20 * embedded @ target.T, classes), "direction": 3 * direction}

    def _step(self, loss: Tensor, progress: float) -> None:
        """progress: of the stage, 0..1; the rate warms up and follows a cosine in each."""
        rate = RATES[self.stage] * min(1.0, (self.stage_steps + 1) / 50)
        if self.stage != "names":  # level for the first half, then down
            rate *= min(1.0, 0.03 + 2 * (1 - progress))
        descend(loss, self.optimisers, rate)
        self.model.logit_scale.data.clamp_(max=math.log(40))
        self.steps, self.stage_steps = self.steps + 1, self.stage_steps + 1
        follow(self.average, self.model, keep=min(0.985, 1 - 1 / self.stage_steps))

    def run(self, renew_every: float = 600.0, watch_every: float = 900.0) -> None:
        """Train to the end of the clock; painting scenes anew counts as training time."""
        renewed = saved = watched = self.spent
        noted: dict[str, float] = {}
        starts = dict(zip(STAGES, (0.0, *STAGES.values())))
        while self.spent < self.seconds:
            began = time.monotonic()
            share = self.spent / self.seconds
            stage = next(name for name, end in STAGES.items() if share < end)
            if stage != self.stage:
                self._enter(stage)
                noted = {}
            losses = {"names": self._name, "tiles": self._caption, "text": self._embed}[stage]()
            self._step(torch.stack([*losses.values()]).sum(), (share - starts[stage]) / (STAGES[stage] - starts[stage]))
            for name, loss in losses.items():
                noted[name] = 0.95 * noted.get(name, float(loss.detach())) + 0.05 * float(loss.detach())
            if self.steps % 50 == 0:
                self._note({name: round(value, 3) for name, value in noted.items()})
            if stage == "tiles" and self.spent - renewed > renew_every:
                self.pool.renew(0.3)
                renewed = self.spent
            if self.spent - saved > 120:
                self.save()
                saved = self.spent
            self.spent += time.monotonic() - began
            if stage == "tiles" and self.spent - watched > watch_every:  # outside the clock
                self._note({"val values": self.watch(self.average, F.normalize(self.table, dim=-1))})
                watched = self.spent
        self.save()

    def _note(self, figures: dict[str, float]) -> None:
        """A row of the log."""
        self.log.append({"minutes": round(self.spent / 60, 1), "steps": self.steps, "stage": self.stage} | figures)
        print(json.dumps(self.log[-1]), flush=True)

    def save(self) -> None:
        write_checkpoint(
            self.folder / "clip.pt",
            self.model,
            self.average,
            self.optimisers,
            heads=[self.table.data, self.nothing.data, self.frequency],
            clock=(self.spent, self.steps, self.log, self.stage, self.stage_steps),
        )

    def resume(self) -> bool:
        """Go on from the folder's checkpoint; False if there is none."""
        state = read_checkpoint(self.folder / "clip.pt", self.model, self.average, self.device)
        if state is None:
            return False
        self.table.data, self.nothing.data, self.frequency = state["heads"]
        self.spent, self.steps, self.log, stage, steps = state["clock"]
        self._enter(stage)
        self.model.load_state_dict(state["model"])  # a new text stage begins with the averaged weights
        for optimiser, kept in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(kept)
        self.stage_steps = steps
        self.rng = np.random.default_rng([self.seed, self.steps])  # or the first batches would come again
        return True
