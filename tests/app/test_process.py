"""`python app.py` itself, without network and weights."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demo import limits
from proxyclip_core.models.registry import BUILTIN_FOLDER
from tests.serving import ROOT, OneModel, app_process

# What a page needs once somebody asks for it, seconds of import each.
LATER = ("segment_anything", "torchvision", "open_clip", "timm", "diffusers", "matplotlib.figure")
NOT_YET = f"assert not set({LATER}) & set(sys.modules)"
# gradio's stubs are made from their classes' sources.
NO_STUBS = "import ast; ast.get_source_segment = None"


def test_the_process_starts_without_network_and_answers_with_the_remedy(portrait, tmp_path):
    with app_process(tmp_path, "--vfm", "DINO B", "--patch", "16") as url:
        with pytest.raises(AppError, match=r"hf download timm/vit_base_patch16_clip_224\.openai"):
            Client(url, verbose=False).predict(handle_file(portrait), "sky", api_name="/segment")
        assert "DINO B/16" in httpx.get(url).text


@pytest.mark.parametrize(
    "proxy",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},  # Qwen 1101, chat-with-mlx 13
        {"ALL_PROXY": "socks5://127.0.0.1:1080"},  # gradio 4007, 7798
    ],
)
def test_a_proxy_in_the_environment_does_not_stand_between_the_page_and_itself(tmp_path, proxy):
    if "ALL_PROXY" in proxy:
        pytest.importorskip("socksio")
    with app_process(tmp_path, **proxy) as url:
        assert httpx.get(url, trust_env=False).status_code == 200


def test_weights_of_ones_own_open_on_a_local_page_whose_visitors_name_no_files(portrait, tmp_path):
    own = shutil.copy(BUILTIN_FOLDER / "vfm_patch8.safetensors", tmp_path / "mine.safetensors")
    given = {"windows": "whole", "templates": "none", "api_name": "/segment"}
    with app_process(tmp_path, "--clip", "Built-in", "--vfm", str(own)) as url:
        client = Client(url, verbose=False)
        summary = client.predict(handle_file(portrait), "sky, grass", **given)[2]
        assert summary["models"]["vfm"] == "mine.safetensors as Built-in/8"
        with pytest.raises(AppError, match="No VFM is called"):
            client.predict(handle_file(portrait), "sky, grass", vfm=str(own), **given)


def test_a_page_that_is_ended_in_the_middle_leaves_nothing_behind(portrait, tmp_path):
    own = tmp_path / "temporary"
    own.mkdir()
    (own / "gradio").write_text("where gradio puts uploads is somebody else's")
    with app_process(tmp_path, TMPDIR=str(own), GRADIO_TEMP_DIR="") as url:
        with open(portrait, "rb") as opened:
            (path,) = httpx.post(f"{url}gradio_api/upload", files={"files": opened}).json()
        picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
        words = ", ".join(f"word {number}" for number in range(300))
        httpx.post(f"{url}gradio_api/call/v2/segment", json={"picture": picture, "words": words}).raise_for_status()
        assert len(list(own.iterdir())) > 1
    assert [path.name for path in own.iterdir()] == ["gradio"]


@pytest.mark.parametrize(
    ("arguments", "environment", "public"),
    [
        ([], {}, False),
        (["--host", "127.0.0.1"], {}, False),
        (["--host", "0.0.0.0"], {}, True),
        (["--share"], {}, True),
        (["--root-path", "/proxyclip"], {}, True),
        ([], {"SPACE_ID": "somebody/proxyclip"}, True),
        ([], {"GRADIO_SERVER_NAME": "0.0.0.0"}, True),
    ],
)
def test_whether_strangers_can_reach_the_page(monkeypatch, arguments, environment, public):
    import app

    for name in ("SPACE_ID", "GRADIO_SERVER_NAME", "GRADIO_SHARE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
    assert app.is_public(app.read_arguments()) is public


@pytest.mark.parametrize("visitors_may", [True, False])
def test_what_visitors_may_not_have_downloaded_the_start_downloads(monkeypatch, tiny_model, visitors_may):
    import app

    fetched: list[str] = []
    monkeypatch.setattr(limits, "DOWNLOADS", visitors_may)
    monkeypatch.setattr("proxyclip_core.models.weights.find_weights", lambda spec: fetched.append(spec.name))
    app.warm_up(OneModel(tiny_model), "OpenAI B/16", "DINO B/8")
    assert fetched == ([] if visitors_may else ["OpenAI B/16", "DINO B/8"])


def test_what_is_imported_is_not_looked_through_for_garbage(monkeypatch, tiny_model):
    import app

    gc.disable()
    try:
        app.warm_up(OneModel(tiny_model), "OpenAI B/16", "DINO B/8")
        assert gc.isenabled() and gc.get_freeze_count() > 100_000
    finally:
        gc.unfreeze()
        gc.enable()


def test_more_connections_than_a_thousand_can_be_open():
    import app

    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 1024), before[1]))
    try:
        app.take_many_connections()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert hard == before[1] and (soft >= 4_096 or 0 <= hard < 4_096)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_wrong_option_is_said_in_a_line():
    ended = subprocess.run(
        [sys.executable, "app.py", "--vfm", "DINO B", "--patch", "5"], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 1 and ended.stderr.startswith("app.py: ") and "Traceback" not in ended.stderr


@pytest.mark.parametrize("before", [NO_STUBS, "import gradio"])
def test_importing_the_page_writes_nothing_beside_its_sources_and_waits_for_no_model(before):
    subprocess.run([sys.executable, "-c", f"{before}; import sys, demo.ui; {NOT_YET}"], cwd=ROOT, check=True)
    assert not list(Path(ROOT / "demo").rglob("*.pyi"))
