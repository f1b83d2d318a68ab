"""Replays golden cases: `python -m tests.replay DIR` computes every .npz in a folder again and compares.

A case is one run of the paper authors' code on small random networks; tests/golden/README.md says what the arrays are.
Cases in tests/golden/refine are of methods past the paper, see `tests.replay_refine`.
Weights follow from the names of the parameters (`golden_tensor`). Prints a line a case and exits with 1 past a bound.

Masking is a step: where A of a pair of patches lies within rounding of 0, one computation keeps the pair and another
drops it, and the logits that depend on it differ by more than rounding. So some logits may be further off where a case
has such pairs, but few of them and not by much.
"""

from __future__ import annotations

import json
import sys
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_sam import VisionTransformerSAM, checkpoint_filter_fn
from torch import nn

from proxyclip_core import ClipEncoder, PatchEncoder, ProxyCLIP
from proxyclip_core.attention import similarity_mean, unit_patches
from proxyclip_core.models.registry import IMAGENET_MEAN, IMAGENET_STD, OPENAI_MEAN, OPENAI_STD
from tests.replay_refine import RefineOutcome, replay_refined

BOUND = 1e-5  # of absolute differences; also how near to 0 the A of a pair on the edge is
MOVED_SHARE, MOVED_BOUND = 0.005, 3e-4  # how many logits may be further off in a case with such pairs, and how far
SUBSAMPLING = 4


@dataclass(frozen=True)
class Difference:
    """How far an array is from the golden one: the largest absolute difference, and how many values are past BOUND."""

    largest: float
    moved: int
    share: float

    @classmethod
    def between(cls, ours: np.ndarray, theirs: np.ndarray) -> Difference:
        if ours.shape != theirs.shape:
            raise ValueError(f"The case holds {theirs.shape} where we have {ours.shape}.")
        difference = np.abs(ours - theirs)
        past = ~(difference <= BOUND)  # NaN is past it
        return cls(float(difference.max()), int(past.sum()), float(past.mean()))

    def within(self, allow_moved: bool) -> bool:
        """allow_moved: whether a few values may be past BOUND."""
        return not self.moved or (allow_moved and self.share <= MOVED_SHARE and self.largest <= MOVED_BOUND)


@dataclass(frozen=True)
class Outcome:
    """What one case gave. equal_labels: share in 0..1. on_edge: pairs of patches, of all windows, with |A| <= BOUND."""

    name: str
    features: Difference
    text: Difference
    window_logits: Difference
    logits: Difference
    equal_labels: float
    on_edge: int

    @property
    def passed(self) -> bool:
        exact = self.features.within(False) and self.text.within(False) and self.equal_labels == 1
        return exact and all(logits.within(self.on_edge > 0) for logits in (self.window_logits, self.logits))

    def __str__(self) -> str:
        far = f"{self.window_logits.share:.3%} and {self.logits.share:.3%}"
        return (
            f"{'pass' if self.passed else 'FAIL'}  {self.name:<28} features {self.features.largest:.1e}  "
            f"text {self.text.largest:.1e}  window logits {self.window_logits.largest:.1e}  "
            f"logits {self.logits.largest:.1e}  equal labels {self.equal_labels:.4%}  "
            f"pairs on the edge {self.on_edge}  beyond {BOUND:.0e} {far} of both logits"
        )


def golden_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The weights of the parameter `key`, drawn from a generator that is seeded by its name."""
    noise = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).standard_normal(shape).astype(np.float32)
    if len(shape) >= 2 and any(part in key for part in ("embedding", "pos_embed", "cls_token")):
        return torch.from_numpy(0.5 * noise)
    if len(shape) == 1:
        return torch.from_numpy(0.1 * noise + (1 if key.endswith(".weight") else 0))
    return torch.from_numpy((1.6 * noise / np.sqrt(np.prod(shape[1:]))).astype(np.float32))


def fill(network: nn.Module, prefix: str, official_name=lambda name: name) -> nn.Module:
    """Gives every parameter its golden weights. official_name: our name of a parameter -> the name that seeds it."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim and not name.endswith("attn_mask"):
                tensor.copy_(golden_tensor(prefix + official_name(name), tuple(tensor.shape)))
    return network


def golden_clip(meta: dict) -> ClipEncoder:
    network = open_clip.CLIP(meta["embed_dim"], meta["clip_vision"], meta["clip_text"], quick_gelu=True)
    return ClipEncoder(fill(network, "clip."), "golden", OPENAI_MEAN, OPENAI_STD)


SHAPE: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_ratio": 4.0, "qkv_bias": True}
SHAPE |= {"num_classes": 0, "norm_layer": partial(nn.LayerNorm, eps=1e-6)}


