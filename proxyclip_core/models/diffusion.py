"""Stable Diffusion 1.x as a vision model, the outlook of the paper's appendix; needs the extra "diffusion".

A window goes through the encoder of the VAE (the mean, no noise is drawn), and from there down the UNet, at timestep 0
and with the empty prompt, as far as one of its blocks, whose output is the patch features. Only that much is loaded:
the decoder and the rest of the UNet are not read from the files, and of the text encoder nothing but the embedding of
the empty prompt is kept.

The paper takes features of 22 x 22 x 1280 from "the 9th block". The authors' code for it is not public; counting the
blocks of the way down from 1, the 9th has this size where a window is 704 pixels wide: it is the last before the third
step down, `unet.down_blocks[2].attentions[1]` of diffusers. The 3rd and the 6th, finer and of lower level, are facets.

Axes: B windows, h x w patches, C channels of a block; L tokens of a prompt, D their width.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

from proxyclip_core.cpu import fast_products
from proxyclip_core.interrupt import checkpoint
from proxyclip_core.models.checkpoints import WeightsError, fitted, problem_of, read_weights
from proxyclip_core.models.registry import VfmSpec
from proxyclip_core.models.vfm import TOKENS, PatchEncoder
from proxyclip_core.models.vit import Network, normalise

# Facet -> how many levels of the UNet's way down are gone, each of two blocks (and a step down, which counts as one).
LEVELS = {"block3": 1, "block6": 2, TOKENS: 3}
WIDTH = 1280  # of the 9th block
# Stable Diffusion 1.x, where it is built without its files; the rest is as diffusers has it by default.
UNET = {"cross_attention_dim": 768}
VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
}
PROMPT_LENGTH = 77
HEAD_WIDTH = 64  # of the text encoder, as in all of OpenAI's CLIPs
OLDER_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # in the VAE's file
FILE = "diffusion_pytorch_model.safetensors"


class DiffusionNetwork(nn.Module):
    """The VAE's encoder and the beginning of a UNet. prompt: (1, L, D), the empty prompt as the UNet is told it."""

    prompt: torch.Tensor

    def __init__(self, vae: Network, unet: Network, prompt: torch.Tensor) -> None:
        super().__init__()
        self.encoder, self.quant_conv, self.scale = vae.encoder, vae.quant_conv, float(vae.config.scaling_factor)
        self.unet = unet
        self.pixels_a_latent = 2 ** (len(vae.config.block_out_channels) - 1)
        self.register_buffer("prompt", prompt)

    @property
    def num_features(self) -> int:
        return self.channels(LEVELS[TOKENS])

    def channels(self, levels: int) -> int:
        return int(self.unet.config.block_out_channels[levels - 1])

    def forward(self, pixels: torch.Tensor, levels: int) -> torch.Tensor:
        """(B, 3, H, W) in -1..1 -> (B, C, h, w), the last block of so many levels."""
        moments = self.encoder(pixels)
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        latents = moments.chunk(2, dim=1)[0] * self.scale  # the mean; the other half is the variance
        time = self.unet.time_embedding(self.unet.get_time_embed(latents, 0))
        prompt = self.prompt.expand(len(pixels), -1, -1)
        sample, outputs = self.unet.conv_in(latents), ()
        for level in self.unet.down_blocks[:levels]:
            sample, outputs = level(sample, temb=time, encoder_hidden_states=prompt)
        return outputs[len(level.attentions) - 1]  # what may follow is the step down


class DiffusionEncoder(PatchEncoder):
    """Stable Diffusion as a VFM. Every window is resized to `input_side` x `input_side` pixels, as for SAM."""

    def __init__(self, network: DiffusionNetwork, spec: VfmSpec) -> None:
        super().__init__(network, spec.name, spec.mean, spec.std, "native", spec.input_side)

    @property
    def pauses(self) -> list[nn.Module]:
        from diffusers.models.resnet import ResnetBlock2D

        return [layer for layer in self.network.modules() if isinstance(layer, ResnetBlock2D)]

    @property
    def facets(self) -> tuple[str, ...]:
        return tuple(LEVELS)

    @property
    def dtype(self) -> torch.dtype:
        return self.network.prompt.dtype

    @property
    def patch(self) -> int:
        return int(self.network.pixels_a_latent * 2 ** (LEVELS[self.facet] - 1))

    @property
    def width(self) -> int:
        return int(self.network.channels(LEVELS[self.facet]))

    def encode_windows(self, windows: torch.Tensor) -> torch.Tensor:
        side = self.input_side or 0
        pixels = normalise(windows, self.mean, self.std)
        pixels = F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False)
        with fast_products(pixels.device):
            return self.network(pixels.to(self.dtype), LEVELS[self.facet]).float()


