"""Choose on val what training leaves open: how much is kept of the weights it went on from, how far things are favoured
over stuff, and the settings that suit the pair."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import proxyclip_core as pc
from assets.builtin.recipe.canvas import Scene
from assets.builtin.recipe.drawings import load_things
from assets.builtin.recipe.scoring import PAPER, distractors_for, pair, split_bank, split_scenes
from assets.builtin.recipe.stuff import STUFF
from assets.builtin.recipe.weights import read_networks, save_weights
from proxyclip_core.evaluation import score_rows, score_scenes
from proxyclip_core.models.vit import Network

# side, windows; at larger sides patch 4, with four times as many patches as patch 8, takes over ten seconds a scene
VIEWS = ((280, "whole"), (336, "whole"), (336, "sliding"))
BETAS, GAMMAS = (1.0, 1.2, 1.6, 2.0), (3.0, 5.0, 8.0, 12.0, 18.0)
KEPT = (0.0, 0.25, 0.5, 0.75)  # of the weights that training went on from
SHARES = (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def stuff_direction(model: pc.ProxyCLIP, scenes: Sequence[Scene]) -> Tensor:
    """(D,) what the bias of CLIP's last norm loses so that every patch's embedding loses as much as it is long on
    average, towards what all stuff has in common and things have not.

    Things of an unseen style are recognised less surely than stuff, which is drawn by the same formulas everywhere, and
    so would lose to it. A share of this direction, taken off, makes up for that.
    """
    things = model.embed([[thing.name] for thing in load_things()]).embeddings.mean(0)
    towards = model.embed([[name] for name in STUFF]).embeddings.mean(0) - things
    dense = [model.fuse(model.encode(scene.picture, windows="whole"), fusion="values") for scene in scenes[:4]]
    visual: Network = model.clip.network.visual
    length = torch.stack([features.tokens.norm(dim=1).mean() for features in dense]).mean()
    return length * (towards / towards.norm()) @ torch.linalg.pinv(visual.proj.data)


def balance(folder: Path, work: Path, start: Path | None, vfm: str = "vfm_patch8", count: int = 21) -> list[dict]:
    """Choose on val, and write into CLIP's weights, how far things are favoured and, where training went on from other
    weights, how much of those is kept; -> everything tried, in percent.

    What counts is the sum of the mIoU with the scene's own words and the one among others: the former alone would
    favour things too far.
    """
    networks, scenes = read_networks(folder), split_scenes(split_bank(work, "val"), "val", count)
    trained, others = networks["clip"].state_dict(), distractors_for(scenes)
    begun = read_networks(start)["clip"].state_dict() if start else trained
    tried: list[dict] = []
    blends: dict[float, tuple[Network, Tensor, Tensor]] = {}  # kept -> network, its bias, its stuff direction
    for kept in KEPT if start else (0.0,):
        clip = copy.deepcopy(networks["clip"])
        clip.load_state_dict({name: torch.lerp(trained[name], begun[name], kept) for name in trained})
        blends[kept] = clip, clip.visual.ln_post.bias.data.clone(), stuff_direction(pair(clip), scenes)

    def favour_things(kept: float, share: float) -> Network:
        clip, bias, direction = blends[kept]
        clip.visual.ln_post.bias.data = bias - share * direction
        return clip

    def score(choice: tuple[float, float]) -> float:
        model = pair(favour_things(*choice), networks[vfm])
        scores = score_rows(model, scenes, ["proxy"], (0, others), **PAPER)
        alone, among = (round(100 * scores["proxy", words].miou, 1) for words in (0, others))
        tried.append({"kept": choice[0], "share": choice[1], "miou": alone, f"miou among {others} others": among})
        print("balance", tried[-1], flush=True)
        return alone + among

    scored = {choice: score(choice) for choice in product(blends, SHARES)}
    kept, share = max(scored, key=scored.__getitem__)
    scored |= {choice: score(choice) for choice in ((kept, share - 0.1), (kept, share + 0.1))}
    best = max(scored, key=scored.__getitem__)
    save_weights(favour_things(*best).state_dict(), folder / "clip.safetensors")
    return tried


class GivenWords(pc.ProxyCLIP):
    """A CLIP whose text tower is not trained yet: vectors given beforehand stand in for its words.

    vectors: word -> (E,) of unit length.
    """

    def __init__(self, clip: pc.ClipEncoder, vectors: dict[str, Tensor]) -> None:
        super().__init__(clip, None, fusion="values", templates="none")
        self.vectors = vectors

    def embed(self, *arguments: Any, **options: Any) -> pc.Vocabulary:
        vocabulary = super().embed(*arguments, **options)
        return replace(vocabulary, embeddings=torch.stack([self.vectors[word] for word in vocabulary.queries]))


class Watch:
    """How well CLIP's values alone, with things favoured, name what is in `count` val scenes: a learning curve."""

    def __init__(self, work: Path, count: int = 12, shares: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)) -> None:
        self.scenes, self.shares = split_scenes(split_bank(work, "val"), "val", count), shares
        self.names = [*(thing.name for thing in load_things()), *STUFF]

    def __call__(self, clip: Network, vectors: Tensor) -> float:
        """vectors (K, E) unit, one for every class of EmojiScenes -> mIoU in percent, at the best share."""
        clip = copy.deepcopy(clip).cpu()
        words = dict(zip(self.names, vectors.detach().cpu()))

        def model() -> pc.ProxyCLIP:
            return GivenWords(pair(clip).clip, words)

        bias, direction = clip.visual.ln_post.bias.data, stuff_direction(model(), self.scenes)
        found = []
        for share in self.shares:
            clip.visual.ln_post.bias.data = bias - share * direction
            found.append(score_scenes(model(), self.scenes).miou)
        return round(100 * max(found), 1)


def choose_settings(
    networks: dict[str, Network], scenes: Sequence[Scene], vfm: str = "vfm_patch8"
) -> tuple[dict[str, Any], list[dict]]:
    """-> the settings with the highest mIoU on these scenes, and every one tried."""
    model, tried = pair(networks["clip"], networks[vfm]), []

    def miou(settings: dict[str, Any]) -> float:
        score = score_scenes(model, scenes, **settings)
        tried.append(settings | {"miou": score.miou, "border f": score.border_f})
        return score.miou

    best = max([PAPER | {"side": side, "windows": windows} for side, windows in VIEWS], key=miou)
    best = max([best | {"beta": beta} for beta in BETAS], key=miou)
    return max([best | {"gamma": gamma} for gamma in GAMMAS], key=miou), tried
