"""From a row of a table to its architecture, with random weights; and whether proxy attention can use it."""

from __future__ import annotations

import json
from typing import Any

import torch

from proxyclip_core.models.clip import refuse_unless_plain
from proxyclip_core.models.registry import BUILTIN_FOLDER, OTHER_CLIPS, ClipSpec, VfmSpec
from proxyclip_core.models.vit import POSITION_MODES, Network


def build_clip_network(spec: ClipSpec, layers: int | None = None) -> Network:
    """The architecture of a row with random weights. layers: blocks of each tower, in place of all of them.

    Raises ValueError, with the reason, where open_clip's model of that name is no plain CLIP.
    """
    import open_clip  # see models/clip.py

    if spec.builtin:
        config = json.loads((BUILTIN_FOLDER / spec.architecture).read_text(encoding="utf-8"))
    else:
        config = open_clip.get_model_config(spec.architecture)
    if config is None:
        raise ValueError(f"open_clip knows no model {spec.architecture!r}, which the row {spec.name!r} names.")
    special = {"multimodal_cfg", "custom_text"} & {key for key, value in config.items() if value}
    special |= {"timm_model_name"} & set(config["vision_cfg"])
    special |= {"hf_model_name", "hf_tokenizer_name"} & set(config["text_cfg"])
    if special:
        raise ValueError(
            f"{spec.name} ({spec.architecture}) cannot be used: it is no plain CLIP with two transformer towers and "
            f"CLIP's tokenizer. Proxy attention needs one; {OTHER_CLIPS} are built differently."
        )
    known = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")
    config = {key: dict(value) if isinstance(value, dict) else value for key, value in config.items() if key in known}
    if layers is not None:
        config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = layers
    return open_clip.CLIP(**config)


def build_vfm_network(spec: VfmSpec, **options: Any) -> Network:
    """The architecture of a row, with random weights unless `options` for timm.create_model say otherwise.

    For Stable Diffusion the options are those of `diffusion.build_diffusion_network`.
    """
    if spec.is_diffusion:
        from proxyclip_core.models.diffusion import build_diffusion_network

        return build_diffusion_network(**options)
    import timm
    from timm.models.vision_transformer import VisionTransformer

    if spec.builtin:
        config = json.loads((BUILTIN_FOLDER / spec.architecture).read_text(encoding="utf-8"))
        return VisionTransformer(**config, **options)
    if spec.positions == "timm":
        options["dynamic_img_size"] = True
    return timm.create_model(spec.architecture, num_classes=0, **options)


def check_clip(spec: ClipSpec) -> Network:
    """The network of a row, without memory. Raises ValueError, with the reason, for one that cannot be used."""
    _check_colours(spec)
    with torch.device("meta"):
        network = build_clip_network(spec)
    refuse_unless_plain(network, spec.name)
    return network


def check_vfm(spec: VfmSpec) -> Network:
    """The network of a row, without memory. Raises ValueError, with the reason, for one that cannot be used."""
    from timm.layers import PatchEmbed
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer
    from timm.models.vision_transformer_sam import VisionTransformerSAM

    def refuse(reason: str) -> None:
        raise ValueError(
            f"{spec.name} cannot be used: {reason}. Proxy attention needs a plain ViT, which says something of every "
            "patch of a window of any size."
        )

    _check_colours(spec)
    if spec.is_diffusion:
        with torch.device("meta"):
            return build_vfm_network(spec)
    if spec.positions not in POSITION_MODES:
        raise ValueError(f"positions is {spec.positions!r}; expected one of {', '.join(POSITION_MODES)}.")
    try:
        with torch.device("meta"):
            network = build_vfm_network(spec)
    except TypeError:  # which is what other kinds of networks say of the options of a ViT
        refuse(f"timm's {spec.architecture} is no ViT")
    except RuntimeError as error:  # of names that timm does not know
        raise ValueError(f"timm knows no model {spec.architecture!r}, which {spec.name!r} names ({error}).") from None
    allowed = {"native": (VisionTransformerSAM, VisionTransformer), "timm": (VisionTransformer, Eva)}
    if type(network) not in allowed.get(spec.positions, (VisionTransformer,)):
        refuse(
            f"timm's {spec.architecture} is a {type(network).__name__}, which positions={spec.positions!r} does not fit"
        )
    made = type(network.patch_embed)
    if spec.positions != "native" and made is not PatchEmbed:
        refuse(f"its patches are made by a {made.__name__}, not cut out side by side")
    size, step = network.patch_embed.proj.kernel_size, network.patch_embed.proj.stride
    if size != step or size[0] != size[1]:
        refuse(f"its patches of {size[0]} x {size[1]} pixels overlap or are no squares")
    if spec.patch and size != (spec.patch, spec.patch):  # 0 where a row is being made
        raise ValueError(f"{spec.name} has patches of {size[0]} x {size[1]} pixels, but its row says {spec.patch}.")
    if spec.positions in ("scale", "size") and (network.cls_token is None or network.num_prefix_tokens != 1):
        refuse(f"it has no class token, or more tokens beside it, so positions must be 'timm', not {spec.positions!r}")
    if (spec.input_side is None) is (spec.positions == "native"):
        raise ValueError(f"{spec.name}: input_side belongs to positions='native' and to no other.")
    if spec.input_side and network.patch_embed.img_size != (spec.input_side,) * 2:
        raise ValueError(
            f"{spec.name}: input_side is {spec.input_side}; expected {network.patch_embed.img_size[0]}, of which "
            f"timm's {spec.architecture} has positions."
        )
    return network


def _check_colours(spec: ClipSpec | VfmSpec) -> None:
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) != 3 or not all(0 <= value <= 1 for value in values) or (name == "std" and 0 in values):
            raise ValueError(
                f"{spec.name}: {name} is {values}; expected three numbers in 0..1 for red, green and blue."
            )
