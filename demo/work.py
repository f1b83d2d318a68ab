"""How much work a request is, estimated from its sizes before anything runs: right within a factor of two or so.

One operation is a multiplication or an addition of a matrix product. A number that is passed through one by one, such
as the logit of a word at a pixel, counts as ENTRY of them, for a machine spends as long on it.

Axes: B windows, N patches of the VFM and M of CLIP in one window, D CLIP width, C VFM width, E embedding, Q queries.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import torch

import proxyclip_core as pc
from proxyclip_core.models.building import build_clip_network, build_vfm_network
from proxyclip_core.models.clip import early_layers
from proxyclip_core.models.diffusion import WIDTH
from proxyclip_core.models.registry import USUAL_SAM
from proxyclip_core.refine import BY_COLOURS, BY_PATCHES, BY_SAM
from proxyclip_core.windows import plan_windows
from proxyclip_core.words import templates_of

ENTRY = 200
TOKENS_BESIDE = 4  # of a prompt beside the word's own, as what prompts begin with is read once
CHARACTERS = 4  # of a token
DIFFUSION = 2.7e12  # of one window through Stable Diffusion's encoder, 80 %, and the UNet as far as its 9th block
# Longer side of the working size; entries at each of its pixels, whatever the queries; and for each query.
REFINING = {"quick": (448, 300, 10), "pixels": (640, 300, 10), "pixels+": (480, 1000, 400)}
PAIR = 3 * ENTRY  # of patches, among which each chooses its links
LINKS = 520 * 20 * 10  # of a patch: scores move along them in all steps of the solver
PROMPTS, PROMPT = 64, 1e10  # that SAM is asked, and operations of each
# What a stage is made of; stages that settings do not ask for take no operations.
NEEDS = {
    "regions": ("sam",),
    "dense": ("clip", "vfm", "regions"),
    "logits": ("dense", "words"),
    "refined": ("logits", "regions", "graph"),
    "result": ("refined",),
}
STAGES = {*NEEDS, "words", "clip", "vfm", "sam", "graph"}


@dataclass(frozen=True)
class Tower:
    """The sizes of a ViT that decide what it costs."""

    patch: int  # pixels
    width: int  # of its result
    inner: int  # width of its tokens
    weights: int  # numbers in all its blocks
    reach: tuple[int, ...]  # for each block: how many tokens one attends to; 0 for all
    input_side: int = 0  # to which windows are resized; 0: not
    operations_a_window: float = 0.0  # where they do not follow from the above, as it is no ViT

    def grid(self, padded_hw: tuple[int, int]) -> tuple[int, int]:
        """(h, w) patches of a window."""
        height, width = (self.input_side,) * 2 if self.input_side else padded_hw
        return height // self.patch, width // self.patch

    def operations(self, patches: int) -> float:
        """Of one window."""
        if self.operations_a_window:
            return self.operations_a_window
        attending = sum(reach or patches for reach in self.reach) * 4 * self.inner
        return patches * (2.0 * (self.weights + 3 * self.patch**2 * self.inner) + attending)


@dataclass(frozen=True)
class Clip:
    """The sizes of a CLIP."""

    tower: Tower  # of pictures, without the last block
    embedding: int
    text_weights: int  # numbers in the blocks of its text tower


def operations(
    s: pc.Settings, size_hw: tuple[int, int], queries: Sequence[str], new: Collection[str] | None = None
) -> dict[str, float]:
    """Stage -> operations that it takes for a picture of this size and these queries, which are all words and synonyms.

    Stages are named as in `stages.keys_of`. new: the words that the text tower has not read before; None for all.
    Models need not be there. Raises ValueError for unknown ones.
    """
    clip = _clip(pc.find_clip(s.clip))
    layout, vfm = plan_windows(size_hw, s.side, s.windows), _vfm(pc.find_vfm(s.vfm)) if s.fusion == "proxy" else None
    windows, own = layout.count, prod(clip.tower.grid(layout.padded_hw))
    grid_hw = (vfm or clip.tower).grid(layout.padded_hw)
    patches, width = prod(grid_hw), clip.tower.width
    found: dict[str, float] = {"words": _reading(clip, queries if new is None else new, s.templates)}
    found["clip"] = windows * clip.tower.operations(own)
    found["vfm"] = windows * vfm.operations(patches) if vfm else 0.0
    sam = sam_of(s)
    found["sam"] = _vfm(sam).operations(prod(_vfm(sam).grid((0, 0)))) if sam and sam.name != s.vfm else 0.0
    found["regions"] = PROMPTS * PROMPT if sam else 0.0
    values = 4 * own * width**2 + 2 * patches * width * clip.embedding
    if s.fusion == "clip":
        values += 24 * own * width**2 + 4 * own**2 * width
    attending = _attending(windows, patches, s.reach) * (width + vfm.width) if vfm else 0.0
    found["dense"] = windows * values + attending
    found["logits"] = 2.0 * windows * patches * clip.embedding * len(queries)
    found["graph"] = found["refined"] = 0.0
    if s.refine in BY_PATCHES:
        every = windows * patches
        found["graph"] = every**2 * (2.0 * (vfm or clip.tower).width + PAIR)
        found["refined"] = float(every * LINKS * len(queries))
    if s.refine in REFINING:
        side, once, each = REFINING[s.refine]
        pixels = prod(size_hw) * min(1.0, side / max(size_hw)) ** 2
        found["graph" if s.refine in BY_COLOURS else "refined"] += pixels * once * ENTRY
        found["refined"] += pixels * each * len(queries) * ENTRY
    found["result"] = len(queries) * (prod(size_hw) * ENTRY + 2.0 * windows * patches * size_hw[1])
    return found


def sam_of(s: pc.Settings) -> pc.VfmSpec | None:
    """The SAM that is asked for regions; None where none is."""
    if s.refine not in BY_SAM and (s.scope == "all" or s.fusion != "proxy"):
        return None
    vfm = pc.VFM_MODELS.get(s.vfm)
    own = vfm.name if vfm and vfm.is_sam else USUAL_SAM
    return pc.find_vfm(own if s.sam == pc.SETTINGS["sam"].default else s.sam)


def missing(held: Collection[str], stage: str = "result") -> set[str]:
    """The stages that must run for one, where the values of some are held."""
    if stage in held:
        return set()
    return {stage}.union(*(missing(held, needed) for needed in NEEDS.get(stage, ())))


def _attending(windows: int, patches: int, reach: str) -> float:
    """2 x pairs of patches of which one attends to the other, and is compared with it."""
    if reach == "windows":
        return 2.0 * windows * patches**2
    return 2.0 * (windows * patches) ** 2 * (3 if reach == "anchors" else 1)


def _reading(clip: Clip, words: Collection[str], templates: str) -> float:
    tokens = sum(len(word) // CHARACTERS + 1 + TOKENS_BESIDE for word in words)
    return 2.0 * clip.text_weights * tokens * len(templates_of(templates))


@lru_cache(maxsize=64)
def _clip(spec: pc.ClipSpec) -> Clip:
    with torch.device("meta"):
        network: Any = build_clip_network(spec)
    tower, width = network.visual, network.visual.conv1.out_channels
    layers = len(tower.transformer.resblocks) - 1
    weights = sum(weight.numel() for layer in early_layers(network)[2:] for weight in layer.parameters())
    text = sum(weight.numel() for weight in network.transformer.parameters())
    picture = Tower(tower.patch_size[0], width, width, weights, (0,) * layers)
    return Clip(picture, tower.proj.shape[1], text)


@lru_cache(maxsize=64)
def _vfm(spec: pc.VfmSpec) -> Tower:
    if spec.is_diffusion:  # whose library may not be there
        return Tower(spec.patch, WIDTH, 0, 0, (), spec.input_side or 0, DIFFUSION)
    with torch.device("meta"):
        network: Any = build_vfm_network(spec)
    weights = sum(weight.numel() for block in network.blocks for weight in block.parameters())
    inner = network.patch_embed.proj.out_channels
    reach = tuple(getattr(block, "window_size", 0) ** 2 for block in network.blocks)
    patch = network.patch_embed.proj.kernel_size[0]
    return Tower(patch, network.num_features, inner, weights, reach, spec.input_side or 0)
