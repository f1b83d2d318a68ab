"""Files of weights: whether they are whole, and the tensors in them, whichever tool wrote them.

Nothing in a file is ever run. Pickles are read by torch's own reader for tensors alone; the archives of TorchScript,
which that one does not take, by a reader here that knows tensors and nothing else.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from proxyclip_core.file_kinds import HEAD, name_of
from proxyclip_core.interrupt import checkpoint

# What the readers raise for a file that is cut short, or no file of weights at all.
DAMAGED = (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, SafetensorError)
CUT_SHORT = ("truncated", "unexpected EOF", "Ran out of input", "central directory", "incomplete")

# Under which of its entries a training's checkpoint holds the network, and what is put before the names of weights.
ENTRIES = (
    *("state_dict", "model", "teacher", "model_ema", "student", "model_state_dict", "module", "network", "net"),
    *("ema", "ema_state_dict", "params_ema", "params", "weights", "model_weights", "encoder", "checkpoint"),
)
WRAPPERS = ("module.", "_orig_mod.", "model.")  # around all of a network
# What all names of a part begin with in its release; anything else before all of them is somebody's own wrapper.
RELEASED = ("image_encoder.", "visual.", "transformer.", "vision_model.", "text_model.", "blocks.")
PARTS = ("teacher.", "student.", "backbone.")  # the rest is heads
# What checkpoints hold beside the network: heads, the decoders of pretraining, constants of OpenAI's archives.
EXTRAS = re.compile(
    r"(head|heads|fc|classifier|linear_head|dino_head|ibot_head|projectors)\.|decoder|mask_token$|local_cls_norm\.|"
    r"(input_resolution|context_length|vocab_size)$|(.*\.)?(attn_mask|bias_mask|position_ids)$"
)

# Weights of other libraries: how such a file ends, and what it is.
ELSEWHERE = {
    **{".onnx": "an ONNX model", ".gguf": "a GGUF model", ".tflite": "a TensorFlow Lite model", ".npz": "NumPy arrays"},
    **{".h5": "a Keras model", ".keras": "a Keras model", ".msgpack": "Flax weights", ".pb": "a TensorFlow model"},
    **{".engine": "a TensorRT engine", ".mlmodel": "a Core ML model", ".pdparams": "weights of PaddlePaddle"},
}

Precision = Callable[[str], "torch.dtype | None"]
Tensors = dict[str, torch.Tensor]


class WeightsError(RuntimeError):
    """Weights that are missing, damaged or of another model. The message says what to do."""


def problem_of(path: Path) -> str:
    """Why a file cannot be one of weights, and what to do; "" where it looks whole. Reads its ends, not its tensors."""
    status = path.stat()
    return _problem(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _problem(path: Path, size: int, changed: int) -> str:
    """changed: part of the key under which the answer is kept."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})."
    if not head:
        return "is empty. Fetch it again."
    if head.startswith(b"version https://git-lfs"):
        return "is the pointer of Git LFS in place of the weights. Run 'git lfs pull', or fetch the file itself."
    if path.suffix.casefold() in ELSEWHERE:
        return (
            f"is no file of PyTorch but {ELSEWHERE[path.suffix.casefold()]}. Take the .safetensors or .pth beside it."
        )
    if path.suffix == ".safetensors":
        return _problem_of_safetensors(path, size)
    if head.startswith(b"PK"):
        return "" if zipfile.is_zipfile(path) else "is cut short. Fetch it again."
    if head.startswith(b"\x80") or head.startswith((b"}", b"(", b"c")):  # pickles, which end where they end
        return ""
    kind = name_of(head)
    return f"is no file of weights but {kind[0]}." if kind else "is no file of weights."


def _problem_of_safetensors(path: Path, size: int) -> str:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > 100_000_000 or (size >= 10 and file.read(1) != b"{"):
            file.seek(0)
            kind = name_of(file.read(HEAD))
            return "is no file of weights" + (f" but {kind[0]}." if kind else ".")
        if size < 8 + length:
            return f"is cut short: {size:,} of {8 + length:,} bytes and more. Fetch it again."
        file.seek(8)
        try:
            entries = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
            whole = 8 + length + max(ends, default=0)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return "is damaged: its list of tensors cannot be read. Fetch it again."
    return f"is cut short: {size:,} of {whole:,} bytes. Fetch it again." if size < whole else ""


