"""Somebody who sends the page whatever they like: by its own addresses, past its scripts and its menus."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

import httpx

PATIENCE = 60  # seconds for an answer, on a machine that is busy with other things


class Stranger:
    """One session with a page that is served at `url`."""

    def __init__(self, url: str) -> None:
        self.url, self.session = url, secrets.token_hex(6)
        self.http = httpx.Client(base_url=f"{url}gradio_api/", timeout=PATIENCE, trust_env=False)
        config = httpx.get(f"{url}config", trust_env=False, timeout=PATIENCE).json()
        self.parts = {part["id"]: part["props"] for part in config["components"]}
        self.ids = {props["elem_id"]: key for key, props in self.parts.items() if props.get("elem_id")}
        self.events: list[dict[str, Any]] = config["dependencies"]
        self.values = {key: props.get("value") for key, props in self.parts.items()}
        self.told = ""  # in the messages about the event last asked for

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """The file, as an event takes it."""
        (path,) = self.http.post("upload", files={"files": (name, content)}).raise_for_status().json()
        return uploaded(path)

    def set(self, elem_id: str, value: Any) -> None:
        self.values[self.ids[elem_id]] = value

    def event(self, elem_id: str, trigger: str) -> dict[str, Any]:
        """The last listener to an event of a component that runs on the server."""
        wanted = [self.ids[elem_id], trigger]
        return [event for event in self.events if wanted in event["targets"] and event["backend_fn"]][-1]

    def after(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event that follows another one."""
        return next(one for one in self.events if one["trigger_after"] == event["id"])

    def join(self, event: dict[str, Any] | int, data: Any = None, values: Any = None) -> httpx.Response:
        """Asks for a place in the queue. data: what the event brings along; values: instead of the page's own."""
        fields: dict[str, Any] = {"session_hash": self.session, "event_data": data, "trigger_id": None}
        if isinstance(event, dict):
            fields |= {"data": [self.values[key] for key in event["inputs"]], "fn_index": event["id"]}
            fields["trigger_id"] = event["targets"][0][0] if event["targets"] else None
        else:
            fields |= {"data": [], "fn_index": event}
        fields |= {} if values is None else {"data": values}
        return self.http.post("queue/join", content=json.dumps(fields), headers={"content-type": "application/json"})

    def ask(self, event: dict[str, Any], data: Any = None, values: Any = None) -> tuple[str, list[Any]]:
        """What is said of an event, as a toast or in its message box, and its outputs."""
        joined = self.join(event, data, values)
        if joined.status_code != 200:
            return said_by(joined), []
        answer = self.answer(joined.json()["event_id"])
        output = answer["output"]
        if not answer["success"]:
            return str(output["error"]), []
        for key, value in zip(event["outputs"], output["data"]):
            change = value if isinstance(value, dict) and value.get("__type__") == "update" else {"value": value}
            if "value" in change:
                self.values[key] = change["value"]
        return "", output["data"]

    def answer(self, event_id: str) -> dict[str, Any]:
        """The last message about an event."""
        self.told = ""
        with self.http.stream("GET", "queue/data", params={"session_hash": self.session}) as lines:
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") == "process_generating":
                    self.told += " ".join(re.findall('<(?:div role="alert"|p)>(.*?)</', str(message["output"])))
                if message.get("event_id") == event_id and message.get("msg") == "process_completed":
                    return message
        raise AssertionError("the page answered nothing")

    def call(self, endpoint: str = "segment", /, **given: Any) -> tuple[bool, str]:
        """An endpoint, as curl calls it -> whether it was answered, and the text of the answer."""
        joined = self.http.post(
            f"call/v2/{endpoint}", content=json.dumps(given), headers={"content-type": "application/json"}
        )
        if joined.status_code != 200:
            return False, said_by(joined)
        text = self.http.get(f"call/v2/{endpoint}/{joined.json()['event_id']}").text
        return "event: complete" in text, text


def uploaded(path: str | Path | None, **more: Any) -> dict[str, Any]:
    return {"path": str(path) if path is not None else None, "meta": {"_type": "gradio.FileData"}, **more}


def said_by(response: httpx.Response) -> str:
    """The sentence in a refusal."""
    return str(response.json()["detail"])
