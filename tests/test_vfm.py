"""Facets of VFMs are what a hook on the libraries' own attention sees, in every family and on every path."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import segment_anything.modeling as official
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import nn

from proxyclip_core import VFM_MODELS, PatchEncoder, ProxyCLIP, find_vfm
from proxyclip_core.cpu import kernels, speed_up
from proxyclip_core.models.loading import build_vfm_network, vfm_encoder
from proxyclip_core.models.registry import IMAGENET_MEAN, IMAGENET_STD, OPENAI_MEAN, OPENAI_STD
from proxyclip_core.models.vfm import PROJECTIONS
from proxyclip_core.models.vit import normalise
from tests.replay import fill, golden_vfm
from tests.test_cpu_linear import PRECISIONS

FACETS = tuple(PROJECTIONS)
SMALL = {"embed_dim": 48, "num_heads": 3}


def hooked(network: nn.Module, run) -> dict[str, torch.Tensor]:
    """Facet -> (B, N, C), by a hook on the last block's linear layer, while `run()` runs all of the network."""
    seen = []
    handle = network.blocks[-1].attn.qkv.register_forward_hook(lambda _, given, out: seen.append(out.clone()))
    run()
    handle.remove()
    queries, keys, values = seen[-1].flatten(1, -2).chunk(3, dim=-1)
    return {"queries": queries, "keys": keys, "values": values, "q+k": queries + keys}


@pytest.fixture
def windows(rng) -> torch.Tensor:
    return torch.rand(2, 3, 56, 112, generator=rng)


def flat(maps: torch.Tensor) -> torch.Tensor:
    return maps.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("facet", FACETS)
@pytest.mark.parametrize("patch", [8, 16])
def test_the_facets_of_dino_are_those_of_timms_attention(windows, facet, patch):
    encoder = golden_vfm(f"dino{patch}")
    seen = hooked(encoder.network, lambda: encoder.encode_windows(windows))[facet][:, 1:]
    assert torch.equal(flat(encoder.with_facet(facet).encode_windows(windows)), seen)


@pytest.mark.parametrize("facet", FACETS)
@pytest.mark.parametrize("name", ["DINOv2-reg S/14", "DINOv3 S/16", "MAE B/16", "C-RADIOv3 B/16"])
def test_the_facets_of_other_vits_are_those_of_timms_attention(windows, facet, name):
    torch.manual_seed(0)
    spec = find_vfm(name)
    encoder = vfm_encoder(build_vfm_network(spec, depth=2), spec)
    seen = hooked(encoder.network, lambda: encoder.encode_windows(windows))[facet]
    extra = {"DINOv2-reg S/14": 5, "DINOv3 S/16": 5, "MAE B/16": 1, "C-RADIOv3 B/16": 8}[name]
    assert torch.allclose(flat(encoder.with_facet(facet).encode_windows(windows)), seen[:, extra:], atol=1e-6)


def test_radio_gives_its_networks_patches_of_windows_at_its_own_size(windows):
    torch.manual_seed(0)
    spec = find_vfm("C-RADIOv3 B/16")
    encoder = vfm_encoder(build_vfm_network(spec, depth=2), spec)
    enlarged = F.interpolate(windows, size=(512, 512), mode="bilinear", align_corners=False)
    expected = encoder.network.forward_features(normalise(enlarged, OPENAI_MEAN, OPENAI_STD))[:, 8:]
    assert torch.allclose(flat(encoder.encode_windows(windows)), expected, atol=1e-4)


@pytest.mark.parametrize("fused", [True, False])
def test_the_biases_of_eva_are_added(windows, fused):
    from timm.models.eva import Eva

    torch.manual_seed(0)
    network = Eva(img_size=112, patch_size=16, depth=2, qkv_fused=fused, dynamic_img_size=True, num_classes=0, **SMALL)
    for name, weight in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(weight)
    encoder = PatchEncoder(network, "eva", IMAGENET_MEAN, IMAGENET_STD, positions="timm")
    attention, seen = network.blocks[-1].attn, {}
    for part in ("q_norm", "k_norm"):  # heads apart: (B, heads, N, width of a head)
        getattr(attention, part).register_forward_hook(
            lambda _, given, out, part=part: seen.update({part: out.transpose(1, 2).flatten(2)[:, 1:]})
        )
    encoder.encode_windows(windows)
    for facet, part in (("queries", "q_norm"), ("keys", "k_norm")):
        assert torch.allclose(flat(encoder.with_facet(facet).encode_windows(windows)), seen[part], atol=1e-6)


