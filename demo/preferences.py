"""How a person likes results drawn, kept in their own browser and nowhere else."""

from __future__ import annotations

from typing import Any

import gradio as gr

from demo.draw.drawing import Look

KEY = "proxyclip-look"
DEFAULTS = {name: getattr(Look(), name) for name in ("opacity", "outlines", "names")}


def store() -> gr.BrowserState:
    """What they like, in the browser. It is no secret: a fixed word lets the next start of the server read it again."""
    return gr.BrowserState(dict(DEFAULTS), storage_key=KEY, secret=KEY)


def read(kept: Any) -> dict[str, Any]:
    """What the browser sent -> opacity, outlines, names; the default for whatever is missing or makes no sense."""
    kept = kept if isinstance(kept, dict) else {}
    opacity = kept.get("opacity")
    sensible = isinstance(opacity, (int, float)) and not isinstance(opacity, bool) and 0 <= opacity <= 1
    ticks = {name: kept[name] for name in ("outlines", "names") if isinstance(kept.get(name), bool)}
    return DEFAULTS | ticks | ({"opacity": opacity} if sensible else {})


def write(opacity: float, outlines: bool, names: bool) -> dict[str, Any]:
    return {"opacity": opacity, "outlines": outlines, "names": names}
