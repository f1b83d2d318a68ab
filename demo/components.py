"""gradio's components with what they accept from outside, and nothing more.

gradio checks a menu's value against the choices that it told the visitor's session of, and forgets these when it lets
go of an old session; on the page menus change with the models that are here. So these components check by themselves.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from proxyclip_core.drawing.drawing import Look

MOST_NAMES = 100  # in a list; more than there are models
MOST_IN_A_NAME = 300  # characters
MOST_HELD = 200_000  # characters of a value that the browser holds


async def _uploaded(self: Any, url_or_file_path: str | Path | None) -> str | None:
    """In the place of gradio's own, which would fetch whatever address it is given."""
    if str(url_or_file_path).startswith(("http:", "https:", "data:")):
        raise gr.Error("Upload the file itself: addresses are not fetched.", print_exception=False)
    return await super(type(self), self).async_move_resource_to_block_cache(url_or_file_path)


class Picture(gr.Image):
    """A picture as the file that was uploaded. gradio's own reading is left out: the core's `read_image` knows about
    orientation, transparency and depth, and says in plain words when a file is no picture."""

    is_template = True  # for the browser it is its base, a gr.Image
    async_move_resource_to_block_cache = _uploaded

    def preprocess(self, payload: Any) -> str | None:
        if payload is not None and payload.path is None:
            raise gr.Error("Upload the picture as a file: its address alone is not enough.", print_exception=False)
        return payload and payload.path


class Drawn(gr.Image):
    """A picture that the page has drawn, as PNG."""

    is_template = True

    def postprocess(self, value: Any) -> Any:
        return super().postprocess(as_file(self, value) if isinstance(value, np.ndarray) else value)


def in_files(component: gr.Gallery | gr.ImageSlider, value: Any) -> Any:
    """A value, or an update with one, with files for the arrays in it.

    gradio would write them itself, but those of an update in the one thread that listens to everybody.
    """
    if isinstance(value, np.ndarray):
        return as_file(component, value)
    if isinstance(value, dict):
        return value | {"value": in_files(component, value["value"])} if "value" in value else value
    return type(value)(in_files(component, one) for one in value) if isinstance(value, (list, tuple)) else value


def as_file(component: gr.components.Component, pixels: np.ndarray, name: str = "image") -> str:
    """(H, W, 3) uint8 -> path of a PNG among the component's files. gradio's way of writing one takes four times as
    long for a sixth fewer bytes."""
    return as_download(component, _encoded(pixels, "png", compress_level=1), f"{name.replace('/', '_')}.png")


def as_webp(pixels: np.ndarray) -> bytes:
    """(H, W, 3) uint8 -> the same without a loss: a quarter smaller than a PNG, in half the time, but not every program
    opens it."""
    return _encoded(pixels, "webp", lossless=True, method=0, quality=20)


def _encoded(pixels: np.ndarray, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


def as_download(component: gr.components.Component, content: bytes, name: str) -> str:
    """Path of a file of this name among the component's files, which gradio deletes within the hour."""
    with tempfile.TemporaryDirectory(prefix="proxyclip-") as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        return str(component.move_resource_to_block_cache(path))


class Upload(gr.File):
    """A file that was uploaded."""

    is_template = True
    async_move_resource_to_block_cache = _uploaded


class UploadButton(gr.UploadButton):
    """A file that was uploaded, by a button."""

    is_template = True
    async_move_resource_to_block_cache = _uploaded


class Menu(gr.Dropdown):
    """One name out of choices that change. A name that is none is told where it is used."""

    is_template = True

    def preprocess(self, payload: Any) -> str | None:
        return payload[:MOST_IN_A_NAME] if isinstance(payload, str) else None


class Number(gr.Radio):
    """One whole number out of choices that change."""

    is_template = True

    def preprocess(self, payload: Any) -> int | None:
        return payload if isinstance(payload, int) and not isinstance(payload, bool) else None


def spot(index: Any) -> tuple[float, float] | None:
    """(x, y) of a click, from what a browser sent with it; None where that is no point."""
    try:
        x, y = (float(part) for part in index)
    except (TypeError, ValueError, OverflowError):
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


class Names(gr.CheckboxGroup):
    """Some names out of choices that change, each at most once."""

    is_template = True

    def preprocess(self, payload: Any) -> list[Any]:
        listed = payload[:MOST_NAMES] if isinstance(payload, list) else []
        return list(dict.fromkeys(name[:MOST_IN_A_NAME] for name in listed if isinstance(name, str)))


class Held(gr.Textbox):
    """A value that the visitor's browser holds, as JSON, and not the server: it outlasts the visitor's session there.

    It is what a browser sends, so anything: whoever reads it looks at what it is.
    """

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        try:
            return json.loads(payload) if isinstance(payload, str) and len(payload) <= MOST_HELD else None
        except (ValueError, RecursionError):
            return None

    def postprocess(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value)


def held(name: str, value: Any = None) -> Held:
    """A hidden value in the browser."""
    return Held(value, visible=False, elem_id=f"held-{name}")


LIKED = {name: getattr(Look(), name) for name in ("opacity", "outlines", "names")}


def liked() -> gr.BrowserState:
    """How a person likes results drawn, kept in their browser from one visit to the next. It is no secret: a fixed word
    lets the next start of the server read what this one wrote."""
    return gr.BrowserState(dict(LIKED), storage_key="proxyclip-look", secret="proxyclip-look")


def read_liked(kept: Any) -> dict[str, Any]:
    """What the browser sent -> opacity, outlines, names; the default for whatever is missing or makes no sense."""
    kept = kept if isinstance(kept, dict) else {}
    opacity = kept.get("opacity")
    makes_sense = isinstance(opacity, (int, float)) and not isinstance(opacity, bool) and 0 <= opacity <= 1
    ticks = {name: kept[name] for name in ("outlines", "names") if isinstance(kept.get(name), bool)}
    return LIKED | ticks | ({"opacity": opacity} if makes_sense else {})


def set_to(value: Any, times: int = 1) -> str:
    """A script for an event: gives one Held value, or several, without asking the server."""
    text = json.dumps(json.dumps(value))
    return f"() => {text}" if times == 1 else f"() => [{', '.join([text] * times)}]"


SAME = "(value) => value"  # a script for an event: one Held value to another
