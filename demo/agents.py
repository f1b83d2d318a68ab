"""The endpoints as tools of MCP, where gradio's own way leaves an agent without an answer, or without the reason.

It needs the package mcp.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from gradio import mcp

from demo.blocks import UNREADABLE
from demo.gate import wrong_argument

NO_PICTURE = (
    "picture is neither a data: address, such as data:image/png;base64,iVBO..., nor the address of a file that was "
    "uploaded here."
)


class Tools(mcp.GradioMCPServer):
    """As gradio's own otherwise."""

    async def _execute_tool_without_progress(self, job: Any) -> list[Any]:
        """What a tool answers to a client that does not ask how far it is: the same parts as to one that does. gradio
        would give all of them as one, and fails on what is kept for the session."""
        async for update in job:
            if update.type == "output" and update.final and update.success:
                return update.outputs["data"]
        raise _with_reason(job.exception())

    async def _execute_tool_with_progress(self, job: Any, progress_token: str | int) -> Any:
        try:
            return await super()._execute_tool_with_progress(job, progress_token)
        except Exception as error:  # noqa: BLE001 gradio makes a sentence of whatever it is
            raise _with_reason(error) from None

    def _prepare_tool_call_args(self, name: str, arguments: Any) -> Any:
        try:
            return super()._prepare_tool_call_args(name, arguments)
        except TypeError as error:  # which would send the agent to a page
            raise ValueError(wrong_argument(error) or UNREADABLE) from None

    def convert_strings_to_filedata(self, value: Any, filedata_positions: Any) -> Any:
        try:
            return super().convert_strings_to_filedata(value, filedata_positions)
        except ValueError:  # whose text holds all that was sent
            raise ValueError(NO_PICTURE) from None


def _with_reason(error: Any) -> BaseException:
    """Where the queue took nothing, its own sentence in the place of the number of the status."""
    try:
        return RuntimeError(str(error.response.json()["detail"]))
    except (AttributeError, ValueError, LookupError, TypeError):  # what failed is something else
        return error


def serve_agents() -> None:
    """Before the page starts: gradio makes its server of MCP then."""
    mcp.GradioMCPServer = Tools  # type: ignore[misc]
    # What it warns of holds what strangers sent. Some of that it says in nobody's name, where a filter sees no more.
    logging.getLogger("mcp").setLevel(logging.ERROR)
    logging.getLogger().addFilter(lambda record: "mcp" not in Path(record.pathname).parts)
