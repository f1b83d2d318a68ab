"""Every row of the two registries, at reduced depth with random weights, through all stages."""

from functools import partial

import numpy as np
import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
from open_clip import CustomTextCLIP
from open_clip.tokenizer import get_clean_fn

from proxyclip_core import (
    CLIP_MODELS,
    VFM_MODELS,
    ClipEncoder,
    ClipSpec,
    PatchEncoder,
    ProxyCLIP,
    find_clip,
    find_vfm,
)
from proxyclip_core.models import clip as clip_module
from proxyclip_core.models.building import check_clip, check_vfm
from proxyclip_core.models.loading import build_clip_network, build_vfm_network, vfm_encoder
from proxyclip_core.models.vit import resample_positions
from proxyclip_core.words import prompts_for
from tests.conftest import TINY_CLIP
from tests.test_diffusion import TINY_UNET, TINY_VAE

HEIGHT, WIDTH = 97, 203


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def check_all_stages(model: ProxyCLIP, picture: np.ndarray) -> None:
    features = model.encode(picture, side=224, windows="whole")
    words = model.embed("sky; cloud, hill, horse", "first", "none")
    for fusion in ("proxy", "values", "clip"):
        logits = model.classify(model.fuse(features, fusion=fusion), words)
        result = logits.segment(threshold=0.1)
        assert torch.isfinite(logits.values).all()
        assert result.labels.shape == result.confidence.shape == (HEIGHT, WIDTH)
        assert np.isfinite(result.confidence).all() and result.confidence.max() <= 1.0001
    heat = model.seed_attention(features, (WIDTH - 1, 0))
    assert heat.shape == (HEIGHT, WIDTH) and np.isfinite(heat).all()


@pytest.mark.parametrize("name", list(CLIP_MODELS))
def test_every_clip_runs_through_all_stages(name, tiny_vfm, picture):
    spec = find_clip(name)
    torch.manual_seed(0)
    clip = ClipEncoder(build_clip_network(spec, layers=1), spec.name, spec.mean, spec.std)
    check_all_stages(ProxyCLIP(clip, tiny_vfm), picture)


