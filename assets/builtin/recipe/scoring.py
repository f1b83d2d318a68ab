"""Score the built-in pair on EmojiScenes with the library's own encoders and scores. Everything follows from a seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import proxyclip_core as pc
from assets.builtin.recipe.canvas import Bank, Scene
from assets.builtin.recipe.drawings import Drawing, load_drawings, load_things
from assets.builtin.recipe.pools import TRAIN_STYLES
from assets.builtin.recipe.scenes import KINDS, make_scene
from assets.builtin.recipe.towers import class_embedding
from assets.builtin.recipe.weights import VFMS
from proxyclip_core.cli.evaluate_scenes import DISTRACTORS
from proxyclip_core.evaluation import LabelledPicture, classes_of, other_classes, score_rows
from proxyclip_core.models.registry import IMAGENET_MEAN, IMAGENET_STD, OPENAI_MEAN, OPENAI_STD
from proxyclip_core.models.vit import Network
from proxyclip_core.settings import default

SPLIT_STYLES = {"test-near": ["twemoji"], "test-far": ["openmoji"]}
SEEDS = {"val": 11, "test-near": 23, "test-far": 37}
SIZES = ((320, 320), (320, 448), (320, 384))
PAPER: dict[str, Any] = {name: default(name) for name in ("beta", "gamma", "side", "windows")}
REFINED = ["none", "quick", "pixels", "patches"]  # the others take seconds a scene, or SAM
TEMPLATES = "simple7"  # a tenth of the time of 80, and the words' directions are nearly the same


def split_bank(work: Path, split: str, size: int = 160) -> Bank:
    """The drawings of a split: val takes the held-out drawings of the seen styles."""
    drawings: list[Drawing] = load_drawings(work, SPLIT_STYLES.get(split, TRAIN_STYLES), size)
    if split == "val":
        drawings = [drawing for drawing in drawings if drawing.held_out]
    return Bank(drawings, load_things())


def split_scenes(bank: Bank, split: str, count: int) -> list[Scene]:
    """The first `count` scenes of a split."""
    scenes = []
    for i in range(count):
        rng = np.random.default_rng([SEEDS[split], i])
        scenes.append(make_scene(rng, bank, SIZES[rng.integers(len(SIZES))], KINDS[i % len(KINDS)], light=0.4))
    return scenes


def pair(clip: Network, vfm: Network | None = None) -> pc.ProxyCLIP:
    """The networks as the library runs them. They are frozen by that, so they must not be in training any more."""
    encoder = pc.ClipEncoder(clip, "Built-in", OPENAI_MEAN, OPENAI_STD)
    if vfm is None:
        return pc.ProxyCLIP(encoder, None, "values", TEMPLATES)
    name = f"Built-in/{vfm.patch_embed.patch_size[0]}"
    return pc.ProxyCLIP(encoder, pc.PatchEncoder(vfm, name, IMAGENET_MEAN, IMAGENET_STD), templates=TEMPLATES)


def distractors_for(scenes: Sequence[LabelledPicture]) -> int:
    """DISTRACTORS, or as many words as every one of these scenes finds among the others."""
    known = classes_of(scenes)
    return min([DISTRACTORS, *(len(other_classes(scene, known)) for scene in scenes)])


def table(networks: dict[str, Network], scenes: Sequence[LabelledPicture], settings: dict[str, Any]) -> dict[str, dict]:
    """Row -> scores in 0..1, under the names that `proxyclip_core evaluate` gives them."""
    rows, others = {}, distractors_for(scenes)
    titles = {"clip": "CLIP alone, own attention", "values": "CLIP alone, values"}
    for name in (name for name in VFMS if name in networks):
        model = pair(networks["clip"], networks[name])
        titles["proxy"] = f"proxy, Built-in/{name.removeprefix('vfm_patch')}"
        scores = score_rows(model, scenes, list(titles), (0, others), **settings)
        for fusion, title in titles.items():
            alone, among = scores[fusion, 0], scores[fusion, others]
            rows[title] = {"miou": alone.miou, "miou with others": among.miou, "border f": alone.border_f}
        titles = {}  # CLIP alone is the same with another VFM
    return rows


def refinements(
    networks: dict[str, Network], scenes: Sequence[LabelledPicture], split: str, settings: Sequence[dict[str, Any]]
) -> list[dict]:
    """What each of REFINED gives with each VFM and some settings: a row each, with scores in 0..1."""
    rows, others, ways = [], distractors_for(scenes), [("proxy", method) for method in REFINED]
    for name in (name for name in VFMS if name in networks):
        for chosen in settings:
            scores = score_rows(pair(networks["clip"], networks[name]), scenes, ways, (0, others), **chosen)
            for way in ways:
                alone, among = scores[way, 0], scores[way, others]
                row = {"split": split, "scenes": len(scenes), "patch": int(name.removeprefix("vfm_patch"))}
                row |= {"refine": way[1], "beta": chosen["beta"], "gamma": chosen["gamma"]}
                row |= {"miou": alone.miou, "miou with others": among.miou, "border f": alone.border_f}
                rows.append(row | {"seconds": float(np.mean(alone.seconds))})
    return rows


@torch.no_grad()
def close_up_accuracy(model: pc.ProxyCLIP, bank: Bank, split: str, count: int = 500, side: int = 224) -> float:
    """Top-1 of five words on single close-ups by CLIP's class token, in 0..1."""
    right, names = 0, list(bank.looks)
    vectors = dict(zip(names, model.embed([[name] for name in names]).embeddings))
    for i in range(count):
        rng = np.random.default_rng([SEEDS[split], 7, i])
        only = Bank([], list(bank.things.values()))
        name = names[rng.integers(len(names))]
        only.looks, only.by_place = {name: bank.looks[name]}, defaultdict(list, {"any": [name]})
        scene = make_scene(rng, only, (side, side), "close-up", light=0.4)
        wrong = [n for n in names if n != name]
        words = [name] + [wrong[k] for k in rng.choice(len(wrong), 4, replace=False)]
        tokens = model.clip.encode_windows(torch.tensor(scene.picture).permute(2, 0, 1)[None] / 255)
        seen = class_embedding(model.clip.network.visual, tokens)[0]
        right += int((torch.stack([vectors[word] for word in words]) @ seen).argmax()) == 0
    return right / count
