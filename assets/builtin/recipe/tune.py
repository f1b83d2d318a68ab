"""Choose on val what training leaves open: the mean with the weights it went on from, the balance of things and stuff,
and how a scene is read."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import torch
from drawings import load_things
from evaluate import score_scenes, split_bank, split_scenes
from method import Reading, Towers
from scenes import Scene
from stuff import STUFF
from torch import Tensor, nn
from torch.nn import functional as F
from towers import CLIP_MEAN, CLIP_STD, clip_tokens, clip_values, normalise, save_halves

# the whole picture in one window; the app's own; smaller windows that overlap by half
VIEWS = ((280, 2048, 2048), (336, 2048, 2048), (448, 2048, 2048), (336, 336, 112), (280, 168, 84))
KEPT = (0.0, 0.25, 0.5, 0.75)  # of the weights that training went on from
BIAS = "visual.ln_post.bias"
SHIFTS = (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BETAS, GAMMAS = (1.0, 1.2, 1.6, 2.0), (3.0, 5.0, 8.0, 12.0, 18.0)


def lean_to_things(towers: Towers, scenes: list[Scene], share: float) -> None:
    """Take from every embedding of a picture `share` of the common length along the stuffs' common direction.

    Things of a style that was never seen are known less surely than stuff, which is drawn by the same formulas
    everywhere, and so would lose to it. The shift goes into the bias of CLIP's last norm.
    """
    visual, names = towers.clip.visual, [thing.name for thing in load_things()]
    toward = towers.say(list(STUFF)).mean(0) - towers.say(names).mean(0)
    toward = (toward / toward.norm()) @ torch.linalg.pinv(visual.proj.data)
    visual.ln_post.bias.data = visual.ln_post.bias.data - share * embedding_length(towers, scenes) * toward


def balance(folder: Path, work: Path, start: Path | None, how: str = "vfm_patch8", count: int = 21) -> list[dict]:
    """Choose on val and write into CLIP's weights how far they lean to the things and, where training went on from
    other weights, how much of those they keep; -> everything tried.

    The mean of the two knows drawings that were not seen better than either. What counts is the mean of the mIoU with
    the scene's own words and the one among 40 others: the former alone would lean too far.
    """
    towers, scenes = Towers.read(folder), split_scenes(split_bank(work, "val"), "val", count)
    trained = copy.deepcopy(towers.clip.state_dict())
    begun = Towers.read(start).clip.state_dict() if start else trained
    tried: list[dict] = []

    def blend(kept: float) -> Towers:
        clip = copy.deepcopy(towers.clip)
        clip.load_state_dict({name: torch.lerp(trained[name], begun[name], kept) for name in trained})
        return Towers(clip, towers.vfms)

    blends = {kept: blend(kept) for kept in (KEPT if start else (0.0,))}  # each says its words once, for all shifts

    def lean(kept: float, shift: float) -> Towers:
        norm = blends[kept].clip.visual.ln_post
        norm.bias.data = torch.lerp(trained[BIAS], begun[BIAS], kept)
        lean_to_things(blends[kept], scenes, shift)
        return blends[kept]

    def score(pair: tuple[float, float]) -> float:
        alone, among = score_scenes(lean(*pair), scenes, how, Reading())
        row = {"kept": pair[0], "shift": pair[1], "miou": alone["miou"], "miou among 40 others": among["miou"]}
        print("balance", row, flush=True)
        tried.append(row)
        return alone["miou"] + among["miou"]

    scored = {pair: score(pair) for pair in product(blends, SHIFTS)}
    kept, shift = max(scored, key=scored.get)
    scored |= {pair: score(pair) for pair in ((kept, shift - 0.1), (kept, shift + 0.1))}
    kept, shift = max(scored, key=scored.get)
    save_halves(lean(kept, shift).clip.state_dict(), folder / "clip.safetensors")
    return tried


class Watch:
    """How well CLIP's values alone, leaning to the things, name what is in `count` val scenes: a learning curve."""

    def __init__(self, work: Path, count: int = 12, shares: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)) -> None:
        self.scenes, self.shares = split_scenes(split_bank(work, "val"), "val", count), shares
        self.names = [*(thing.name for thing in load_things()), *STUFF]

    def __call__(self, clip: nn.Module, vectors: Tensor) -> float:
        """vectors: K x E unit, one for every class of EmojiScenes; -> mIoU in percent, at the best share."""
        found = []
        for share in self.shares:
            towers = Towers(copy.deepcopy(clip).cpu(), {})
            towers.teach(self.names, vectors.detach().cpu())
            lean_to_things(towers, self.scenes, share)
            found.append(score_scenes(towers, self.scenes, "values", Reading(), others=0)[0]["miou"])
        return max(found)


@torch.no_grad()
def embedding_length(towers: Towers, scenes: list[Scene]) -> float:
    """The mean norm of the places' embeddings, before they are made unit vectors."""
    visual, norms = towers.clip.visual, []
    for scene in scenes[:4]:
        picture = torch.tensor(scene.picture).permute(2, 0, 1)[None].float() / 255
        picture = F.interpolate(picture, (336, 336), mode="bilinear", antialias=True)
        tokens, _ = clip_tokens(visual, normalise(picture, CLIP_MEAN, CLIP_STD))
        out = visual.transformer.resblocks[-1].attn.out_proj(clip_values(visual, tokens))
        norms.append((visual.ln_post(out) @ visual.proj).norm(dim=-1).mean())
    return float(torch.stack(norms).mean())


def choose_reading(folder: Path, work: Path, how: str = "vfm_patch8", count: int = 21) -> tuple[Reading, list[dict]]:
    """-> the best reading on `count` val scenes, by mIoU over classes, and every setting tried."""
    towers = Towers.read(folder)
    scenes = split_scenes(split_bank(work, "val"), "val", count)
    tried: list[dict] = []

    def miou(reading: Reading) -> float:
        found, _ = score_scenes(towers, scenes, how, reading, others=0)
        tried.append(asdict(reading) | found)
        return found["miou"]

    views = [Reading(side, window, stride) for side, window, stride in VIEWS]
    best = max(views, key=miou)
    best = max([replace(best, beta=beta) for beta in BETAS], key=miou)
    best = max([replace(best, gamma=gamma) for gamma in GAMMAS], key=miou)
    return best, tried
