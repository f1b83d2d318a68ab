"""The architectures of open_clip and timm at an eighth of their width, with two blocks, and files of their weights."""

from __future__ import annotations

import copy
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

import proxyclip_core as pc
from proxyclip_core.models.building import build_clip_network, build_vfm_network
from proxyclip_core.models.registry import CLIP_MODELS, VFM_MODELS

WIDTHS = {"tiny": 24, "small": 48, "base": 96, "large": 120, "huge": 168}
real_config, real_model = open_clip.get_model_config, timm.create_model


def small_config(name: str) -> dict | None:
    """open_clip's configuration with an eighth of the widths, and two blocks."""
    config = copy.deepcopy(real_config(name))
    for part in ("vision_cfg", "text_cfg"):
        if config and isinstance(config[part].get("layers"), int) and "width" in config[part]:
            config[part] |= {"layers": 2, "width": config[part]["width"] // 8}
    if config and "head_width" not in config["vision_cfg"]:
        config["vision_cfg"]["head_width"] = 8
    elif config:
        config["vision_cfg"]["head_width"] //= 8
    return config


def small_model(name: str, **options) -> torch.nn.Module:
    """timm's model with an eighth of the width, and two blocks; on the meta device the others are as they are."""
    width = next((width for size, width in WIDTHS.items() if f"vit_{size}_" in name), None)
    if width:
        options |= {"embed_dim": width, "depth": 2, "num_heads": 3}
    if name.startswith("samvit"):
        options["global_attn_indexes"] = (1,)
    return real_model(name, **options)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Every architecture is built small, and the tables are as they were afterwards."""
    monkeypatch.setattr(open_clip, "get_model_config", small_config)
    monkeypatch.setattr(timm, "create_model", small_model)
    before = dict(CLIP_MODELS), dict(VFM_MODELS)
    yield
    for table, rows in zip((CLIP_MODELS, VFM_MODELS), before):
        table.clear()
        table.update(rows)


def state_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: torch.randn_like(tensor) for name, tensor in network.state_dict().items()}


def clip_file(folder: Path, row: str, name: str = "mine.safetensors") -> Path:
    state = {key: value.half().float() for key, value in state_of(build_clip_network(pc.find_clip(row))).items()}
    save_file(state, folder / name)
    return folder / name


def vfm_file(folder: Path, row: str, name: str = "mine.safetensors") -> Path:
    save_file(state_of(build_vfm_network(pc.find_vfm(row))), folder / name)
    return folder / name
