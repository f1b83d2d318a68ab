"""What is kept for programs between one call and the next: a client that asks of a picture again has it read once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from demo import limits
from demo.visit import Visit

if TYPE_CHECKING:
    from demo.door import Door


class Callers:
    """The visits of programs that name a session, as gradio's clients do. They are nobody else's, and answers are the
    same with and without them. curl names none, and all tools of MCP share one: for these nothing is kept."""

    def __init__(self, demo: Door) -> None:
        self._demo, self._visit = demo, gr.State(time_to_live=limits.KEPT_SECONDS)

    def before(self, request: gr.Request | None) -> Visit | None:
        """What the last call of the same session left."""
        states = self._states(request)
        return None if states is None else states[self._visit._id]

    def keep(self, request: gr.Request | None, visit: Visit) -> None:
        states = self._states(request)
        if states is not None:
            states[self._visit._id] = visit

    def _states(self, request: gr.Request | None) -> Any:
        if request is None or not request.session_hash or request.headers.get("x-gradio-user") == "mcp":
            return None
        return self._demo.state_holder[request.session_hash]
