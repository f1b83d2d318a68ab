"""Weights as their authors and other tools publish them: taken, or explained."""

import argparse
import json
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import proxyclip_core as pc
from proxyclip_core.models import checkpoints, weights
from proxyclip_core.models.loading import build_vfm_network, load_clip, load_vfm
from tests.test_loading import CPU, FLOAT32, clip_state, dino, same, small_rows  # noqa: F401  fixtures

pytestmark = pytest.mark.usefixtures("small_rows")


def network_of(name: str) -> tuple[torch.nn.Module, dict]:
    torch.manual_seed(6)
    network = build_vfm_network(pc.find_vfm(name))
    return network, {key: torch.randn_like(tensor) for key, tensor in network.state_dict().items()}


def with_prefix(prefix: str, state: dict) -> dict:
    return {prefix + name: tensor for name, tensor in state.items()}


HEAD = {"head.mlp.0.weight": torch.zeros(3, 3), "head.last_layer.weight_g": torch.zeros(3)}
ARGUMENTS = {
    "epoch": 3,
    "args": argparse.Namespace(lr=0.1),
    "best": np.float64(0.5),
    "optimizer": {"state": {0: {"step": 1}}},
}


@pytest.mark.parametrize(
    "written",
    [
        lambda state: state,
        lambda state: {**state, "head.weight": torch.zeros(10, 48), "head.bias": torch.zeros(10)},
        lambda state: with_prefix("backbone.", state),
        lambda state: {**with_prefix("module.backbone.", state), **with_prefix("module.", HEAD)},
        lambda state: {"student": {}, "teacher": {**with_prefix("backbone.", state), **HEAD}, **ARGUMENTS},
        lambda state: {"teacher": with_prefix("module.backbone.", state), **ARGUMENTS},
        lambda state: {
            "model": {**with_prefix("teacher.backbone.", state), "teacher.dino_head.weight": torch.zeros(3)}
        },
        lambda state: {"state_dict": with_prefix("model.", state), **ARGUMENTS},
        lambda state: {"model": with_prefix("_orig_mod.", state), **ARGUMENTS},
        lambda state: ({"network_state_dict": state, "rank": {}}, ARGUMENTS),
        lambda state: {"ema": with_prefix("vit.", state), **ARGUMENTS},
        lambda state: {"params": {**with_prefix("image_tower.", state), "classifier.weight": torch.zeros(3, 48)}},
    ],
)
def test_a_dino_of_every_kind(tmp_path, written):
    _, state = network_of("DINO B/8")
    torch.save(written(state), tmp_path / "dino.pth")
    assert same(state, load_vfm("DINO B/8", CPU, FLOAT32, weights=tmp_path / "dino.pth").network)
    flat = written(state)
    if isinstance(flat, dict) and all(isinstance(value, torch.Tensor) for value in flat.values()):
        save_file(flat, tmp_path / "dino.safetensors")
        assert same(state, load_vfm("DINO B/8", CPU, FLOAT32, weights=tmp_path / "dino.safetensors").network)


def test_dinov2_as_meta_publishes_it(tmp_path):
    _, state = network_of("DINOv2 B/14")
    torch.save({**state, "mask_token": torch.zeros(1, 48)}, tmp_path / "dinov2_vitb14_pretrain.pth")
    assert same(state, load_vfm("DINOv2 B/14", CPU, FLOAT32, weights=tmp_path).network)


def test_dinov2_with_registers_as_meta_publishes_it(tmp_path):
    _, state = network_of("DINOv2-reg B/14")
    class_position = torch.randn(1, 1, 48)
    official = {**state, "mask_token": torch.zeros(1, 48), "register_tokens": state["reg_token"]}
    official["cls_token"] = state["cls_token"] - class_position
    official["pos_embed"] = torch.cat([class_position, state["pos_embed"]], dim=1)
    del official["reg_token"]
    torch.save(official, tmp_path / "dinov2_vitb14_reg4_pretrain.pth")
    found = load_vfm("DINOv2-reg B/14", CPU, FLOAT32, weights=tmp_path).network.state_dict()
    assert all(torch.allclose(found[name], tensor, atol=1e-6) for name, tensor in state.items())


