"""Models that are no rows of the tables: weights of one's own, open_clip's and timm's names, rows of one's own."""

from __future__ import annotations

import copy
import hashlib
import json
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

import proxyclip_core as pc
from proxyclip_core.models import named, signs, weights
from proxyclip_core.models.building import build_clip_network, build_vfm_network
from proxyclip_core.models.loading import load_clip, load_vfm
from proxyclip_core.models.registry import CLIP_MODELS, VFM_MODELS, ClipSpec, VfmSpec

CPU, FLOAT32 = torch.device("cpu"), torch.float32
WIDTHS = {"tiny": 24, "small": 48, "base": 96, "large": 120, "huge": 168}
real_config, real_model = open_clip.get_model_config, timm.create_model


def small_config(name: str) -> dict | None:
    """open_clip's configuration with an eighth of the widths, and two blocks."""
    config = copy.deepcopy(real_config(name))
    for part in ("vision_cfg", "text_cfg"):
        if config and isinstance(config[part].get("layers"), int) and "width" in config[part]:
            config[part] |= {"layers": 2, "width": config[part]["width"] // 8}
    if config and "head_width" not in config["vision_cfg"]:
        config["vision_cfg"]["head_width"] = 8
    elif config:
        config["vision_cfg"]["head_width"] //= 8
    return config


def small_model(name: str, **options) -> torch.nn.Module:
    """timm's model with an eighth of the width, and two blocks; on the meta device the others are as they are."""
    width = next((width for size, width in WIDTHS.items() if f"vit_{size}_" in name), None)
    if width:
        options |= {"embed_dim": width, "depth": 2, "num_heads": 3}
    if name.startswith("samvit"):
        options["global_attn_indexes"] = (1,)
    return real_model(name, **options)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Every architecture is built small, and the tables are as they were afterwards."""
    monkeypatch.setattr(open_clip, "get_model_config", small_config)
    monkeypatch.setattr(timm, "create_model", small_model)
    before = dict(CLIP_MODELS), dict(VFM_MODELS)
    yield
    for table, rows in zip((CLIP_MODELS, VFM_MODELS), before):
        table.clear()
        table.update(rows)


def state_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: torch.randn_like(tensor) for name, tensor in network.state_dict().items()}


def clip_file(folder: Path, row: str, name: str = "mine.safetensors") -> Path:
    state = {key: value.half().float() for key, value in state_of(build_clip_network(pc.find_clip(row))).items()}
    save_file(state, folder / name)
    return folder / name


def vfm_file(folder: Path, row: str, name: str = "mine.safetensors") -> Path:
    save_file(state_of(build_vfm_network(pc.find_vfm(row))), folder / name)
    return folder / name


# Weights of one's own


@pytest.mark.parametrize("row", ["OpenAI B/32", "OpenAI L/14 336"])
def test_the_row_of_a_clip_is_found_by_its_tensors(tmp_path, row):
    path = clip_file(tmp_path, row)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip, _ = pc.complete_pair(str(path), "DINO B/8")
    assert clip == f"mine.safetensors as {row}"
    assert load_clip(clip, CPU, FLOAT32).name == clip and pc.is_available(pc.find_clip(clip))


TOLD = [
    name
    for name, spec in VFM_MODELS.items()
    if spec.family not in ("DINO B", "MAE B") and not spec.builtin and not spec.together
]


@pytest.mark.parametrize("row", TOLD)
def test_the_row_of_a_vfm_is_found_by_its_tensors(tmp_path, row):
    path = vfm_file(tmp_path, row)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, vfm = pc.complete_pair("OpenAI B/16", str(path))
    assert vfm == f"mine.safetensors as {row}"
    loaded = load_vfm(vfm, CPU, FLOAT32)
    assert (loaded.positions, loaded.patch) == (VFM_MODELS[row].positions, VFM_MODELS[row].patch)


def test_a_model_of_ones_own_segments(tmp_path, blocks):
    clip, vfm = (
        clip_file(tmp_path, "OpenAI B/16", "clip.safetensors"),
        vfm_file(tmp_path, "DINO S/16", "vfm.safetensors"),
    )
    model = pc.load(clip=f"OpenAI B/16={clip}", vfm=str(vfm), device="cpu", precision="float32", templates="none")
    result = model(blocks, "sky, hill", side=224, windows="whole")
    assert result.settings.clip == "clip.safetensors as OpenAI B/16"
    assert result.settings.vfm == "vfm.safetensors as DINO S/16" and result.labels.shape == blocks.shape[:2]


def test_shapes_that_several_rows_have_are_said_with_how_to_say_which(tmp_path):
    path = clip_file(tmp_path, "LAION B/16")
    with pytest.warns(pc.WeightsWarning, match=f"LAION B/16.* just as well.*say which: 'LAION B/16={path}'"):
        assert pc.complete_pair(str(path), None)[0] == "mine.safetensors as OpenAI B/16"
    assert pc.complete_pair(f"LAION B/16={path}", None)[0] == "mine.safetensors as LAION B/16"


@pytest.mark.parametrize(
    ("place", "more", "row"),
    [
        ("ViT-B-16.pt", {}, "OpenAI B/16"),
        ("any.pt", {"input_resolution": torch.tensor(224)}, "OpenAI B/16"),
        ("models--laion--CLIP-ViT-B-16-laion2B-s34B-b88K/snapshots/1/a.pt", {}, "LAION B/16"),
    ],
)
def test_names_and_constants_of_releases_tell_rows_of_one_shape_apart(tmp_path, place, more, row):
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state_of(build_clip_network(pc.find_clip(row))) | more, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pc.complete_pair(str(path), None)[0] == f"{path.name} as {row}"


def test_the_decoder_of_pretraining_tells_mae_from_dino(tmp_path):
    state = state_of(build_vfm_network(pc.find_vfm("MAE B/16")))
    torch.save({"model": state | {"decoder_embed.weight": torch.zeros(1)}}, tmp_path / "a.pth")
    assert pc.complete_pair("OpenAI B/16", str(tmp_path / "a.pth"))[1] == "a.pth as MAE B/16"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {"a": torch.zeros(1)}, "names of neither an open_clip CLIP nor a timm ViT"),
        (
            lambda state: {name: tensor for name, tensor in state.items() if not name.startswith("blocks.1.")},
            r"depth 1, .*Nearest: DINO S/16 has depth 2",
        ),
    ],
)
def test_what_fits_no_row_is_told_with_how_the_nearest_differ(tmp_path, change, said):
    save_file(change(state_of(build_vfm_network(pc.find_vfm("DINO S/16")))), tmp_path / "a.safetensors")
    with pytest.raises(pc.WeightsError, match=rf"fits no known model\. .*{said}.*'timm:MODEL=PATH'"):
        pc.complete_pair("OpenAI B/16", str(tmp_path / "a.safetensors"))


def test_a_clip_in_the_place_of_a_vision_model_is_told(tmp_path):
    path = clip_file(tmp_path, "OpenAI B/16")
    with pytest.raises(pc.WeightsError, match="It holds a CLIP, so give it as clip"):
        pc.complete_pair("OpenAI B/16", str(path))
    with pytest.raises(pc.WeightsError, match="vision model without words, so give it as vfm"):
        pc.complete_pair(str(vfm_file(tmp_path, "DINO S/8")), None)


def test_two_files_of_one_name_are_two_models(tmp_path):
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = vfm_file(tmp_path / folder, "DINO S/8")
        names += [pc.complete_pair("Built-in", str(path))[1], pc.complete_pair("Built-in", str(tmp_path / folder))[1]]
    assert names == 2 * ["mine.safetensors as DINO S/8"] + 2 * ["b/mine.safetensors as DINO S/8"]


@pytest.mark.parametrize("given", ["nowhere.pt", "DINO S/8=nowhere"])
def test_a_file_that_is_not_there_is_named(given):
    with pytest.raises(pc.WeightsError, match=r"There is no file or folder nowhere"):
        pc.complete_pair("Built-in", given)


def test_a_name_that_is_nothing_is_told_what_it_may_be():
    with pytest.raises(ValueError, match=r"No CLIP is called 'OpenAI B'.*open_clip:MODEL/TAG"):
        pc.complete_pair("OpenAI B", None)


def test_a_file_that_is_gone_is_not_ready_and_said(tmp_path):
    path = vfm_file(tmp_path, "DINO S/8")
    name = pc.complete_pair("Built-in", str(path))[1]
    path.unlink()
    assert not pc.is_available(pc.find_vfm(name))
    with pytest.raises(pc.WeightsError, match="cannot be used any more"):
        load_vfm(name, CPU, FLOAT32)


def test_the_page_and_its_tables_never_take_a_path(tmp_path):
    path = vfm_file(tmp_path, "DINO S/8")
    for name in (str(path), f"DINO S/8={path}", "timm:vit_small_patch16_224.augreg_in21k"):
        with pytest.raises(ValueError, match="No VFM is called"):
            pc.find_vfm(name)


# Weights of another model


@pytest.mark.parametrize(
    ("name", "row", "numbers", "said"),
    [
        ("a.safetensors", "OpenAI B/16", lambda tensor: tensor, "half precision"),  # ProxyCLIP 5
        ("CLIP-ViT-B-16-laion2B-s34B-b88K.safetensors", "OpenAI B/16", torch.Tensor.half, "name is that of LAION B/16"),
        ("ViT-B-16.pt", "LAION B/16", torch.Tensor.half, "name is that of OpenAI B/16"),
    ],
)
def test_weights_that_are_not_the_known_ones_are_used_with_a_warning(tmp_path, name, row, numbers, said):
    state = {key: numbers(tensor) for key, tensor in state_of(build_clip_network(pc.find_clip(row))).items()}
    save_file(state, tmp_path / name) if name.endswith("s") else torch.save(state, tmp_path / name)
    with pytest.warns(pc.WeightsWarning, match=rf"does not hold the known weights of {row}: .*{said}"):
        load_clip(row, CPU, FLOAT32, tmp_path / name)


def released(monkeypatch, digest: str) -> None:
    """Has open_clip know this SHA-256 of OpenAI's file."""
    url = f"https://openaipublic.azureedge.net/clip/models/{digest}/ViT-B-16.pt"
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: {"url": url})


