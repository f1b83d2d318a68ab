"""Weights by path, by folder and from the cache; and what a person reads when there are none."""

import pickle
import socket

import pytest
import timm
import torch
from safetensors.torch import save_file

import proxyclip_core as pc
from proxyclip_core.cpu import kernels, linear
from proxyclip_core.models import checkpoints, weights
from proxyclip_core.models.loading import (
    build_clip_network,
    build_vfm_network,
    choose_device,
    choose_precision,
    default_models,
    load_clip,
    load_vfm,
    vfm_encoder,
)
from proxyclip_core.models.registry import CLIP_MODELS, VFM_MODELS, VfmSpec
from tests.conftest import TINY_CLIP

CPU, FLOAT32 = torch.device("cpu"), torch.float32


@pytest.fixture
def small_rows(monkeypatch):
    """Rows of the registries stay as they are; only the networks that they name are built small."""
    import open_clip

    config = {
        "embed_dim": TINY_CLIP["embed_dim"],
        "vision_cfg": TINY_CLIP["clip_vision"],
        "text_cfg": TINY_CLIP["clip_text"],
        "quick_gelu": True,
    }
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: config)
    create = timm.create_model
    small = {"embed_dim": 48, "num_heads": 3, "depth": 2}

    def create_small(name, **options):
        smaller = {**small, "global_attn_indexes": (1,)} if name.startswith("samvit") else small
        return create(name, **smaller, **options)

    monkeypatch.setattr(timm, "create_model", create_small)


@pytest.fixture
def dino(small_rows):
    """A small DINO with weights of its own, and its tensors."""
    torch.manual_seed(1)
    network = timm.create_model("vit_base_patch8_224.dino", num_classes=0)
    return network, {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.fixture
def clip_state(small_rows):
    """In numbers of half precision, as OpenAI's weights are."""
    torch.manual_seed(2)
    state = build_clip_network(pc.find_clip("OpenAI B/16")).state_dict()
    return {name: tensor.half().float() for name, tensor in state.items()}


def same(state, network) -> bool:
    return all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in state.items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_vfm_from_a_given_file(tmp_path, dino, suffix):
    path = tmp_path / f"dino{suffix}"
    save_file(dino[1], path) if suffix == ".safetensors" else torch.save(dino[1], path)
    assert same(dino[1], load_vfm("DINO B/8", CPU, FLOAT32, weights=path).network)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_clip_from_a_given_file(tmp_path, clip_state, suffix, prefix):
    path = tmp_path / f"clip{suffix}"
    state = {prefix + name: tensor for name, tensor in clip_state.items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state, "epoch": 3}, path)
    assert same(clip_state, load_clip("OpenAI B/16", CPU, FLOAT32, path).network)


@pytest.mark.parametrize(
    "place",
    [
        "vit_base_patch8_224.dino/model.safetensors",
        "timm/vit_base_patch8_224.dino/model.safetensors",
        "vit_base_patch8_224.dino.safetensors",
    ],
)
def test_vfm_from_the_weights_folder(tmp_path, monkeypatch, dino, place):
    path = tmp_path / "weights" / place
    path.parent.mkdir(parents=True)
    save_file(dino[1], path)
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path / "weights"))
    assert pc.is_available(pc.find_vfm("DINO B/8"))
    assert same(dino[1], load_vfm("DINO B/8", CPU, FLOAT32).network)


def test_clip_and_vfm_from_the_weights_folder_make_a_model(tmp_path, monkeypatch, dino, clip_state, blocks):
    for repo, file, state in (
        ("vit_base_patch16_clip_224.openai", "open_clip_model.safetensors", clip_state),
        ("vit_base_patch8_224.dino", "model.safetensors", dino[1]),
    ):
        (tmp_path / repo).mkdir()
        save_file(state, tmp_path / repo / file)
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    assert default_models() == ("OpenAI B/16", "DINO B/8")
    model = pc.load(clip="OpenAI B/16", vfm="DINO B", patch=8, device="cpu", templates="none")
    assert model(blocks, "sky, hill", side=224).labels.shape == blocks.shape[:2]


