"""Matrix products and attention on a CPU, through the quickest of what torch brings.

torch sends float32 products to MKL, which on some CPUs uses half of what they can do; its other library, oneDNN, was
twice as quick where it was measured. Its fused attention goes to MKL as well, and takes as long in bfloat16 as in
float32 there: plain products and a softmax, some rows of one head at a time so that the scores stay in the cache, took
two thirds of its time in float32 and less than half in bfloat16. What is quicker is measured once, and not looked up.
"""

from __future__ import annotations

import ctypes
import sys
import timeit
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

PRECISIONS = (torch.float32, torch.bfloat16)
PACKED_FROM = 250_000  # entries of a weight; smaller ones stay in the cache as they are
ROWS_AT_ONCE = 512  # of one head: 1.8 MB of scores for 1,764 patches in bfloat16


def onednn_linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """inputs (..., I), weight (O, I) and bias (O,) on the CPU -> (..., O), as F.linear, by oneDNN.

    The operator is one that torch's own compiler calls; there is no public name for it.
    """
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")


def pack(weight: torch.Tensor) -> torch.Tensor:
    """(O, I) on the CPU -> the same in the order in which oneDNN reads it: a weight for `onednn_linear` alone."""
    with torch.no_grad():
        return torch.ops.mkldnn._reorder_linear_weight(weight)


class PackedLinear(nn.Module):
    """A linear layer whose weight lies in the order in which oneDNN reads it; for inference on a CPU alone."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        self.packed = pack(linear.weight.detach())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return onednn_linear(inputs, self.packed, self.bias)

    def _apply(self, fn, recurse: bool = True) -> nn.Module:
        raise ValueError("These weights are packed for this CPU and precision. Load the model anew for another.")


def pack_linears(*networks: nn.Module) -> None:
    """Puts PackedLinear in the place of the networks' large linear layers, where they are on a CPU and it pays.

    A weight that was mapped from a file is in memory after it; the networks can no longer be moved, copied or trained.
    """
    parents = [module for network in networks for module in network.modules() if not isinstance(module, nn.Linear)]
    packed = [_pack(parent, name) for parent in parents for name, _ in list(parent.named_children())]
    if any(packed):
        give_memory_back()


def _pack(parent: nn.Module, name: str) -> bool:
    layer = getattr(parent, name)
    large = type(layer) is nn.Linear and layer.weight.numel() >= PACKED_FROM
    takes_it_apart = getattr(parent, "q_bias", None) is not None  # timm's EVA then reads the weight itself
    if not large or takes_it_apart or layer.weight.device.type != "cpu" or not packing_pays(layer.weight.dtype):
        return False
    setattr(parent, name, PackedLinear(layer))
    return True


def give_memory_back() -> None:
    """Hands the freed memory between what is still in use back to the system, where glibc would keep it."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def attend_in_rows(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) V, all (B, heads, N, d) -> (B, heads, N, d), in blocks of queries.

    In bfloat16 the scores are rounded to it as well, which the fused kernel does not do. The mean of the keys adds the
    same to all scores of a row, so it changes no weight; without it the scores, and their rounding, are much smaller.
    """
    linear = onednn_linear if onednn_pays(query.dtype) else F.linear
    keys = ((key - key.mean(dim=-2, keepdim=True)) * query.shape[-1] ** -0.5).contiguous()
    values = value.transpose(-2, -1).contiguous()  # (B, heads, d, N): what a product takes as its weight
    attended = torch.empty_like(query, memory_format=torch.contiguous_format)
    for window in range(query.shape[0]):
        for head in range(query.shape[1]):
            for start in range(0, query.shape[2], ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                weights = linear(query[window, head, rows], keys[window, head]).softmax(dim=-1)
                attended[window, head, rows] = linear(weights, values[window, head])
    return attended


class _Quick(TorchFunctionMode):
    """Sends F.linear to oneDNN and F.scaled_dot_product_attention, where it has no mask or other option, to the rows.

    by_onednn: the precisions whose products gain. in_rows: those whose attention does.
    """

    def __init__(self, by_onednn: set[torch.dtype], in_rows: set[torch.dtype]) -> None:
        super().__init__()
        self.by_onednn, self.in_rows = by_onednn, in_rows

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.linear and args and args[0].dtype in self.by_onednn:
            return onednn_linear(*args, **kwargs)
        if function is F.scaled_dot_product_attention and len(args) == 3 and args[0].dtype in self.in_rows:
            options = [option for option in kwargs.values() if torch.is_tensor(option) or option]
            if not options and args[0].ndim == 4 and args[0].shape[-1] == args[2].shape[-1]:
                return attend_in_rows(*args)
        return function(*args, **kwargs)


def quick_products(device: torch.device) -> AbstractContextManager:
    """The context to run networks in, without gradients. It changes the speed, and the last bits, on CPUs alone.

    Not for torch.nn.MultiheadAttention, which leaves its own quick path where such a context is active.
    """
    if device.type != "cpu":
        return nullcontext()
    by_onednn, in_rows = ({dtype for dtype in PRECISIONS if pays(dtype)} for pays in (onednn_pays, rows_pay))
    return _Quick(by_onednn, in_rows) if by_onednn or in_rows else nullcontext()


@lru_cache
def onednn_pays(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies in less time than torch does by itself; measured in some 10 ms.

    In bfloat16 torch goes to oneDNN by itself on CPUs that have such products, and there is nothing to gain.
    """
    return dtype in PRECISIONS and _share_of_torchs_time(dtype, lambda weight: weight) < 0.9


@lru_cache
def packing_pays(dtype: torch.dtype) -> bool:
    """Whether oneDNN takes less time, or about as long, with a packed weight. One that is read anew each time gains
    more than this small one, which stays in the cache."""
    return dtype in PRECISIONS and _share_of_torchs_time(dtype, pack) < 1.1


def _share_of_torchs_time(dtype: torch.dtype, prepare: Callable[[torch.Tensor], torch.Tensor]) -> float:
    inputs, weight = torch.ones(256, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)
    try:
        prepared = prepare(weight)
        quick = _seconds(lambda: onednn_linear(inputs, prepared))
    except (AttributeError, RuntimeError, NotImplementedError):  # a torch that was built without it
        return float("inf")
    return quick / _seconds(lambda: F.linear(inputs, weight))


@lru_cache
def rows_pay(dtype: torch.dtype) -> bool:
    """Whether this CPU attends in rows in less time than torch's fused kernel takes; measured in some 20 ms."""
    query = torch.ones(1, 1024, 2, 64, dtype=dtype).transpose(1, 2)  # laid out as timm's
    fused = _seconds(lambda: F.scaled_dot_product_attention(query, query, query))
    return _seconds(lambda: attend_in_rows(query, query, query)) < fused


@torch.inference_mode()
def _seconds(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=1, repeat=4))