@pytest.mark.parametrize("name", list(VFM_MODELS))
def test_every_vfm_runs_through_all_stages(name, tiny_clip, picture):
    spec = find_vfm(name)
    torch.manual_seed(0)
    depth = {} if spec.builtin else {"depth": 1}
    if spec.is_diffusion:
        depth = {"unet": TINY_UNET, "vae": TINY_VAE}
    encoder = vfm_encoder(build_vfm_network(spec, **depth), spec)
    model = ProxyCLIP(tiny_clip, encoder)
    check_all_stages(model, picture)
    features = model.encode(picture, side=224, windows="whole").vfm
    padded_hw = (224, 504)
    entering = (spec.input_side,) * 2 if spec.input_side else padded_hw
    assert encoder.patch == spec.patch
    assert features.shape[2:] == tuple(side // spec.patch for side in entering)


def in_megabytes(network: torch.nn.Module) -> float:
    return sum(tensor.numel() for tensor in network.state_dict().values()) * 4 / 1e6


@pytest.mark.parametrize("spec", [spec for spec in CLIP_MODELS.values() if spec.repo], ids=lambda spec: spec.name)
def test_every_clip_is_as_open_clip_knows_it(spec):
    known = [open_clip.get_pretrained_cfg(*pair) for pair in open_clip.list_pretrained()]
    found = next(config for config in known if (config.get("hf_hub") or "").rstrip("/") == spec.repo)
    assert bool(found.get("quick_gelu")) is bool(open_clip.get_model_config(spec.architecture).get("quick_gelu"))
    assert (spec.mean, spec.std) == (found["mean"], found["std"])
    assert abs(in_megabytes(check_clip(spec)) - spec.megabytes) < 2


# A VFM's licence by timm's word for it.
LICENCES = {
    "apache-2.0": "Apache-2.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "dinov3-license": "DINOv3 licence",
    "nvidia-open-model-license": "NVIDIA Open Model licence",
}


OF_TIMM = [spec for spec in VFM_MODELS.values() if spec.repo and not spec.is_diffusion]


@pytest.mark.parametrize("spec", OF_TIMM, ids=lambda spec: spec.name)
def test_every_vfm_is_as_timm_knows_it(spec):
    found = timm.models.get_pretrained_cfg(spec.architecture)
    assert spec.repo == f"timm/{spec.architecture}" == found.hf_hub_id.rstrip("/")
    assert (spec.mean, spec.std, spec.licence) == (found.mean, found.std, LICENCES[found.license])
    assert abs(in_megabytes(check_vfm(spec)) - spec.megabytes) < 2


@pytest.mark.parametrize(
    ("name", "patch", "expected"),
    [
        ("DINO B/8", None, "DINO B/8"),
        ("DINO B", 16, "DINO B/16"),
        ("DINO B", None, "DINO B/8"),
        ("SAM H", None, "SAM H/16"),
        ("DINOv2 S/14", 14, "DINOv2 S/14"),
    ],
)
def test_vfms_are_found_by_name_or_by_family_and_patch(name, patch, expected):
    assert find_vfm(name, patch).name == expected


def test_unknown_names_list_the_closest_first():
    with pytest.raises(ValueError, match=r"No VFM is called 'dino b8'. Known: DINO B/8"):
        find_vfm("dino b8")
    with pytest.raises(
        ValueError, match=r"No CLIP is called 'EVA02 B/16'. SigLIP, EVA.* are built differently.* Known: "
    ):
        find_clip("EVA02 B/16")
    with pytest.raises(ValueError, match=r"No CLIP is called 'Evaluation'. Known: "):
        find_clip("Evaluation")
    with pytest.raises(ValueError, match=r"No VFM is called 'SAM 256'. Known: "):
        find_vfm("SAM 256")
    with pytest.raises(ValueError, match=r"No VFM is called 'SAM 2.1 B'. SAM 2's image encoder is no plain ViT"):
        find_vfm("SAM 2.1 B")
    with pytest.raises(ValueError, match=r"No CLIP is called 'openai l14'. Known: OpenAI L/14"):
        find_clip("openai l14")


@pytest.mark.parametrize(("name", "patch"), [("DINO B", 14), ("DINO B/8", 16), ("SAM B", 8)])
def test_patch_sizes_that_a_family_lacks(name, patch):
    with pytest.raises(ValueError, match=f"patch size {patch}"):
        find_vfm(name, patch)


@pytest.mark.parametrize(
    "architecture", ["ViT-B-16-SigLIP", "EVA02-B-16", "coca_ViT-B-32", "MobileCLIP-S1", "RN50", "PE-Core-B-16"]
)
def test_models_that_are_no_plain_vit_are_refused(architecture):
    if open_clip.get_model_config(architecture) is None:
        pytest.fail(f"open_clip no longer has {architecture}; name another model of its kind")
    spec = ClipSpec("Other", architecture, "", "", 0)
    with pytest.raises(ValueError, match="cannot be used"):
        ClipEncoder(build_clip_network(spec), spec.name, spec.mean, spec.std)


@pytest.mark.parametrize("tower", ["clip_vision", "clip_text"])
def test_towers_with_other_blocks_are_refused(tower):
    """Their norms of queries and keys would be left out without a word."""
    config = {name: dict(part) if isinstance(part, dict) else part for name, part in TINY_CLIP.items()}
    config[tower]["qk_norm"] = True
    network = open_clip.CLIP(config["embed_dim"], config["clip_vision"], config["clip_text"])
    with pytest.raises(ValueError, match="CustomResidualAttentionBlock, not a plain one"):
        ClipEncoder(network, "custom", (0.5,) * 3, (0.5,) * 3)


def test_a_network_with_the_wrong_towers_is_refused(tiny_clip):
    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1}
    with pytest.raises(ValueError, match="CustomTextCLIP"):
        ClipEncoder(CustomTextCLIP(16, vision, text), "Other", tiny_clip.mean, tiny_clip.std)
    with pytest.raises(ValueError, match="class token"):
        network = open_clip.CLIP(16, {**vision, "pool_type": "avg"}, text)
        ClipEncoder(network, "Other", tiny_clip.mean, tiny_clip.std)


def test_text_equals_open_clip_at_full_length(tiny_clip):
    prompts = ["a photo of a horse.", "sky", "a low resolution photo of the many small clouds over a distant hill."]
    with torch.no_grad():
        expected = tiny_clip.network.encode_text(tiny_clip.tokenizer(prompts), normalize=True)
    assert torch.allclose(tiny_clip.encode_text(prompts), expected, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "A  Photo of\ta horse. ",
        "  A  Photo of a <b>'Horse'. ",
        "salt & pepper",
        "&amp;lt;b&amp;gt;",
        "schÃ¶n",
        "cafe\u0301",
        "“sky”",
        "\x1b[1mhill",
        "{}'s a-b",
        "",
    ],
)
def test_a_text_is_cleaned_as_by_open_clip(text):
    assert clip_module.cleaned(text) == get_clean_fn("lower")(text)


