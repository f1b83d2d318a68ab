"""What strangers may send, through one running page: each is answered in words, and the next request is served.

Requests go to gradio's own addresses, also to events that no client is told of. See `tests.stranger`.
"""

from __future__ import annotations

import copy
import http.client
import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from demo import limits
from tests.serving import ROOT, page_around
from tests.stranger import Stranger, said_by, uploaded

NAN, ENDLESS = float("nan"), float("inf")
UPLOADING = "multipart/form-data; boundary=x"
QUICK = {"windows": "whole", "templates": "none"}  # of a request that is to be answered soon


@pytest.fixture(scope="module")
def url(tiny_model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "PUBLIC", True)
        with page_around(tiny_model) as address:
            yield address


@pytest.fixture(scope="module")
def stranger(url) -> Stranger:
    return Stranger(url)


@pytest.fixture(scope="module")
def picture(stranger, four_areas) -> dict[str, Any]:
    return stranger.upload("fields.png", png(four_areas))


@pytest.fixture(scope="module")
def segmented(url, picture) -> Iterator[Stranger]:
    """A visit whose picture is segmented. After all tests it still can be."""
    visitor = Stranger(url)
    for name, value in (QUICK | {"picture": picture, "words": "sky, tree"}).items():
        visitor.set(name, value)
    visitor.ask(segmenting(visitor))
    assert shown(visitor, "legend")
    yield visitor
    served, text = visitor.call(picture=picture, words="sky, tree", **QUICK)
    assert served, text


@pytest.fixture
def page(segmented) -> Stranger:
    visitor = copy.copy(segmented)
    visitor.values = dict(segmented.values)
    return visitor


@pytest.fixture(autouse=True)
def the_next_request_is_served(stranger):
    yield
    said, outputs = stranger.ask(stranger.event("background", "input"))
    assert not said and outputs


@pytest.fixture
def refused(stranger, picture):
    """Asks /segment for what it is to refuse, and gives what it said."""

    def call(**given: Any) -> str:
        served, text = stranger.call(**({"picture": picture, "words": "sky, tree"} | QUICK | given))
        assert not served and is_fit_for_strangers(text) and "inside" not in text, (given, text)
        return text

    return call


def segmenting(visitor: Stranger) -> dict[str, Any]:
    """What the button leads to once all weights are here."""
    return visitor.after(visitor.event("segment", "click"))


def shown(visitor: Stranger, elem_id: str) -> str:
    return str(visitor.values[visitor.ids[elem_id]] or "")


def is_fit_for_strangers(text: str) -> bool:
    """Whether there is a message, short, without a traceback, and without a folder of this machine."""
    private = ("Traceback", 'File "', str(ROOT), str(Path.home()), "/tmp/")
    return 0 < len(text) < 2_500 and not any(secret in text for secret in private)


# Pictures


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


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_with_the_reason(stranger, name):
    served, text = stranger.call(picture=stranger.upload(name, REFUSED[name]), words="sky, tree", **QUICK)
    assert not served and is_fit_for_strangers(text) and "inside" not in text


@pytest.mark.parametrize("name", TAKEN)
def test_odd_pictures_are_taken(stranger, name):
    served, text = stranger.call(picture=stranger.upload(name, TAKEN[name]), words="sky, tree", **QUICK)
    assert served, text


@pytest.mark.parametrize("name", NARROW)
def test_very_narrow_pictures_are_taken_or_refused_in_words(stranger, name):
    served, text = stranger.call(picture=stranger.upload(name, NARROW[name]), words="sky, tree", **QUICK)
    assert served or (is_fit_for_strangers(text) and "inside" not in text), text


def test_a_file_of_200_megabytes_is_refused_before_it_has_come(url):
    asking = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=30)
    asking.putrequest("POST", "/gradio_api/upload")
    asking.putheader("content-type", UPLOADING)
    asking.putheader("content-length", "200000000")
    asking.endheaders(b"--x\r\n")
    answer = asking.getresponse()
    assert answer.status == 413 and b"at most" in answer.read()


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
    uploaded("\0"),
    uploaded("a" * 100_000),
]


