"""The context in which networks run with this CPU's faster kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from proxyclip_core.cpu import kernels
from proxyclip_core.cpu.attention import chunked_attention
from proxyclip_core.cpu.linear import onednn_linear


class _FastProducts(TorchFunctionMode):
    """Replaces F.linear, and F.scaled_dot_product_attention without a mask or other option."""

    def __init__(self, chosen: kernels.Kernels) -> None:
        super().__init__()
        self.chosen = chosen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.linear and args and args[0].dtype in self.chosen.linear:
            return onednn_linear(*args, **kwargs)
        if func is F.scaled_dot_product_attention and len(args) == 3 and args[0].dtype in self.chosen.attention:
            has_options = any(torch.is_tensor(option) or option for option in kwargs.values())
            if not has_options and args[0].ndim == 4 and args[0].shape[-1] == args[2].shape[-1]:
                return chunked_attention(*args)
        return func(*args, **kwargs)


@contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """The context to run networks in, on any device: no gradients, and on a CPU its faster kernels.

    nn.MultiheadAttention.forward takes a slow path of its own in it: call the layer's parts instead.
    """
    chosen = kernels.current() if device.type == "cpu" else kernels.TORCHS_OWN
    with torch.no_grad(), nullcontext() if chosen == kernels.TORCHS_OWN else _FastProducts(chosen):
        yield
