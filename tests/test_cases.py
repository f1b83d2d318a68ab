"""The same file through every door: Python, the command line, the page and a call say the same of it.

The files are those of public complaints about comparable software, which `test_picture_file` names.
"""

from __future__ import annotations

import io
import sys

import gradio as gr
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from demo.ui import build_demo
from proxyclip_core import read_picture
from tests.page import Page, file
from tests.serving import OneModel

QUICK = {"windows": "whole", "templates": "none", "side": "as-is"}
CLOSING = b"mif1heic" + bytes(400)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def cases(blocks: np.ndarray) -> dict[str, bytes]:
    picture, info, exif = Image.fromarray(blocks), PngImagePlugin.PngInfo(), Image.Exif()
    info.add_text("workflow", "x" * 2**21, zip=True)
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    jpeg = encoded(picture, "JPEG", quality=92)
    return {
        "much_metadata.png": encoded(picture, "PNG", pnginfo=info),
        "broken_exif.png": encoded(picture, "PNG", exif=bytes.fromhex("0008000201120003")),
        "end_mark_missing.jpg": jpeg[:-2],
        "half.jpg": jpeg[: len(jpeg) // 2],
        "twelve_bits.png": encoded(Image.fromarray(blocks[..., 0].astype(np.uint16) * 16), "PNG"),
        "turned.jpg": encoded(picture.rotate(90, expand=True), "JPEG", exif=exif.tobytes()),
        "phone.heic": bytes.fromhex("0000001c66747970686569630000000068656963") + CLOSING,
        "page.png": b"<!doctype html><html><body>404</body></html>",
        "empty.png": b"",
    }


SAID = {
    "much_metadata.png": "",
    "broken_exif.png": "its EXIF data cannot be read, so it was taken as it lies",
    "end_mark_missing.jpg": "the end of the file is missing, but it was read; all of the picture is there",
    "half.jpg": "it is cut short",
    "twelve_bits.png": "were stretched to black and white",
    "turned.jpg": "",
    "phone.heic": "it is a HEIC picture. Export it as JPEG, or run: pip install",
    "page.png": "it is a web page",
    "empty.png": "it is empty",
}


@pytest.fixture(scope="module")
def page(tiny_model) -> Page:
    return Page(build_demo(OneModel(tiny_model), "OpenAI B/16", "DINO B/8"))


@pytest.fixture(params=["python", "command line", "page", "call"])
def told(request, page, command, capsys):
    """What a door says of a picture's file: an error, or notes; "" for nothing."""

    def by_python(path) -> str:
        try:
            return " ".join(read_picture(path)[1])
        except ValueError as error:
            return str(error)

    def by_command(path) -> str:
        failed = command("segment", path, "sky, tree", "--templates", "none", "--side", "as-is")
        said = capsys.readouterr().err
        assert bool(failed) is ("error" in said)
        return said

    def by_page(path) -> str:
        opened = page.copy()
        for name, value in {"picture": file(path), **QUICK}.items():
            opened.set(name, value)
        opened.do("words", "submit", "sky, tree")
        return opened.said() or opened.said("notes")

    def by_call(path) -> str:
        try:
            return " ".join(page.call("segment", picture=file(path), words="sky, tree", **QUICK)[2].root["notes"])
        except gr.Error as error:
            return error.message

    doors = {"python": by_python, "command line": by_command, "page": by_page, "call": by_call}
    return doors[request.param]


@pytest.mark.parametrize("name", SAID)
def test_every_door_says_the_same_of_a_file(told, blocks, tmp_path, monkeypatch, name):
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / name).write_bytes(cases(blocks)[name])
    said = told(tmp_path / name)
    assert SAID[name] in said if SAID[name] else not said