def test_shared_beginnings_change_no_embedding(tiny_clip, monkeypatch):
    """Several layers, the whole template set, a prompt twice, and more prompts than go at once."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 4}
    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    torch.manual_seed(0)
    clip = ClipEncoder(open_clip.CLIP(16, vision, text).eval(), "Deep", tiny_clip.mean, tiny_clip.std)
    monkeypatch.setattr(clip_module, "PROMPTS_AT_ONCE", 50)
    prompts = [prompt for word in ("sky", "sky scraper", "horse") for prompt in prompts_for(word, "imagenet80")]
    prompts += ["sky", "sky"]
    with torch.no_grad():
        expected = clip.network.encode_text(clip.tokenizer(prompts), normalize=True)
    with torch.no_grad():
        assert torch.allclose(clip.encode_text(prompts), expected, atol=1e-5)


def test_own_attention_is_the_layers_attention(tiny_clip):
    tokens = tiny_clip.encode_windows(torch.rand(1, 3, 112, 112))
    block = tiny_clip.last_block
    with torch.no_grad():
        normed = block.ln_1(tokens)
        _, expected = block.attn(
            normed, normed, normed, need_weights=True, average_attn_weights=False
        )  # (1, heads, ...)
    for head, wanted in ((None, expected[0].mean(dim=0)), (2, expected[0, 2])):
        assert torch.allclose(tiny_clip.own_attention(tokens, 5, head), wanted[6, 1:], atol=1e-5)
        assert torch.allclose(tiny_clip.own_attention(tokens, head=head), wanted[1:, 1:], atol=1e-5)
    with pytest.raises(ValueError, match=r"head is 3; .* has 3, counted from 0"):
        tiny_clip.own_attention(tokens, 5, head=3)


def test_positions_on_the_native_grid_stay_as_they_are():
    positions = torch.rand(12, 5)
    assert resample_positions(positions, (3, 4), (3, 4)) is positions
    assert resample_positions(positions, (3, 4), (6, 7)).shape == (42, 5)
    assert not torch.equal(
        resample_positions(positions, (3, 4), (6, 7), "scale"), resample_positions(positions, (3, 4), (6, 7), "size")
    )


@pytest.mark.parametrize("mode", ["scale", "size"])
def test_positions_are_resampled_as_by_torchs_bicubic(mode):
    positions = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    planes = positions.T.reshape(1, 5, 3, 4)
    how = {"size": (7, 6)} if mode == "size" else {"scale_factor": (7.1 / 3, 6.1 / 4)}
    expected = torch.nn.functional.interpolate(planes, mode="bicubic", align_corners=False, **how)
    resampled = resample_positions(positions, (3, 4), (7, 6), mode)
    assert torch.allclose(resampled, expected[0].flatten(1).T, atol=1e-5)


def test_unknown_position_mode_is_refused(tiny_vfm):
    with pytest.raises(ValueError, match="scale, size, timm, native"):
        PatchEncoder(tiny_vfm.network, "Other", tiny_vfm.mean, tiny_vfm.std, positions="learned")


@pytest.mark.parametrize("masked", [False, True])
def test_a_block_step_by_step_is_open_clips(tiny_clip, rng, masked):
    block = tiny_clip.network.transformer.resblocks[0]
    tokens = torch.randn(2, 9, 32, generator=rng)
    mask = torch.full((9, 9), float("-inf")).triu(1) if masked else None
    expected = block(tokens, attn_mask=mask)
    attend = partial(F.scaled_dot_product_attention, attn_mask=mask) if masked else None
    torch.testing.assert_close(clip_module.run_block(block, tokens, attend), expected, atol=1e-5, rtol=1e-5)
    if masked:
        rows = torch.tensor([8, 2])
        attend = partial(F.scaled_dot_product_attention, attn_mask=mask[rows])
        found = clip_module.run_block(block, tokens, attend, rows)
        torch.testing.assert_close(found, expected[:, rows], atol=1e-5, rtol=1e-5)
