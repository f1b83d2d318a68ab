"""demo.gate: which addresses are open, and what comes and goes through them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from gradio import utils

from demo import limits
from demo.gate import MOST_PAGES, Gate, Packed, Uploads, is_closed
from demo.ui import LAUNCH
from tests.serving import door_around, free_port, page_around


@pytest.mark.parametrize(
    "path", ["/", "/config", "/gradio_api/queue/join", "/gradio_api/file=/tmp/a.png", "/assets/a.js"]
)
def test_what_the_page_needs_is_open(path):
    assert not is_closed(path)


def test_the_page_is_sent_compressed_and_answers_as_they_come(tiny_model):
    with page_around(tiny_model) as url:
        page = httpx.get(url)
        assert page.headers["content-encoding"] == "gzip" and "gradio_config" in page.text
        assert "content-encoding" not in httpx.get(f"{url}gradio_api/info").headers


@pytest.fixture
def made(monkeypatch) -> list[Any]:
    """What gradio copies to make the page from."""
    copied: list[Any] = []
    copy = utils.safe_deepcopy
    monkeypatch.setattr(utils, "safe_deepcopy", lambda value: [copied.append(value), copy(value)][1])
    return copied


@pytest.mark.parametrize("path", ["", "config"])
def test_the_page_is_made_once_for_all_who_ask_for_it_by_one_address(tiny_model, made, path):
    with page_around(tiny_model) as url:
        first = httpx.get(url + path)
        before = len(made)
        again = httpx.get(f"{url}{path}?words=sky", headers={"cookie": "ann"})
        assert len(made) == before > 0 and again.content == first.content
        other = httpx.get(url + path, headers={"x-forwarded-host": "segment.example.org", "x-forwarded-proto": "https"})
        assert len(made) > before and "https://segment.example.org" in other.text
        assert "segment.example.org" not in httpx.get(url + path).text
        assert "content-encoding" not in httpx.get(url + path, headers={"accept-encoding": "identity"}).headers


async def asked(app: Packed, host: str, path: str = "/config") -> None:
    headers = [(b"host", host.encode())]
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": headers, "query_string": b""}
    await app(scope, lambda: asyncio.sleep(0), lambda message: asyncio.sleep(0))


def test_pages_that_are_asked_for_stay_and_others_make_room():
    made: list[str] = []

    async def app(scope, receive, send):
        made.append(dict(scope["headers"])[b"host"].decode())
        await asyncio.sleep(0)
        status = 404 if made[-1].startswith("gone") else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    async def visits():
        packed = Packed(app)
        await asyncio.gather(*(asked(packed, "own") for _ in range(5)))  # who come at once wait for one
        for number in range(3 * MOST_PAGES):
            await asked(packed, f"foreign{number}")
            await asked(packed, "own")
        await asked(packed, "gone")
        await asked(packed, "gone")
        return packed

    packed = asyncio.run(visits())
    assert made.count("own") == 1 and made.count("gone") == 2 and len(packed._made) == MOST_PAGES


def test_a_page_that_asks_who_comes_is_kept_for_nobody(tiny_model):
    with door_around(tiny_model) as (door, _):
        door.close(verbose=False)
        _, url, _ = door.launch(
            server_port=free_port(), prevent_thread_lock=True, quiet=True, auth=("ann", "secret"), **LAUNCH
        )
        with httpx.Client() as ann:
            ann.post(f"{url}login", data={"username": "ann", "password": "secret"})
            assert ann.get(f"{url}config").json()["components"]
            assert ann.get(url).status_code == httpx.get(url).status_code == 200
        assert httpx.get(f"{url}config").status_code == 401
        assert "auth_required" in httpx.get(url).text


def test_what_brings_nothing_is_asked_at_no_cost_whether_its_client_is_there():
    given: list[Any] = []

    async def app(scope, receive, send):
        given.append(receive)

    async def receive():
        return {"type": "http.request"}

    async def ask(method: str, *headers: tuple[bytes, bytes]) -> None:
        scope = {"type": "http", "method": method, "path": "/gradio_api/queue/data", "query_string": b""}
        await Gate(app)(scope | {"headers": headers}, receive, lambda message: asyncio.sleep(0))

    asyncio.run(ask("GET"))
    asyncio.run(ask("POST", (b"content-length", b"5")))
    asyncio.run(ask("POST", (b"transfer-encoding", b"chunked")))
    assert [one is receive for one in given] == [True, False, False]


def test_one_address_fills_half_of_the_disk_with_uploads_at_most(monkeypatch):
    uploads = Uploads()
    assert uploads.take("8.8.8.8", 40, 100) and not uploads.take("8.8.8.8", 20, 60)
    assert uploads.take("9.9.9.9", 20, 60) and uploads.take(None, 40, 40)
    monkeypatch.setattr(limits, "FILES_SECONDS", -limits.FILES_LOOK - 1)  # all that came is deleted by now
    assert uploads.take("8.8.8.8", 40, 100)
