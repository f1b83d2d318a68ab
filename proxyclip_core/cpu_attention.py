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
FEWEST_ROWS = 128  # of a head at once; with fewer a matrix product is slow, so large windows take some heads at a time


def attend_in_rows(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) V, all (B, heads, N, d) -> (B, heads, N, d), in blocks of queries.

    In bfloat16 the scores are rounded to it as well, which the fused kernel does not do. The mean of the keys adds the
    same to all scores of a row, so it changes no weight; without it the scores, and their rounding, are much smaller.
    """
    _, heads, count, width = query.shape
    some = min(heads, max(1, SCORES_AT_ONCE // (FEWEST_ROWS * count)))
    rows = min(count, max(1, SCORES_AT_ONCE // (some * count)))
    # The same memory for every block: the system would otherwise have to clear 12 MB of new pages for each.
    room = query.new_empty(2, some * rows * count)
    attended = torch.empty_like(query, memory_format=torch.contiguous_format)
    for window in range(len(query)):
        keys = (key[window] - key[window].mean(dim=-2, keepdim=True)) * width**-0.5
        keys, values = keys.transpose(-2, -1).contiguous(), value[window].contiguous()
        for first in range(0, heads, some):
            group = slice(first, first + some)
            for start in range(0, count, rows):
                queries = query[window, group, start : start + rows]
                used = room[:, : queries.shape[0] * queries.shape[1] * count]
                scores, weights = used.unflatten(1, (*queries.shape[:2], count))
                torch.bmm(queries, keys[group], out=scores)
                torch.softmax(scores, dim=-1, out=weights)
                attended[window, group, start : start + rows] = weights @ values[group]
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
    query = torch.ones(1, 1024, 2, 64, dtype=torch.bfloat16).transpose(1, 2)  # laid out as timm's
    seconds = [
        min(timeit.repeat(lambda: attend(query, query, query), number=1, repeat=4))  # noqa: B023
        for attend in (attend_in_rows, F.scaled_dot_product_attention)
    ]
    return seconds[0] < seconds[1]
