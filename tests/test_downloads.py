"""Weights from a hub, and all that can go wrong on their way."""

from __future__ import annotations

import errno
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import proxyclip_core as pc
from proxyclip_core.models import weights
from tests.hub import Hub, hub_of

SPEC = pc.VFM_MODELS["DINO S/8"]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The network's only place: a hub with some weights. What comes from it lies in `tmp_path`."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    with hub_of(save({"weight": torch.arange(5000.0)})) as served:
        use(served, monkeypatch)
        yield served


def use(served: Hub, monkeypatch) -> None:
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", served.address + template)


def test_weights_come_from_the_hub_once(hub):
    path = weights.find_weights(SPEC)
    asked = len(hub.asked)
    assert path.read_bytes() == hub.content and weights.find_weights(SPEC) == path and len(hub.asked) == asked


def test_what_was_cut_half_way_goes_on_where_it_was(hub, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub's library waits before it tries again
    hub.breaks = [12_000]
    assert weights.find_weights(SPEC).read_bytes() == hub.content
    assert hub.asked[0] == 0 and 0 < hub.asked[-1] <= 12_000


def test_what_stays_cut_is_said_and_leaves_no_half_file(hub, monkeypatch, tmp_path):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.breaks = [12_000, *[0] * 20]
    with pytest.raises(pc.WeightsError, match=r"(?s)the hub \(timm/vit_small_patch8_224.dino: .*hf download"):
        weights.find_weights(SPEC)
    assert not weights.is_available(SPEC) and not list((tmp_path / "hub").rglob("*.incomplete"))
    hub.breaks = []
    assert weights.find_weights(SPEC).read_bytes() == hub.content


def test_a_full_disk_is_said_and_nothing_half_is_taken(hub, monkeypatch):
    def full(*given, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(pc.WeightsError, match="No space left on device"):
        weights.find_weights(SPEC)
    assert not weights.is_available(SPEC)


def test_a_cache_that_cannot_be_written_is_said(hub, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(pc.WeightsError, match=r"(?s)broke off: .*file"):
        weights.find_weights(SPEC)


def test_a_file_that_ends_early_although_the_hub_calls_it_whole_is_not_ready(hub):
    hub.content = hub.content[:9000]
    weights.find_weights(SPEC)
    assert not weights.is_available(SPEC)


def test_a_pointer_in_the_place_of_weights_is_not_ready(hub):  # OmniParser 34
    hub.content = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 343000000\n"
    weights.find_weights(SPEC)
    assert not weights.is_available(SPEC) and isinstance(weights.local_files(SPEC)[0], Path)


def test_a_certificate_that_nobody_signed_is_said(hub, monkeypatch, tmp_path):  # huggingface_hub 3594
    openssl = shutil.which("openssl") or pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    asked = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([openssl, *asked, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    hub.server.socket = context.wrap_socket(hub.server.socket, server_side=True)
    hub.address = hub.address.replace("http:", "https:")
    use(hub, monkeypatch)
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "30")
    with pytest.raises(pc.WeightsError, match=r"could not be reached \(.*CERTIFICATE_VERIFY_FAILED"):
        weights.find_weights(SPEC)
