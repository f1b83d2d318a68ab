"""The context in which networks run: faster kernels on a CPU, and pieces where a device holds no large tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from proxyclip_core.cpu import kernels
from proxyclip_core.cpu.attention import chunked_attention
from proxyclip_core.cpu.linear import onednn_linear

# Bytes of the largest tensor that a device can hold, for devices that may compute attention by way of all scores at
# once. Apple's GPUs say "Invalid buffer size" beyond 4 GB. What comes after the networks takes far smaller pieces on
# every device, see `attention.ENTRIES_AT_ONCE` and `readout.ENTRIES_AT_ONCE`.
LARGEST_TENSOR = {"mps": 4_000_000_000}
BYTES_OF_A_SCORE = 4  # in float32, also where tokens are in half precision


class _FastProducts(TorchFunctionMode):
    """Replaces F.linear, and F.scaled_dot_product_attention without a mask or other option."""

    def __init__(self, chosen: kernels.Kernels) -> None:
        super().__init__()
        self.chosen, self.is_aside = chosen, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.is_aside:
            return func(*args, **kwargs)
        if func is F.linear and args and args[0].dtype in self.chosen.linear:
            return onednn_linear(*args, **kwargs)
        if func is F.scaled_dot_product_attention and len(args) == 3 and args[0].dtype in self.chosen.attention:
            has_options = any(torch.is_tensor(option) or option for option in kwargs.values())
            if not has_options and args[0].ndim == 4 and args[0].shape[-1] == args[2].shape[-1]:
                return chunked_attention(*args)
        return func(*args, **kwargs)


class _SmallTensors(TorchFunctionMode):
    """Has F.scaled_dot_product_attention take some queries at a time where all scores would be larger than a tensor
    may be. The result is the same, as queries do not depend on each other."""

    def __init__(self, largest: int) -> None:
        super().__init__()
        self.largest = largest

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention or kwargs.get("is_causal"):
            return func(*args, **kwargs)
        query, key, *others = args  # (B, heads, N, d)
        row = prod(query.shape[:-2]) * key.shape[-2] * BYTES_OF_A_SCORE
        at_once, mask = max(1, self.largest // row), kwargs.get("attn_mask")
        if at_once >= query.shape[-2]:
            return func(*args, **kwargs)
        pieces = []
        for first in range(0, query.shape[-2], at_once):
            rows = slice(first, first + at_once)
            if mask is not None and mask.shape[-2] > 1:
                kwargs = kwargs | {"attn_mask": mask[..., rows, :]}
            pieces.append(func(query[..., rows, :], key, *others, **kwargs))
        return torch.cat(pieces, dim=-2)


_entered: ContextVar[tuple[_FastProducts, ...]] = ContextVar("entered", default=())


@contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """The context to run networks in, on any device: no gradients, on a CPU its faster kernels, and no tensor of
    attention that the device cannot hold.

    nn.MultiheadAttention.forward takes a slow path of its own in it: call the layer's parts instead.
    """
    chosen = kernels.current() if device.type == "cpu" else kernels.TORCHS_OWN
    largest = LARGEST_TENSOR.get(device.type)
    faster = nullcontext() if chosen == kernels.TORCHS_OWN else _within(_FastProducts(chosen))
    with torch.no_grad(), faster, _SmallTensors(largest) if largest else nullcontext():
        yield


@contextmanager
def set_aside() -> Iterator[None]:
    """What runs inside computes as outside all of this thread's `fast_products`: it is something else, in the midst of
    a network, and is to give the same numbers as after it."""
    aside = [mode for mode in _entered.get() if not mode.is_aside]
    for mode in aside:
        mode.is_aside = True
    try:
        yield
    finally:
        for mode in aside:
            mode.is_aside = False


@contextmanager
def _within(mode: _FastProducts) -> Iterator[None]:
    before = _entered.set((*_entered.get(), mode))
    try:
        with mode:
            yield
    finally:
        _entered.reset(before)
