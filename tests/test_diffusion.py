"""Stable Diffusion as a vision model: what a hook sees in the whole UNet, from files as diffusers saves them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

import proxyclip_core as pc
from demo import menus, work
from proxyclip_core.models import named, weights
from proxyclip_core.models.building import check_vfm
from proxyclip_core.models.diffusion import LEVELS, UNET, VAE, empty_prompt
from proxyclip_core.models.loading import load_vfm
from proxyclip_core.models.registry import VFM_MODELS
from tests.benchmarks import meters
from tests.replay import fill
from tests.test_downloads import hub as hub  # a fixture
from tests.test_interrupt import check_ends_anywhere

ROW = pc.find_vfm("Stable Diffusion")
CPU, FLOAT32 = torch.device("cpu"), torch.float32
SIDE, LENGTH, WIDTH = 128, 7, 64
TINY_UNET = {
    "block_out_channels": (16, 24, 32, 32),
    "norm_num_groups": 8,
    "attention_head_dim": 2,
    "cross_attention_dim": WIDTH,
}
TINY_VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (8, 8, 16, 16),
    "norm_num_groups": 4,
}


@pytest.fixture(scope="module")
def text():
    """A CLIP whose text tower is OpenAI's, but small."""
    tower = {"context_length": LENGTH, "vocab_size": 90, "width": WIDTH, "heads": 1, "layers": 2}
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    return fill(open_clip.CLIP(32, vision, tower, quick_gelu=True).eval(), "text.")


def by_transformers_names(clip: open_clip.CLIP) -> dict[str, torch.Tensor]:
    """The text tower as Stable Diffusion's files have it."""
    state = {
        "embeddings.token_embedding.weight": clip.token_embedding.weight,
        "embeddings.position_embedding.weight": clip.positional_embedding,
        "final_layer_norm.weight": clip.ln_final.weight,
        "final_layer_norm.bias": clip.ln_final.bias,
    }
    for number, block in enumerate(clip.transformer.resblocks):
        layer = f"encoder.layers.{number}"
        for part in ("weight", "bias"):
            projections = getattr(block.attn, f"in_proj_{part}").chunk(3)
            for name, projection in zip("qkv", projections):
                state[f"{layer}.self_attn.{name}_proj.{part}"] = projection
            others = {"self_attn.out_proj": block.attn.out_proj, "layer_norm1": block.ln_1, "layer_norm2": block.ln_2}
            others |= {"mlp.fc1": block.mlp.c_fc, "mlp.fc2": block.mlp.c_proj}
            state |= {f"{layer}.{name}.{part}": getattr(other, part) for name, other in others.items()}
    return {f"text_model.{name}": tensor.detach().clone() for name, tensor in state.items()}


@pytest.fixture(scope="module")
def whole() -> tuple[UNet2DConditionModel, AutoencoderKL]:
    return (
        fill(UNet2DConditionModel(**TINY_UNET).eval(), "unet."),
        fill(AutoencoderKL(**TINY_VAE).eval(), "vae."),
    )


@pytest.fixture
def folder(whole, text, tmp_path, monkeypatch) -> Path:
    """The networks as they lie in PROXYCLIP_WEIGHTS; the row reads windows of SIDE."""
    place = tmp_path / ROW.repo.split("/")[1]
    for name, network in zip(("unet", "vae"), whole):
        network.save_pretrained(place / name)
    (place / "text_encoder").mkdir()
    save_file(by_transformers_names(text), place / "text_encoder" / "model.safetensors")
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    monkeypatch.setitem(VFM_MODELS, ROW.name, replace(ROW, input_side=SIDE))
    return place


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Features are in the hundreds here, and how a product rounds depends on where its weights lie."""
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def load() -> pc.PatchEncoder:
    return load_vfm("Stable Diffusion", CPU, FLOAT32)


@torch.no_grad()
def prompt_of(text) -> torch.Tensor:
    """(1, L, D): the start, and the end in all other places, through open_clip's own tower, not pooled."""
    ids = torch.tensor([[88] + [89] * (LENGTH - 1)])
    return text.ln_final(text.transformer(text.token_embedding(ids) + text.positional_embedding, text.attn_mask))


