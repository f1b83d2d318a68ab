"""The built-in pair on a style that it never saw, and whose licence keeps it out of the repository: it is fetched."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import proxyclip_core as pc
from proxyclip_core.evaluation import read_scenes, score_rows

ROOT = Path(__file__).parents[1]
SCENES = 20

pytestmark = pytest.mark.network  # npm fetches OpenMoji's drawings


@pytest.fixture(scope="module")
def far_scenes(tmp_path_factory):
    """The first scenes of EmojiScenes' test-far split, painted from OpenMoji's drawings."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not on the path; it fetches OpenMoji's drawings")
    pytest.importorskip("scipy", reason="the recipe needs scipy: pip install -r assets/builtin/recipe/requirements.txt")
    try:
        import cairosvg  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: the package without the system's cairo
        pytest.skip(f"cairosvg cannot be used here, so nothing can be painted: {error}")
    folder = tmp_path_factory.mktemp("far")
    recipe = [sys.executable, "-m", "assets.builtin.recipe.gallery", str(folder / "scenes")]
    recipe += ["--work", str(folder / "work"), "--split", "test-far", "--count", str(SCENES)]
    try:
        done = subprocess.run(recipe, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    except subprocess.TimeoutExpired:
        pytest.skip("npm's registry gave no answer in time; it has OpenMoji's drawings")
    if done.returncode and "'npm', 'install'" in done.stderr:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("npm ")), "no reason given")
        pytest.skip(f"npm could not fetch OpenMoji's drawings: {reason}")
    assert done.returncode == 0, done.stderr
    return list(read_scenes(folder / "scenes" / "scenes.json"))


def test_proxy_attention_finds_things_in_a_style_never_seen(far_scenes):
    model = pc.load("Built-in", "Built-in/8", device="cpu", precision="float32", templates="simple7")
    miou = {fusion: score.miou for (fusion, _), score in score_rows(model, far_scenes, pc.FUSIONS).items()}
    assert len(far_scenes) == SCENES
    assert miou["proxy"] > 1.05 * miou["values"] and miou["proxy"] > 1.4 * miou["clip"]
    assert miou["proxy"] > 0.40