@pytest.mark.parametrize("last_window", [0, 14])
def test_the_facets_of_sam_are_those_of_segment_anythings_attention(rng, last_window):
    """Its last block attends to all patches, and here also in windows of 14, whose padding must be cut off again."""
    everywhere = () if last_window else (1,)
    shape = {"img_size": 1024, "patch_size": 16, "depth": 2, "use_rel_pos": True, "window_size": 14, **SMALL}
    norm = partial(nn.LayerNorm, eps=1e-6)
    theirs = official.ImageEncoderViT(out_chans=32, norm_layer=norm, global_attn_indexes=everywhere, **shape)
    fill(theirs, "vfm.")
    ours = VisionTransformerSAM(num_classes=0, neck_chans=32, norm_layer=norm, global_attn_indexes=everywhere, **shape)
    ours.load_state_dict({name.replace("mlp.lin", "mlp.fc"): value for name, value in theirs.state_dict().items()})
    encoder = PatchEncoder(ours, "sam", IMAGENET_MEAN, IMAGENET_STD, positions="native", input_side=1024)
    windows = torch.rand(1, 3, 1024, 1024, generator=rng)
    seen: dict[str, torch.Tensor] = {}
    theirs.blocks[-1].attn.qkv.register_forward_hook(lambda _, given, out: seen.update(qkv=out.clone()))
    with torch.no_grad():
        theirs(normalise(windows, IMAGENET_MEAN, IMAGENET_STD))
    qkv = seen["qkv"]  # (windows of 14, 14, 14, 3 C), or (1, 64, 64, 3 C)
    if last_window:
        qkv = qkv.unflatten(0, (1, 5, 5)).permute(0, 1, 3, 2, 4, 5).flatten(1, 2).flatten(2, 3)[:, :64, :64]
    queries, keys, values = qkv.flatten(1, 2).chunk(3, dim=-1)
    for facet, expected in {"queries": queries, "keys": keys, "values": values, "q+k": queries + keys}.items():
        assert torch.allclose(flat(encoder.with_facet(facet).encode_windows(windows)), expected, atol=1e-4)
    assert encoder.with_facet("keys").width == 48 and encoder.width == 32


@pytest.mark.parametrize("name", [name for name, spec in VFM_MODELS.items() if not spec.is_diffusion])
def test_every_vit_of_the_table_has_every_facet(name):
    spec = find_vfm(name)
    with torch.device("meta"):
        network = build_vfm_network(spec, **({} if spec.builtin else {"depth": 2}))
    encoder = copy.copy(golden_vfm("dino16"))  # whose digest is made of numbers, which these weights do not hold
    encoder.network = network
    assert {encoder.with_facet(facet).width for facet in FACETS} == {network.embed_dim}


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_fast_products_give_the_same_facets(windows, monkeypatch, dtype):
    torch.manual_seed(0)
    every = kernels.Kernels(linear=frozenset([dtype]), packing=frozenset([dtype]), attention=frozenset([dtype]))
    spec = find_vfm("DINO S/16")
    encoder = vfm_encoder(build_vfm_network(spec, depth=2), spec).to(torch.device("cpu"), dtype)
    monkeypatch.setattr(kernels, "current", lambda: kernels.TORCHS_OWN)
    plain = [encoder.with_facet(facet).encode_windows(windows) for facet in FACETS]
    monkeypatch.setattr(kernels, "current", lambda: every)
    speed_up(encoder)
    for facet, expected in zip(FACETS, plain):
        found = encoder.with_facet(facet).encode_windows(windows)
        assert torch.allclose(found, expected, atol=1e-5 if dtype == torch.float32 else 0.1)


def test_a_facet_is_a_view_that_shares_the_network(tiny_vfm):
    keys = tiny_vfm.with_facet("keys")
    assert keys.network is tiny_vfm.network and keys.digest == tiny_vfm.digest and tiny_vfm.facet == "tokens"
    assert tiny_vfm.with_facet("tokens") is tiny_vfm and keys.with_facet("tokens").facet == "tokens"


def test_facets_that_a_network_lacks_are_named(tiny_vfm):
    with pytest.raises(ValueError, match=r"has no heads to compare\. It has tokens, queries, keys, values, q\+k"):
        tiny_vfm.with_facet("heads")
    from timm.models.vision_transformer import ResPostBlock

    network = VisionTransformer(img_size=56, patch_size=8, depth=2, num_classes=0, block_fn=ResPostBlock, **SMALL)
    encoder = PatchEncoder(network, "Other", IMAGENET_MEAN, IMAGENET_STD)
    with pytest.raises(ValueError, match=r"Other has no keys to compare\. It has tokens\."):
        encoder.with_facet("keys")


@pytest.mark.parametrize("facet", FACETS)
def test_a_call_by_a_facet_is_that_of_the_stages(tiny_model, four_areas, facet):
    result = tiny_model(four_areas, "red, green, blue", side=None, facet=facet)
    features = tiny_model.encode(four_areas, None, facet=facet)
    assert features.facet == facet and result.settings.facet == facet
    logits = tiny_model.classify(tiny_model.fuse(features), tiny_model.embed("red, green, blue"))
    assert np.array_equal(logits.segment().confidence, result.confidence)
    assert not np.array_equal(tiny_model(four_areas, "red, green, blue", side=None).confidence, result.confidence)


def test_the_default_is_the_papers(tiny_model, four_areas):
    features = tiny_model.encode(four_areas, None)
    assert features.facet == "tokens"
    assert torch.equal(features.vfm, tiny_model.encode(four_areas, None, facet="tokens").vfm)


def test_without_a_vfm_a_facet_changes_nothing(tiny_clip, four_areas):
    features = ProxyCLIP(tiny_clip, None).encode(four_areas, None, facet="keys")
    assert features.vfm is None
