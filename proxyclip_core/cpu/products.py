"""Matrix products and attention on a CPU, through the quickest of what torch brings.

torch sends float32 products to MKL, which on some CPUs uses half of what they can do; its other library, oneDNN, was
twice as quick where it was measured. Its fused attention goes to MKL as well, and takes as long in bfloat16 as in
float32 there: products by oneDNN with the softmax's exp inside the first of them, some rows of one head at a time so
that the scores stay in the cache, took 0.6 of its time in float32 and 0.4 in bfloat16. What is quicker is measured
once, and not looked up.
"""

from __future__ import annotations

import math
import timeit
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear  # nn.MultiheadAttention's own, no other in effect
from torch.overrides import TorchFunctionMode

from proxyclip_core.cpu.memory import give_memory_back

PRECISIONS = (torch.float32, torch.bfloat16)
PACKED_FROM = 250_000  # entries of a weight; smaller ones stay in the cache as they are
SCORES_AT_ONCE = 4_000_000  # bytes, of one head
FAR_BELOW = 16.0  # see `exp_of_product`
# Scores up to this are lowered by as much, to be below 0. exp(x) is 0 from x = -87 on, and the largest score of a row
# is 0 or more: so what is lost has less than e^-(87 - 16 - 48), 1e-10 of the row's largest weight.
MOST_BY_SIGMOID = 48.0


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
    large = type(layer) in (nn.Linear, NonDynamicallyQuantizableLinear) and layer.weight.numel() >= PACKED_FROM
    takes_it_apart = getattr(parent, "q_bias", None) is not None  # timm's EVA then reads the weight itself
    if not large or takes_it_apart or layer.weight.device.type != "cpu" or not packing_pays(layer.weight.dtype):
        return False
    setattr(parent, name, PackedLinear(layer))
    return True


def attend_in_rows(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) V, all (B, heads, N, d) -> (B, heads, N, d), in blocks of queries.

    The mean of the keys adds the same to all scores of a row, so it changes no weight. Without it the scores are much
    smaller, and so is their rounding where they are held in bfloat16; and the largest of a row is 0 or more.
    """
    queries, keys = (torch.empty_like(part, memory_format=torch.contiguous_format) for part in (query, key))
    torch.mul(query, query.shape[-1] ** -0.5, out=queries)
    torch.sub(key, key.sum(dim=-2, keepdim=True) / key.shape[-2], out=keys)  # torch's mean would make a float32 copy
    columns = value.transpose(-2, -1)  # (B, heads, d, N): what a product takes as its weight
    if onednn_pays(query.dtype):
        columns = columns.contiguous()
    largest = _longest(queries) * _longest(keys)  # (B, heads): no score is above it, as |q k| <= |q| |k|
    shifts = (-largest - FAR_BELOW)[..., None].expand(key.shape[:3]).contiguous()
    by_sigmoid = ((largest <= MOST_BY_SIGMOID) & sigmoid_pays(query.dtype)).tolist()
    # Laid out as the layer after it reads it: the heads of one token side by side.
    attended = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
    blocks = math.ceil(query.shape[2] * key.shape[2] * query.element_size() / SCORES_AT_ONCE)
    for rows, results in zip(queries.tensor_split(blocks, dim=2), attended.tensor_split(blocks, dim=2)):
        for window in zip(rows, keys, columns, shifts, by_sigmoid, results):
            for head in zip(*window):
                _attend_in_one_head(*head)
    return attended


def _attend_in_one_head(
    rows: torch.Tensor,
    keys: torch.Tensor,
    columns: torch.Tensor,
    shift: torch.Tensor,
    by_sigmoid: bool,
    result: torch.Tensor,
) -> None:
    """Fills result (R, d). rows (R, d) of the queries, keys (N, d), columns (d, N), shift (N,)."""
    linear = onednn_linear if onednn_pays(rows.dtype) else F.linear
    if by_sigmoid:
        weights = exp_of_product(rows, keys, shift)
        torch.div(linear(weights, columns), weights.sum(dim=-1, keepdim=True), out=result)
    else:
        result.copy_(linear(linear(rows, keys).softmax(dim=-1), columns))


def _longest(vectors: torch.Tensor) -> torch.Tensor:
    """(..., N, d) -> (...), the length of the longest."""
    return torch.linalg.vector_norm(vectors, dim=-1).amax(dim=-1)


def exp_of_product(queries: torch.Tensor, keys: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """exp(Q K^T + shift) where that is far below 1; queries (R, d), keys (N, d) and shift (N,) on the CPU -> (R, N).

    oneDNN applies a sigmoid while a product is still in the registers, and has no exp there. Far below 0 the two are
    one: sigmoid(x) = exp(x) / (1 + exp(x)), and from x = -16 on the divisor is 1 in the precision of float32.
    """
    return torch.ops.mkldnn._linear_pointwise(queries, keys, shift, "sigmoid", [], "")


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


@lru_cache
def sigmoid_pays(dtype: torch.dtype) -> bool:
    """Whether `exp_of_product` is exp and takes less time than a softmax after the product; measured in some 10 ms."""
    scores = torch.linspace(-MOST_BY_SIGMOID, 0, 512)[:, None].to(dtype)
    queries, keys = scores.expand(-1, 64).contiguous(), torch.full((1024, 64), 1 / 64, dtype=dtype)
    shift = torch.full((1024,), -FAR_BELOW, dtype=dtype)
    try:
        exps = exp_of_product(queries, keys, shift)
        quick = _seconds(lambda: exp_of_product(queries, keys, shift).sum(dim=-1))
    except (AttributeError, RuntimeError, NotImplementedError):  # a torch that was built without it
        return False
    # A sigmoid that is close as a number between 0 and 1 may still be no exp: zero, or many times too large.
    is_exp = torch.allclose(exps.double(), (scores.double() - FAR_BELOW).exp(), rtol=0.01, atol=0)
    return is_exp and quick < _seconds(lambda: onednn_linear(queries, keys).softmax(dim=-1))


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


def chosen_kernels() -> dict[str, str]:
    return {}
