"""Small random networks of the real architectures, so that every test runs without any download."""

from __future__ import annotations

import copy
import os

# What the real networks would take is estimated, for which small ones stand in here.
os.environ.setdefault("PROXYCLIP_UNASKED_SECONDS", "1000000")

import numpy as np
import pytest
import torch
from PIL import Image

from proxyclip_core import ClipEncoder, PatchEncoder, ProxyCLIP, cli, complete_pair
from proxyclip_core.models.sam import SamModel, build_decoder
from tests.replay import fill, golden_clip, golden_sam, golden_vfm

TINY_CLIP = {
    "embed_dim": 32,
    "clip_vision": {"image_size": 224, "layers": 2, "width": 48, "head_width": 16, "patch_size": 16, "mlp_ratio": 2.0},
    "clip_text": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True, scope="session")
def own_uploads(tmp_path_factory):
    """gradio names what it makes by its content, and a page that ends deletes it: also that of other tests' pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """No test sees the developer's weights, settings or cache, nor the network."""
    for name in ("PROXYCLIP_WEIGHTS", "PROXYCLIP_CLIP", "PROXYCLIP_VFM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROXYCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty-hub-cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def tiny_clip() -> ClipEncoder:
    """CLIP with patches of 16 pixels."""
    return golden_clip(TINY_CLIP)


@pytest.fixture(scope="session")
def tiny_vfm() -> PatchEncoder:
    """A DINO-like VFM with patches of 8 pixels."""
    return golden_vfm("dino8")


@pytest.fixture(scope="session")
def tiny_sam() -> SamModel:
    """A SAM that reads 256 x 256 pixels."""
    return SamModel(golden_sam(256), fill(build_decoder(width=32, side=256), "sam."))


@pytest.fixture(scope="session")
def tiny_model(tiny_clip, tiny_vfm, tiny_sam) -> ProxyCLIP:
    return ProxyCLIP(tiny_clip, tiny_vfm, templates="simple7", sam=tiny_sam)


@pytest.fixture(scope="session")
def blocks() -> np.ndarray:
    """(150, 230, 3) uint8: four plain areas with a little noise, so that patches of one area are alike."""
    picture = np.zeros((150, 230, 3))
    picture[:75, :115], picture[:75, 115:] = (200, 40, 40), (40, 160, 60)
    picture[75:, :115], picture[75:, 115:] = (50, 70, 210), (230, 220, 90)
    noise = np.random.default_rng(0).normal(0, 6, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def four_areas(blocks) -> np.ndarray:
    """(56, 112, 3) uint8: a little of each area of `blocks`, which is quick where it is taken as it is."""
    return blocks[47:103, 59:171]


@pytest.fixture
def picture_file(four_areas, tmp_path) -> str:
    """The name of a picture file in `tmp_path`."""
    Image.fromarray(four_areas).save(tmp_path / "blocks.png")
    return "blocks.png"


@pytest.fixture
def loaded(tiny_model, monkeypatch) -> list[tuple[tuple, dict]]:
    """Names and options that the command line loads models by; the tiny model answers in the name of all of them."""
    calls = []

    def load(clip, vfm, *, patch=None, **options):
        calls.append(((clip, vfm), options))
        encoders = copy.copy(tiny_model.clip), copy.copy(tiny_model.vfm)
        encoders[0].name, encoders[1].name = complete_pair(clip, vfm, patch)
        return ProxyCLIP(*encoders, options.get("fusion", "proxy"), options.get("templates", "simple7"))

    monkeypatch.setattr(cli.options, "load", load)
    return calls


@pytest.fixture
def command(loaded, tmp_path, monkeypatch):
    """Runs a command of the command line in the folder `tmp_path`; returns its exit status."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: cli.main([str(argument) for argument in arguments])


class CallCounter:
    """Counts calls of the encoders: `counts` maps "clip", "vfm", "sam" and "text" to numbers."""

    def __init__(self, model: ProxyCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts = {"clip": 0, "vfm": 0, "sam": 0, "text": 0}
        assert model.sam is not None
        for key, owner, method in (
            ("clip", model.clip, "encode_windows"),
            ("vfm", model.vfm, "encode_windows"),
            ("sam", model.sam.encoder, "encode_windows"),
            ("text", model.clip, "encode_text"),
        ):
            monkeypatch.setattr(owner, method, self._counting(key, getattr(owner, method)))

    def _counting(self, key, method):
        def counted(*arguments):
            self.counts[key] += 1
            return method(*arguments)

        return counted

    def during(self, action) -> dict[str, int]:
        """The calls that `action()` makes, without those that make none."""
        before = dict(self.counts)
        action()
        return {key: self.counts[key] - before[key] for key in self.counts if self.counts[key] != before[key]}


@pytest.fixture
def counter(tiny_model, monkeypatch) -> CallCounter:
    return CallCounter(tiny_model, monkeypatch)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def blocks_file(blocks, tmp_path_factory) -> str:
    """The picture `blocks` as a PNG."""
    path = tmp_path_factory.mktemp("pictures") / "blocks.png"
    Image.fromarray(blocks).save(path)
    return str(path)


@pytest.fixture(scope="session")
def true_map(blocks, tmp_path_factory) -> str:
    """A label map of the four areas of `blocks`, numbered row by row."""
    labels = np.zeros(blocks.shape[:2], dtype=np.uint8)
    labels[:75, 115:], labels[75:, :115], labels[75:, 115:] = 1, 2, 3
    path = tmp_path_factory.mktemp("truth") / "labels.png"
    Image.fromarray(labels).save(path)
    return str(path)


@pytest.fixture(scope="session")
def other_model(tiny_model) -> ProxyCLIP:
    """With patches of 16 pixels."""
    return ProxyCLIP(tiny_model.clip, golden_vfm("dino16"), templates="simple7")


@pytest.fixture
def other_runs(other_model, monkeypatch) -> list[int]:
    """One entry for each time the VFM of `other_model` runs."""
    runs, encode = [], other_model.vfm.encode_windows
    monkeypatch.setattr(other_model.vfm, "encode_windows", lambda pixels: runs.append(1) or encode(pixels))
    return runs
