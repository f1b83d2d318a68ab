"""Matrix products and attention on a CPU, through the quickest of what torch brings.

torch sends float32 products to MKL, which on some CPUs uses half of what they can do; its other library, oneDNN, was
twice as quick where it was measured. Its fused attention goes to MKL as well, and takes as long in bfloat16 as in
float32 there: plain products and a softmax, some rows of one head at a time so that the scores stay in the cache, took
two thirds of its time in float32 and less than half in bfloat16. What is quicker is measured once, and not looked up.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

ROWS_AT_ONCE = 512  # of one head: 1.8 MB of scores for 1,764 patches in bfloat16


def onednn_linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """inputs (..., I), weight (O, I) and bias (O,) on the CPU -> (..., O), as F.linear, by oneDNN.

    The operator is one that torch's own compiler calls; there is no public name for it.
    """
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")


def attend_in_rows(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) V, all (B, heads, N, d) -> (B, heads, N, d), in blocks of queries.

    In bfloat16 the scores are rounded to it as well, which the fused kernel does not do. The mean of the keys adds the
    same to all scores of a row, so it changes no weight; without it the scores, and their rounding, are much smaller.
    """
    linear = F.linear if query.dtype != torch.float32 or not onednn_pays() else onednn_linear
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

    in_float32: whether float32 products gain. in_rows: the precisions whose attention does.
    """

    def __init__(self, in_float32: bool, in_rows: set[torch.dtype]) -> None:
        super().__init__()
        self.in_float32, self.in_rows = in_float32, in_rows

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.linear and self.in_float32 and args[0].dtype == torch.float32:
            return onednn_linear(*args, **kwargs)
        if function is F.scaled_dot_product_attention and args[0].dtype in self.in_rows and len(args) == 3:
            options = [option for option in kwargs.values() if torch.is_tensor(option) or option]
            if not options:
                return attend_in_rows(*args)
        return function(*args, **kwargs)


def quick_products(device: torch.device) -> AbstractContextManager:
    """The context to run networks in, without gradients. It changes nothing but the speed, and that on CPUs alone.

    Not for torch.nn.MultiheadAttention, which leaves its own quick path where such a context is active.
    """
    if device.type != "cpu":
        return nullcontext()
    in_rows = {dtype for dtype in (torch.float32, torch.bfloat16) if rows_pay(dtype)}
    return _Quick(onednn_pays(), in_rows) if in_rows or onednn_pays() else nullcontext()


@lru_cache
def onednn_pays() -> bool:
    """Whether oneDNN multiplies float32 in clearly less time than torch does by itself; measured in some 10 ms."""
    inputs, weight = torch.ones(256, 768), torch.ones(768, 768)
    try:
        onednn_linear(inputs, weight)
    except (AttributeError, RuntimeError, NotImplementedError):  # a torch that was built without it
        return False
    return 1.1 * _seconds(lambda: onednn_linear(inputs, weight)) < _seconds(lambda: F.linear(inputs, weight))


@lru_cache
def rows_pay(dtype: torch.dtype) -> bool:
    """Whether this CPU attends in rows in less time than torch's fused kernel takes; measured in some 20 ms."""
    query = torch.ones(1, 1024, 2, 64, dtype=dtype).transpose(1, 2)  # laid out as timm's
    fused = _seconds(lambda: F.scaled_dot_product_attention(query, query, query))
    return _seconds(lambda: attend_in_rows(query, query, query)) < fused


@torch.inference_mode()
def _seconds(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=1, repeat=4))
