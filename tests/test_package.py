"""The library as a package: what a wheel holds, that it works on its own, and that its lists of dependencies agree."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import proxyclip_core as pc

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = sorted((ROOT / "proxyclip_core").rglob("*.py"))
AROUND = {"app", "assets", "demo", "tests"}  # what lies beside the library
SCENES = "assets/examples/eval/scenes.json"  # `evaluate` offers them where the current folder has them
FOR_THE_PAGE = {"gradio", "gradio_client", "spaces"}
FOR_FIGURES, FIGURES = {"matplotlib"}, ("attention_figure.py", "plate.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that nothing is left in the sources; without a network."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    unwanted = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build")
    for name in ("proxyclip_core", "demo", "tests", "assets"):
        shutil.copytree(ROOT / name, source / name, ignore=unwanted)
    for name in ("app.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    _pip("wheel", "--no-build-isolation", "--wheel-dir", built, source)
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder that holds the installed wheel and nothing else of this repository."""
    folder = tmp_path_factory.mktemp("installed")
    _pip("install", "--target", folder, wheel)
    return folder


def test_the_wheel_holds_the_library_whole(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    files = (path for path in (ROOT / "proxyclip_core").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert {path.relative_to(ROOT).as_posix() for path in files} <= held
    assert {"proxyclip_core/py.typed", "proxyclip_core/models/builtin/clip.safetensors"} <= held


def test_the_wheel_holds_nothing_but_the_library(wheel):
    information = f"proxyclip-{pc.__version__}.dist-info"
    assert {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()} == {"proxyclip_core", information}


def test_the_installed_library_segments_from_an_empty_folder_without_a_network(installed, blocks, tmp_path):
    script = (
        "import sys, numpy as np, proxyclip_core as pc; assert pc.__file__.startswith(sys.argv[1]), pc.__file__\n"
        "print(pc.load()(np.zeros((60, 90, 3), 'uint8'), ['sky', 'grass']).labels.shape)"
    )
    done = _run(installed, tmp_path, "-c", script, installed)
    assert done.returncode == 0 and "(60, 90)" in done.stdout, done.stderr


def test_the_installed_command_names_what_it_found(installed, tmp_path):
    shutil.copy(ROOT / "assets" / "examples" / "farm.png", tmp_path / "picture.png")
    done = _run(installed, tmp_path, "-m", "proxyclip_core", "segment", "picture.png", "sky, grass")
    assert done.returncode == 0, done.stderr
    assert "sky" in done.stdout or "grass" in done.stdout


def test_the_command_is_installed_under_its_name(installed):
    assert (installed / "bin" / "proxyclip").is_file() or (installed / "Scripts" / "proxyclip.exe").is_file()


@pytest.mark.parametrize("is_script", [True, False], ids=["proxyclip", "python -m"])
def test_ctrl_c_ends_the_imports_of_the_first_seconds_without_a_traceback(installed, tmp_path, is_script):
    (tmp_path / "torch.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)")  # instead of seconds
    script = (
        "-c",
        "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')",
        installed / "bin/proxyclip",
    )
    done = _run(installed, tmp_path, *(script if is_script else ("-m", "proxyclip_core")), "models")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_library_reaches_for_nothing_around_it(source):
    tree = ast.parse(source.read_text(encoding="utf-8"))
    imported = {name.split(".")[0] for node in ast.walk(tree) for name in _imported_modules(node)}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert not imported & (AROUND | FOR_THE_PAGE | (set() if source.name in FIGURES else FOR_FIGURES))
    assert {text for text in texts if re.match(r"(\.\./)*(assets|demo|tests)(/\S*)?$", text)} <= {SCENES}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("proxyclip_core", ["export", "figures", "heic", "ray", "diffusion"]), ("demo", ["page", "export"])],
)
def test_what_is_imported_is_declared(folder, extras):
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / folder).rglob("*.py"))
    imported = {name.split(".")[0] for tree in trees for node in ast.walk(tree) for name in _imported_modules(node)}
    from_elsewhere = imported - set(sys.stdlib_module_names) - AROUND - {"proxyclip_core"}
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    declared = {canonicalize_name(Requirement(line).name) for lines in lists for line in lines}
    known = packages_distributions()
    given = {name: known.get(name, [name]) for name in from_elsewhere}  # an extra may not be installed
    unknown = {name for name, packages in given.items() if not set(map(canonicalize_name, packages)) & declared}
    assert not unknown


def test_requirements_are_those_of_the_library_the_page_and_its_downloads():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    extras = PROJECT["optional-dependencies"]
    listed = [line for line in lines if not line.startswith("#")]
    assert sorted(listed) == sorted(PROJECT["dependencies"] + extras["page"] + extras["export"])


EVERY_LIST = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]


@pytest.mark.parametrize("line", sorted({line for lines in EVERY_LIST for line in lines}))
def test_a_release_that_nobody_has_seen_is_not_taken(line):
    assert not Requirement(line).specifier.contains("1000.0")


def test_the_lock_holds_one_release_of_everything_by_its_hash():
    text = (ROOT / ".ci" / "requirements.lock").read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE) if not entry.startswith("#")]
    locked = [Requirement(entry.split(" \\\n")[0]) for entry in entries]
    assert all("--hash=sha256:" in entry for entry in entries) and "://" not in text
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][name] for name in ("page", "export", "dev"))]
    for wanted in (Requirement(line) for lines in lists for line in lines):
        found = [row for row in locked if canonicalize_name(row.name) == canonicalize_name(wanted.name)]
        versions = [str(row.specifier).removeprefix("==") for row in found]
        assert versions and all(wanted.specifier.contains(version) for version in versions), wanted


def test_a_space_gets_a_gradio_that_the_page_takes():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (gradio,) = (Requirement(line) for line in PROJECT["optional-dependencies"]["page"] if line.startswith("gradio"))
    (sdk,) = re.findall(r"^sdk_version: (\S+)$", readme, re.MULTILINE)
    assert gradio.specifier.contains(sdk)


def _pip(command: str, *arguments: str | Path) -> None:
    quiet = ["--no-deps", "--quiet", "--disable-pip-version-check", "--no-index"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *quiet, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _run(installed: Path, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Python in an empty folder, with the installed library first on its path and no network."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PROXYCLIP_", "HF_"))}
    environment |= {"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
    environment |= {"PROXYCLIP_CACHE": str(folder / "cache")}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
