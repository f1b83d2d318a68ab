"""The vision foundation model (VFM), which knows which patches belong together but not their names.

It takes windows as (B, 3, H, W) float RGB in 0..1, with sides that are multiples of 56, and normalises them itself.
Where a side is no multiple of the patch size, the pixels after the last whole patch are not looked at, as in the
paper's code. Results are float32, whatever the precision of the weights.

Axes: B windows, h x w patches, C width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from proxyclip_core.cpu import fast_products
from proxyclip_core.models.vit import POSITION_MODES, RGB, Network, normalise, resample_positions
from proxyclip_core.models.weights import weights_digest


class PatchEncoder:
    """A VFM: a timm network whose final-norm patch features (for SAM: the neck's output) are the result.

    positions: how position embeddings follow the window's size, one of POSITION_MODES (see registry.VfmSpec).
    input_side: the side, in pixels, to which every window is resized (SAM: 1024); None for the window as it is.
    digest: of all weights.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        mean: RGB,
        std: RGB,
        positions: str = "scale",
        input_side: int | None = None,
    ) -> None:
        if positions not in POSITION_MODES:
            raise ValueError(f"positions is {positions!r}; expected one of {', '.join(POSITION_MODES)}.")
        self.network: Network = network.eval().requires_grad_(False)
        self.digest = weights_digest(self.network.state_dict().items())
        self.name = name
        self.mean, self.std = mean, std
        self.positions = positions
        self.input_side = input_side

    @property
    def dtype(self) -> torch.dtype:
        return self.network.patch_embed.proj.weight.dtype

    def to(self, device: torch.device, dtype: torch.dtype) -> PatchEncoder:
        """Moves the network and sets its precision; returns self."""
        self.network.to(device, dtype)
        return self

    @property
    def picture_layers(self) -> tuple[nn.Module, ...]:
        """What a picture goes through: all of it."""
        return (self.network,)

    @property
    def patch(self) -> int:
        """Side of a patch, in pixels of what enters the network."""
        return self.network.patch_embed.proj.kernel_size[0]

    @property
    def width(self) -> int:
        """C, the channels of a patch's features."""
        return int(self.network.num_features)

    def grid_of(self, window_hw: tuple[int, int]) -> tuple[int, int]:
        """(h, w), the whole patches in a window of this many pixels."""
        height, width = (self.input_side,) * 2 if self.input_side else window_hw
        return height // self.patch, width // self.patch

    def encode_windows(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, C, h, w) float32."""
        pixels = normalise(windows, self.mean, self.std)
        if self.input_side:
            pixels = F.interpolate(pixels, size=(self.input_side,) * 2, mode="bilinear", align_corners=False)
        pixels = pixels.to(self.dtype)
        with fast_products(pixels.device):
            if self.positions in ("scale", "size"):
                return self._plain_vit(pixels).float()
            height, width = (side // self.patch * self.patch for side in pixels.shape[-2:])
            return self.network.forward_intermediates(
                pixels[..., :height, :width], indices=1, norm=True, intermediates_only=True, output_fmt="NCHW"
            )[0].float()

    def _plain_vit(self, pixels: torch.Tensor) -> torch.Tensor:
        """A ViT with one class token and learned positions, step by step, because timm resamples positions in
        another way than DINO and the paper do (2 % of their norm at 28 -> 42 patches a side)."""
        network = self.network
        patches = network.patch_embed.proj(pixels)  # (B, C, h, w)
        grid_hw = tuple(patches.shape[-2:])
        positions = network.pos_embed[0]
        grid_positions = resample_positions(positions[1:], network.patch_embed.grid_size, grid_hw, self.positions)
        class_token = network.cls_token.expand(len(pixels), -1, -1)
        tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = network.norm_pre(tokens + torch.cat([positions[:1], grid_positions]))
        for block in network.blocks:
            tokens = tokens + block.drop_path1(block.ls1(block.attn(block.norm1(tokens))))
            tokens = tokens + block.drop_path2(block.ls2(block.mlp(block.norm2(tokens))))
        return network.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, grid_hw)
