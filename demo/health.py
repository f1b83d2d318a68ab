"""/health: whether the page is there, for whoever watches over it. It waits for nothing that computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import proxyclip_core as pc
from demo.models import Provider


class WatchedBlocks(gr.Blocks):
    """gradio's page, with /health beside it. models, and what makes the result that it opens with: set before it is
    launched."""

    models: Provider
    warm_up: Callable[[], Any]

    def launch(self, *given: Any, **named: Any) -> Any:
        more = dict(named.pop("app_kwargs", None) or {})
        named["app_kwargs"] = more | {"routes": [*more.get("routes", []), Route("/health", self._health)]}
        return super().launch(*given, **named)

    async def _health(self, request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": pc.__version__, "models": self.models.loaded()})