def test_an_upload_for_which_there_is_no_room_is_refused(stranger, monkeypatch):
    monkeypatch.setattr(limits, "LEAST_FREE_BYTES", 10**18)
    answer = stranger.http.post("upload", files={"files": ("a.png", png(NOISE))})
    assert answer.status_code == 507 and "no room left" in said_by(answer)


@pytest.mark.parametrize("endpoint", ["segment", "attention", "words"])
def test_only_uploaded_files_are_read_and_no_address_is_fetched(stranger, endpoint):
    more: dict[str, Any] = {"segment": {"words": "sky"}, "attention": {"x": 1, "y": 1}, "words": {"vocabulary": "sky"}}[
        endpoint
    ]
    for sent in SENT:
        served, text = stranger.call(endpoint, picture=sent, **more)
        assert not served and is_fit_for_strangers(text) and "inside" not in text, (sent, text)


def test_calls_of_programs_take_no_visitors_place(page, picture):
    for _ in range(limits.SESSIONS + 1):
        page.call(picture=picture, words="")
    page.ask(page.event("score-class", "input"))
    assert not shown(page, "message")


@pytest.mark.parametrize("control", ["inside-label-map", "load", "words-file"])
def test_so_it_is_with_other_files(page, control):
    for sent in SENT:
        page.set(control, sent)
        said, _ = page.ask(page.event(control, "upload"))
        assert is_fit_for_strangers(said), sent


# Numbers, names and lists


NUMBERS = [NAN, ENDLESS, -ENDLESS, -1, 10**400, 1e308, True, "1", "١", [1], {"a": 1}, [[[]]]]


@pytest.mark.parametrize("name", ["beta", "gamma", "threshold", "opacity", "patch", "side"])
def test_what_is_no_such_number_is_refused(refused, name):
    for number in NUMBERS:
        refused(**{name: number})


def test_what_is_no_whole_number_in_range_is_refused(refused):
    for name, number in (("side", 336.5), ("side", 10**12), ("side", 0), ("patch", 8.5)):
        assert name in refused(**{name: number})


@pytest.mark.parametrize("name", ["clip", "vfm", "windows", "templates", "background", "fusion", "reach", "refine"])
def test_what_is_no_such_name_is_refused(refused, name):
    for sent in (None, "", "no such", "x" * 100_000, "<img src=x>", "../x", ["sliding"], {"a": 1}, 3, True):
        refused(**{name: sent})


@pytest.mark.parametrize("name", ["outlines", "names"])
def test_what_is_neither_true_nor_false_is_refused(refused, name):
    for sent in ("yes", 1, [True], {"a": []}):
        refused(**{name: sent})


def test_a_sheet_without_end_shows_each_result_once(page):
    page.set("compare-chosen", ["CLIP alone"] * 10_000)
    said, _ = page.ask(page.event("compare-run", "click"))
    assert not said and len(page.values[page.ids["compare-sheet"]]) == 1


@pytest.mark.parametrize("chosen", [["no such"], "CLIP alone", [["CLIP alone"]], [1, None, {}], {"a": 1}])
def test_results_that_there_are_none_of_are_said(page, chosen):
    page.set("compare-chosen", chosen)
    page.ask(page.event("compare-run", "click"))
    assert is_fit_for_strangers(shown(page, "compare-progress"))


# Words and files of them


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


@pytest.mark.parametrize(("words", "served"), WORDS, ids=lambda value: ascii(value)[:30])
def test_words_of_any_kind(stranger, picture, words, served):
    answered, text = stranger.call(picture=picture, words=words, **QUICK)
    assert answered is served or (served is None and answered is not None)
    assert answered or (is_fit_for_strangers(text) and "inside" not in text)


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


@pytest.mark.parametrize(("control", "name"), [(control, name) for control in FILES for name in FILES[control]])
def test_files_that_hold_no_settings_or_words_are_said(page, control, name):
    page.set(control, page.upload(name, FILES[control][name]))
    said, _ = page.ask(page.event(control, "upload"))
    assert not said or "Error" in said  # a chain that ends; what there is to say was said
    assert is_fit_for_strangers(page.told) and "inside" not in page.told


