"""From a name in a registry to an encoder with weights, on a device, at a precision."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from proxyclip_core.cpu import prefers_bfloat16, speed_up
from proxyclip_core.models.checkpoints import WeightsError, fitted, ran_out_of_memory, read_weights
from proxyclip_core.models.clip import ClipEncoder, early_weights
from proxyclip_core.models.registry import (
    BUILTIN_FOLDER,
    ClipSpec,
    VfmSpec,
    find_clip,
    find_vfm,
)
from proxyclip_core.models.vfm import PatchEncoder
from proxyclip_core.models.vit import Network
from proxyclip_core.models.weights import find_weights, is_available
from proxyclip_core.models.word_cache import WordCache, default_folder

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PAPER_MODELS = ("OpenAI B/16", "DINO B/8")
BUILTIN_MODELS = ("Built-in", "Built-in/8")


def default_models(patch: int | None = None) -> tuple[str, str]:
    """Names of the CLIP and the VFM to open with; with `patch`, the VFM of that family at this patch size.

    PROXYCLIP_CLIP and PROXYCLIP_VFM where they are set, one of them completed as in `complete_pair`; else the paper's
    pair if its weights are on this machine; else the built-in pair.
    """
    clip, vfm = os.environ.get("PROXYCLIP_CLIP") or None, os.environ.get("PROXYCLIP_VFM") or None
    if clip is None and vfm is None:
        at_hand = is_available(find_clip(PAPER_MODELS[0])) and is_available(find_vfm(PAPER_MODELS[1]))
        clip, vfm = PAPER_MODELS if at_hand else BUILTIN_MODELS
    clip, vfm = complete_pair(clip, vfm)
    return clip, vfm if patch is None else find_vfm(find_vfm(vfm).family, patch).name


def complete_pair(clip: str | None, vfm: str | None, patch: int | None = None) -> tuple[str, str]:
    """Full names of a CLIP and a VFM of which one, both or none may be named.

    The partner of a named model is the paper's, DINO B/8 or OpenAI B/16; only the built-in models, which are made for
    each other, get each other. With nothing named, `default_models`. patch: of the VFM's family.
    Raises ValueError for names and patch sizes that are not known.
    """
    if clip is None and vfm is None:
        return default_models(patch)
    if clip is None:
        clip = BUILTIN_MODELS[0] if find_vfm(str(vfm), patch).builtin else PAPER_MODELS[0]
    if vfm is None:
        vfm = find_vfm(BUILTIN_MODELS[1] if find_clip(clip).builtin else PAPER_MODELS[1]).family
    return find_clip(clip).name, find_vfm(vfm, patch).name


def choose_device(device: str) -> torch.device:
    """ "auto" is CUDA, then MPS, then CPU. Raises ValueError for a device that is not there."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.ones(1, device=chosen).item()  # also fails on "meta", which holds no numbers
    except Exception:  # noqa: BLE001  every backend that is not there has its own kind
        raise ValueError(
            f"device is {device!r}, which is not usable here; expected 'auto', 'cpu', 'cuda' or 'mps'."
        ) from None
    return chosen


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """The precision of the encoders; what comes after them, and the text, is float32 in any case.

    "auto" is bfloat16 on CUDA cards that have it, else float16 there; on a CPU bfloat16 where it multiplies that
    natively; else float32.
    """
    if precision not in ("auto", *PRECISIONS):
        raise ValueError(f"precision is {precision!r}; expected 'auto', {', '.join(map(repr, PRECISIONS))}.")
    if precision != "auto":
        return PRECISIONS[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and prefers_bfloat16() else torch.float32


def load_clip(
    name: str, device: torch.device, dtype: torch.dtype, weights: str | os.PathLike | None = None
) -> ClipEncoder:
    """A CLIP by name. weights: a file or folder to take them from, in place of the usual places."""
    spec = find_clip(name)
    path = find_weights(spec, weights)
    with torch.device("meta"):  # without memory, to see which weights take `dtype`
        early = early_weights(build_clip_network(spec))
    state = read_weights(path, lambda name: dtype if name in early else torch.float32)
    network = _with_weights(lambda: build_clip_network(spec), state, _fitting(spec.name, path))
    del state  # or every weight would be there twice while they are packed
    encoder = ClipEncoder(network, spec.name, spec.mean, spec.std)
    encoder.word_cache = WordCache(encoder.text_digest, default_folder())
    speed_up(encoder.to(device, dtype))
    return encoder


def load_vfm(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    patch: int | None = None,
    weights: str | os.PathLike | None = None,
) -> PatchEncoder:
    """A VFM by name and patch size. weights: a file or folder to take them from."""
    spec = find_vfm(name, patch)
    path = find_weights(spec, weights)
    state = read_weights(path, lambda name: dtype)
    if any(key.startswith("image_encoder.") for key in state):
        from timm.models.vision_transformer_sam import checkpoint_filter_fn

        with _fitting(spec.name, path):
            state = checkpoint_filter_fn(state, None)  # segment-anything's names to timm's; the decoder is left out
    network = _with_weights(lambda: build_vfm_network(spec), state, _fitting(spec.name, path))
    del state
    encoder = vfm_encoder(network, spec).to(device, dtype)
    speed_up(encoder)
    return encoder


def vfm_encoder(network: Network, spec: VfmSpec) -> PatchEncoder:
    """The encoder for a network built from this row."""
    return PatchEncoder(network, spec.name, spec.mean, spec.std, spec.positions, spec.input_side)


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
    if special or "timm_model_name" in config["vision_cfg"] or "hf_model_name" in config["text_cfg"]:
        raise ValueError(
            f"{spec.name} ({spec.architecture}) cannot be used: it is no plain CLIP with two transformer towers. Proxy "
            "attention needs one; SigLIP, EVA, CoCa, PE and MobileCLIP are built differently."
        )
    known = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")
    config = {key: dict(value) if isinstance(value, dict) else value for key, value in config.items() if key in known}
    if layers is not None:
        config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = layers
    return open_clip.CLIP(**config)


def build_vfm_network(spec: VfmSpec, **options: Any) -> Network:
    """The architecture of a row, with random weights unless `options` for timm.create_model say otherwise."""
    import timm
    from timm.models.vision_transformer import VisionTransformer

    if spec.builtin:
        config = json.loads((BUILTIN_FOLDER / spec.architecture).read_text(encoding="utf-8"))
        return VisionTransformer(**config, **options)
    if spec.positions == "timm":
        options["dynamic_img_size"] = True
    return timm.create_model(spec.architecture, num_classes=0, **options)


def _with_weights(
    build: Callable[[], Network], state: dict[str, torch.Tensor], fitting: AbstractContextManager
) -> Network:
    """A network that takes the tensors of `state` as its own, by `fitted`; `fitting` words what is wrong.

    It is built without memory first: random numbers for a hundred million weights take longer than reading the real
    ones, and those that are mapped from a file stay mapped.
    """
    with torch.device("meta"):
        network = build()
    with fitting:
        state = fitted(state, network.state_dict())
        network.load_state_dict(state, assign=True)
    if isinstance(getattr(network, "attn_mask", None), torch.Tensor):  # open_clip's causal mask is in no file
        network.attn_mask = torch.full(tuple(network.attn_mask.shape), float("-inf"), dtype=torch.float32).triu_(1)
    if any(tensor.is_meta for tensor in network.buffers()):  # rotary positions of DINOv3: computed when it is built
        network = build()
        network.load_state_dict(state)
    return network


@contextmanager
def _fitting(name: str, path: Path) -> Iterator[None]:
    """Turns what is raised where weights do not fit into a message about the file."""
    try:
        yield
    except (RuntimeError, LookupError, ValueError) as error:
        if ran_out_of_memory(error):
            raise MemoryError(f"The memory was not enough to load {name}.") from error
        said = str(error.args[0]) if error.args else type(error).__name__  # str of a KeyError is in quotes
        raise WeightsError(
            f"{path} does not hold the weights of {name} ({said.strip().splitlines()[0]}). Check that the file belongs "
            "to this model."
        ) from error
