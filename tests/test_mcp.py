"""`python app.py --mcp`: the endpoints as tools, asked by a client of the protocol."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from tests.serving import ROOT, app_process

mcp = pytest.importorskip("mcp", reason="the package mcp is not installed: pip install '.[dev]'")

FARM = ROOT / "assets" / "examples" / "farm.png"
PICTURE = f"data:image/png;base64,{base64.b64encode(FARM.read_bytes()).decode()}"


def with_session(url: str, ask) -> Any:
    from mcp.client.streamable_http import streamablehttp_client

    async def run() -> Any:
        server = streamablehttp_client(f"{url}gradio_api/mcp/")
        async with server as (receive, send, _), mcp.ClientSession(receive, send) as session:
            await session.initialize()
            return await ask(session)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with app_process(tmp_path_factory.mktemp("hub"), "--mcp") as address:
        yield address


def call(url: str, tool: str, **given: Any) -> Any:
    async def progress(done: float, total: float | None, said: str | None) -> None:
        """Whoever listens to it gets each part of an answer as what it is; else all is one text."""

    return with_session(url, lambda session: session.call_tool(tool, given, progress_callback=progress))


def test_the_tools_are_the_public_endpoints_and_say_what_they_give(url):
    tools = {tool.name: tool for tool in with_session(url, lambda s: s.list_tools()).tools}
    assert {"segment", "attention", "models", "words"} == set(tools)
    for tool in tools.values():
        assert len(tool.description) > 100
        assert all(row["description"] for row in tool.inputSchema["properties"].values())
    beta = tools["segment"].inputSchema["properties"]["beta"]
    assert "a number from 0 to 3" in beta["description"] and beta["default"] == 1.2


def test_a_tool_divides_a_picture(url):
    answer = call(url, "segment", picture=PICTURE, words="sky, field, pig, cow")
    assert not answer.isError
    assert any(part.type == "image" for part in answer.content)
    said = json.dumps([part.text for part in answer.content if part.type == "text"])
    assert "pig" in said and "share" in said


def test_a_wrong_value_gets_its_reason(url):
    answer = call(url, "segment", picture=PICTURE, words="sky", beta=99)
    assert answer.isError and "beta is 99" in str(answer.content)


def test_a_file_of_the_server_is_no_picture(url):
    answer = call(url, "segment", picture=str(FARM), words="sky")
    assert answer.isError
