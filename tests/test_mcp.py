"""`python app.py --mcp`: the endpoints as tools, asked by a client of the protocol."""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import re
from typing import Any

import httpx
import pytest

import proxyclip_core as pc
from tests.serving import ROOT, app_and_process, app_process, until

mcp = pytest.importorskip("mcp", reason="the package mcp is not installed: pip install '.[dev]'")

FARM = ROOT / "assets" / "examples" / "farm.png"
# What an agent must know of each tool's answer, and of what no argument says by itself.
GIVE = {
    "segment": [
        *("overlay", "label map, a 16 bit PNG", "indices into names", "share", "presence", "perhaps_absent", "notes"),
        *("zip", "comma between classes", "semicolon between words for the same class"),
    ],
    "words": ["words of a vocabulary that are in a picture", "as /segment takes them", '"" for none'],
    "attention": [
        "colours over the picture",
        "row",
        "grid_hw",
        "it sums to 1",
        "lowest and highest",
        "seed_box",
        "spread",
    ],
    "models": ["kind", "the name to give", "licence", "megabytes", "on this machine", "patch size in pixels"],
}
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


async def progress(done: float, total: float | None, said: str | None) -> None:
    """A client that asks how far its call is."""


def call(url: str, tool: str, listens: bool = False, **given: Any) -> Any:
    listening = {"progress_callback": progress} if listens else {}
    return with_session(url, lambda session: session.call_tool(tool, given, **listening))


def test_the_tools_are_the_public_endpoints_and_say_what_they_give(url):
    tools = {tool.name: tool for tool in with_session(url, lambda s: s.list_tools()).tools}
    assert set(GIVE) == set(tools)
    for name, facts in GIVE.items():
        assert [fact for fact in facts if fact not in tools[name].description] == []


@pytest.mark.parametrize(
    ("tool", "needed"), [("segment", {"picture"}), ("words", {"picture"}), ("attention", {"picture", "x", "y"})]
)
def test_each_argument_says_what_it_may_be(url, tool, needed):
    (found,) = (one for one in with_session(url, lambda s: s.list_tools()).tools if one.name == tool)
    arguments = found.inputSchema["properties"]
    said = {name: row["description"] for name, row in arguments.items()}
    assert needed <= set(found.inputSchema["required"]) <= needed | {"words"}
    for name, row in pc.SETTINGS.items():
        if name in said and row.kind == "number":
            assert row.expected in said[name] and arguments[name].get("default", 0) == row.default  # gradio says no 0
        elif name in said and row.kind == "choice":
            assert all(repr(value) in said[name] for value in row.values)
    assert all("a name that /models lists" in said[name] for name in ("clip", "vfm"))
    assert "'as-is'" in said["side"] and "a whole number" in said["patch"]
    assert "was uploaded here" in said["picture"] and "data: address" in said["picture"]
    others = {
        "opacity": "from 0 to 1",
        "formats": "coco",
        "vocabulary": "ade20k, cityscapes",
        "x": "from 0 at the top left",
    }
    others |= {"stage": "cosine, normalised, softmax", "source": "clip for CLIP's own", "outlines": "borders"}
    assert all(fact in said[name] for name, fact in others.items() if name in said)


@pytest.mark.parametrize("listens", [False, True])
def test_a_tool_divides_a_picture(url, listens):
    answer = call(url, "segment", listens, picture=PICTURE, words="sky, field, pig, cow")
    assert not answer.isError
    assert sum(part.type == "image" for part in answer.content) == 2
    said = json.dumps([part.text for part in answer.content if part.type == "text"])
    assert "pig" in said and "share" in said


def test_what_a_tool_has_read_is_not_kept_for_others(url):
    """All agents have one session of gradio's: by what is quick they would learn what somebody else asked for."""
    for _ in range(2):
        said = "".join(texts(call(url, "segment", picture=PICTURE, words="sky, field, cow")))
        assert re.search(r"'seconds': {[^}]*'clip': ", said.replace('"', "'"))


def test_a_picture_may_be_the_address_of_an_upload_and_no_other(url):
    with FARM.open("rb") as opened:
        (path,) = httpx.post(f"{url}gradio_api/upload", files={"files": opened}).json()
    assert "names" in "".join(texts(call(url, "segment", picture=f"{url}gradio_api/file={path}", words="sky, field")))
    for address in ("http://127.0.0.1:9/farm.png", "https://example.org/gradio_api/file=/etc/passwd"):
        answer = call(url, "segment", picture=address, words="sky")
        assert answer.isError and "Upload the file itself first" in answer.content[0].text


def texts(answer: Any) -> list[str]:
    assert not answer.isError
    return [part.text for part in answer.content if part.type == "text"]


@pytest.mark.parametrize("listens", [False, True])
def test_a_tool_finds_the_words_of_a_picture(url, listens):
    assert "sky" in texts(call(url, "words", listens, picture=PICTURE))[0]
    assert "sky" in texts(call(url, "words", listens, picture=PICTURE, vocabulary="sky, submarine"))[0]


@pytest.mark.parametrize("listens", [False, True])
def test_a_tool_shows_what_a_patch_attends_to(url, listens):
    answer = call(url, "attention", listens, picture=PICTURE, x=120, y=80)
    assert any(part.type == "image" for part in answer.content)
    assert all(name in "".join(texts(answer)) for name in ("grid_hw", "spread", "seed_box"))


@pytest.mark.parametrize("listens", [False, True])
def test_a_tool_lists_the_models(url, listens):
    said = "".join(texts(call(url, "models", listens)))
    assert {row["kind"] for row in ast.literal_eval(said)} == {"clip", "vfm"}
    assert all(name in said for name in (*pc.CLIP_MODELS, *pc.VFM_MODELS)) and "licence" in said


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"beta": 99}, "beta is 99"),
        ({"picture": PICTURE.partition(",")[2]}, "picture is neither a data: address"),
        ({"picture": "farm.png"}, "picture is neither a data: address"),
        ({"w" * 10_000: 1}, f"There is no argument '{'w' * 40}'. See"),
    ],
)
def test_a_wrong_value_gets_its_reason(url, listens, wrong, reason):
    answer = call(url, "segment", listens, **({"picture": PICTURE, "words": "sky"} | wrong))
    assert answer.isError and reason in answer.content[0].text and len(answer.content[0].text) < 500


def test_nothing_that_an_agent_sends_is_in_the_log(tmp_path):
    with app_and_process(tmp_path, "--mcp") as (url, process):
        ask = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "words", "arguments": "SECRET text"},
        }
        unknown = {"jsonrpc": "2.0", "method": "notifications/SECRET", "params": {"x": "SECRET"}}
        for body in (ask, unknown):
            httpx.post(f"{url}gradio_api/mcp/", json=body, headers={"accept": "application/json, text/event-stream"})
        assert call(url, "SECRET tool").isError
        texts(call(url, "models"))
        until(lambda: "models: answered" in "".join(process.said))
    assert "SECRET" not in "".join(process.said) and "".join(process.said).count("models: answered") == 1


@pytest.mark.parametrize("listens", [False, True])
def test_where_too_much_waits_a_tool_says_when_to_come_again(tmp_path, listens):
    with app_process(tmp_path, "--mcp", PROXYCLIP_PUBLIC="on", PROXYCLIP_WAITING="0") as url:
        answer = call(url, "words", listens, picture=PICTURE)
    assert answer.isError and re.search(r"Try again in about \d+ s", answer.content[0].text)


def test_a_file_of_the_server_is_no_picture(url):
    answer = call(url, "segment", picture=str(FARM), words="sky")
    assert answer.isError