def test_a_given_folder(tmp_path, dino):
    save_file(dino[1], tmp_path / "model.safetensors")
    assert same(dino[1], load_vfm("DINO B/8", CPU, FLOAT32, weights=tmp_path).network)


def test_weights_from_the_hub_cache(tmp_path, monkeypatch, dino):
    cache = tmp_path / "empty-hub-cache" / "models--timm--vit_base_patch8_224.dino"
    snapshot = cache / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(snapshot.name)
    save_file(dino[1], snapshot / "model.safetensors")
    assert same(dino[1], load_vfm("DINO B/8", CPU, FLOAT32).network)


@pytest.mark.parametrize("file", ["sam_vit_b_01ec64.pth", "samvit_base_patch16.sa1b/model.safetensors"])
def test_sam_from_its_official_checkpoint_or_from_timm(tmp_path, monkeypatch, small_rows, file):
    torch.manual_seed(3)
    network = timm.create_model("samvit_base_patch16.sa1b", num_classes=0)
    state = network.state_dict()
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    if file.endswith(".pth"):
        official = {f"image_encoder.{name.replace('mlp.fc', 'mlp.lin')}": tensor for name, tensor in state.items()}
        torch.save({**official, "prompt_encoder.not_a_point_embed.weight": torch.zeros(1, 4)}, path)
    else:
        save_file(state, path)
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    assert same(state, load_vfm("SAM B", CPU, FLOAT32).network)


@pytest.fixture(params=[False, True], ids=["plain", "packed"])
def packed(request, monkeypatch) -> bool:
    """Whether all linear layers are packed for oneDNN, as the large ones of real models are where that pays."""
    if request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch was built without oneDNN")
    packing = frozenset({torch.float32} if request.param else ())
    monkeypatch.setattr(linear, "PACKED_FROM", 0)
    monkeypatch.setattr(kernels, "_of_this_cpu", lambda: kernels.Kernels(packing=packing))
    return request.param


def count_packed(network: torch.nn.Module) -> int:
    return sum(isinstance(module, linear.PackedLinear) for module in network.modules())


def test_a_packed_clip_sees_the_same(tmp_path, clip_state, packed):
    save_file(clip_state, tmp_path / "open_clip_model.safetensors")
    network = build_clip_network(pc.find_clip("OpenAI B/16"))
    network.load_state_dict(clip_state)
    loaded = load_clip("OpenAI B/16", CPU, FLOAT32, weights=tmp_path)
    assert bool(count_packed(loaded.network)) == packed
    window = torch.rand(1, 3, 112, 112)
    with torch.inference_mode():
        expected = pc.ClipEncoder(network, "plain", loaded.mean, loaded.std).encode_windows(window)
        torch.testing.assert_close(loaded.encode_windows(window), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name, spec in VFM_MODELS.items() if not spec.builtin and not spec.together])
