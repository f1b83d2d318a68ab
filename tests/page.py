"""The page without a browser: every wired function called as gradio would call it, so that tests can count."""

from __future__ import annotations

import inspect
from typing import Any

import gradio as gr

from demo.session import Staged

USER_EVENTS = {"click", "input", "release", "submit", "blur", "upload", "select", "change", "tick", "clear", "stop"}


class Page:
    """One visit: the values of all components, and `do` for what a person does. Nothing is sent anywhere."""

    def __init__(self, demo: gr.Blocks) -> None:
        self.demo = demo
        self.values = {key: getattr(block, "value", None) for key, block in demo.blocks.items()}
        self.named = {block.elem_id: block for block in demo.blocks.values() if getattr(block, "elem_id", None)}

    def __getitem__(self, elem_id: str) -> Any:
        return self.values[self.named[elem_id]._id]

    @property
    def staged(self) -> Staged | None:
        held = [self.values[key] for key, block in self.demo.blocks.items() if isinstance(block, gr.State)]
        return next((value for value in held if isinstance(value, Staged)), None)

    def controls(self) -> set[tuple[str, str]]:
        """(elem_id, event) of all that a person can do, as far as something is wired to it and has a name."""
        ids = {block._id: name for name, block in self.named.items()}
        targets = {target for fn in self.demo.fns.values() for target in fn.targets}
        return {(ids[key], event) for key, event in targets if key in ids and event in USER_EVENTS}

    def do(self, elem_id: str, event: str, value: Any = None, data: dict[str, Any] | None = None) -> None:
        """A control gets a value (None: keeps its own), and all that is wired to the event runs."""
        block = self.named[elem_id]
        assert any((block._id, event) in fn.targets for fn in self.demo.fns.values()), f"nothing on {elem_id}.{event}"
        if value is not None:
            self.values[block._id] = value
        self._fire(block._id, event, block, data or {})

    def _fire(self, key: int | None, event: str, block: Any = None, data: dict[str, Any] | None = None) -> None:
        for fn in list(self.demo.fns.values()):
            if (key, event) in fn.targets:
                self._run(fn, block, data or {})

    def _run(self, fn: Any, block: Any, data: dict[str, Any]) -> None:
        if fn.fn is not None:
            given = [self.values[one._id] for one in fn.inputs]
            arguments = [dict(zip(fn.inputs, given))] if fn.inputs_as_dict else given
            for name, parameter in inspect.signature(fn.fn).parameters.items():
                for kind in (gr.SelectData, gr.EventData, gr.Request):
                    if kind.__name__ in str(parameter.annotation):
                        arguments.append(_event(kind, block, data))
                        break
                del name
            answer = fn.fn(*arguments)
            for one in answer if inspect.isgenerator(answer) else [answer]:
                self._take(fn, one)
        for after in list(self.demo.fns.values()):
            if after.trigger_after == fn._id:
                self._run(after, block, data)

    def _take(self, fn: Any, answer: Any) -> None:
        if isinstance(answer, dict) and answer and all(isinstance(key, gr.blocks.Block) for key in answer):
            pairs = list(answer.items())
        else:
            pairs = list(zip(fn.outputs, answer if isinstance(answer, (tuple, list)) else [answer]))
        changed = []
        for block, value in pairs:
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "value" not in value:
                    continue
                value = value["value"]
            if isinstance(block, gr.State) and value is not self.values[block._id]:
                changed.append(block)
            self.values[block._id] = value
        for block in changed:
            self._fire(block._id, "change", block)


def _event(kind: type, block: Any, data: dict[str, Any]) -> Any:
    if kind is gr.Request:
        return type("Visited", (), {"query_params": data})()
    return kind(block, data)