def test_dinov3_as_meta_publishes_it(tmp_path):
    _, state = network_of("DINOv3 B/16")
    official = {
        name.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma"): value for name, value in state.items()
    }
    official["storage_tokens"] = official.pop("reg_token")
    for block in range(2):
        for name in ("bias", "bias_mask"):
            official[f"blocks.{block}.attn.qkv.{name}"] = torch.zeros(144)
    torch.save({**official, "mask_token": torch.zeros(1, 48), "rope_embed.periods": torch.zeros(4)}, tmp_path / "a.pth")
    assert same(state, load_vfm("DINOv3 B/16", CPU, FLOAT32, weights=tmp_path / "a.pth").network)


DECODER = {name: torch.zeros(1) for name in ("mask_token", "decoder_pos_embed", "decoder_blocks.0.norm1.weight")}


@pytest.mark.parametrize("more", [{}, DECODER])
def test_mae_as_its_authors_publish_it(tmp_path, more):
    _, state = network_of("MAE B/16")
    torch.save({"model": {**state, **more}}, tmp_path / "mae_pretrain_vit_base.pth")
    assert same(state, load_vfm("MAE B/16", CPU, FLOAT32, weights=tmp_path).network)


def test_a_sam_that_was_trained_further(tmp_path):
    _, state = network_of("SAM B/16")
    official = {f"image_encoder.{name.replace('mlp.fc', 'mlp.lin')}": tensor for name, tensor in state.items()}
    torch.save(
        {"model": {**official, "mask_decoder.iou_token.weight": torch.zeros(1, 4)}, **ARGUMENTS}, tmp_path / "a.pth"
    )
    assert same(state, load_vfm("SAM B/16", CPU, FLOAT32, weights=tmp_path / "a.pth").network)


NUMBERS = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}
CONSTANTS = {name: torch.tensor(number) for name, number in NUMBERS.items()}


@pytest.mark.parametrize("constants", [CONSTANTS, NUMBERS])
def test_openai_as_a_state_dict(tmp_path, clip_state, constants):  # noqa: F811
    torch.save({**clip_state, **constants}, tmp_path / "clip.pt")
    assert same(clip_state, load_clip("OpenAI B/16", CPU, FLOAT32, tmp_path / "clip.pt").network)


class Branch(torch.nn.Module):
    """A module with the tensors of a table, as attributes and modules of their names."""

    def __init__(self, state: dict) -> None:
        super().__init__()
        for name in {key.partition(".")[0] for key in state}:
            if name in state:
                self.register_parameter(name, torch.nn.Parameter(state[name], requires_grad=False))
            else:
                inner = {key.partition(".")[2]: value for key, value in state.items() if key.startswith(name + ".")}
                self.add_module(name, Branch(inner))

    def forward(self, number: torch.Tensor) -> torch.Tensor:
        return number


def scripted(state: dict, path) -> None:
    tree = Branch(state)
    for name, value in CONSTANTS.items():
        tree.register_buffer(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(tree), path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_openai_as_a_torchscript_program(tmp_path, clip_state, dtype):  # noqa: F811  open_clip 622, CLIP4Clip 70
    state = {name: tensor.to(dtype) for name, tensor in clip_state.items()}
    scripted(state, tmp_path / "ViT-B-16.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "ViT-B-16.pt does not hold the known weights .* by its digest")
        network = load_clip("OpenAI B/16", CPU, FLOAT32, tmp_path).network
    assert same({name: tensor.float() for name, tensor in state.items()}, network)


def test_a_program_is_read_and_never_run(tmp_path, clip_state):  # noqa: F811
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "was-run"), "w"))

    scripted(clip_state, tmp_path / "sound.pt")
    with zipfile.ZipFile(tmp_path / "sound.pt") as sound, zipfile.ZipFile(tmp_path / "harm.pt", "w") as harm:
        for name in sound.namelist():
            harm.writestr(name, pickle.dumps(Harm(), 2) if name.endswith("/data.pkl") else sound.read(name))
    with pytest.raises(pc.WeightsError, match="more than tensors"):
        load_clip("OpenAI B/16", CPU, FLOAT32, tmp_path / "harm.pt")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_file_cut_short_is_called_that_and_is_not_ready(tmp_path, monkeypatch, dino, suffix, share):  # noqa: F811
    # huggingface_hub 4223
    home = tmp_path / "vit_base_patch8_224.dino"
    home.mkdir()
    path = home / "model.safetensors" if suffix == ".safetensors" else tmp_path / "dino_vitbase8_pretrain.pth"
    save_file(dino[1], path) if suffix == ".safetensors" else torch.save(dino[1], path)
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    assert pc.is_available(pc.find_vfm("DINO B/8"))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert not pc.is_available(pc.find_vfm("DINO B/8"))
    with pytest.raises(pc.WeightsError, match=r"is cut short.* Fetch it again"):
        load_vfm("DINO B/8", CPU, FLOAT32, weights=path)
    with pytest.raises(pc.WeightsError, match=r"is cut short[^\0]*hf download"):
        load_vfm("DINO B/8", CPU, FLOAT32)


