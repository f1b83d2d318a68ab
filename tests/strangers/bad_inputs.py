"""What strangers may send: pictures, files, numbers and words of every bad kind."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.serving import ROOT
from tests.strangers.stranger import Stranger, uploaded

NAN, ENDLESS = float("nan"), float("inf")
UPLOADING = "multipart/form-data; boundary=x"
QUICK = {"windows": "whole", "templates": "none"}  # of a request that is to be answered soon


def segmenting(visitor: Stranger) -> dict[str, Any]:
    """What the button asks for."""
    return visitor.event("segment", "click")


def shown(visitor: Stranger, elem_id: str) -> str:
    return str(visitor.values[visitor.ids[elem_id]] or "")


def is_fit_for_strangers(text: str) -> bool:
    """Whether there is a message, short, without a traceback, and without a folder of this machine."""
    private = ("Traceback", 'File "', str(ROOT), str(Path.home()), "/tmp/")
    return 0 < len(text) < 2_500 and not any(secret in text for secret in private)


def png(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    held = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(held, kind, **options)
    return held.getvalue()


def flat(width: int, height: int, mode: str = "RGB", kind: str = "PNG", **options: Any) -> bytes:
    return png(Image.new(mode, (width, height)), kind, **options)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is very large, and is a few bytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff_of(bands: np.ndarray) -> bytes:
    """(H, W, bands) uint8, which Pillow does not write, as a TIFF."""
    height, width, count = bands.shape
    depths = 8 + bands.size  # where they stand
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, count, depths), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, count), (278, 4, 1, height), (279, 4, 1, bands.size)]
    listed = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    start = depths + 2 * count
    return b"II*\0" + struct.pack("<I", start) + bands.tobytes() + struct.pack(f"<{count}H", *[8] * count) + listed


NOISE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="http://127.0.0.1:9/x"/></svg>'
REFUSED = {
    "five bands.tiff": tiff_of(np.zeros((40, 50, 5), np.uint8)),
    "cut short.png": png(NOISE)[:200],
    "cut short.jpg": png(NOISE, "JPEG")[:400],
    "bomb.png": bomb(30_000, 30_000),
    "endless bomb.png": bomb(2**31 - 1, 2**31 - 1),
    "drawing.png": SVG,
    "page.png": b"<!DOCTYPE html><script>alert(1)</script>",
    "document.png": b"%PDF-1.7\n1 0 obj <<>> endobj",
    "program.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run showpage\n",
    "nothing.png": b"",
    "zeros.png": bytes(5_000),
    "pickle.png": b"\x80\x04\x95cos\nsystem\n",
}
TAKEN = {
    "dot.png": flat(1, 1),
    "animation.gif": png(NOISE, "GIF", save_all=True, append_images=[Image.fromarray(NOISE[::-1])] * 5),
    "16 bit.png": png(np.arange(6000, dtype=np.uint16).reshape(60, 100)),
    "float.tiff": png(np.linspace(0, 1, 6000, dtype=np.float32).reshape(60, 100), "TIFF"),
    "cmyk.jpg": png(Image.fromarray(NOISE).convert("CMYK"), "JPEG"),
    "palette.png": png(Image.fromarray(NOISE).quantize(8), transparency=3),
    "really a jpeg.png": png(NOISE, "JPEG"),
    "no ending": png(NOISE),
    "../../up.png": png(NOISE),
    "\u202egnp.\U0001f600<b>.png": png(NOISE),
}
NARROW = {"tall.png": flat(1, 8_000), "wide.png": flat(8_000, 1)}
SENT: list[Any] = [
    "picture.png",
    ["picture.png"],
    3,
    uploaded("/etc/passwd"),
    uploaded("../../../../etc/passwd"),
    uploaded(ROOT / "README.md"),
    uploaded("file:///etc/passwd"),
    uploaded("http://127.0.0.1:9/a.png"),
    uploaded("https://example.org/a.png"),
    uploaded("//example.org/a.png"),
    uploaded("data:image/png;base64,iVBORw0KGgo="),
    uploaded(None, url="http://127.0.0.1:9/a.png"),
    uploaded(None, url="data:application/postscript;base64,JSFQUw=="),
    uploaded(None, url="data:image/svg+xml;base64,PHN2Zy8+"),
    uploaded("data:text/html;base64,PHNjcmlwdD4="),
    uploaded(None, url="data:application/pdf;base64,JVBERi0xLjc="),
    uploaded("\0"),
    uploaded("a" * 100_000),
]
NUMBERS = [NAN, ENDLESS, -ENDLESS, -1, 10**400, 1e308, True, "1", "١", [1], {"a": 1}, [[[]]]]
WORDS: list[tuple[str, bool | None]] = [
    ("", False),
    (" \n\t ", False),
    (", ".join(f"w{number}" for number in range(10_000)), False),
    ("x" * 5_000, None),
    ("\U0001f98a, \U0001f3f4\U000e0067\U000e0062\U000e007f", True),
    ("\u202eyks\u202c, שמיים", True),
    ("sky\x00\x07\x1b[31m, tree", True),
    ("<img src=x onerror=alert(1)>, {{7*7}}, ${7*7}, %s%n", True),
    ("\u200b, tree", None),
    ("\ud800, tree", None),
    ('"' * 5_000, None),
    (";" * 10_000, False),
]
FILES = {
    "load": {
        "other version.json": b'{"proxyclip_settings": 99, "words": "sky"}',
        "deep.json": b"[" * 90_000,
        "deeper.json": b'{"a":' * 15_000,
        "brackets.json": b"[" + b"[]," * 6_600_000 + b"[]]",
        "infinite.json": b'{"words": "sky", "beta": Infinity}',
        "long number.json": b'{"words": "sky", "side": ' + b"9" * 50_000 + b"}",
        "list.json": b"[]",
        "nothing.json": b"",
        "binary.json": bytes(range(256)),
        "unknown.json": b'{"words": "sky", "path": "/etc/passwd"}',
        "models.json": b'{"words": "sky", "clip": "/etc/passwd", "vfm": "timm:x.y"}',
    },
    "words-file": {
        "long cell.csv": b'name\n"' + b"x" * 200_000 + b'"\n',
        "deep.json": b"[" * 200_000,
        "large.txt": b"word\n" * 200_000,
        "nothing.txt": b"",
        "binary.txt": bytes(256),
    },
}
HELD = ["{", "[" * 100_000, "1" * 300_000, "null", "3", '{"picture": 3, "points": 3}', '{"points": [[NaN, 1], [1]]}', 3]
