"""Addresses, requests that make no sense, and the queue that everybody's requests wait in."""

from __future__ import annotations

import contextlib
import copy
import http.client
import select
import socket

import httpx
import pytest

from demo import limits
from tests.serving import ROOT, until
from tests.strangers.bad_inputs import NOISE, QUICK, UPLOADING, is_fit_for_strangers, png, segmenting
from tests.strangers.stranger import PATIENCE, Stranger, said_by

CLOSED = ["proxy=https://example.hf.space/x", "file=https://example.org/x", "file=http://127.0.0.1:9", "deep_link"]
CLOSED += ["file=/etc/passwd", f"file={ROOT}/app.py", "file=../../etc/passwd", "file=%2e%2e/%2e%2e/etc/passwd"]
CLOSED += ["stream/a/b/1/playlist-file", "vibe-code", "custom_component/a/b/c/d", "file/https://example.org"]
CLOSED += ["dev/reload", "file/tmp/a.png"]


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


@pytest.mark.parametrize("address", ["queue/join", "call/upload", "run/upload", "api/upload/"])
def test_only_an_upload_may_be_large(stranger, address):
    answer = stranger.http.post(address, content=b" " * (limits.REQUEST_BYTES + 1))
    assert answer.status_code == 413


def test_a_request_that_comes_in_crumbs_is_given_up(url, monkeypatch):
    monkeypatch.setattr(limits, "STALLED_SECONDS", 0.5)
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port), timeout=30) as asking:
        asking.sendall(b"POST /gradio_api/queue/join HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(100):
            asking.sendall(b" ")  # each well within the time that it may pause
            if select.select([asking], [], [], 0.1)[0]:
                break
        assert b" 408 " in asking.recv(1_000)


def test_one_address_has_not_any_number_of_requests_open(url, monkeypatch):
    monkeypatch.setattr(limits, "MOST_OPEN", 3)
    address = httpx.URL(url)

    def status(visitor: str) -> int:
        asked = {"headers": {"x-forwarded-for": visitor}, "timeout": PATIENCE, "trust_env": False}
        return httpx.get(f"{url}health", **asked).status_code

    with contextlib.ExitStack() as held:
        for _ in range(limits.MOST_OPEN):
            asking = held.enter_context(socket.create_connection((address.host, address.port), timeout=30))
            asking.sendall(b"POST /gradio_api/queue/join HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n")
            asking.sendall(b"x-forwarded-for: 8.8.8.8\r\n\r\n")  # and no more
        until(lambda: status("8.8.8.8") == 429)
        assert status("9.9.9.9") == 200
    until(lambda: status("8.8.8.8") == 200)


@pytest.mark.parametrize(
    "ask",
    [
        lambda http, name: http.post("queue/join", json={"session_hash": name, "fn_index": 0, "data": []}),
        lambda http, name: http.post("upload", params={"upload_id": name}, files={"files": ("a.png", png(NOISE))}),
        lambda http, name: http.get("upload_progress", params={"upload_id": name}),
        lambda http, name: http.get("queue/data", params={"session_hash": name}),
    ],
)
def test_names_without_end_are_not_kept(stranger, ask):
    answer = ask(stranger.http, "x" * 1_000)
    assert answer.status_code in (404, 422) and is_fit_for_strangers(answer.text)


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


def test_sessions_that_never_end_are_no_burden(url, picture, stranger):
    with contextlib.ExitStack() as open_ones:
        for number in range(40):
            listened = {"session_hash": f"endless {number}"}
            joined = stranger.http.post("queue/join", json=listened | {"fn_index": 0, "data": []})
            assert joined.status_code in (200, 422, 429)
            address = f"heartbeat/endless{number}" if number % 2 else "queue/data"
            asked = stranger.http.stream("GET", address, params={} if number % 2 else listened)
            open_ones.enter_context(asked)
        served, text = stranger.call(picture=picture, words="sky, tree", **QUICK)
        assert served, text


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
