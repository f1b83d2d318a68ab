"""Attention on a CPU, a few queries of one head at a time.

Axes: B windows, N tokens, d width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from proxyclip_core.cpu import kernels
from proxyclip_core.cpu.linear import onednn_linear

SCORES_AT_ONCE = 2_000_000  # bytes of one head's scores, which then stay in the CPU's cache


def chunked_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) V, all (B, heads, N, d) -> (B, heads, N, d), without gradients.

    The mean of the keys is taken off first. It adds the same to all scores of a query and so changes no weight; but
    without it the scores are much smaller, and so is their rounding in bfloat16.
    """
    linear = onednn_linear if query.dtype in kernels.current().linear else F.linear
    queries = (query * query.shape[-1] ** -0.5).contiguous()
    keys = (key - key.sum(dim=-2, keepdim=True) / key.shape[-2]).contiguous()
    columns = value.transpose(-2, -1).contiguous()  # (B, heads, d, N): the second product's weight
    # Laid out as the layer after it reads it: the heads of one token side by side.
    attended = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
    rows_at_once = max(1, SCORES_AT_ONCE // (key.shape[-2] * key.element_size()))
    for window in zip(queries, keys, columns, attended):
        for head_queries, head_keys, head_columns, head_attended in zip(*window):
            for rows, result in zip(head_queries.split(rows_at_once), head_attended.split(rows_at_once)):
                result.copy_(linear(linear(rows, head_keys).softmax(dim=-1), head_columns))
    return attended
