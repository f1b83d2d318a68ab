"""README.md is true: its paths exist, it names every folder, and its examples run on a machine without a network."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxyclip_core import cli, parse_vocabulary
from tests.serving import app_process
from tests.tiny_sets import write_set

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
PYTHON = [block for language, block in FENCES if language == "python"]
HTTP = [block for block in PYTHON if "gradio_client" in block]
COMMANDS = [block for language, block in FENCES if language == "bash" and block.startswith("proxyclip ")]

# In backquotes: a folder, or a file of one of these kinds; and whatever a link or a picture points to in this folder.
QUOTED = re.findall(r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.(?:py|md|txt|toml|json|png)))`", PROSE)
LINKED = re.findall(r"\]\((?!https?:|#)([^)]+)\)", PROSE)
FOLDERS = sorted(
    {
        path.parent.relative_to(ROOT).as_posix() + "/"
        for top in ("assets", "demo", "proxyclip_core", "tests")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
)


@pytest.fixture
def in_a_copy(tmp_path, monkeypatch):
    """The working folder is one with the example pictures, so that the examples leave nothing in the sources."""
    shutil.copytree(ROOT / "assets" / "examples", tmp_path / "assets" / "examples")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data_sets(in_a_copy, blocks):
    """A benchmark and pictures with label maps where the examples look for them."""
    labels = np.zeros(blocks.shape[:2], np.uint8)
    labels[75:] = 1
    cats = labels * 8  # by VOC's numbers
    write_set(Path("data"), "voc", blocks, [cats])
    for folder, pixels in (("pictures", blocks), ("labels", labels)):
        Path(folder).mkdir()
        Image.fromarray(pixels).save(f"{folder}/one.png")


@pytest.mark.parametrize("path", sorted({*QUOTED, *LINKED}))
def test_every_path_that_is_named_exists(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_is_named(folder):
    assert folder in QUOTED or folder == "assets/"


def test_a_picture_is_followed_through_ten_files_that_it_names():
    walk = PROSE.split("### A picture and a vocabulary through the house")[1].split("\n## ")[0]
    steps = re.findall(r"^\d+\. .*?(?=^\d+\. |\Z)", walk, re.MULTILINE | re.DOTALL)
    assert len(steps) == 10 and all(re.search(r"`\S+\.py`", step) for step in steps)


@pytest.mark.filterwarnings("ignore:No other model is at hand")
def test_the_python_examples_run_one_after_the_other(data_sets, capsys, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    known: dict = {}
    for block in (block for block in PYTHON if block not in HTTP):
        exec(compile(block, "README.md", "exec"), known)
    assert "pig" in capsys.readouterr().out
    assert known["result"].labels.shape == known["scores"].shape == known["row"].shape
    assert known["match"].values[known["match"].best_xy[::-1]] == known["match"].best
    assert known["mine"] == (("sky", "cloud"), ("hill", "field"), ("horse", "pony"))
    assert 0 <= known["voc"].miou <= 1 and 0 <= known["own"].miou <= 1
    assert Path("attention.png").is_file() and any(Path("cutouts").iterdir())


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m (\w[\w.]+)", README)) - {"venv", "pytest"}))
def test_every_module_that_is_named_can_be_run(module):
    found = find_spec(module)
    assert found and (found.submodule_search_locations is None or find_spec(f"{module}.__main__"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(command, in_a_copy):
    assert cli.main(shlex.split(command)[1:]) == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The page as it starts."""
    with app_process(tmp_path_factory.mktemp("hub")) as url:
        yield url.rstrip("/")


def parsed(words: str) -> set[str]:
    return {word for wordings in parse_vocabulary(words) for word in wordings}


def at(url: str, example: str) -> str:
    return example.replace("http://127.0.0.1:7860", url)


def test_the_http_example_runs_against_the_page_as_it_starts(in_a_copy, served):
    (example,) = HTTP
    known: dict = {}
    exec(compile(at(served, example), "README.md", "exec"), known)
    assert "pig" in known["summary"]["names"]
    assert len(known["numbers"]["row"]) == known["numbers"]["grid_hw"][0]
    assert "sky" in parsed(known["words"])
    assert {"Built-in", "DINO B/8"} <= {row["name"] for row in known["models"] if row["licence"]}
    summary, numbers = known["summary"], known["numbers"]
    fields = {*summary, *summary["classes"][0], *numbers, *(name for row in known["models"] for name in row)}
    assert {name for name in fields if f"`{name}`" not in PROSE} == set()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on the PATH")
def test_the_curl_example_runs(in_a_copy, served):
    (example,) = (block for language, block in FENCES if language == "bash" and "curl" in block)
    said = subprocess.run(["bash", "-c", at(served, example)], capture_output=True, text=True, timeout=120, check=True)
    segmented, words, attended, models = (
        json.loads(line[6:]) for line in said.stdout.splitlines() if line.startswith("data: ")
    )
    assert said.stdout.count("event: complete") == 4 and "pig" in segmented[2]["names"]
    assert "sky" in parsed(words[0]) and "row" in attended[1] and "Built-in" in {row["name"] for row in models[0]}


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on the PATH")
def test_the_curl_example_shows_why_a_call_was_not_taken(in_a_copy, served):
    (example,) = (block for language, block in FENCES if language == "bash" and "curl" in block)
    wrong = f"""{example.partition("ask segment")[0]}\nask segment '{{"word": "sky"}}'"""
    said = subprocess.run(["bash", "-c", at(served, wrong)], capture_output=True, text=True, timeout=120, check=True)
    assert "There is no argument 'word'" in json.loads(said.stdout)["detail"]


@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm on the PATH")
def test_the_javascript_example_runs(in_a_copy, served):
    (example,) = (block for language, block in FENCES if language == "js")
    Path("example.mjs").write_text(at(served, example))
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0", "@gradio/client"]
    try:
        subprocess.run(install, capture_output=True, timeout=120, check=True)
    except subprocess.SubprocessError:
        pytest.skip("npm has no registry here that gives @gradio/client")
    said = subprocess.run(["node", "example.mjs"], capture_output=True, text=True, timeout=120, check=True)
    assert "'pig'" in said.stdout


def test_torch_for_the_cpu_is_asked_for_as_the_library_asks_for_it():
    (asked,) = re.findall(r'pip install "(torch[^"]*)"', README)
    assert f'"{asked}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
