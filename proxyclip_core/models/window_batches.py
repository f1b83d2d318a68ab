"""Windows of one picture, or of several, through an encoder: some at a time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
import torch

from proxyclip_core.devices import on_device
from proxyclip_core.models.checkpoints import ran_out_of_memory
from proxyclip_core.models.clip import ClipEncoder
from proxyclip_core.models.vfm import PatchEncoder
from proxyclip_core.models.vit import RGB, all_finite, check_finite
from proxyclip_core.picture import cut_windows
from proxyclip_core.windows import WindowLayout

# Windows that an encoder takes together. On a CPU the VFM gains nothing from more, which cost memory; CLIP, with fewer
# patches, gains a little.
VFM_WINDOWS_AT_ONCE = {"cpu": 1, "mps": 8, "cuda": 32}
CLIP_WINDOWS_AT_ONCE = {"cpu": 4, "mps": 8, "cuda": 32}
OTHER_DEVICE_AT_ONCE = 4


def vfm_windows_at_once(device: torch.device) -> int:
    """How many windows are taken together where a VFM's patches are."""
    return VFM_WINDOWS_AT_ONCE.get(device.type, OTHER_DEVICE_AT_ONCE)


def encode_pictures(
    encoder: ClipEncoder | PatchEncoder,
    pictures: Sequence[tuple[np.ndarray, WindowLayout]],
    fill_rgb: RGB,
    device: torch.device,
) -> list[torch.Tensor]:
    """Pictures of their layouts' scaled sizes, (H, W, 3) uint8 -> (B, ...) each, on the device.

    Windows of one size go through the encoder together, whichever pictures they are of. fill_rgb: what they are padded
    with, in 0..1. Where the memory is not enough, fewer do. An encoder that overflows in half precision goes on in
    float32 from then on, with a warning. Raises ValueError where the network gives what is no finite number in float32
    either.
    """
    parts: dict[int, torch.Tensor] = {}  # by picture
    for padded_hw in dict.fromkeys(layout.padded_hw for _, layout in pictures):
        alike = [which for which, (_, layout) in enumerate(pictures) if layout.padded_hw == padded_hw]
        windows = [(which, index) for which in alike for index in range(pictures[which][1].count)]
        at_once = _at_once(encoder, padded_hw, device)
        for first in range(0, len(windows), at_once):
            chosen = {
                which: [index for _, index in group]
                for which, group in groupby(windows[first : first + at_once], itemgetter(0))
            }
            pixels = [
                cut_windows(scaled, layout, fill_rgb, indices)
                for (scaled, layout), indices in ((pictures[which], indices) for which, indices in chosen.items())
            ]
            encoded = _encode(encoder, torch.cat(pixels), device)
            for which, part in zip(chosen, encoded.split([len(indices) for indices in chosen.values()])):
                start, count = chosen[which][0], pictures[which][1].count
                if start == 0:  # room for all of them: put together at the end, they would be there twice
                    parts[which] = part.new_empty(count, *part.shape[1:])
                parts[which][start : start + len(part)] = part
    encoded_pictures = [parts[which] for which in range(len(pictures))]
    if encoder.dtype == torch.float32:
        check_finite(encoder.name, encoded_pictures)
    elif not all_finite(encoded_pictures):
        half = str(encoder.dtype).removeprefix("torch.")
        encoder.note = f"{encoder.name} overflows in {half}; it goes on in float32."
        warnings.warn(encoder.note, RuntimeWarning, stacklevel=2)
        encoder.to(device, torch.float32)
        return encode_pictures(encoder, pictures, fill_rgb, device)
    return encoded_pictures


def _encode(encoder: ClipEncoder | PatchEncoder, windows: torch.Tensor, device: torch.device) -> torch.Tensor:
    """All windows together; where the memory is not enough for that, half of them at a time, and so on."""
    try:
        return encoder.encode_windows(on_device(windows, device))
    except (RuntimeError, MemoryError) as error:
        if len(windows) == 1 or not ran_out_of_memory(error):
            raise
    # Here the error is gone, and with it the tensors that it held.
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return torch.cat([_encode(encoder, part, device) for part in windows.split((len(windows) + 1) // 2)])


def _at_once(encoder: ClipEncoder | PatchEncoder, padded_hw: tuple[int, int], device: torch.device) -> int:
    if isinstance(encoder, ClipEncoder):
        return CLIP_WINDOWS_AT_ONCE.get(device.type, OTHER_DEVICE_AT_ONCE)
    at_once = vfm_windows_at_once(device)
    if not encoder.input_side:
        return at_once
    enlarged = encoder.input_side**2 / (padded_hw[0] * padded_hw[1])  # it reads windows enlarged, as SAM does
    return max(1, min(at_once, int(at_once / enlarged)))
