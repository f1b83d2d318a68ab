"""Tensors on their way to the device that computes."""

from __future__ import annotations

import torch


def on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU, or of the device already, on the device.

    A plain `.to` makes the CPU wait until a GPU has done all that it was asked for before.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")