def read_weights(path: Path, precision: Precision = lambda name: None) -> Tensors:
    """The tensors in a file, by name, those of the network alone where a checkpoint of a training holds more.

    precision: name -> the type to convert that tensor to; None leaves it as it is in the file. Tensors of a
    .safetensors file that stay as they are take no memory before they are used: they are mapped from the file.
    Raises WeightsError for a file that is cut short, damaged, or holds anything but tensors. Can be ended between two
    tensors of a .safetensors file, see `interrupt`.
    """
    problem = problem_of(path)
    if problem:
        raise WeightsError(f"{path} {problem}")
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path, precision)
        state = _read_torchscript(path) if _is_torchscript(path) else _read_pickle(path)
        return {new: _converted(state[old], precision(new)) for new, old in bare_names(state).items()}
    except pickle.UnpicklingError as error:
        if any(words in str(error) for words in CUT_SHORT):
            raise WeightsError(f"{path} is cut short. Fetch it again.") from None
        raise WeightsError(
            f"{path} is a pickle that holds more than tensors, or damaged; running it could do harm. "
            "Give the weights as .safetensors, or save the network's state_dict() alone."
        ) from None
    except DAMAGED as error:
        checkpoint()  # raises again where it was that which ended the reading
        if ran_out_of_memory(error):
            raise MemoryError(f"The memory was not enough to read {path.name}.") from error
        if isinstance(error, EOFError) or any(words in str(error) for words in CUT_SHORT):
            raise WeightsError(f"{path} is cut short. Fetch it again.") from None
        raise WeightsError(f"{path} could not be read as weights ({error or type(error).__name__}).") from None


def bare_names(names: Iterable[str]) -> dict[str, str]:
    """Name in the network -> name in the file: without what trainings put before it, and without their heads."""
    found = {name: name for name in names}
    for _ in range(4):  # "module.teacher.backbone.", say
        for prefix in WRAPPERS:
            found = {new.removeprefix(prefix): old for new, old in found.items()}
        for prefix in PARTS:
            if any(new.startswith(prefix) for new in found):
                found = {new.removeprefix(prefix): old for new, old in found.items() if new.startswith(prefix)}
        own = [new for new in found if not EXTRAS.match(new)]
        around = {"".join(new.partition(".")[:2]) for new in own}
        if len(around) == 1 and len(own) > 1 and around.isdisjoint(RELEASED):
            found = {new.partition(".")[2]: found[new] for new in own}
    return found