@torch.no_grad()
def hooked(whole, text, windows: torch.Tensor, level: int) -> torch.Tensor:
    """(B, C, h, w): a level's last block, by a hook while all of the UNet runs, at timestep 0 and without noise."""
    unet, vae = whole
    seen = []
    block = unet.down_blocks[level].attentions[1]
    handle = block.register_forward_hook(lambda _, given, out: seen.append(out[0].clone()))
    latents = vae.encode(windows * 2 - 1).latent_dist.mode() * vae.config.scaling_factor
    unet(latents, 0, prompt_of(text).expand(len(windows), -1, -1))
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(("facet", "level"), [("block3", 0), ("block6", 1), ("tokens", 2)])
def test_features_are_what_a_hook_sees_in_the_whole_unet(folder, whole, text, rng, facet, level):
    encoder, windows = load().with_facet(facet), torch.rand(2, 3, SIDE, SIDE, generator=rng)
    found = encoder.encode_windows(windows)
    same(found, hooked(whole, text, windows, level))
    assert found.shape == (2, encoder.width, *encoder.grid_of((SIDE, SIDE)))
    assert encoder.patch == SIDE // found.shape[-1] == 8 * 2**level


def test_the_empty_prompt_is_as_open_clips_tower_reads_it(text):
    torch.testing.assert_close(empty_prompt(by_transformers_names(text)), prompt_of(text), atol=1e-5, rtol=1e-5)


def test_the_rest_is_not_loaded_and_need_not_be_in_the_files(folder, rng):
    windows = torch.rand(1, 3, SIDE, SIDE, generator=rng)
    expected = load().encode_windows(windows)
    for name in ("unet", "vae"):
        file = folder / name / "diffusion_pytorch_model.safetensors"
        unused = ("up_blocks.", "mid_block.", "conv_out.", "decoder.", "down_blocks.3.", "conv_norm_out.")
        save_file({name: part for name, part in load_file(file).items() if not name.startswith(unused)}, file)
    same(load().encode_windows(windows), expected)


def test_a_vae_under_its_older_names_is_the_same(folder, rng):
    """As the files of Stable Diffusion 1.x have them."""
    windows = torch.rand(1, 3, SIDE, SIDE, generator=rng)
    expected = load().encode_windows(windows)
    file, older = folder / "vae" / "diffusion_pytorch_model.safetensors", {}
    for name, tensor in load_file(file).items():
        for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        older[name] = tensor
    save_file(older, file)
    assert any(".query." in name for name in older)
    same(load().encode_windows(windows), expected)


def test_a_picture_is_segmented_by_its_features(folder, tiny_clip, four_areas):
    model = pc.ProxyCLIP(tiny_clip, load())
    result = model(four_areas, "red, green, blue", side=None, facet="block6")
    assert result.settings is not None and result.settings.vfm == "Stable Diffusion/32"
    assert not np.array_equal(result.confidence, model(four_areas, "red, green, blue", side=None).confidence)


def test_it_can_be_ended_between_its_layers(folder):
    encoder = load()
    check_ends_anywhere(lambda: encoder.encode_windows(torch.ones(1, 3, SIDE, SIDE)).numpy())


def test_half_precision_is_near(folder, rng):
    windows = torch.rand(1, 3, SIDE, SIDE, generator=rng)
    expected = load().encode_windows(windows)
    found = load_vfm("Stable Diffusion", CPU, torch.bfloat16)
    assert found.dtype == torch.bfloat16
    likeness = torch.cosine_similarity(found.encode_windows(windows), expected)
    assert likeness.min() > 0.99


