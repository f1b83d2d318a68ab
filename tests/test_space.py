"""As a Hugging Face Space: what its README declares, dry starts with its variables, and a GPU that is lent."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

import proxyclip_core as pc
from demo import limits
from proxyclip_core.models.loading import PAPER_MODELS
from tests.serving import ROOT, app_and_process, app_process

PICTURE = ROOT / "assets" / "examples" / "farm.png"
SPACE = {"SPACE_ID": "ann/proxyclip", "SYSTEM": "spaces", "OMP_NUM_THREADS": "1"}
# Hugging Face's module, as far as the page knows it: what borrows the GPU runs in a process that is forked off for it.
STAND_IN = """
import json, multiprocessing, os, pickle
from pathlib import Path

HERE = Path(__file__).parent
FORK = multiprocessing.get_context("fork")


def gradio_auto_wrap(function):  # which gradio calls for every event of a Space
    return function


def GPU(duration):
    def lend(function):
        def lent(*given):
            seconds = duration(*given)
            if (HERE / "quota").exists():
                import gradio

                raise gradio.Error(f"You have exceeded your GPU quota ({seconds}s requested vs. 0s left).")
            receive, send = FORK.Pipe(duplex=False)
            process = FORK.Process(target=lambda: send.send_bytes(pickle.dumps((os.getpid(), function(*given)))))
            process.start()
            if not receive.poll(100):
                process.kill()
                raise RuntimeError("The process that borrows the GPU does not answer.")
            pid, value = pickle.loads(receive.recv_bytes())
            process.join()
            with open(HERE / "lent", "a") as log:
                log.write(json.dumps([pid, seconds]) + "\\n")
            return value

        return lent

    return lend
"""


def declared() -> dict:
    return yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1])


def test_a_space_is_told_what_it_needs():
    told = declared()
    rows = pc.find_clip(PAPER_MODELS[0]), pc.find_vfm(PAPER_MODELS[1])
    assert told["models"] == [row.repo for row in rows]
    assert told["preload_from_hub"] == [f"{row.repo} {row.files[0]}" for row in rows]
    assert (told["sdk"], told["app_file"], told["suggested_hardware"]) == ("gradio", "app.py", "cpu-basic")
    assert told["startup_duration_timeout"] == "1h" and told["license"] == "apache-2.0"
    assert 0 < len(told["short_description"]) <= 60  # or the Space is refused


@pytest.fixture(scope="module")
def zero(tmp_path_factory) -> Iterator[tuple[str, Path, int]]:
    """A dry start on ZeroGPU: the page's address, the folder of the stand-in, and the page's own process."""
    folder = tmp_path_factory.mktemp("zero")
    (folder / "spaces.py").write_text(STAND_IN)
    variables = SPACE | {"SPACES_ZERO_GPU": "true", "PYTHONPATH": str(folder)}
    with app_and_process(folder, **variables) as (url, process):
        yield url, folder, process.pid


def ask(url: str) -> list[str]:
    client = Client(url, verbose=False)
    return client.predict(handle_file(PICTURE), "sky, field, pig", windows="whole", api_name="/segment")[2]["names"]


def lent(folder: Path) -> list[list[int]]:
    return [json.loads(line) for line in (folder / "lent").read_text().splitlines()]


def test_on_zerogpu_the_work_is_done_in_a_process_that_borrows_the_gpu_for_as_long_as_it_may_take(zero):
    url, folder, own = zero
    assert ask(url) == ["sky", "field", "pig"]
    (pid, seconds) = lent(folder)[-1]
    assert pid != own and 0 < seconds < limits.GPU_SECONDS / 2


def test_a_quota_that_is_used_up_is_said(zero):
    url, folder, _ = zero
    (folder / "quota").touch()
    try:
        with pytest.raises(AppError, match=r"You have exceeded your GPU quota \(\d+s requested vs. 0s left\)"):
            ask(url)
    finally:
        (folder / "quota").unlink()


def test_what_computes_nothing_borrows_nothing(zero):
    url, folder, _ = zero
    before = (folder / "lent").read_text() if (folder / "lent").exists() else ""
    assert "Built-in" in {row["name"] for row in Client(url, verbose=False).predict(api_name="/models")}
    assert httpx.get(f"{url}health").json()["status"] == "ok"
    assert ((folder / "lent").read_text() if (folder / "lent").exists() else "") == before


def test_on_a_cpu_it_starts_and_answers_and_has_nothing_downloaded(tmp_path):
    with app_process(tmp_path, **SPACE) as url:
        assert "https://huggingface.co" in httpx.get(url).headers["content-security-policy"]
        assert ask(url) == ["sky", "field", "pig"]
        with pytest.raises(AppError, match="visitors of this page may not have models downloaded"):
            Client(url, verbose=False).predict(
                handle_file(PICTURE), "sky", clip="OpenAI B/16", vfm="DINO B/8", api_name="/segment"
            )


RESOLVED = [(f"3.{minor}", "") for minor in (10, 11, 12, 13)]
ZERO = [("3.12", f"torch=={version}") for version in ("2.8.0", "2.11.0")]  # what ZeroGPU has


@pytest.mark.network
@pytest.mark.parametrize(("python", "fixed"), RESOLVED + ZERO)
def test_the_requirements_can_be_had_for_every_python(tmp_path, python, fixed):
    uv = shutil.which("uv") or pytest.skip("uv is not installed")
    (tmp_path / "fixed.txt").write_text(f"gradio=={declared()['sdk_version']}\n{fixed}\n")
    given = ["requirements.txt", "--python-version", python, "--constraint", tmp_path / "fixed.txt", "--quiet"]
    found = subprocess.run([uv, "pip", "compile", *given], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert f"gradio=={declared()['sdk_version']}" in found.stdout and fixed in found.stdout
