"""The built-in pair on a style that it never saw and that may not lie here: fetched for the test, nothing is kept."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import proxyclip_core as pc
from proxyclip_core.evaluation import read_scenes, score_rows
from proxyclip_core.models.registry import BUILTIN_FOLDER

SCENES = 20


@pytest.fixture(scope="module")
def far_scenes(tmp_path_factory):
    """The first scenes of EmojiScenes' test-far split, painted from OpenMoji's drawings."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not on the path; it fetches OpenMoji's drawings")
    pytest.importorskip("scipy", reason="the recipe needs scipy: pip install -r tests/requirements.txt")
    try:
        import cairosvg  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: the package without the system's cairo
        pytest.skip(f"cairosvg cannot be used here, so nothing can be painted: {error}")
    folder = tmp_path_factory.mktemp("far")
    recipe = [
        sys.executable,
        str(BUILTIN_FOLDER / "gallery.py"),
        str(folder / "scenes"),
        "--work",
        str(folder / "work"),
    ]
    recipe += ["--split", "test-far", "--count", str(SCENES)]
    try:
        done = subprocess.run(recipe, capture_output=True, text=True, check=False, timeout=300)
    except subprocess.TimeoutExpired:
        pytest.skip("npm's registry gave no answer in time; it has OpenMoji's drawings")
    if done.returncode and "'npm', 'install'" in done.stderr:
        said = next((line for line in done.stderr.splitlines() if line.startswith("npm ")), "no reason given")
        pytest.skip(f"npm could not fetch OpenMoji's drawings: {said}")
    assert done.returncode == 0, done.stderr
    return list(read_scenes(folder / "scenes" / "scenes.json"))


def test_proxy_attention_finds_things_in_a_hand_never_seen(far_scenes):
    model = pc.load("Built-in", "Built-in/8", device="cpu", precision="float32", templates="simple7")
    miou = {fusion: score.miou for (fusion, _), score in score_rows(model, far_scenes, pc.FUSIONS).items()}
    assert len(far_scenes) == SCENES
    assert miou["proxy"] > 1.05 * miou["values"] and miou["proxy"] > 1.4 * miou["clip"]
    assert miou["proxy"] > 0.40