def test_every_vfm_takes_its_own_weights_and_computes_with_them(tmp_path, small_rows, packed, name):
    spec = pc.find_vfm(name)
    torch.manual_seed(5)
    network = build_vfm_network(spec)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    loaded = load_vfm(name, CPU, FLOAT32, weights=tmp_path)
    window = torch.rand(1, 3, 56, 112)
    assert bool(count_packed(loaded.network)) == packed
    with torch.inference_mode():
        expected = vfm_encoder(network, spec).encode_windows(window)
        torch.testing.assert_close(loaded.encode_windows(window), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("spec", [*CLIP_MODELS.values(), *VFM_MODELS.values()], ids=lambda spec: spec.name)
def test_missing_weights_offline_say_what_to_do(spec, monkeypatch):
    if spec.builtin:
        assert pc.is_available(spec)
        return
    with pytest.raises(pc.WeightsError) as caught:
        weights.find_weights(spec)
    message = str(caught.value)
    for part in (spec.name, spec.licence, spec.repo, f"hf download {spec.repo}", "PROXYCLIP_WEIGHTS", "HF_HUB_OFFLINE"):
        assert part in message
    assert spec.official_file in message
    assert "Traceback" not in message


def test_a_hub_that_does_not_answer_is_given_up_soon(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(pc.WeightsError, match=r"could not be reached \(.*refused"):
        weights.find_weights(pc.find_vfm("DINO S/8"))


@pytest.fixture
def silent_hub(monkeypatch):
    """A hub that takes calls and never answers."""
    with socket.socket() as hub:
        hub.bind(("127.0.0.1", 0))
        hub.listen()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{hub.getsockname()[1]}")
        yield


def test_how_long_a_hub_is_waited_for_is_the_hubs_own_variable(silent_hub, monkeypatch):  # huggingface_hub 1703, 3594
    for seconds in ("0.2", "0.3"):
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", seconds)
        with pytest.raises(pc.WeightsError, match=f"no answer within {seconds} seconds; HF_HUB_ETAG_TIMEOUT=30"):
            weights.find_weights(pc.find_vfm("DINO S/8"))


def test_the_reason_why_a_hub_cannot_be_reached_is_said(silent_hub, monkeypatch):
    class Session:
        def head(self, url, timeout):
            raise OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate in certificate chain\nmore")

    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    with pytest.raises(pc.WeightsError, match=r"could not be reached \(\[SSL: CERTIFICATE_VERIFY_FAILED\].*chain\)"):
        weights.find_weights(pc.find_vfm("DINO S/8"))


def test_a_pickle_with_code_in_it_is_not_run(tmp_path, dino, clip_state):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "was-run"), "w"))

    path = tmp_path / "harm.pth"
    path.write_bytes(pickle.dumps({"weight": Harm()}))
    torch.save({"weight": Harm()}, tmp_path / "harm2.pth")
    for file in (path, tmp_path / "harm2.pth"):
        with pytest.raises(pc.WeightsError):
            load_vfm("DINO B/8", CPU, FLOAT32, weights=file)
        with pytest.raises(pc.WeightsError):
            load_clip("OpenAI B/16", CPU, FLOAT32, file)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x04."], ids=["empty", "text", "stub"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_files_are_named(tmp_path, dino, clip_state, content, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(pc.WeightsError, match="broken"):
        load_vfm("DINO B/8", CPU, FLOAT32, weights=path)
    with pytest.raises(pc.WeightsError, match="broken"):
        load_clip("OpenAI B/16", CPU, FLOAT32, path)


def test_weights_of_another_model_are_refused(tmp_path, dino, clip_state):
    save_file(dino[1], tmp_path / "dino.safetensors")
    save_file(clip_state, tmp_path / "clip.safetensors")
    with pytest.raises(pc.WeightsError, match="does not hold the weights of OpenAI B/16"):
        load_clip("OpenAI B/16", CPU, FLOAT32, tmp_path / "dino.safetensors")
    with pytest.raises(pc.WeightsError, match="does not hold the weights of DINO B/16"):
        load_vfm("DINO B/16", CPU, FLOAT32, weights=tmp_path / "clip.safetensors")


def test_memory_that_runs_out_is_called_that(tmp_path, dino, monkeypatch):
    save_file(dino[1], tmp_path / "dino.safetensors")

    def exhausted(*given, **named):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(checkpoints, "safe_open", exhausted)
    with pytest.raises(MemoryError, match=r"not enough to read dino\.safetensors"):
        load_vfm("DINO B/8", CPU, FLOAT32, weights=tmp_path / "dino.safetensors")