def test_an_old_pickle_cut_short_is_called_that(tmp_path, dino):  # noqa: F811
    torch.save(dino[1], tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "a.pth").read_bytes()
    for share in (0.02, 0.9):
        (tmp_path / "a.pth").write_bytes(content[: int(share * len(content))])
        with pytest.raises(pc.WeightsError, match=r"is cut short\. Fetch it again"):
            load_vfm("DINO B/8", CPU, FLOAT32, weights=tmp_path / "a.pth")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 343000000\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POINTER, "pointer of Git LFS"),
        (b"<html>404</html>", "a web page"),
        (b"", "is empty"),
        (b"no weights", "a text"),
    ],
)
@pytest.mark.parametrize("file", ["model.safetensors", "dino_vitbase8_pretrain.pth"])
def test_what_is_no_file_of_weights_is_not_ready(tmp_path, monkeypatch, content, said, file):  # OmniParser 34
    (tmp_path / "vit_base_patch8_224.dino").mkdir()
    path = tmp_path / "vit_base_patch8_224.dino" / file if file.startswith("model") else tmp_path / file
    path.write_bytes(content)
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    assert not pc.is_available(pc.find_vfm("DINO B/8"))
    assert pc.default_models() == ("Built-in", "Built-in/8")
    with pytest.raises(pc.WeightsError, match=rf"{file}[^\0]*{said}[^\0]*hf download"):
        weights.find_weights(pc.find_vfm("DINO B/8"))


@pytest.mark.parametrize(("name", "said"), [("a.onnx", "ONNX"), ("a.npz", "NumPy"), ("a.MSGPACK", "Flax")])
def test_weights_of_another_library_are_named(tmp_path, name, said):
    (tmp_path / name).write_bytes(b"\x08\x08pytorch")
    with pytest.raises(pc.WeightsError, match=rf"no file of PyTorch but .*{said}.* Take the .safetensors or .pth"):
        checkpoints.read_weights(tmp_path / name)


def test_a_whole_file_is_found_behind_a_damaged_one(tmp_path, monkeypatch, dino):  # noqa: F811
    (tmp_path / "vit_base_patch8_224.dino").mkdir()
    (tmp_path / "vit_base_patch8_224.dino" / "model.safetensors").write_bytes(POINTER)
    torch.save(dino[1], tmp_path / "dino_vitbase8_pretrain.pth")
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    assert same(dino[1], load_vfm("DINO B/8", CPU, FLOAT32).network)


def test_what_does_not_fit_is_named(tmp_path, dino):  # noqa: F811
    state = {**dino[1], "extra.weight": torch.zeros(1), "pos_embed": torch.zeros(1, 5, 48)}
    del state["norm.weight"]
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(pc.WeightsError) as caught:
        load_vfm("DINO B/8", CPU, FLOAT32, weights=tmp_path / "a.safetensors")
    for said in (
        "missing: norm.weight",
        "not expected: extra.weight",
        "of another shape: pos_embed (1, 5, 48), not (1, ",
    ):
        assert said in str(caught.value)
    assert "again" not in str(caught.value)


def test_the_names_of_the_transformers_library_are_known_again(tmp_path, dino):  # noqa: F811
    torch.save(
        {"embeddings.cls_token": torch.zeros(1, 1, 48), "encoder.layer.0.norm1.weight": torch.zeros(48)},
        tmp_path / "a.bin",
    )
    with pytest.raises(pc.WeightsError, match="transformers library, so take the file of open_clip or timm"):
        load_vfm("DINO B/8", CPU, FLOAT32, weights=tmp_path / "a.bin")


def test_weights_of_another_patch_size_are_not_bent_to_fit(tmp_path):
    _, state = network_of("DINO B/16")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(pc.WeightsError, match="of another shape"):
        load_vfm("DINO B/8", CPU, FLOAT32, weights=tmp_path)


@pytest.mark.parametrize("header", [b"{", b'{"a": 3}', b"[1]", json.dumps({"a": {"data_offsets": [0, 4]}}).encode()])
def test_a_safetensors_file_whose_list_is_damaged_is_no_traceback(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(pc.WeightsError, match=r"a\.safetensors"):
        checkpoints.read_weights(path)
