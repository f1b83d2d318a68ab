"""What Windows and Macs do otherwise, as far as it can be seen here: names of files, consoles, and texts in files."""

from __future__ import annotations

import ast
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gradio_client import Client, handle_file

from proxyclip_core import folders
from proxyclip_core.models.loading import load_vfm
from proxyclip_core.models.registry import BUILTIN_FOLDER
from tests.serving import ROOT, app_process

SOURCES = [ROOT / "app.py", *(path for name in ("proxyclip_core", "demo") for path in (ROOT / name).rglob("*.py"))]
OF_UNIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios"}
FOLDER = "Mes images d'été 東京"
WINDOWS = {"PYTHONIOENCODING": "cp1252:strict", "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"}  # a console in Western Europe


@pytest.fixture
def folder(tmp_path, blocks_file) -> Path:
    """With blanks and letters of other scripts in its name, and a picture whose name is likewise."""
    place = tmp_path / FOLDER
    place.mkdir()
    shutil.copy(blocks_file, place / "Grüße, 雪.png")
    return place


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PROXYCLIP_")}
    environment = kept | WINDOWS | {"PYTHONPATH": str(ROOT), "PROXYCLIP_CACHE": str(folder / "mémoire")}
    command = [sys.executable, "-m", "proxyclip_core", *arguments, "--clip", "Built-in", "--device", "cpu"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


def test_the_command_takes_names_of_any_script_on_a_console_that_cannot_show_them(folder):
    done = run(folder, "segment", "Grüße, 雪.png", "--words", "天空; Himmel, weiß", "--out", "Résultats 結果")
    assert done.returncode == 0, done.stderr
    (labels,) = (folder / "Résultats 結果").rglob("*.png")
    record = json.loads(labels.with_suffix(".json").read_text(encoding="utf-8"))
    assert labels.stem.startswith("Grüße, 雪") and record["names"] == ["天空", "weiß"]
    assert "Grüße".encode("cp1252") in done.stdout + done.stderr and b"Traceback" not in done.stderr


def test_a_progress_bar_is_shown_on_a_console_that_cannot_show_its_blocks(folder, tiny_model, monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")  # which raises for what it has no letter for
    monkeypatch.setattr(sys, "stderr", console)
    monkeypatch.setitem(folders.BAR, "delay", 0)  # for a moment alone no bar is shown
    ((picture, result, error),) = tiny_model.batch([folder], "天空, weiß", progress=True, side=224, windows="whole")
    console.flush()
    assert error is None and result.names == ("天空", "weiß") and picture.name == "Grüße, 雪.png"
    assert b"pictures/s" in console.buffer.getvalue()


def test_weights_and_results_lie_in_folders_of_any_name(folder, blocks, tiny_model, monkeypatch):
    shutil.copy(BUILTIN_FOLDER / "vfm_patch8.safetensors", folder)
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(folder))
    assert load_vfm("Built-in/8", torch.device("cpu"), torch.float32).patch == 8
    result = tiny_model(blocks, "天空, weiß", side=224, windows="whole")
    result.save(folder / "結果.zip", blocks)
    result.save(folder / "結果", blocks, ["masks", "settings"])
    written = {path.name for path in (folder / "結果").rglob("*") if path.is_file()}
    assert any("天空" in name for name in written) and (folder / "結果.zip").is_file()


def test_the_page_keeps_its_files_in_a_folder_of_any_name(folder):
    with app_process(folder, **WINDOWS) as url:
        client = Client(url, verbose=False)
        summary = client.predict(
            handle_file(folder / "Grüße, 雪.png"), "天空, weiß", clip="Built-in", vfm="Built-in", api_name="/segment"
        )[2]
    assert summary["names"] == ["天空", "weiß"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_texts_are_read_in_an_encoding_that_is_said_and_nothing_needs_unix(source):
    """Without one Windows takes its own; a module that it lacks would stop the import."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            named = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not named & OF_UNIX, ast.unparse(node)
        if isinstance(node, ast.Call) and _is_of_text(node):
            assert {"encoding"} & {keyword.arg for keyword in node.keywords}, ast.unparse(node)


def _is_of_text(node: ast.Call) -> bool:
    """Whether a call reads or writes a file as text."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in ("read_text", "write_text"):
        return True
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    modes = {part.value for part in given if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    is_file = name == "open" and ast.unparse(node.func) in ("open", "path.open", "file.open")
    return is_file and not any("b" in mode and len(mode) <= 3 for mode in modes)
