"""`proxyclip models`: the list, fetching, and checking files of weights."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from proxyclip_core.cli import models
from proxyclip_core.models.registry import BUILTIN_FOLDER, CLIP_MODELS, VFM_MODELS


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """An empty folder PROXYCLIP_WEIGHTS."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(folder))
    return folder


def test_the_list_has_every_model_with_what_it_is_and_where(command, weights, capsys):
    (weights / "vit_base_patch8_224.dino.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert command("models", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == [*CLIP_MODELS, *VFM_MODELS]
    assert [rows[name]["patch"] for name in ("OpenAI L/14", "DINO S/8", "SAM B/16")] == [14, 8, 16]
    assert [rows[name]["width"] for name in ("OpenAI L/14", "DINO S/8", "SAM B/16")] == [1024, 384, 256]
    assert rows["MAE B/16"]["licence"] == "CC-BY-NC-4.0" and rows["LAION H/14"]["MB"] == 3944
    assert rows["Built-in"]["weights"] == str(BUILTIN_FOLDER / "clip.safetensors")
    assert rows["OpenAI B/32"]["weights"] == "not here; on the hub: timm/vit_base_patch32_clip_224.openai"
    assert "is the pointer of Git LFS" in rows["DINO B/8"]["weights"]


def test_the_table_is_in_columns(command, capsys, monkeypatch):
    monkeypatch.setattr(models, "_row", lambda spec: dict(zip(models.COLUMNS, (spec.name, 8, 384, "MIT", 90, "here"))))
    assert command("models") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0].split(), lines[1]] == [list(models.COLUMNS), "CLIP"] and "vision models" in lines
    assert len({line.index("MIT") for line in lines if "MIT" in line}) == 1


def test_whole_files_pass_and_others_are_named(command, weights, capsys):
    shutil.copy(BUILTIN_FOLDER / "vfm_patch8.safetensors", weights / "dino_deitsmall8_pretrain.pth")
    whole = (BUILTIN_FOLDER / "vfm_patch8.safetensors").read_bytes()
    (weights / "vfm_patch8.safetensors").write_bytes(whole[:-1000])
    (weights / "vit_small_patch16_224.dino.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    torch.save({"pos_embed": torch.zeros(3)}, weights / "dino_vitbase8_pretrain.pth")
    assert command("models", "check", "Built-in", "Built-in/8", "DINO S/16", "DINO B/8") == 1
    said = capsys.readouterr()
    assert f"Built-in: {BUILTIN_FOLDER / 'clip.safetensors'} is whole and fits." in said.out
    assert f"Built-in/8: {BUILTIN_FOLDER / 'vfm_patch8.safetensors'} is whole and fits." in said.out
    assert len(said.err.splitlines()) == 3
    assert "vfm_patch8.safetensors is cut short" in said.err
    assert "is the pointer of Git LFS" in said.err
    assert "does not hold the weights of DINO B/8" in said.err


def test_without_names_what_is_here_is_checked(command, weights, capsys):
    assert command("models", "check") == 0
    said = capsys.readouterr()
    assert {line.split(":")[0] for line in said.out.splitlines()} == {"Built-in", "Built-in/8", "Built-in/4"}


def test_a_model_that_is_not_here_cannot_be_checked(command, weights, capsys):
    assert command("models", "check", "SAM H/16") == 1
    assert "error: SAM H/16: its weights are not on this machine. Get them with: proxyclip models fetch" in (
        capsys.readouterr().err
    )


def test_what_is_here_is_not_fetched(command, capsys):
    assert command("models", "fetch", "Built-in") == 0
    assert capsys.readouterr().out == f"Built-in: {BUILTIN_FOLDER / 'clip.safetensors'}\n"


def test_without_a_connection_it_is_said_how_to_get_them(command, capsys):
    assert command("models", "fetch", "DINO B/8") == 1
    assert "HF_HUB_OFFLINE" in capsys.readouterr().err


def test_a_name_that_is_not_known_is_named(command, capsys):
    assert command("models", "fetch", "DINO X/8") == 1
    said = capsys.readouterr().err
    assert "No VFM is called 'DINO X/8'" in said and "And of CLIPs: OpenAI B/16" in said
