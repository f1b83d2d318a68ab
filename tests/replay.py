"""Replays golden cases: `python -m tests.replay DIR` computes every .npz in a folder again and compares.

A case is one run of the paper authors' code on small random networks; see ../shared/golden/README.md for what the
arrays are and how the weights follow from their names. Prints a line a case and exits with 1 past the bound.
"""

from __future__ import annotations

import json
import sys
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import torch
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_sam import VisionTransformerSAM, checkpoint_filter_fn
from torch import nn

from proxyclip_core import ClipEncoder, PatchEncoder, ProxyCLIP
from proxyclip_core.models.registry import IMAGENET_MEAN, IMAGENET_STD, OPENAI_MEAN, OPENAI_STD

BOUND = 1e-5
SUBSAMPLING = 4


@dataclass(frozen=True)
class Outcome:
    """Largest absolute differences of one case, and the share of equal labels in 0..1."""

    name: str
    features: float
    text: float
    window_logits: float
    logits: float
    equal_labels: float

    @property
    def passed(self) -> bool:
        differences = (self.features, self.text, self.window_logits, self.logits)
        return max(differences) <= BOUND and self.equal_labels == 1

    def __str__(self) -> str:
        return (
            f"{'pass' if self.passed else 'FAIL'}  {self.name:<28} features {self.features:.1e}  text {self.text:.1e}  "
            f"window logits {self.window_logits:.1e}  logits {self.logits:.1e}  equal labels {self.equal_labels:.4%}"
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


def golden_vfm(kind: str) -> PatchEncoder:
    """kind: "dino8", "dino16" (any patch size) or "sam"."""
    shape = {"embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_ratio": 4.0, "qkv_bias": True, "num_classes": 0}
    norm = {"norm_layer": partial(nn.LayerNorm, eps=1e-6)}
    if kind == "sam":
        network = VisionTransformerSAM(
            img_size=1024, patch_size=16, neck_chans=32, use_rel_pos=True, window_size=14, global_attn_indexes=(1,),
            **shape, **norm,
        )  # fmt: skip
        fill_as_official_sam(network)
        return PatchEncoder(network, "golden", IMAGENET_MEAN, IMAGENET_STD, positions="native", input_side=1024)
    if not kind.startswith("dino") or not kind[4:].isdigit():
        raise ValueError(f"The case names the VFM {kind!r}; expected dino followed by a patch size, or sam.")
    network = VisionTransformer(img_size=224, patch_size=int(kind[4:]), **shape, **norm)
    return PatchEncoder(fill(network, "vfm."), "golden", IMAGENET_MEAN, IMAGENET_STD, positions="scale")


def fill_as_official_sam(network: VisionTransformerSAM) -> None:
    """Golden weights under segment-anything's parameter names, through timm's conversion of its checkpoints."""
    state = {}
    for name, tensor in network.state_dict().items():
        official = name.replace("mlp.fc", "mlp.lin")
        state[f"image_encoder.{official}"] = golden_tensor(f"vfm.{official}", tuple(tensor.shape))
    network.load_state_dict(checkpoint_filter_fn(state, network))


def replay(path: Path) -> Outcome:
    """Computes one case again with proxyclip_core."""
    case = np.load(path)
    meta = json.loads(str(case["meta"]))
    model = ProxyCLIP(golden_clip(meta), golden_vfm(meta["vfm"]))
    features = model.encode(case["image"], side=None, crop=meta["crop"], stride=meta["stride"])
    words = model.embed(meta["vocabulary"], templates="imagenet80")
    logits = model.classify(model.fuse(features, meta["beta"], meta["gamma"]), words)
    labels = model.segment(logits, words, meta["threshold"]).labels

    rows, columns = features.layout.to_window(logits.values.shape[-2:])
    window_logits = rows @ logits.values[0] @ columns.T
    rows, columns = features.layout.to_picture(logits.values.shape[-2:])
    picture_logits = rows @ features.layout.tile(logits.values) @ columns.T

    def difference(ours: torch.Tensor, theirs: str) -> float:
        ours = ours.numpy()
        if ours.shape != case[theirs].shape:
            raise ValueError(f"{path.name}: {theirs} has shape {case[theirs].shape}, ours {ours.shape}.")
        return float(np.abs(ours - case[theirs]).max())

    return Outcome(
        name=path.stem,
        features=difference(features.vfm[0], "vfm_features"),
        text=difference(words.embeddings, "query_features"),
        window_logits=difference(window_logits[:, ::SUBSAMPLING, ::SUBSAMPLING], "window_logits"),
        logits=difference(picture_logits[:, ::SUBSAMPLING, ::SUBSAMPLING], "logits"),
        equal_labels=float((labels == case["labels"]).mean()),
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
