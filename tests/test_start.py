"""How app.py starts: who may come in, and under which address."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError

import app
from tests.serving import ROOT, app_process, free_port

PASSWORD = "open: sésame"


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """The page of the built-in models, for ann alone, shown below a path; with proxies that nobody can use."""
    options = ("--clip", "Built-in", "--vfm", "Built-in", "--auth", "ann", "--root-path", "proxyclip/")
    proxies = {"HTTP_PROXY": "socks4://127.0.0.1:9", "HTTPS_PROXY": "http://[::1", "NO_PROXY": "[::1"}
    with app_process(tmp_path_factory.mktemp("hub"), *options, PROXYCLIP_PASSWORD=PASSWORD, **proxies) as url:
        yield url


def ask(url: str) -> None:
    """A segmentation by who has signed in: it is answered, if only with what is missing."""
    client = Client(url, auth=("ann", PASSWORD), verbose=False, ssl_verify=False)
    with pytest.raises(AppError, match="There is no picture yet"):
        client.predict(None, "sky", api_name="/segment")


def test_who_signs_in_is_answered(address):
    ask(address)


def test_who_does_not_sign_in_gets_nothing(address):
    assert httpx.post(f"{address}gradio_api/upload", files={"files": b"x"}).status_code == 401
    assert httpx.post(f"{address}gradio_api/queue/join", json={"fn_index": 1, "data": []}).status_code == 401
    assert httpx.post(f"{address}gradio_api/call/v2/segment", json={"words": "sky"}).status_code == 401
    assert httpx.get(f"{address}config").status_code == 401
    with pytest.raises(ValueError, match="Could not login"):
        Client(address, auth=("ann", "guess"), verbose=False)


def test_the_page_listens_on_this_machine_alone(address):
    # All of 127.* is this machine; who listens everywhere would answer there too.
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.2:{urlsplit(address).port}")


@pytest.fixture
def behind_nginx(address, tmp_path) -> Iterator[str]:
    """The address at which nginx shows the page, by the README's block."""
    nginx = shutil.which("nginx") or pytest.skip("nginx is not installed")
    (block,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    block, port = block.replace("http://127.0.0.1:7860/", address), free_port()
    places = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    server = f"server {{ listen 127.0.0.1:{port}; {block} }}"
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {places} {server} }}"
    )
    running = subprocess.Popen([nginx, "-p", tmp_path, "-c", tmp_path / "nginx.conf"])
    try:
        transport = httpx.HTTPTransport(retries=10)
        with httpx.Client(transport=transport) as patient:
            patient.get(f"http://127.0.0.1:{port}/proxyclip/")
        yield f"http://127.0.0.1:{port}/proxyclip/"
    finally:
        running.terminate()
        running.wait(timeout=30)


def test_the_readmes_nginx_block_shows_the_page_below_a_path(behind_nginx):
    assert f'"root":"{behind_nginx.rstrip("/")}"' in httpx.get(behind_nginx).text
    ask(behind_nginx)


def test_an_upload_that_is_too_large_is_refused_by_nginx_too(behind_nginx):
    answer = httpx.post(f"{behind_nginx}gradio_api/upload", files={"files": bytes(21_000_000)})
    assert answer.status_code == 413


def test_tools_for_which_nobody_is_asked_to_sign_in_are_no_start(monkeypatch):
    monkeypatch.setenv("PROXYCLIP_PASSWORD", "secret")
    command = [sys.executable, "app.py", "--auth", "ann", "--mcp"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr.startswith("app.py: --mcp cannot be used with --auth")


@pytest.mark.parametrize(("user", "password"), [("ann", ""), (" ", "secret")])
def test_a_sign_in_without_a_name_or_a_password_is_no_start(user, password, monkeypatch):
    monkeypatch.setenv("PROXYCLIP_PASSWORD", password)
    ended = subprocess.run([sys.executable, "app.py", "--auth", user], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr.startswith("app.py: --auth takes a name, and the password")


@pytest.mark.parametrize(("cores", "threads"), [(16, 4), (2, 2)])
def test_beside_a_gpu_few_threads_compute(monkeypatch, cores, threads):
    chosen = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    app.few_threads()
    assert chosen == [threads]