def test_whole_numbers_stay_whole_at_any_precision(tmp_path):
    state = {"positions": torch.arange(1000), "weight": torch.ones(2)}
    for name, write in (("a.safetensors", save_file), ("a.pt", torch.save)):
        write(state, tmp_path / name)
        found = checkpoints.read_weights(tmp_path / name, lambda key: torch.bfloat16)
        assert (found["positions"].dtype, found["weight"].dtype) == (torch.int64, torch.bfloat16)
        assert torch.equal(found["positions"], state["positions"])


@pytest.mark.parametrize("given", ["nowhere", "nowhere.safetensors", "."])
def test_a_path_without_weights_is_named(tmp_path, given):
    with pytest.raises(pc.WeightsError, match="DINO B/8"):
        load_vfm("DINO B/8", CPU, FLOAT32, weights=tmp_path / given)


def test_the_environment_chooses_what_to_open_with(monkeypatch):
    monkeypatch.setenv("PROXYCLIP_CLIP", "LAION B/16")
    monkeypatch.setenv("PROXYCLIP_VFM", "SAM B/16")
    assert default_models() == ("LAION B/16", "SAM B/16")
    monkeypatch.setenv("PROXYCLIP_VFM", "DINO S/8")
    assert default_models(patch=16)[1] == "DINO S/16"
    with pytest.raises(ValueError, match="comes with patch size 8 and 16"):
        default_models(patch=3)


def test_devices_and_precisions():
    assert choose_device("cpu") == CPU
    assert choose_precision("auto", torch.device("mps")) == FLOAT32
    assert choose_precision("auto", CPU) in (FLOAT32, torch.bfloat16)
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(ValueError, match="device is 'gpu'"):
        choose_device("gpu")
    with pytest.raises(ValueError, match="precision is 'int8'"):
        choose_precision("int8", CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device that computes")
def test_a_gpu_that_is_there_but_cannot_compute_leaves_it_to_the_cpu(monkeypatch):  # rocketride 1168
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.warns(UserWarning, match=r"cuda is there but cannot compute \(.+\), so the CPU does"):
        assert choose_device("auto") == CPU


def test_fusion_without_proxy_loads_no_vfm(tmp_path, clip_state):
    save_file(clip_state, tmp_path / "clip.safetensors")
    model = pc.load("OpenAI B/16", fusion="values", device="cpu", clip_weights=tmp_path / "clip.safetensors")
    assert model.vfm is None


def test_adding_a_model_is_adding_a_row(tmp_path, monkeypatch, small_rows):
    torch.manual_seed(4)
    row = VfmSpec("Mine/16", "Mine", 16, "vit_small_patch16_224", "me/mine", "MIT", 1)
    monkeypatch.setitem(VFM_MODELS, row.name, row)
    state = timm.create_model("vit_small_patch16_224", num_classes=0).state_dict()
    save_file(state, tmp_path / "mine.safetensors")
    assert same(state, load_vfm("Mine", CPU, FLOAT32, weights=tmp_path / "mine.safetensors").network)


@pytest.mark.parametrize("device", ["meta", "hpu", "toaster", None])
def test_devices_that_hold_no_numbers_are_refused(device):
    with pytest.raises(ValueError, match="not usable here"):
        choose_device(device)


def test_cuda_cards_take_the_finer_of_two_precisions_that_are_as_fast():
    assert choose_precision("auto", torch.device("cuda")) == torch.float16


@pytest.mark.parametrize("error", [RuntimeError("cut"), ConnectionError("cut")])
def test_a_download_that_breaks_off_says_so(monkeypatch, error):
    def cut(*_: str) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weights, "_problem_of_hub", lambda url, seconds: "")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", cut)
    with pytest.raises(pc.WeightsError, match="broke off: cut"):
        weights.find_weights(VFM_MODELS["DINO S/8"])


def test_a_patch_size_alone_is_of_the_default_family():
    assert pc.load(patch=4, device="cpu").vfm.name == "Built-in/4"
