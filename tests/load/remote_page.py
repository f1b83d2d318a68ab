"""The page of `tests.page`, but served: each event goes over HTTP, through gradio's queue, as a browser sends it."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx
from gradio.state_holder import StateHolder
from gradio_client.utils import construct_args

from tests.page import Page

PATIENCE = 300  # seconds for one answer
LIMITS = httpx.Limits(keepalive_expiry=2)  # seconds that an idle connection is used again: the server closes it after 5
OPTIONS: dict[str, Any] = {"timeout": PATIENCE, "trust_env": False, "verify": False, "limits": LIMITS}


@dataclass(frozen=True)
class Request:
    """One event. name: of the function. seconds: until the last of the answer; unknown_place: until the server said
    something of it, such as its place in the queue. outcome: "answered", "turned away" (with what was said), "failed".
    """

    name: str
    seconds: float
    unknown_place: float
    outcome: str
    said: str = ""


class RemotePage(Page):
    """One visit to the page at an address. made: its requests.

    patience: seconds that one action may take, with all that follows from it; what is not over then has failed.
    """

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        self.patience, self.made = patience, list[Request]()
        self._arguments: dict[str, list[Any]] = {}  # of endpoints, as the server describes them
        # One for all, as a browser keeps its connections: to make one takes as long as what many requests ask for.
        self._kept = httpx.Client(base_url=address, **OPTIONS)
        found = self._kept.get("config").json()
        super().__init__(served(found), StateHolder(), uuid.uuid4().hex)

    def open(self) -> None:
        loads = {target for fn in self.demo.fns.values() for target in fn.targets if target[1] == "load"}
        self._finish([("load", key, None) for key, _ in loads])

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """A file -> its value for a component."""
        answer = self._kept.post("gradio_api/upload", files={"files": (name, content)})
        return {"path": answer.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def download(self, value: dict[str, Any]) -> bytes:
        """The file that a component shows."""
        return self._kept.get(f"gradio_api/file={value['path']}").raise_for_status().content

    def call(self, api_name: str, session: str | None = None, **given: Any) -> list[Any]:
        """What a program is answered, without the page; [] where it is not. session: as gradio's clients name one."""
        fn, endpoint = SimpleNamespace(name=f"/{api_name}"), f"gradio_api/call/{api_name}"
        if api_name not in self._arguments:
            said = self._kept.get("gradio_api/info").json()["named_endpoints"][fn.name]
            self._arguments[api_name] = said["parameters"]
        body = {"data": construct_args(self._arguments[api_name], (), given), "session_hash": session}
        start = time.monotonic()
        try:
            event = self._read_answer(self._kept.post(endpoint, json=body))["event_id"]
            text = self._kept.get(f"{endpoint}/{event}").text
            if "event: complete" not in text:
                raise _Unanswered("failed", text)
        except _Unanswered as unanswered:
            self._note(fn, start, None, *unanswered.args)
            return []
        self._note(fn, start, start, "answered")
        return json.loads(text.rpartition("data: ")[2])

    async def _until_quiet(self, first: Any) -> None:
        self._letters: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self._reader: asyncio.Task[None] | None = None
        self._came = asyncio.Event()
        api = self._kept.base_url.join("gradio_api/")
        async with httpx.AsyncClient(base_url=api, **OPTIONS) as self._http:
            start = time.monotonic()
            try:
                await asyncio.wait_for(super()._until_quiet(first), self.patience)
            except asyncio.TimeoutError:
                self._deferred.clear()
                self._note(SimpleNamespace(name="an action"), start, start, "failed", "still goes on")
            # The stream of answers is left, as a page leaves it: one that is opened too late never ends by itself.
            if self._reader is not None and self._reader.cancel():
                await asyncio.wait([self._reader])

    async def _ask(self, fn: Any, key: int | None, data: Any, sent: list[Any]) -> bool:
        self.requests.append(fn.name)
        body = {
            "data": [None if self.kinds[one._id] == "state" else value for one, value in zip(fn.inputs, sent)],
            "event_data": data,
            "fn_index": fn._id,
            "trigger_id": key,
            "session_hash": self.name,
            "simple_format": True,  # of an answer in parts each is whole
        }
        start, first = time.monotonic(), None
        try:
            if fn.queue is False:
                first = start  # it waits for no place
                output: Any = self._read_answer(await self._http.post("run/predict", json=body))
            else:
                event = self._read_answer(await self._http.post("queue/join", json=body))["event_id"]
                while True:
                    letter = await self._next(event)
                    first = first or time.monotonic()
                    if letter["msg"] == "process_generating":
                        self._take(fn, letter["output"]["data"])
                    if letter["msg"] == "process_completed":
                        break
                output = letter["output"]
                if not letter["success"]:
                    raise _Unanswered("failed", str(output.get("error")))
        except _Unanswered as unanswered:
            self._note(fn, start, first, *unanswered.args)
            return False
        self._note(fn, start, first, "answered")
        self._take(fn, output["data"])
        for state in output.get("changed_state_ids") or []:
            for follower in self._listeners("change", state):
                self._spawn(self._dispatch([follower], state))
        return True

    def _note(self, fn: Any, start: float, first: float | None, outcome: str, said: str = "") -> None:
        now = time.monotonic()
        name = re.sub(r"_\d+$", "", fn.name)  # gradio numbers functions of one name
        self.made.append(Request(name, now - start, (first or now) - start, outcome, said))

    def _read_answer(self, answer: httpx.Response) -> Any:
        found = answer.json()
        if answer.status_code == 200:
            return found
        turned_away = answer.status_code in (400, 429, 503) and isinstance(found.get("detail"), str)
        raise _Unanswered("turned away" if turned_away else "failed", str(found.get("detail", found)))

    async def _next(self, event: str) -> dict[str, Any]:
        """What the server says next of an event. One stream brings it for all events of the session."""
        while not self._letters[event]:
            if self._reader is None or self._reader.done():
                if self._reader is not None:
                    self._reader.result()  # raises what ended it
                self._reader = asyncio.create_task(self._read())
            self._came.clear()
            await self._came.wait()
        return self._letters[event].popleft()

    async def _read(self) -> None:
        try:
            async with self._http.stream("GET", "queue/data", params={"session_hash": self.name}) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        letter = json.loads(line[6:])
                        self._letters[str(letter.get("event_id"))].append(letter)
                        self._came.set()
        finally:
            self._came.set()


class _Unanswered(Exception):
    """(outcome, what was said)."""


def served(config: dict[str, Any]) -> Any:
    """What `Page` reads of a page, from what its server says of itself."""
    blocks = {
        one["id"]: SimpleNamespace(_id=one["id"], elem_id=one["props"].get("elem_id")) for one in config["components"]
    }
    fns = {}
    for row in config["dependencies"]:
        fn = SimpleNamespace(_id=row["id"], name=row["api_name"], fn=row["backend_fn"] or None, js=row["js"])
        fn.queue, fn.targets = row["queue"], {(key, event) for key, event in row["targets"]}
        fn.inputs, fn.outputs = ([blocks[key] for key in row[name]] for name in ("inputs", "outputs"))
        for name in ("trigger_mode", "trigger_after", "trigger_only_on_success", "trigger_only_on_failure"):
            setattr(fn, name, row[name])
        fns[row["id"]] = fn
    return SimpleNamespace(blocks=blocks, fns=fns, get_config_file=lambda: config)
