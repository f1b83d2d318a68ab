"""Attention of a VFM in bfloat16 on a CPU, where torch's fused kernel may gain nothing over float32.

On CPUs that have bfloat16 products but no matrix tiles, the fused kernel takes as long in bfloat16 as in float32 and
becomes most of a VFM's time. Plain products and a softmax, some rows at a time so that the scores stay in the cache,
took three quarters of its time where it was measured. Which of the two is quicker is measured once.
"""

from __future__ import annotations

import timeit
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

SCORES_AT_ONCE = 6_000_000  # of all heads: 12 MB


def attend_in_rows(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) V, all (B, heads, N, d) -> (B, heads, N, d), in blocks of queries.

    In bfloat16 the scores are rounded to it as well, which the fused kernel does not do. The mean of the keys adds the
    same to all scores of a row, so it changes no weight; without it the scores, and their rounding, are much smaller.
    """
    attended = torch.empty_like(query, memory_format=torch.contiguous_format)
    rows = max(1, SCORES_AT_ONCE // (query.shape[1] * query.shape[2]))
    for window in range(len(query)):
        keys = key[window] - key[window].mean(dim=-2, keepdim=True)
        keys, values = (keys * query.shape[-1] ** -0.5).transpose(-2, -1), value[window].contiguous()
        for start in range(0, query.shape[-2], rows):
            block = slice(start, start + rows)
            attended[window, :, block] = (query[window, :, block] @ keys).softmax(dim=-1) @ values
    return attended


class _InRows(TorchFunctionMode):
    """Sends scaled_dot_product_attention to `attend_in_rows` where no mask or other option is asked for."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        options = [option for option in kwargs.values() if torch.is_tensor(option) or option]
        if function is F.scaled_dot_product_attention and len(args) == 3 and not options:
            return attend_in_rows(*args)
        return function(*args, **kwargs)


def quick_attention(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """The context to run a timm network in. It changes nothing but bfloat16 on CPUs where rows are quicker.

    Not for torch.nn.MultiheadAttention, which leaves its own quick path where such a context is active.
    """
    if device.type == "cpu" and dtype == torch.bfloat16 and _rows_pay():
        return _InRows()
    return nullcontext()


@lru_cache
def _rows_pay() -> bool:
    """Whether this CPU attends in rows in less time than torch's fused kernel takes; measured in some 30 ms."""
    query = torch.ones(1, 2, 1024, 64, dtype=torch.bfloat16)
    seconds = [
        min(timeit.repeat(lambda: attend(query, query, query), number=1, repeat=3))  # noqa: B023
        for attend in (attend_in_rows, F.scaled_dot_product_attention)
    ]
    return seconds[0] < seconds[1]
