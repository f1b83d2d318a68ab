"""The built-in networks as files: a configuration (.json) and half-precision weights (.safetensors) for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import open_clip
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from proxyclip_core.models.vit import Network

VFMS = ("vfm_patch8", "vfm_patch4")


def read_networks(folder: Path) -> dict[str, Network]:
    """ "clip", and those of VFMS that the folder holds, in float32 on the CPU."""
    networks: dict[str, Network] = {}
    for name in ("clip", *VFMS):
        if name == "clip" or (folder / f"{name}.safetensors").is_file():
            config = json.loads((folder / f"{name}.json").read_text())
            networks[name] = (open_clip.CLIP if name == "clip" else VisionTransformer)(**config)
            networks[name].load_state_dict(load_file(folder / f"{name}.safetensors"))
    return networks


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """A state dict in half precision, as the repository holds it."""
    save_file({key: value.detach().cpu().half().contiguous() for key, value in state.items()}, path)
    path.chmod(0o644)


def export(state: Mapping[str, Tensor], config: dict, folder: Path, name: str) -> None:
    """Weights and configuration of one network."""
    save_weights(state, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n")


def digest(folder: Path) -> str:
    """Eight hex digits that stand for all weights in the folder."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.safetensors")))).hexdigest()[:8]
