"""The forward passes that training needs, with gradients: a CLIP's class token and last values, a VFM's patches.

proxyclip_core runs the same networks without gradients, and in place; tests/test_recipe.py holds the two together.

B pictures, N patches, D width, E embedding.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from proxyclip_core.models.vit import Network, resample_positions


def positions_for(table: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Position embeddings (1 + native^2, D), the class token's first -> (1 + N, D) for another grid."""
    native = math.isqrt(len(table) - 1)
    with torch.autocast(table.device.type, enabled=False):  # it would interpolate in bfloat16
        grid = resample_positions(table[1:], (native, native), grid_hw)
    return torch.cat([table[:1], grid])


def smooth_positions(native: int, width: int, amplitude: float = 0.3) -> Tensor:
    """Sines and cosines, (1 + native^2, D): a smooth start, so that resampling does no harm."""
    y, x = torch.meshgrid(torch.arange(native), torch.arange(native), indexing="ij")
    rate = math.pi / 2 / native * 2 ** torch.linspace(0, math.log2(native), width // 4)
    waves = [f(a.flatten()[:, None] * rate) for a in (y, x) for f in (torch.sin, torch.cos)]
    return torch.cat([torch.zeros(1, width), amplitude * torch.cat(waves, 1)])


def fast_attention(pictures: Tensor, patch: int) -> AbstractContextManager:
    """On a CPU, plain attention for few patches: there torch's fused one makes a whole step a quarter longer."""
    few = pictures.shape[-1] // patch * (pictures.shape[-2] // patch) <= 100
    return sdpa_kernel(SDPBackend.MATH) if few and pictures.device.type == "cpu" else nullcontext()


def clip_tokens(visual: Network, pictures: Tensor) -> Tensor:
    """Normalised pictures -> input of the last block (B, 1 + N, D), class token first."""
    patches = visual.conv1(pictures)
    tokens = patches.flatten(2).transpose(1, 2)
    first = visual.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
    positions = positions_for(visual.positional_embedding, tuple(patches.shape[2:]))
    tokens = visual.ln_pre(torch.cat([first, tokens], 1) + positions.to(tokens.dtype))
    for block in visual.transformer.resblocks[:-1]:
        tokens = block(tokens)
    return tokens


def clip_values(visual: Network, tokens: Tensor) -> Tensor:
    """Input of the last block -> its values without the class token, (B, N, D)."""
    block = visual.transformer.resblocks[-1]
    weight, bias = block.attn.in_proj_weight.chunk(3)[2], block.attn.in_proj_bias.chunk(3)[2]
    return F.linear(block.ln_1(tokens[:, 1:]), weight, bias)


def project(visual: Network, values: Tensor) -> Tensor:
    """Values, or means of them (..., D) -> joint space (..., E), any length: no residual, no MLP."""
    return visual.ln_post(visual.transformer.resblocks[-1].attn.out_proj(values)) @ visual.proj


def class_embedding(visual: Network, tokens: Tensor) -> Tensor:
    """Input of the last block -> the class token's embedding (B, E), any length. Only its row of the block is run."""
    block = visual.transformer.resblocks[-1]
    normed = block.ln_1(tokens)
    first = tokens[:, :1] + block.attn(normed[:, :1], normed, normed, need_weights=False)[0]
    return visual.ln_post(first + block.mlp(block.ln_2(first)))[:, 0] @ visual.proj


def clip_text(model: Network, tokens: Tensor) -> Tensor:
    """Prompts (P, context) -> (P, E) of unit length. Only positions up to the longest prompt are run; attention is
    causal."""
    longest = int(tokens.argmax(1).max()) + 1
    hidden = model.token_embedding(tokens[:, :longest]) + model.positional_embedding[:longest]
    hidden = model.transformer(hidden, attn_mask=model.attn_mask[:longest, :longest])
    end = hidden[torch.arange(len(tokens)), tokens.argmax(1)]
    return F.normalize((model.ln_final(end) @ model.text_projection).float(), dim=-1)


def vfm_patches(vfm: Network, pictures: Tensor) -> Tensor:
    """Normalised pictures -> patch features after the final norm, of unit length, (B, N, D)."""
    patches = vfm.patch_embed.proj(pictures)
    tokens = torch.cat([vfm.cls_token.expand(len(patches), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
    tokens = tokens + positions_for(vfm.pos_embed[0], tuple(patches.shape[2:]))
    for block in vfm.blocks:
        tokens = block(tokens)
    return F.normalize(vfm.norm(tokens)[:, 1:].float(), dim=-1)
