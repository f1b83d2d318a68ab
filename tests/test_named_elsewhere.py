"""Models that are no rows of the tables: names of open_clip and timm, and rows of one's own."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import proxyclip_core as pc
from proxyclip_core.models import named, weights
from proxyclip_core.models.building import build_clip_network, build_vfm_network
from proxyclip_core.models.loading import load_clip, load_vfm
from proxyclip_core.models.registry import CLIP_MODELS, VFM_MODELS, ClipSpec, VfmSpec
from tests.small_networks import small, state_of  # noqa: F401  a fixture of each test

CPU, FLOAT32 = torch.device("cpu"), torch.float32

# Names of open_clip and timm


def test_a_clip_by_open_clips_name(tmp_path, monkeypatch):
    name = "open_clip:ViT-B-16-quickgelu/metaclip_fullcc"
    spec = pc.find_clip(pc.complete_pair(name, None)[0])
    assert (spec.name, spec.repo) == (name, "timm/vit_base_patch16_clip_224.metaclip_2pt5b")
    home = tmp_path / "vit_base_patch16_clip_224.metaclip_2pt5b"
    home.mkdir()
    state = state_of(build_clip_network(spec))
    save_file(state, home / "open_clip_model.safetensors")
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    loaded = load_clip(name, CPU, FLOAT32)
    assert torch.equal(loaded.network.visual.proj, state["visual.proj"])
    assert type(loaded.network.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


def test_a_vfm_by_timms_name_with_its_own_mean_and_without_its_classifier(tmp_path, monkeypatch, blocks):
    name = "timm:vit_small_patch16_224.augreg_in21k"
    spec = pc.find_vfm(pc.complete_pair(None, name)[1])
    assert (spec.repo, spec.patch, spec.mean) == ("timm/vit_small_patch16_224.augreg_in21k", 16, (0.5, 0.5, 0.5))
    state = state_of(build_vfm_network(spec))
    (tmp_path / "vit_small_patch16_224.augreg_in21k").mkdir()
    file = tmp_path / "vit_small_patch16_224.augreg_in21k" / "model.safetensors"
    save_file(state | {"head.weight": torch.zeros(9, 48), "head.bias": torch.zeros(9)}, file)
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    loaded = load_vfm(name, CPU, FLOAT32)
    with torch.inference_mode():
        assert loaded.encode_windows(torch.rand(1, 3, 112, 168)).shape == (1, 48, 7, 10)


@pytest.mark.parametrize(
    "name",
    [
        "vit_small_patch14_reg4_dinov2.lvd142m",
        "vit_small_patch16_dinov3.lvd1689m",
        "vit_base_patch16_siglip_224.webli",  # no class token, which patches do without
        "vit_base_patch16_clip_quickgelu_224.openai",
    ],
)
def test_other_plain_vits_of_timm_give_patches_of_any_window(tmp_path, name):
    spec = pc.find_vfm(pc.complete_pair("Built-in", f"timm:{name}")[1])
    save_file(state_of(build_vfm_network(spec)), tmp_path / "model.safetensors")
    loaded = load_vfm(spec.name, CPU, FLOAT32, weights=tmp_path / "model.safetensors")
    with torch.inference_mode():
        found = loaded.encode_windows(torch.rand(1, 3, 112, 168))
    assert found.shape == (1, loaded.width, *loaded.grid_of((112, 168)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("open_clip:ViT-B-16-SigLIP/webli", "SigLIP, EVA, CoCa"),
        ("open_clip:EVA02-B-16/merged2b_s8b_b131k", "SigLIP, EVA, CoCa"),
        ("open_clip:coca_ViT-B-32/laion2b_s13b_b90k", "SigLIP, EVA, CoCa"),
        ("open_clip:RN50/openai", "QuickGELU.*RN50-quickgelu/openai"),
        ("open_clip:RN50-quickgelu/openai", "ModifiedResNet"),
        ("open_clip:ViT-B-16/openai", "'open_clip:ViT-B-16-quickgelu/openai'"),
        ("open_clip:ViT-B-16/nothing", "no weights 'nothing' of ViT-B-16. Known: openai, laion400m_e31"),
        ("open_clip:ViT-H-14-worldwide-quickgelu/metaclip2_worldwide", "CLIP's tokenizer"),
        ("open_clip:ViT-B-17/openai", "no model 'ViT-B-17'. The closest: ViT-B-1"),
    ],
)
def test_a_clip_that_cannot_be_used_is_refused_with_the_reason(name, said):
    with pytest.raises(ValueError, match=said):
        pc.complete_pair(name, None)
    assert name not in CLIP_MODELS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnet50.a1_in1k", "resnet50.a1_in1k is no ViT"),
        ("timm:convnext_tiny.fb_in1k", "is no ViT"),
        ("timm:swin_tiny_patch4_window7_224.ms_in1k", "no ViT|SwinTransformer"),
        ("timm:beit_base_patch16_224.in22k_ft_in22k", "no ViT|is a Beit"),
        ("timm:deit_base_distilled_patch16_224.fb_in1k", "is a VisionTransformerDistilled"),
        ("timm:vit_base_r50_s16_224.orig_in21k", "patches are made by a HybridEmbed"),
        ("timm:vit_base_patch16_clip_224.openai", "Take 'timm:vit_base_patch16_clip_quickgelu_224.openai'"),
        ("timm:vit_small_patch16_224.nothing", "no weights.*Known: vit_small_patch16_224.augreg_in1k"),
        ("timm:vit_smal_patch16_224", "The closest: vit_small_patch16_224"),
        ("timm:vit_small_resnet26d_224.untrained", "Known|are on no hub"),
    ],
)
def test_a_vfm_that_cannot_be_used_is_refused_with_the_reason(name, said):
    with pytest.raises(ValueError, match=said):
        pc.complete_pair(None, name)
    assert name not in VFM_MODELS


def test_an_architecture_by_name_with_weights_of_ones_own(tmp_path):
    network = build_vfm_network(VfmSpec("a", "a", 16, "vit_tiny_patch16_224", "", "", 0, positions="timm"))
    save_file(state_of(network), tmp_path / "tiny.safetensors")
    name = pc.complete_pair("Built-in", f"timm:vit_tiny_patch16_224={tmp_path / 'tiny.safetensors'}")[1]
    assert name == "tiny.safetensors as timm:vit_tiny_patch16_224" and load_vfm(name, CPU, FLOAT32).width == 24


def test_the_vision_tower_of_a_clip_is_a_vfm_too(tmp_path):
    network = build_clip_network(pc.find_clip("OpenAI B/16"))
    torch.save(network.state_dict(), tmp_path / "clip.pt")
    name = pc.complete_pair("Built-in", f"timm:vit_base_patch16_clip_quickgelu_224={tmp_path / 'clip.pt'}")[1]
    loaded = load_vfm(name, CPU, FLOAT32)
    assert torch.equal(loaded.network.blocks[1].mlp.fc1.weight, network.visual.transformer.resblocks[1].mlp.c_fc.weight)


def test_weights_that_are_not_here_are_asked_of_the_hub_alone(monkeypatch):
    name = pc.complete_pair(None, "timm:vit_small_patch16_224.augreg_in21k")[1]
    with pytest.raises(
        pc.WeightsError, match=r"hf download timm/vit_small_patch16_224\.augreg_in21k model\.safetensors"
    ):
        weights.find_weights(pc.find_vfm(name))


# Rows of one's own

CLIP_ROW = ClipSpec("My CLIP", "ViT-B-32", "me/clip", "MIT", 600)
VFM_ROW = VfmSpec("My VFM/16", "My VFM", 16, "vit_small_patch16_224", "me/vfm", "MIT", 80, positions="timm")


def test_a_row_of_ones_own_is_found_and_registered_once():
    assert pc.register_clip(CLIP_ROW) is pc.find_clip("My CLIP") is pc.register_clip(replace(CLIP_ROW))
    assert pc.register_vfm(VFM_ROW) is pc.find_vfm("My VFM", 16)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (replace(CLIP_ROW, name="OpenAI B/16"), "another row called 'OpenAI B/16'"),
        (replace(CLIP_ROW, name=" "), "has no name"),
        (replace(CLIP_ROW, repo="clip"), "expected 'owner/name'"),
        (replace(CLIP_ROW, architecture="ViT-B-99"), "knows no model 'ViT-B-99'"),
        (replace(CLIP_ROW, std=(0.0, 1.0, 1.0)), "expected three numbers"),
        (replace(VFM_ROW, architecture="vit_no_such"), "knows no model 'vit_no_such'"),
        (replace(VFM_ROW, patch=8), r"patches of 16 x 16 pixels, but its row says 8"),
        (replace(VFM_ROW, positions="any"), "positions is 'any'"),
        (replace(VFM_ROW, input_side=1024), "input_side belongs to positions='native'"),
        (replace(VFM_ROW, input_side=512, positions="native"), "input_side is 512; expected 224"),
        (replace(VFM_ROW, positions="scale", architecture="vit_base_patch16_siglip_224"), "no class token"),
    ],
)
def test_a_row_that_cannot_be_is_refused(row, message):
    register = pc.register_clip if isinstance(row, ClipSpec) else pc.register_vfm
    before = dict(CLIP_MODELS), dict(VFM_MODELS)
    with pytest.raises(ValueError, match=message):
        register(row)
    assert before == (CLIP_MODELS, VFM_MODELS)


def test_of_rows_that_are_registered_at_once_one_wins(monkeypatch):
    monkeypatch.setattr(named, "check_clip", lambda spec: None)
    meeting, refused = threading.Barrier(8), []

    def register(number: int) -> None:
        meeting.wait()
        try:
            pc.register_clip(replace(CLIP_ROW, megabytes=number))
        except ValueError:
            refused.append(number)

    threads = [threading.Thread(target=register, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7 and CLIP_MODELS["My CLIP"].megabytes not in refused