def golden_vfm(kind: str) -> PatchEncoder:
    """kind: "dino8", "dino16" (any patch size) or "sam"."""
    if kind == "sam":
        return golden_sam(1024)
    if not kind.startswith("dino") or not kind[4:].isdigit():
        raise ValueError(f"The case names the VFM {kind!r}; expected dino followed by a patch size, or sam.")
    network = VisionTransformer(img_size=224, patch_size=int(kind[4:]), **SHAPE)
    return PatchEncoder(fill(network, "vfm."), "golden", IMAGENET_MEAN, IMAGENET_STD, positions="scale")


def golden_sam(side: int) -> PatchEncoder:
    """SAM's encoder, which reads `side` x `side` pixels."""
    network = VisionTransformerSAM(
        img_size=side, patch_size=16, neck_chans=32, use_rel_pos=True, window_size=14, global_attn_indexes=(1,), **SHAPE
    )
    fill_as_official_sam(network)
    return PatchEncoder(network, "golden", IMAGENET_MEAN, IMAGENET_STD, positions="native", input_side=side)


def fill_as_official_sam(network: VisionTransformerSAM) -> None:
    """Golden weights under segment-anything's parameter names, through timm's conversion of its checkpoints."""
    state = {}
    for name, tensor in network.state_dict().items():
        official = name.replace("mlp.fc", "mlp.lin")
        state[f"image_encoder.{official}"] = golden_tensor(f"vfm.{official}", tuple(tensor.shape))
    network.load_state_dict(checkpoint_filter_fn(state, network))


def pairs_on_edge(features: torch.Tensor, beta: float, gamma: float) -> int:
    """How many pairs of two patches have |A| <= BOUND, for features (B, C, h, w); (i, j) and (j, i) are two."""
    found = 0
    for patches in unit_patches(features):  # (N, C)
        mean = similarity_mean(patches[None])
        for rows in patches.split(512):
            found += int((((rows @ patches.T - beta * mean) * gamma).abs() <= BOUND).sum())
        own = patches.square().sum(dim=1)  # a patch with itself, which is never masked
        found -= int((((own - beta * mean) * gamma).abs() <= BOUND).sum())
    return found


def replay(path: Path) -> Outcome | RefineOutcome:
    """Computes one case again with proxyclip_core. Cases of methods past the paper name their kind."""
    case = np.load(path)
    meta = json.loads(str(case["meta"]))
    if "kind" in meta:
        return replay_refined(path.stem, {name: case[name] for name in case.files if name != "meta"}, meta)
    model = ProxyCLIP(golden_clip(meta), golden_vfm(meta["vfm"]))
    features = model.encode(case["image"], side=None, crop=meta["crop"], stride=meta["stride"])
    # Below a threshold the authors' code takes class 0, whatever it is called.
    words = model.embed(meta["vocabulary"], "first" if meta["threshold"] > 0 else "none", templates="imagenet80")
    logits = model.classify(model.fuse(features, meta["beta"], meta["gamma"]), words)
    labels = logits.segment(meta["threshold"]).labels

    assert features.vfm is not None
    grid_hw = (logits.values.shape[-2], logits.values.shape[-1])
    rows, columns = features.layout.to_window(grid_hw)
    window_logits = rows @ logits.values[0] @ columns.T
    rows, columns = features.layout.to_picture(grid_hw)
    picture_logits = rows @ features.layout.tile(logits.values) @ columns.T

    def difference(ours: torch.Tensor, theirs: str) -> Difference:
        try:
            return Difference.between(ours.numpy(), case[theirs])
        except ValueError as error:
            raise ValueError(f"{path.name}: {theirs}: {error}") from None

    return Outcome(
        name=path.stem,
        features=difference(features.vfm[0], "vfm_features"),
        text=difference(words.embeddings, "query_features"),
        window_logits=difference(window_logits[:, ::SUBSAMPLING, ::SUBSAMPLING], "window_logits"),
        logits=difference(picture_logits[:, ::SUBSAMPLING, ::SUBSAMPLING], "logits"),
        equal_labels=float((labels == case["labels"]).mean()),
        on_edge=pairs_on_edge(features.vfm, meta["beta"], meta["gamma"]),
    )


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m tests.replay DIR   (a folder of golden cases, *.npz)", file=sys.stderr)
        return 2
    paths = sorted(Path(arguments[0]).glob("*.npz"))
    if not paths:
        print(f"{arguments[0]} holds no .npz; give the folder of golden cases.", file=sys.stderr)
        return 2
    outcomes = []
    for path in paths:
        outcomes.append(replay(path))
        print(outcomes[-1], flush=True)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
