"""Weights of one's own: which model they are is told by their tensors, names and what lies beside them."""

from __future__ import annotations

import hashlib
import json
import warnings

import open_clip
import pytest
import torch
from safetensors.torch import save_file

import proxyclip_core as pc
from proxyclip_core.models import signs
from proxyclip_core.models.building import build_clip_network, build_vfm_network
from proxyclip_core.models.loading import load_clip, load_vfm
from proxyclip_core.models.registry import VFM_MODELS
from tests.small_networks import clip_file, small, state_of, vfm_file  # noqa: F401  a fixture of each test

CPU, FLOAT32 = torch.device("cpu"), torch.float32


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
