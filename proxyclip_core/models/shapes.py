"""What the shapes of tensors say of a network: which row a file of weights belongs to, and how others differ."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch

Facts = dict[str, int]


def facts_of(state: Mapping[str, torch.Tensor]) -> Facts:
    """Sizes by which architectures differ, of a CLIP by open_clip's names or a ViT by timm's; none for any other.

    The number of heads is not among them: no tensor's shape depends on it.
    """
    shapes = {name.removeprefix("image_encoder."): tuple(tensor.shape) for name, tensor in state.items()}
    if "visual.conv1.weight" in shapes and "text_projection" in shapes:
        return _of_clip(shapes)
    if len(shapes.get("patch_embed.proj.weight", ())) != 4:
        return {}
    width, *_, patch = shapes["patch_embed.proj.weight"]
    registers = (shapes[name][1] for name in ("reg_token", "register_tokens", "storage_tokens") if name in shapes)
    return {
        "patch": patch,
        "width": width,
        "depth": _count(r"blocks\.(\d+)\.", shapes),
        "grid": _grid(shapes.get("pos_embed", ())),
        "registers": next(registers, 0),
        "layer scales": _count(r"blocks\.(\d+)\.(?:ls1\.|gamma_1)", shapes),
        "gates": _count(r"blocks\.(\d+)\.mlp\.(?:fc1_g|w1)\.", shapes),
        "neck": shapes.get("neck.0.weight", (0,))[0],
    }


def _of_clip(shapes: Mapping[str, tuple[int, ...]]) -> Facts:
    width, *_, patch = shapes["visual.conv1.weight"]
    return {
        "patch": patch,
        "width": width,
        "depth": _count(r"visual\.transformer\.resblocks\.(\d+)\.", shapes),
        "grid": _grid(shapes.get("visual.positional_embedding", ())),
        "text width": shapes.get("ln_final.weight", (0,))[0],
        "text depth": _count(r"transformer\.resblocks\.(\d+)\.", shapes),
        "prompt length": shapes.get("positional_embedding", (0,))[0],
        "embedding": shapes["text_projection"][-1],
    }


def _count(pattern: str, names: Mapping[str, object]) -> int:
    return len({found[1] for found in map(re.compile(pattern).match, names) if found})


def _grid(shape: tuple[int, ...]) -> int:
    """Patches in a row, of position embeddings (1, h, w, C), or (1, N, C) or (N, C) with or without a class token."""
    if len(shape) == 4:
        return shape[1]
    count = shape[-2] if len(shape) > 1 else 0
    return next((math.isqrt(number) for number in (count, count - 1) if math.isqrt(max(number, 0)) ** 2 == number), 0)


def differences(own: Facts, rows: Mapping[str, Facts]) -> str:
    """Sentences on a file that fits none of the rows: what it has, and what the two nearest have in its place."""
    is_clip, wants_clip = "text depth" in own, any("text depth" in facts for facts in rows.values())
    if not own:
        return "Its tensors have the names of neither an open_clip CLIP nor a timm ViT."
    if is_clip is not wants_clip:
        return (
            f"It holds a {'CLIP, so give it as clip' if is_clip else 'vision model without words, so give it as vfm'}."
        )
    differing = {
        name: [f"{fact} {facts[fact]}" for fact in own if facts.get(fact) != own[fact] and fact in facts]
        for name, facts in rows.items()
    }
    closest = sorted(differing, key=lambda name: len(differing[name]))[:2]
    has = ", ".join(f"{fact} {value}" for fact, value in own.items() if value)
    said = "; ".join(f"{name} has {', '.join(differing[name])}" for name in closest)
    return f"It has {has}. Nearest: {said}."