def test_a_vit_has_no_blocks_and_a_unet_no_keys(folder, tiny_vfm):
    with pytest.raises(ValueError, match=r"Stable Diffusion/32 has no keys to compare\. It has block3, block6, tokens"):
        load().with_facet("keys")
    with pytest.raises(ValueError, match=r"golden has no block6 to compare\. It has tokens, queries"):
        tiny_vfm.with_facet("block6")
    assert menus.vfm_names([], ROW.name) == [f"{ROW.name}, UNet's 6th block", f"{ROW.name}, UNet's 3rd block"]
    assert f"DINO B/8{', keys'}" in menus.vfm_names([], "DINO B/8")
    assert not any("block" in name for name in menus.vfm_names([], "DINO B/8"))


def test_weights_of_ones_own_are_a_folder(folder, monkeypatch, rng):
    monkeypatch.delenv("PROXYCLIP_WEIGHTS")
    monkeypatch.setattr(named, "VFM_MODELS", VFM_MODELS)
    own = named.vfm_named(f"Stable Diffusion={folder}")
    try:
        windows = torch.rand(1, 3, SIDE, SIDE, generator=rng)
        found = load_vfm(own.name, CPU, FLOAT32)
        given = load_vfm("Stable Diffusion", CPU, FLOAT32, weights=folder)
        same(found.encode_windows(windows), given.encode_windows(windows))
    finally:
        del VFM_MODELS[own.name]


@pytest.mark.parametrize("name", ["vae/config.json", "text_encoder/model.safetensors"])
def test_what_lies_without_its_other_files_is_not_there(folder, name):
    assert pc.is_available(ROW)
    (folder / name).unlink()
    assert not pc.is_available(ROW)
    with pytest.raises(pc.WeightsError, match=rf"lies there without {name}.*(?s:.*)hf download {ROW.repo} unet/.*vae/"):
        weights.find_weights(ROW)


def test_a_file_that_is_cut_short_is_said(folder):
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(pc.WeightsError, match=r"vae.*is cut short"):
        load()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"layers_per_block": 1}, "not that of Stable Diffusion 1.x"), ({"block_out_channels": 7}, "cannot be used")],
)
def test_another_network_is_refused(folder, change, said):
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(pc.WeightsError, match=said):
        load()


def test_without_the_package_it_is_said_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(pc.WeightsError, match=r"needs diffusers, which is not installed: .*'proxyclip\[diffusion\]'"):
        load()
    assert not pc.is_available(ROW) and menus.state(ROW) == "needs a package"
    about = menus.about("OpenAI B/16", ROW.name)
    assert "pip install diffusers" in about and "CreativeML OpenRAIL-M" in about


def test_all_its_files_come_from_the_hub(hub):
    file = weights.find_weights(ROW)
    assert all((file.parents[1] / name).is_file() for name in ROW.files) and pc.is_available(ROW)


def test_the_row_says_what_the_network_is():
    network = check_vfm(ROW)
    with torch.device("meta"):
        wholes = UNet2DConditionModel(**UNET), AutoencoderKL(**VAE)
        window = torch.zeros(1, 3, ROW.input_side, ROW.input_side)
    text = 49408 * 768 + 77 * 768 + 12 * (4 * 768 * 769 + 2 * 768 * 3072 + 3072 + 768 + 4 * 768) + 2 * 768
    counts = [sum(part.numel() for part in whole.state_dict().values()) for whole in wholes]
    assert abs((sum(counts) + text) * 4 / 1e6 - ROW.megabytes) < 2
    operations = sum(meters.count_flops(lambda: network(window, LEVELS["tokens"])).values())
    settings = pc.Settings("OpenAI B/16", ROW.name, "sky")
    assert work.operations(settings, (336, 336), ["sky"])["vfm"] == pytest.approx(operations, rel=0.1)
    assert network(window, LEVELS["tokens"]).shape == (1, 1280, 22, 22)
