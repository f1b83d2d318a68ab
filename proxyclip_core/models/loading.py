"""From a name in a registry to an encoder with weights, on a device, at a precision."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch

from proxyclip_core.cpu import prefers_bfloat16, speed_up
from proxyclip_core.interrupt import checkpoint
from proxyclip_core.models.building import build_clip_network, build_vfm_network
from proxyclip_core.models.checkpoints import WeightsError, fitted, ran_out_of_memory, read_weights
from proxyclip_core.models.clip import ClipEncoder, early_weights
from proxyclip_core.models.named import WeightsWarning, clip_named, vfm_named
from proxyclip_core.models.registry import ClipSpec, VfmSpec, find_clip, find_vfm
from proxyclip_core.models.signs import doubt
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

    A name is that of a row, or one that `models.named` makes a row of: a file of weights, "open_clip:" or "timm:".
    The partner of a named model is the paper's, DINO B/8 or OpenAI B/16; only the built-in models, which are made for
    each other, get each other. With nothing named, `default_models`. patch: of the VFM's family.
    Raises ValueError for names and patch sizes that are not known.
    """
    if clip is None and vfm is None:
        return default_models(patch)
    if clip is None:
        clip = BUILTIN_MODELS[0] if vfm_named(str(vfm), patch).builtin else PAPER_MODELS[0]
    clip_spec = clip_named(clip)
    if vfm is None:
        vfm = find_vfm(BUILTIN_MODELS[1] if clip_spec.builtin else PAPER_MODELS[1]).family
    return clip_spec.name, vfm_named(vfm, patch).name


def choose_device(device: str) -> torch.device:
    """ "auto" is CUDA, then MPS, then CPU; with a warning for a GPU that is there but cannot compute, as torch has no
    kernels for it, say. Raises ValueError for a device that is not there."""
    if device == "auto":
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        for name in (name for name, is_there in there.items() if is_there):
            problem = _problem_of_device(name)
            if not problem:
                return torch.device(name)
            warnings.warn(f"{name} is there but cannot compute ({problem}), so the CPU does.", stacklevel=2)
        return torch.device("cpu")
    if _problem_of_device(device):
        raise ValueError(f"device is {device!r}, which is not usable here; expected 'auto', 'cpu', 'cuda' or 'mps'.")
    return torch.device(device)


def _problem_of_device(device: str) -> str:
    """Why a device cannot compute; "" where it can."""
    try:
        (torch.ones(1, device=torch.device(device)) + 1).item()  # also fails on "meta", which holds no numbers
    except Exception as error:  # noqa: BLE001  every backend that is not there has its own kind
        return (str(error) or type(error).__name__).splitlines()[0]
    return ""


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """The precision of the encoders; what comes after them, and the text, is float32 in any case.

    "auto" is float16 on CUDA, which is as fast there as bfloat16 and eight times as fine; on a CPU bfloat16 where it
    multiplies that natively; else float32.
    """
    if precision not in ("auto", *PRECISIONS):
        raise ValueError(f"precision is {precision!r}; expected 'auto', {', '.join(map(repr, PRECISIONS))}.")
    if precision != "auto":
        return PRECISIONS[precision]
    if device.type == "cuda":
        return torch.float16
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
    if weights is not None or spec.path:
        _say_doubt(spec, path, state)
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
    if spec.is_diffusion:
        from proxyclip_core.models.diffusion import load_diffusion  # whose library is an extra, and slow to import

        with _fitting(spec.name, path):
            return load_diffusion(spec, path, device, dtype)
    state = read_weights(path, lambda name: dtype)
    if weights is not None or spec.path:
        _say_doubt(spec, path, state)
    with _fitting(spec.name, path):
        state = _by_timms_names(spec, state)
    network = _with_weights(lambda: build_vfm_network(spec), state, _fitting(spec.name, path))
    del state
    encoder = vfm_encoder(network, spec).to(device, dtype)
    speed_up(encoder)
    return encoder


def _by_timms_names(spec: VfmSpec, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of segment-anything, without its decoder, and of a CLIP's or another release's ViT."""
    if any(key.startswith("image_encoder.") for key in state):
        from timm.models.vision_transformer_sam import checkpoint_filter_fn as of_sam

        return of_sam(state, None)
    if "patch_embed.proj.weight" not in state and spec.positions == "timm":
        from timm.models.vision_transformer import checkpoint_filter_fn as of_others

        with torch.device("meta"):
            network = build_vfm_network(spec)
        return of_others(state, network)
    return state


def _say_doubt(spec: ClipSpec | VfmSpec, path: Path, state: dict[str, torch.Tensor]) -> None:
    reason = doubt(spec, path, state)
    if reason:
        text = f"{path.name} does not hold the known weights of {spec.name}: {reason}. They are used all the same."
        warnings.warn(text, WeightsWarning, stacklevel=3)


def vfm_encoder(network: Network, spec: VfmSpec) -> PatchEncoder:
    """The encoder for a network built from this row."""
    if spec.is_diffusion:
        from proxyclip_core.models.diffusion import DiffusionEncoder

        return DiffusionEncoder(network, spec)
    return PatchEncoder(network, spec.name, spec.mean, spec.std, spec.positions, spec.input_side)


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
    except WeightsError:
        raise
    except (RuntimeError, LookupError, ValueError) as error:
        checkpoint()  # raises again where it was that which ended the reading
        if ran_out_of_memory(error):
            raise MemoryError(f"The memory was not enough to load {name}.") from error
        said = str(error.args[0]) if error.args else type(error).__name__  # str of a KeyError is in quotes
        raise WeightsError(
            f"{path} does not hold the weights of {name} ({said.strip().splitlines()[0]}). Check that the file belongs "
            "to this model."
        ) from error