@pytest.mark.parametrize(
    "content", [SVG, b"", bomb(30_000, 30_000), png(NOISE), flat(1, 1, "L"), png(NOISE, "JPEG"), png(NOISE)[:99]]
)
def test_files_that_are_no_label_map_are_said(page, content):
    page.set("held-view", json.dumps("inside/truth"))
    page.set("inside-label-map", page.upload("labels.png", content))
    said, _ = page.ask(page.event("inside-label-map", "upload"))
    assert is_fit_for_strangers(said or shown(page, "inside-note")) and "inside (" not in shown(page, "inside-note")


# What events bring along, and what the browser holds


BROUGHT = [None, 3, "x", [], {}, {"index": None}, {"index": "ab"}, {"index": [NAN, 1]}, {"index": [10**400, 1]}]
BROUGHT += [{"index": -1}, {"index": 10**9}, {"index": True}, {"index": [1, 2, 3]}, {"index": {"x": 1}}]


CLICKED = [("found", "click")]


@pytest.mark.parametrize(("control", "event"), CLICKED)
def test_a_click_anywhere_changes_nothing_or_says_why(page, control, event):
    for data in BROUGHT:
        said, _ = page.ask(page.event(control, event), data)
        assert not said or (is_fit_for_strangers(said) and "inside (" not in said), data


def test_words_without_end_are_not_even_read(page):
    page.set("words", ", ".join(f"w{number}" for number in range(100_000)))
    for event, data in ((page.event("edit", "submit"), {"name": "w1"}), (page.event("found", "click"), {"name": "w1"})):
        page.ask(event, data)
        assert "characters; at most 20000" in shown(page, "message")
        page.values[page.ids["message"]] = ""


HELD = ["{", "[" * 100_000, "1" * 300_000, "null", "3", '{"picture": 3, "points": 3}', '{"points": [[NaN, 1], [1]]}', 3]


@pytest.mark.parametrize("sent", HELD, ids=lambda sent: str(sent)[:30])
def test_what_a_browser_holds_is_read_with_care(page, sent):
    for name in ("held-shown", "held-point", "held-seeds", "held-hidden", "held-view"):
        page.set(name, sent)
    pointed = next(one for one in page.events if [page.ids["top"], "click"] in one["targets"])
    for event in (page.event("inside-stage", "input"), page.event("score-class", "input"), page.after(pointed)):
        said, _ = page.ask(event)
        assert not said or is_fit_for_strangers(said)


@pytest.mark.parametrize("values", [[], [1] * 100, [None] * 100, [{"path": "/etc/passwd"}] * 30])
def test_values_that_do_not_fit_the_event_are_refused(page, values):
    for event in page.events:
        if event["backend_fn"] and event["inputs"]:
            said, _ = page.ask(event, None, values[: len(event["inputs"])] if len(values) == 30 else values)
            assert not said or is_fit_for_strangers(said)


# Addresses


CLOSED = ["proxy=https://example.hf.space/x", "file=https://example.org/x", "file=http://127.0.0.1:9", "deep_link"]
CLOSED += ["file=/etc/passwd", f"file={ROOT}/app.py", "file=../../etc/passwd", "file=%2e%2e/%2e%2e/etc/passwd"]
CLOSED += ["stream/a/b/1/playlist-file", "vibe-code", "custom_component/a/b/c/d", "file/https://example.org"]


@pytest.mark.parametrize("address", CLOSED)
def test_the_server_fetches_nothing_and_hands_out_no_file_of_its_own(stranger, address):
    answer = stranger.http.get(address)
    assert answer.status_code in (403, 404) and is_fit_for_strangers(answer.text.replace(str(ROOT), ""))


