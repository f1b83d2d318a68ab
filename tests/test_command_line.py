"""`python -m proxyclip_core`: what it writes and prints, and how it says what went wrong."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from proxyclip_core import cli as command_line
from proxyclip_core.models.registry import VFM_MODELS, VfmSpec
from proxyclip_core.settings import Settings


@pytest.fixture
def run(tiny_model, monkeypatch):
    """Runs a command with the tiny model in place of the named one."""
    monkeypatch.setattr(command_line, "load", lambda *names, **options: tiny_model)
    row = VfmSpec(tiny_model.vfm.name, "Tiny", 8, "", "", "", 0)
    monkeypatch.setitem(VFM_MODELS, row.name, row)
    return lambda *arguments: command_line.main([str(argument) for argument in arguments])


def test_segment_writes_what_the_library_gives(run, tiny_model, blocks, tmp_path, capsys):
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    options = ("--out", tmp_path / "out", "--side", 224, "--threshold", 0.3, "--background", "first")
    assert run("segment", tmp_path / "blocks.png", "other, red; crimson, green", *options) == 0
    labels = np.asarray(Image.open(tmp_path / "out" / "blocks_labels.png"))
    names = json.loads((tmp_path / "out" / "blocks_names.json").read_text())
    expected = tiny_model(blocks, "other, red; crimson, green", side=224, threshold=0.3, background=True)
    assert names == ["other", "red", "green"]
    assert np.array_equal(labels, expected.labels)
    assert "red" in capsys.readouterr().out


def test_segment_with_settings_from_the_page(run, tiny_model, blocks, tmp_path):
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    settings = Settings("OpenAI B/16", "DINO B/8", "red, green, blue", 1.0, 5.0, 224, "whole", "simple7")
    (tmp_path / "settings.json").write_text(settings.to_json(), encoding="utf-8")
    assert run("segment", tmp_path / "blocks.png", "--settings", tmp_path / "settings.json", "--out", tmp_path) == 0
    labels = np.asarray(Image.open(tmp_path / "blocks_labels.png"))
    expected = tiny_model(blocks, "red, green, blue", beta=1.0, gamma=5.0, side=224, windows="whole")
    assert np.array_equal(labels, expected.labels)


def test_evaluate_prints_a_row_a_fusion(run, blocks, tmp_path, capsys):
    for name in ("a", "b"):
        Image.fromarray(blocks).save(tmp_path / f"{name}.png")
        Image.fromarray((np.arange(150)[:, None] // 75).repeat(230, 1).astype(np.uint8)).save(
            tmp_path / f"{name}_l.png"
        )
    index = [
        {"file": "a.png", "labels": "a_l.png", "words": ["sky", "hill"]},
        {"file": "b.png", "labels": "b_l.png", "words": ["boat", "sea"]},
    ]
    (tmp_path / "scenes.json").write_text(json.dumps(index))
    table = tmp_path / "table.json"
    assert run("evaluate", "scenes", "--index", tmp_path / "scenes.json", "--side", 224, "--json", table) == 0
    rows = json.loads(table.read_text())["rows"]
    assert set(rows) == {"CLIP alone, own attention", "CLIP alone, values", "proxy, golden"}
    assert all(0 <= value <= 1 for row in rows.values() for value in row.values())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 scenes")
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "CLIP alone, own attention",
        "CLIP alone, values",
        "proxy, golden",
    ]
    assert all(line.count("%") == 3 for line in lines[2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("segment", "none.png", "sky"), "no picture file at 'none.png'"),
        (("segment", "none.png", "sky,,hill"), "empty word"),
        (("segment", "none.png"), "There are no words"),
        (("segment", "none.png", "--settings", "none.json"), "no settings file"),
        (("evaluate", "scenes", "--index", "none.json"), "no scenes at none.json"),
    ],
)
def test_errors_are_one_sentence_and_status_1(run, arguments, message, capsys):
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and message in printed.err and printed.out == ""


def test_a_real_process_without_weights_says_how_to_get_them(tmp_path):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    environment.pop("PROXYCLIP_WEIGHTS", None)
    command = [sys.executable, "-m", "proxyclip_core", "segment", "a.png", "sky", "--clip", "OpenAI L/14"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "hf download timm/vit_large_patch14_clip_224.openai" in done.stderr
    assert "Traceback" not in done.stderr
