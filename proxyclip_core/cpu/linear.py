"""Linear layers by oneDNN, with weights in the order in which it reads them.

Axes: I and O, the features that go in and come out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear  # what nn.MultiheadAttention calls its nn.Linear

from proxyclip_core.cpu import kernels
from proxyclip_core.cpu.memory import give_memory_back

PACKED_FROM = 250_000  # entries of a weight; smaller ones stay in the CPU's cache as they are


class Encoder(Protocol):
    """What `speed_up` asks of an encoder."""

    @property
    def picture_layers(self) -> Iterable[nn.Module]:
        """The parts of its network that every picture goes through."""


def onednn_linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """inputs (..., I), weight (O, I), plain or packed, and bias (O,) on the CPU -> (..., O), as F.linear."""
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")


class PackedLinear(nn.Module):
    """An nn.Linear whose weight lies in the order in which oneDNN reads it, for inference on a CPU.

    From outside it is the layer that it stands for: `weight`, state_dict, load_state_dict, copies and pickles hold the
    plain weight, and `to` packs it anew, or leaves it plain on a device or in a precision where that is not faster.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._take(linear)

    def _take(self, linear: nn.Linear) -> None:
        weight = linear.weight.detach()
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        self._stored = torch.ops.mkldnn._reorder_linear_weight(weight) if _is_faster_packed(weight) else weight

    def unpacked(self) -> nn.Linear:
        """The layer that this one stands for, with a weight of its own."""
        linear = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        stored = self._stored
        linear.weight = nn.Parameter(stored.to_dense() if stored.is_mkldnn else stored, requires_grad=False)
        linear.bias = self.bias
        return linear

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if not self._stored.is_mkldnn or (torch.is_grad_enabled() and inputs.requires_grad):  # oneDNN's has no gradient
            return F.linear(inputs, self.weight, self.bias)
        return onednn_linear(inputs, self._stored, self.bias)

    @property
    def weight(self) -> torch.Tensor:
        """(O, I)"""
        return self.unpacked().weight

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return PackedLinear, (self.unpacked(),)  # for copies and pickles: a packed tensor cannot be either

    def _apply(self, fn: Any, recurse: bool = True) -> PackedLinear:
        self._take(self.unpacked()._apply(fn, recurse))
        return self

    def _save_to_state_dict(self, *given: Any) -> None:
        self.unpacked()._save_to_state_dict(*given)

    def _load_from_state_dict(self, *given: Any) -> None:
        linear = self.unpacked()
        linear._load_from_state_dict(*given)
        self._take(linear)


def speed_up(encoder: Encoder) -> None:
    """Packs the large linear layers that a picture goes through, where they are on a CPU and it is faster.

    Afterwards such a weight is in memory, also where it was mapped from a file.
    """
    parents = [module for part in encoder.picture_layers for module in part.modules()]
    packed = [_pack(parent, name) for parent in parents for name, _ in list(parent.named_children())]
    if any(packed):
        give_memory_back()


def _pack(parent: nn.Module, name: str) -> bool:
    layer = getattr(parent, name)
    if type(layer) not in (nn.Linear, NonDynamicallyQuantizableLinear) or layer.weight.numel() < PACKED_FROM:
        return False
    reads_weight_itself = getattr(parent, "q_bias", None) is not None  # as timm's EVA does; see its qkv
    if reads_weight_itself or not _is_faster_packed(layer.weight):
        return False
    setattr(parent, name, PackedLinear(layer))
    return True


def _is_faster_packed(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in kernels.current().packing
