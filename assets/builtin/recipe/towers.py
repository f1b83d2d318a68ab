"""The forward passes that training needs: a CLIP's class token and last values, a VFM's patches, at any window size.

B pictures, N patches, D width, E embedding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def normalise(pictures: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """B x 3 x H x W in 0..1 -> what a tower takes."""
    shape = (1, 3, 1, 1)
    return (pictures - pictures.new_tensor(mean).view(shape)) / pictures.new_tensor(std).view(shape)


def position(table: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Position embeddings (1 + native^2) x D resampled to 1 + N: bicubic by scale factor with +0.1, as DINO does."""
    native = math.isqrt(len(table) - 1)
    if grid_hw == (native, native):
        return table
    square = table[1:].float().reshape(1, native, native, -1).permute(0, 3, 1, 2)
    factor = ((grid_hw[0] + 0.1) / native, (grid_hw[1] + 0.1) / native)
    grid = F.interpolate(square, scale_factor=factor, mode="bicubic")
    return torch.cat([table[:1], grid.flatten(2)[0].T.to(table.dtype)])


def smooth_positions(native: int, width: int, amplitude: float = 0.3) -> Tensor:
    """Sines and cosines, (1 + native^2) x D: a smooth start, so that resampling does no harm."""
    y, x = torch.meshgrid(torch.arange(native), torch.arange(native), indexing="ij")
    rate = math.pi / 2 / native * 2 ** torch.linspace(0, math.log2(native), width // 4)
    waves = [f(a.flatten()[:, None] * rate) for a in (y, x) for f in (torch.sin, torch.cos)]
    return torch.cat([torch.zeros(1, width), amplitude * torch.cat(waves, 1)])


def quick_attention(pictures: Tensor, patch: int) -> AbstractContextManager:
    """On a CPU, plain attention for few patches: there torch's fused one takes a quarter of a whole step longer."""
    few = pictures.shape[-1] // patch * (pictures.shape[-2] // patch) <= 100
    return sdpa_kernel(SDPBackend.MATH) if few and pictures.device.type == "cpu" else nullcontext()


def clip_tokens(visual: nn.Module, pictures: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Normalised pictures -> input of the last block, B x (1 + N) x D, and the grid."""
    patches = visual.conv1(pictures)
    grid = tuple(patches.shape[2:])
    tokens = patches.flatten(2).transpose(1, 2)
    first = visual.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
    tokens = torch.cat([first, tokens], 1) + position(visual.positional_embedding, grid).to(tokens.dtype)
    tokens = visual.ln_pre(tokens)
    for block in visual.transformer.resblocks[:-1]:
        tokens = block(tokens)
    return tokens, grid


def clip_values(visual: nn.Module, tokens: Tensor) -> Tensor:
    """Input of the last block -> its values without the class token, B x N x D."""
    block = visual.transformer.resblocks[-1]
    width = tokens.shape[-1]
    return F.linear(
        block.ln_1(tokens[:, 1:]), block.attn.in_proj_weight[2 * width :], block.attn.in_proj_bias[2 * width :]
    )


def read_out(visual: nn.Module, values: Tensor) -> Tensor:
    """Values, or means of them (... x D) -> unit vectors in the space of the words (... x E): no residual, no MLP."""
    out = visual.ln_post(visual.transformer.resblocks[-1].attn.out_proj(values)) @ visual.proj
    return F.normalize(out.float(), dim=-1)


def _last_class_token(visual: nn.Module, tokens: Tensor) -> Tensor:
    """Input of the last block -> its output for the class token alone, before the projection, B x D."""
    block = visual.transformer.resblocks[-1]
    normed = block.ln_1(tokens)
    first = tokens[:, :1] + block.attn(normed[:, :1], normed, normed, need_weights=False)[0]
    return visual.ln_post(first + block.mlp(block.ln_2(first)))[:, 0]


def clip_class(visual: nn.Module, tokens: Tensor) -> Tensor:
    """Input of the last block -> the picture's embedding, B x E."""
    return F.normalize((_last_class_token(visual, tokens) @ visual.proj).float(), dim=-1)


def class_and_mean(visual: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Input of the last block -> the class token's embedding and that of the mean value, B x E each, any length."""
    mean = visual.transformer.resblocks[-1].attn.out_proj(clip_values(visual, tokens).mean(1))
    return _last_class_token(visual, tokens) @ visual.proj, visual.ln_post(mean) @ visual.proj


def clip_text(model: nn.Module, tokens: Tensor) -> Tensor:
    """Prompts Q x context -> Q x E. Only the positions up to the longest prompt are run; attention is causal."""
    longest = int(tokens.argmax(1).max()) + 1
    hidden = model.token_embedding(tokens[:, :longest]) + model.positional_embedding[:longest]
    hidden = model.transformer(hidden, attn_mask=model.attn_mask[:longest, :longest])
    end = hidden[torch.arange(len(tokens)), tokens.argmax(1)]
    return F.normalize((model.ln_final(end) @ model.text_projection).float(), dim=-1)


def vfm_patches(vfm: nn.Module, pictures: Tensor) -> Tensor:
    """Normalised pictures -> patch features after the final norm, unit length, B x N x D."""
    patches = vfm.patch_embed.proj(pictures)
    tokens = torch.cat([vfm.cls_token.expand(len(patches), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
    tokens = tokens + position(vfm.pos_embed[0], tuple(patches.shape[2:]))
    for block in vfm.blocks:
        tokens = block(tokens)
    return F.normalize(vfm.norm(tokens)[:, 1:].float(), dim=-1)


def save_halves(state: Mapping[str, Tensor], path: Path) -> None:
    """Weights in half precision, as the repository holds them."""
    save_file({key: value.detach().cpu().half().contiguous() for key, value in state.items()}, path)
    path.chmod(0o644)
