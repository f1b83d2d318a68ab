"""The page without a browser. gradio itself preprocesses, runs, postprocesses and holds the sessions; what stands here
is what its script does in the browser: it holds the values, sends them with an event, and follows up on the answer.

As there: listeners of one event run one after the other; while one is answered, "once" drops what comes, "always_last"
runs the event again afterwards, "multiple" sends all. Requests wait for their concurrency group as in gradio's queue.
"""

from __future__ import annotations

import asyncio
import html
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.state_holder import StateHolder
from PIL import Image

from demo.turns import GROUPS
from demo.visit import Visit

USER_EVENTS = {"click", "input", "release", "submit", "blur", "upload", "select", "change", "tick", "clear", "stop"}
Action = tuple[str, str, Any, dict[str, Any] | None]


def file(path: str | Path) -> dict[str, Any]:
    """A file as the browser names it after its upload."""
    return {"path": str(path), "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}


class Page:
    """One visit. requests: the functions that were asked for, by name, in their order."""

    def __init__(self, demo: gr.Blocks, sessions: StateHolder | None = None, name: str = "a visitor") -> None:
        self.demo, self.name, self.requests = demo, name, list[str]()
        self.sessions = sessions or StateHolder()
        if sessions is None:
            self.sessions.set_blocks(demo)
        components = demo.get_config_file()["components"]
        self.values = {one["id"]: one["props"].get("value") for one in components}
        self.props = {one["id"]: one["props"] for one in components}
        self.kinds = {one["id"]: one["type"] for one in components}
        self.named = {block.elem_id: block for block in demo.blocks.values() if getattr(block, "elem_id", None)}
        self._pending: set[int] = set()
        self._deferred: set[int] = set()
        self._groups: dict[Any, asyncio.Semaphore] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def copy(self) -> Page:
        """Another visitor, whose page has come as far as this one."""
        other = Page(self.demo, self.sessions, f"{self.name}'s friend {len(self.sessions.session_data)}")
        other.values, other.props = dict(self.values), dict(self.props)
        mine, theirs = self.sessions[self.name], self.sessions[other.name]
        theirs.state_data |= mine.state_data
        theirs.blocks_config.blocks = dict(mine.blocks_config.blocks)
        return other

    def __getitem__(self, elem_id: str) -> Any:
        return self.values[self.named[elem_id]._id]

    @property
    def visit(self) -> Visit | None:
        states = [key for key, block in self.demo.blocks.items() if isinstance(block, gr.State)]
        held = [self.sessions[self.name][key] for key in states]
        return next((value for value in held if isinstance(value, Visit)), None)

    def said(self, elem_id: str = "message") -> str:
        """The text of a message box, "" where it is not shown."""
        text = self[elem_id] if self.prop(elem_id, "visible") else ""
        return html.unescape(re.sub("<[^>]*>", "", text or ""))

    def prop(self, elem_id: str, name: str) -> Any:
        """Such as "choices"."""
        return self.props[self.named[elem_id]._id].get(name)

    def pixels(self, elem_id: str) -> np.ndarray:
        """(H, W, 3) of the picture that a component shows."""
        return np.asarray(Image.open(self[elem_id]["path"]).convert("RGB"))

    def controls(self) -> set[tuple[str, str]]:
        """(elem_id, event) of all that a person can do, as far as something is wired to it and has a name."""
        ids = {block._id: name for name, block in self.named.items()}
        targets = {target for fn in self.demo.fns.values() for target in fn.targets}
        return {(ids[key], event) for key, event in targets if key in ids and event in USER_EVENTS}

    def set(self, elem_id: str, value: Any) -> None:
        self.values[self.named[elem_id]._id] = value

    def call(self, api_name: str, **given: Any) -> list[Any]:
        """What a program's call of an endpoint is answered. Raises gr.Error."""
        fn = next(fn for fn in self.demo.fns.values() if fn.api_name == api_name)
        names = list(inspect.signature(fn.fn).parameters)
        sent = [given.get(name, self.props[block._id].get("value")) for name, block in zip(names, fn.inputs)]
        data = asyncio.run(self.demo.process_api(fn, sent, state=self.sessions["a program"]))["data"]
        return [value for block, value in zip(fn.outputs, data) if self.kinds[block._id] != "state"]

    def open(self) -> None:
        """The page is loaded."""
        self._finish([("load", self.demo._id, None)])

    def do(self, elem_id: str, event: str, value: Any = None, data: dict[str, Any] | None = None) -> None:
        """A control gets a value (None: keeps its own), and all that follows from the event runs to its end."""
        self.together((elem_id, event, value, data))

    def open_view(self, view: str) -> None:
        """A tab, such as "compare", or a section of one: "inside/truth"."""
        for part in dict.fromkeys([view.partition("/")[0], view]):
            self.open_views(part)

    def open_views(self, *views: str) -> None:
        """Several, each before the one before it was filled."""
        tabs = {self.props[key]["label"]: key for key, kind in self.kinds.items() if kind == "tabitem"}
        names = {"segment": "Segment", "inside": "Look inside", "compare": "Compare"}
        labels = [names.get(view) or view.partition("/")[2].title() for view in views]
        self._finish([("select", tabs[label], None) for label in labels])

    def together(self, *actions: Action) -> None:
        """Several, each before the one before it was answered."""
        self._finish([self._event(*action) for action in actions])

    def begin(self, elem_id: str, event: str, data: dict[str, Any] | None = None) -> Callable[[], None]:
        """An event that is on its way: with the values of now, it arrives when what is returned is called."""
        event_name, key, more = self._event(elem_id, event, None, data)
        fns = self._listeners(event_name, key)
        sent = {fn._id: [self.values[one._id] for one in fn.inputs] for fn in fns}

        async def arrive() -> None:
            for fn in fns:
                await self._run(fn, key, more, sent[fn._id])

        return lambda: asyncio.run(self._until_quiet(arrive()))

    def _event(self, elem_id: str, event: str, value: Any, data: dict[str, Any] | None) -> tuple[Any, ...]:
        key = self.named[elem_id]._id
        assert self._listeners(event, key), f"nothing listens to {elem_id}.{event}"
        return (event, key, data) if value is None else (event, key, data, value)

    def _listeners(self, event: str, key: int | None) -> list[Any]:
        return [fn for fn in self.demo.fns.values() if (key, event) in fn.targets]

    def _finish(self, events: list[tuple[Any, ...]]) -> None:
        async def all_of_them() -> None:
            for event, key, data, *value in events:
                if value:
                    self.values[key] = value[0]
                self._spawn(self._dispatch(self._listeners(event, key), key, data))
                await asyncio.sleep(0)  # as a browser, which sends before it looks for the next event

        self._groups.clear()  # they belong to one loop
        asyncio.run(self._until_quiet(all_of_them()))

    async def _until_quiet(self, first: Any) -> None:
        await first
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def _spawn(self, running: Any) -> None:
        task = asyncio.ensure_future(running)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dispatch(self, fns: list[Any], key: int | None, data: Any = None) -> None:
        for fn in fns:
            if fn._id in self._pending and fn.trigger_mode != "multiple":
                if fn.trigger_mode == "always_last":
                    self._deferred.add(fn._id)
                continue
            self._pending.add(fn._id)
            try:
                await self._run(fn, key, data, [self.values[one._id] for one in fn.inputs])
            finally:
                self._pending.discard(fn._id)
            if fn._id in self._deferred:
                self._deferred.discard(fn._id)
                self._spawn(self._dispatch(fns, key, data))  # the event, so everyone who listens to it

    async def _run(self, fn: Any, key: int | None, data: Any, sent: list[Any]) -> None:
        if isinstance(fn.js, str):
            sent = self._script(fn.js, sent, data or {})
        if fn.fn is None:
            self._take(fn, sent if isinstance(fn.js, str) else [])
        elif not await self._ask(fn, key, data, sent):
            return self._follow(fn, key, failed=True)
        self._follow(fn, key)

    async def _ask(self, fn: Any, key: int | None, data: Any, sent: list[Any]) -> bool:
        """Whether it went well."""
        self.requests.append(fn.name)
        target = self.demo.blocks.get(key)
        name = "model" if fn.concurrency_id in GROUPS else fn.concurrency_id or fn._id
        group = self._groups.setdefault(name, asyncio.Semaphore(_limit(fn)))
        async with group if fn.queue is not False else asyncio.Semaphore():
            iterator, going, changed = None, True, dict[int, None]()
            while going:
                try:
                    answer = await self.demo.process_api(
                        fn,
                        sent,
                        state=self.sessions[self.name],
                        iterator=iterator,
                        event_data=gr.EventData(target, data),
                        event_id="an event" if iterator else None,
                    )
                except gr.Error as error:
                    self.toast = error.message if error.visible else ""
                    return False
                ended = iterator is not None and not answer["is_generating"]
                going, iterator = answer["is_generating"], answer["iterator"]
                changed |= dict.fromkeys(answer["changed_state_ids"])
                if not ended:  # the queue repeats the last answer then
                    self._take(fn, answer["data"])
        for state in changed:
            for follower in self._listeners("change", state):
                self._spawn(self._dispatch([follower], state))
        return True

    def _take(self, fn: Any, answer: list[Any]) -> None:
        for block, value in zip(fn.outputs, answer):
            changed = {"value": value}
            if isinstance(value, dict) and value.get("__type__") == "update":
                changed = value
            if "value" in changed and self.kinds[block._id] != "state":
                self.values[block._id] = changed["value"]
            self.props[block._id] = self.props[block._id] | changed

    def _follow(self, fn: Any, key: int | None, failed: bool = False) -> None:
        for after in self.demo.fns.values():
            if after.trigger_after == fn._id and failed == bool(after.trigger_only_on_failure):
                self._spawn(self._dispatch([after], key))

    def _script(self, script: str, sent: list[Any], data: dict[str, Any]) -> list[Any]:
        """What the page's scripts give: a constant, an address without more, what they found or what they are given."""
        if "dataset." in script:  # what a script of the component has found
            return [json.dumps(data)]
        if "location.search" in script:
            return ["", *sent[1:]]
        if "view.look" in script:
            return [dict(zip(("opacity", "outlines", "names"), sent))]
        constant = re.fullmatch(r"\(\) => (\[?\"[^`]*\]?)", script)
        value = json.loads(constant[1]) if constant else sent
        return value if isinstance(value, list) else [value]


def _limit(fn: Any) -> int:
    # Of one visitor one such event is answered at a time, see `Door.next_events`.
    return 1 if fn.concurrency_limit == "default" or fn.concurrency_id in GROUPS else fn.concurrency_limit or 1000


def page_asking(demo: gr.Blocks, picture: str | Path, words: str, templates: str = "simple7") -> Page:
    """A visit that asks for a result, by what takes little time, and has none yet."""
    page = Page(demo)
    for name, value in {"picture": file(picture), "words": words, "windows": "whole", "templates": templates}.items():
        page.set(name, value)
    return page


def page_with_result(demo: gr.Blocks, picture: str | Path, words: str) -> Page:
    """The same, with its result."""
    page = page_asking(demo, picture, words)
    page.do("words", "submit")
    return page