@pytest.mark.parametrize("address", ["monitoring", "monitoring/summary", "gradio_api/deep_link?session_hash=a"])
def test_nobody_looks_at_what_others_do(url, address):
    assert httpx.get(f"{url}{address}").status_code == 404


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("queue/join", b"["),
        ("queue/join", b"[" * 1_000_000),
        ("queue/join", b'{"data": [], "fn_index": 99999, "session_hash": "a"}'),
        ("queue/join", b'{"data": [], "fn_index": -1, "session_hash": "a"}'),
        ("queue/join", b'{"data": [], "fn_index": NaN, "session_hash": "a"}'),
        ("queue/join", b'{"data": 3, "fn_index": 1, "session_hash": "a"}'),
        ("queue/join", b'{"data": [], "fn_index": 1}'),
        ("run/segment", b'{"data": []}'),
        ("call/nothing", b'{"data": []}'),
        ("call/v2/nothing", b"{}"),
        ("call/v2/segment", b'{"nothing": 1}'),
        ("call/v2/segment", b"[]"),
        ("cancel", b"{}"),
        ("upload", b"\xff" * 100),
        ("queue/join", b" " * (limits.REQUEST_BYTES + 1)),
    ],
    ids=lambda value: str(value)[:50],
)
def test_requests_that_make_no_sense_are_refused_in_words(stranger, address, body):
    answer = stranger.http.post(address, content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500 and is_fit_for_strangers(answer.text)


@pytest.mark.parametrize(("address", "kind"), [("queue/join", "application/json"), ("upload", UPLOADING)])
def test_a_request_whose_end_does_not_come_is_given_up(url, monkeypatch, address, kind):
    monkeypatch.setattr(limits, "STALLED_SECONDS", 0.05)
    asking = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=30)
    asking.putrequest("POST", f"/gradio_api/{address}")
    asking.putheader("content-type", kind)
    asking.putheader("content-length", "100")
    asking.endheaders(b"--x\r\n")  # and no more
    assert asking.getresponse().status in (400, 408)


# The queue


def test_a_visitor_whose_requests_wait_is_told_so(url, picture, tiny_model, monkeypatch):
    import threading

    going, go_on, embed = threading.Event(), threading.Event(), tiny_model.embed

    def waiting(self, *given):
        going.set()
        return go_on.wait(30) and embed(*given)

    monkeypatch.setattr(type(tiny_model), "embed", waiting)
    visitor, other = Stranger(url), Stranger(url)
    for name, value in (QUICK | {"picture": picture, "words": "hill, cow"}).items():
        visitor.set(name, value), other.set(name, value)
    try:
        answers = [visitor.join(segmenting(visitor))]
        assert going.wait(30)  # it waits no more
        answers += [visitor.join(segmenting(visitor)) for _ in range(1 + limits.WAITING_EACH)]
        assert [answer.status_code for answer in answers] == [200] * (1 + limits.WAITING_EACH) + [429]
        assert "requests are waiting already" in said_by(answers[-1])
        assert other.join(segmenting(other)).status_code == 200
    finally:
        go_on.set()


def test_sixty_four_visitors_at_once_are_served_or_told(stranger):
    visitors = [copy.copy(stranger) for _ in range(64)]
    for number, visitor in enumerate(visitors):
        visitor.session = f"visitor {number}"
    joined = [visitor.join(visitor.event("background", "input")) for visitor in visitors]
    assert {answer.status_code for answer in joined} <= {200, 429}
    for visitor, answer in zip(visitors, joined):
        if answer.status_code == 200:
            assert visitor.answer(answer.json()["event_id"])["success"]


def test_a_visitor_who_leaves_in_the_middle_is_no_burden(url, picture):
    visitor = Stranger(url)
    for name, value in (QUICK | {"picture": picture, "words": "lake, boat"}).items():
        visitor.set(name, value)
    event = segmenting(visitor)
    joined = visitor.join(event).json()["event_id"]
    with visitor.http.stream("GET", "queue/data", params={"session_hash": visitor.session}) as lines:
        next(lines.iter_lines())  # and away
    waiting = visitor.join(event).json()["event_id"]
    for event_id in (waiting, joined):
        cancelled = {"session_hash": visitor.session, "fn_index": event["id"], "event_id": event_id}
        assert visitor.http.post("cancel", json=cancelled).status_code == 200
