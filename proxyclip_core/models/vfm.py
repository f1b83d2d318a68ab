"""The vision foundation model (VFM), which knows which patches belong together but not their names.

It takes windows as (B, 3, H, W) float RGB in 0..1, with sides that are multiples of 56, and normalises them itself.
Where a side is no multiple of the patch size, the pixels after the last whole patch are not looked at, as in the
paper's code. Results are float32, whatever the precision of the weights.

What is taken of a patch is a facet: the network's output "tokens", as in the paper, or what the attention of its last
block makes of the patch: "queries", "keys", "values", or "q+k", the sum of the first two. All heads lie side by side.
They are taken as they leave their linear layers, before positions are turned or added to their products. Networks that
are no ViTs have others, see `models.diffusion`.

Axes: B windows, h x w patches, N = h * w, C width.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from proxyclip_core.cpu import fast_products
from proxyclip_core.interrupt import checkpoint
from proxyclip_core.models.vit import POSITION_MODES, RGB, Network, normalise, resample_positions
from proxyclip_core.models.weights import weights_digest

TOKENS = "tokens"
PROJECTIONS = {"queries": (0,), "keys": (1,), "values": (2,), "q+k": (0, 1)}  # facet -> which are summed


class PatchEncoder:
    """A VFM: a timm network whose final-norm patch features (for SAM: the neck's output) are the result.

    positions: how position embeddings follow the window's size, one of POSITION_MODES (see registry.VfmSpec).
    input_side: the side, in pixels, to which every window is resized (SAM: 1024, C-RADIO: 512); None for the window as
    it is.
    digest: of all weights. facet: what is taken of a patch, see above and `with_facet`.
    note: what is to be said of how it computes, "" for nothing.
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
        for layer in self.pauses:  # which timm runs by itself where this class does not
            layer.register_forward_pre_hook(checkpoint)
        self.digest = weights_digest(self.network.state_dict().items())
        self.name = name
        self.mean, self.std = mean, std
        self.positions = positions
        self.input_side = input_side
        self.facet = TOKENS
        self.note = ""

    def with_facet(self, facet: str) -> PatchEncoder:
        """This encoder, giving another facet; both share the network. Raises ValueError where it has none such."""
        if facet == self.facet:
            return self
        if facet not in self.facets:
            raise ValueError(f"{self.name} has no {facet} to compare. It has {', '.join(self.facets)}.")
        encoder = copy.copy(self)
        encoder.facet = facet
        return encoder

    @property
    def pauses(self) -> list[nn.Module]:
        """Layers before which a computation can be ended, see `interrupt`."""
        return [block.norm1 for block in self.network.blocks]

    @property
    def facets(self) -> tuple[str, ...]:
        """Those that it has: a ViT whose last block is no plain one has its output alone."""
        return (TOKENS, *PROJECTIONS) if _has_projections(self.network) else (TOKENS,)

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
        if self.facet == TOKENS:
            return int(self.network.num_features)
        attention = self.network.blocks[-1].attn
        return attention.qkv.out_features // 3 if attention.qkv is not None else attention.q_proj.out_features

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
            how = {"intermediates_only": True, "output_fmt": "NCHW"}
            if self.facet == TOKENS:
                how |= {"indices": 1, "norm": True}
            else:  # what enters the last block
                how |= {"indices": [len(self.network.blocks) - 2], "stop_early": True}
            found = self.network.forward_intermediates(pixels[..., :height, :width], **how)[0]
            if self.facet != TOKENS:
                projected = self._projected(found.flatten(2).transpose(1, 2))
                found = projected.transpose(1, 2).unflatten(2, found.shape[-2:])
            return found.float()

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
        for block in network.blocks if self.facet == TOKENS else network.blocks[:-1]:
            tokens = tokens + block.drop_path1(block.ls1(block.attn(block.norm1(tokens))))
            tokens = tokens + block.drop_path2(block.ls2(block.mlp(block.norm2(tokens))))
        found = network.norm(tokens)[:, 1:] if self.facet == TOKENS else self._projected(tokens[:, 1:])
        return found.transpose(1, 2).unflatten(2, grid_hw)

    def _projected(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, N, D) patches that enter the last block -> (B, N, C): the facet.

        SAM's windows and relative positions play no part: they say which patches meet, and shift how much they do.
        """
        block = self.network.blocks[-1]
        attention, tokens = block.attn, block.norm1(tokens)
        if attention.qkv is None:
            layers = attention.q_proj, attention.k_proj, attention.v_proj
            parts = [layers[index](tokens) for index in PROJECTIONS[self.facet]]
        else:
            if getattr(attention, "q_bias", None) is None:
                projected = attention.qkv(tokens)
            else:  # as timm's EVA adds it
                bias = torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
                projected = F.linear(tokens, attention.qkv.weight, bias)
            every = projected.chunk(3, dim=-1)
            parts = [every[index] for index in PROJECTIONS[self.facet]]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _has_projections(network: Network) -> bool:
    """Whether what enters the last block is normalised and then made queries, keys and values, all of one width."""
    from timm.models import eva, vision_transformer, vision_transformer_sam  # slow to import

    plain = (vision_transformer.Block, vision_transformer_sam.Block, eva.EvaBlock)
    if len(network.blocks) < 2 or type(network.blocks[-1]) not in plain:
        return False
    layers = [getattr(network.blocks[-1].attn, f"{name}_proj", None) for name in ("q", "k", "v")]
    if getattr(network.blocks[-1].attn, "qkv", None) is not None:
        return True
    return None not in layers and len({layer.out_features for layer in layers if layer is not None}) == 1