def build_diffusion_network(unet: dict[str, Any] | None = None, vae: dict[str, Any] | None = None) -> DiffusionNetwork:
    """Stable Diffusion 1.x with random weights. unet, vae: arguments of diffusers' classes in place of its own."""
    from diffusers import AutoencoderKL, UNet2DConditionModel  # an extra, and slow to import

    whole: Network = UNet2DConditionModel(**(unet or UNET))
    prompt = torch.randn(1, PROMPT_LENGTH, whole.config.cross_attention_dim)
    return DiffusionNetwork(AutoencoderKL(**(vae or VAE)), _beginning(whole), prompt)


def load_diffusion(spec: VfmSpec, file: Path, device: torch.device, dtype: torch.dtype) -> DiffusionEncoder:
    """From the folders "unet", "vae" and "text_encoder" as diffusers saves them. file: that of the UNet.

    Raises WeightsError where a file is missing, damaged, or of another kind of model.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel

    folder = file.parents[1]
    gone = [name for name in spec.files if not (folder / name).is_file()]
    if gone:
        raise WeightsError(f"The folder {folder} holds no {' and no '.join(gone)}, which {spec.name} needs.")
    unet = _read(UNet2DConditionModel, file.parent, _beginning, dtype)
    vae = _read(AutoencoderKL, folder / "vae", _without_decoder, dtype)
    prompt = empty_prompt(read_weights(folder / spec.files[-1], lambda name: torch.float32))
    if prompt.shape[-1] != unet.config.cross_attention_dim:
        raise ValueError(f"its UNet reads prompts of width {unet.config.cross_attention_dim}, not {prompt.shape[-1]}")
    return DiffusionEncoder(DiffusionNetwork(vae, unet, prompt.to(dtype)).to(device), spec)


def _beginning(unet: Network) -> Network:
    """The UNet without what comes after the last block that is asked for. ValueError where it is no Stable Diffusion
    1.x: that has two blocks with attention a level."""
    unet.down_blocks = unet.down_blocks[: LEVELS[TOKENS]]
    if [len(getattr(level, "attentions", ())) for level in unet.down_blocks] != [2, 2, 2]:
        raise ValueError("its UNet is not that of Stable Diffusion 1.x")
    unet.down_blocks[-1].downsamplers = None
    unet.mid_block, unet.up_blocks = None, nn.ModuleList()
    unet.conv_norm_out = unet.conv_act = unet.conv_out = None
    return unet


def _without_decoder(vae: Network) -> Network:
    vae.decoder = vae.post_quant_conv = None
    return vae


def _read(kind: Any, folder: Path, keep: Callable[[Network], Network], dtype: torch.dtype) -> Network:
    """What `keep` leaves of a network of diffusers, with its weights; no others are read from the file."""
    file = folder / FILE
    if problem := problem_of(file):
        raise WeightsError(f"{file} {problem}")
    try:
        with torch.device("meta"):  # without memory
            network = keep(kind.from_config(kind.load_config(folder)))
    except (OSError, TypeError) as error:
        raise ValueError(f"{folder.name}/config.json cannot be used: {str(error) or type(error).__name__}") from None
    own = network.state_dict()
    with safe_open(file, "pt") as weights:
        names = {_new_name(name): name for name in list(weights.keys())}
        state = {}
        for new in names.keys() & own.keys():
            checkpoint()
            state[new] = weights.get_tensor(names[new]).to(dtype)
    network.load_state_dict(fitted(state, own), assign=True)
    return network


def _new_name(name: str) -> str:
    return re.sub(r"(?<=attentions\.\d\.)(query|key|value|proj_attn)(?=\.)", lambda old: OLDER_NAMES[old[1]], name)


def empty_prompt(state: dict[str, torch.Tensor]) -> torch.Tensor:
    """(1, L, D): "" through the text encoder, CLIP's text tower under the names of the transformers library.

    Of Stable Diffusion 1.x it is OpenAI's L/14: causal, with QuickGELU. What follows the end of a prompt is its last
    token again, so every prompt has the same length.
    """
    state = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    words, positions = (state[f"embeddings.{name}_embedding.weight"] for name in ("token", "position"))
    start, end = len(words) - 2, len(words) - 1  # the last of the vocabulary
    tokens = torch.cat([words[start : start + 1], words[end:].expand(len(positions) - 1, -1)]) + positions

    def linear(given: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(given, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(given: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(given, given.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    layer = 0
    while f"encoder.layers.{layer}.layer_norm1.weight" in state:
        block = f"encoder.layers.{layer}"
        normed = norm(tokens, f"{block}.layer_norm1")
        query, key, value = (
            linear(normed, f"{block}.self_attn.{part}_proj").unflatten(1, (-1, HEAD_WIDTH)).transpose(0, 1)
            for part in ("q", "k", "v")
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(0, 1).flatten(1)
        tokens = tokens + linear(mixed, f"{block}.self_attn.out_proj")
        inner = linear(norm(tokens, f"{block}.layer_norm2"), f"{block}.mlp.fc1")
        tokens = tokens + linear(inner * torch.sigmoid(1.702 * inner), f"{block}.mlp.fc2")
        layer += 1
    return norm(tokens, "final_layer_norm")[None]