def test_the_known_weights_are_used_without_a_word(tmp_path, monkeypatch):
    state, path = state_of(build_clip_network(pc.find_clip("OpenAI B/16"))), tmp_path / "ViT-B-16.pt"
    torch.save({name: tensor.half() for name, tensor in state.items()}, path)
    released(monkeypatch, hashlib.sha256(path.read_bytes()).hexdigest())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_clip("OpenAI B/16", CPU, FLOAT32, path)
    released(monkeypatch, "0" * 64)
    with pytest.warns(pc.WeightsWarning, match="not that of the release, by its digest"):
        load_clip("OpenAI B/16", CPU, FLOAT32, path)


def test_open_clip_knows_the_digests_of_openais_files():
    assert len(signs._released_digest(pc.find_clip("OpenAI B/16"))) == 64
    assert not signs._released_digest(pc.find_clip("LAION B/16"))


@pytest.mark.parametrize(("row", "other"), [("OpenAI L/14", "LAION L/14"), ("LAION L/14", "OpenAI L/14")])
def test_the_configuration_beside_a_file_tells_rows_of_one_shape_apart(tmp_path, row, other):
    path, spec = clip_file(tmp_path, row), pc.find_clip(row)
    quick = {"quick_gelu": True} if row.startswith("OpenAI") else {}
    config = {"model_cfg": quick, "preprocess_cfg": {"mean": spec.mean, "std": spec.std}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    with warnings.catch_warnings(record=True) as said:  # of others of this activation and these colours, if there are
        warnings.simplefilter("always")
        assert pc.complete_pair(str(path), None)[0] == f"mine.safetensors as {row}"
    assert not any(other in str(warning.message) for warning in said)
    with pytest.warns(pc.WeightsWarning, match=r"open_clip_config\.json beside it is that of another model"):
        load_clip(other, CPU, FLOAT32, path)


@pytest.mark.parametrize("text", ["{", "[]", '{"model_cfg": 3}', '{"model_cfg": {}, "preprocess_cfg": {"mean": [1]}}'])
def test_a_configuration_that_says_nothing_leaves_the_guess(tmp_path, text):
    path = clip_file(tmp_path, "LAION B/16")
    (tmp_path / "open_clip_config.json").write_text(text, encoding="utf-8")
    with pytest.warns(pc.WeightsWarning, match="read as OpenAI B/16 with QuickGELU, which is a guess"):
        pc.complete_pair(str(path), None)


def test_numbers_finer_than_openais_are_taken_for_anothers(tmp_path):
    save_file(state_of(build_clip_network(pc.find_clip("LAION B/16"))), tmp_path / "a.safetensors")
    with pytest.warns(pc.WeightsWarning, match="OpenAI B/16.* read as LAION B/16, which is a guess"):
        assert pc.complete_pair(str(tmp_path / "a.safetensors"), None)[0] == "a.safetensors as LAION B/16"


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