def fitted(state: Tensors, own: Tensors) -> Tensors:
    """The tensors by a network's own names, without what belongs to none of its parts.

    own: the network's tensors, on any device. DINOv2 and DINOv3 as Meta publishes them are renamed as timm does it.
    Raises LookupError, naming the first of each, where some are missing, not expected, or of another shape.
    """
    state = dict(state)
    if "register_tokens" in state and "reg_token" in own and "pos_embed" in state and "cls_token" in state:  # DINOv2
        positions = state["pos_embed"]
        state["reg_token"] = state.pop("register_tokens")
        state["cls_token"] = state["cls_token"] + positions[:, :1]
        state["pos_embed"] = positions[:, 1:]
    if "storage_tokens" in state and "reg_token" in own:  # DINOv3: biases that are always 0, positions it computes
        renamed = {re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", name): tensor for name, tensor in state.items()}
        renamed["reg_token"] = renamed.pop("storage_tokens")
        gone = [name for name in renamed if name not in own and (name.endswith("qkv.bias") or name.startswith("rope"))]
        state = {name: tensor for name, tensor in renamed.items() if name not in gone}
    state = {name: tensor for name, tensor in state.items() if name in own or not EXTRAS.match(name)}
    shapes = [name for name in state if name in own and state[name].shape != own[name].shape]
    found = {
        "missing": [name for name in own if name not in state],
        "not expected": [name for name in state if name not in own],
        "of another shape": [f"{name} {tuple(state[name].shape)}, not {tuple(own[name].shape)}" for name in shapes],
    }
    said = [f"{what}: {_first(names)}" for what, names in found.items() if names]
    if said:
        raise LookupError("; ".join([*said, *_other_library(state)]))
    return state


def _first(names: list[str], count: int = 2) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def _other_library(state: Tensors) -> list[str]:
    """A hint where the names are those of the transformers library, under which most models are found as well."""
    of_transformers = ("vision_model.", "text_model.", "embeddings.", "encoder.layer.", "layer.0.")
    if any(name.startswith(of_transformers) for name in state):
        return ["these are the names of the transformers library, so take the file of open_clip or timm instead"]
    return []


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error means: torch has a class of its own for it on CUDA alone."""
    said = str(error).casefold() if isinstance(error, RuntimeError) else ""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        words in said for words in ("allocate memory", "not enough memory", "out of memory", "invalid buffer size")
    )


def _read_safetensors(path: Path, precision: Precision) -> Tensors:
    with safe_open(path, "pt") as file:
        names = bare_names(file.keys())
    state = {}
    for new, old in names.items():
        checkpoint()
        # Opened for each tensor, so that the pages of one that is converted are given back at once: with a mapping
        # for all, the process would hold the whole file beside what it converts to.
        with safe_open(path, "pt") as file:
            state[new] = _converted(file.get_tensor(old), precision(new))
    return state


def _read_pickle(path: Path) -> Tensors:
    # Trainings keep their arguments and scores beside the weights; these classes do nothing when they are made.
    harmless: list[Any] = [argparse.Namespace, np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32))]
    harmless.append(np.float64(0).__reduce__()[0])  # what makes a scalar
    with torch.serialization.safe_globals(harmless):
        state = torch.load(path, map_location="cpu", weights_only=True)
    for _ in range(4):
        if isinstance(state, (list, tuple)) and state:  # (weights, arguments)
            state = state[0]
        if not isinstance(state, dict):
            break
        inside = {key: value for key, value in state.items() if isinstance(value, dict)}
        known = [key for key in ENTRIES if key in inside]
        if not known and not any(map(torch.is_tensor, state.values())):  # the only one with tensors, then
            known = [key for key, value in inside.items() if any(map(torch.is_tensor, value.values()))]
            known = known if len(known) == 1 else []
        if not known:
            break
        state = inside[known[0]]
    state = state if isinstance(state, dict) else {}
    tensors = {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    if not tensors or any(isinstance(value, dict) for value in state.values()):
        raise ValueError("it holds no table of tensors")
    return tensors


def _converted(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """The tensor at a precision; whole numbers, such as indices, stay what they are."""
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _is_torchscript(path: Path) -> bool:
    """OpenAI publishes its CLIPs as such programs."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


class _Part:
    """A module of a TorchScript program: its attributes, and no code."""


class _TensorsOnly(pickle.Unpickler):
    """Reads what a TorchScript archive says of its modules; whatever is neither a module nor a tensor is refused."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self.archive, self.root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Part
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name.endswith("Storage"):
            return name
        if module == "torch.jit._pickle":  # typed lists
            return lambda value, *_: value
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, where: Any) -> torch.Tensor:
        """The numbers of one storage, as ("storage", "HalfStorage", "17", "cpu", 512) names it."""
        _, kind, key, _, count = where
        dtype = STORAGES[kind]
        if not count:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(bytearray(self.archive.read(f"{self.root}/data/{key}")), dtype=dtype)


STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def _tensor(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> torch.Tensor:
    return storage.as_strided(size, stride, offset)


def _read_torchscript(path: Path) -> Tensors:
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).rpartition("/")[0]
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist() if "/data/" in entry.filename):
            raise ValueError("its tensors are compressed, as torch does not write them")
        program = _TensorsOnly(archive, root).load()
    return dict(_tensors_of(program, ""))


def _tensors_of(part: Any, prefix: str) -> Iterable[tuple[str, torch.Tensor]]:
    for name, value in vars(part).items():
        if isinstance(value, torch.Tensor):
            yield prefix + name, value
        elif isinstance(value, _Part):
            yield from _tensors_of(value, f"{prefix}{name}.")
