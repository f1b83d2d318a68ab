"""New words are answered while an encoder is at work for somebody else, and its result is what it would have been."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from demo import time_limit
from demo.models import Models
from proxyclip_core.interrupt import checkpoint
from tests.serving import door_around
from tests.strangers.bad_inputs import segmenting
from tests.strangers.stranger import Stranger


@pytest.fixture(scope="module")
def served(tiny_model):
    given = {"load_clip": lambda *_: tiny_model.clip, "load_vfm": lambda *_: tiny_model.vfm}
    models = Models("cpu", find=lambda spec: None, **given)
    models.get("OpenAI B/16", "DINO B/8")
    with door_around(models) as found:
        yield found


def visitor(served, path) -> Stranger:
    found = Stranger(served[1])
    picture = found.upload("a.png", path.read_bytes())
    for name, value in {"picture": picture, "words": "sky, hill", "windows": "whole", "templates": "none"}.items():
        found.set(name, value)
    return found


def test_new_words_do_not_wait_for_an_encoder(served, tiny_model, blocks_file, monkeypatch):
    monkeypatch.setattr(time_limit, "seen", lambda: 1e13)
    quick, slow = visitor(served, Path(blocks_file)), visitor(served, Path(blocks_file))
    quick.ask(segmenting(quick))
    begun, answered, end = threading.Event(), threading.Event(), time.monotonic() + 120
    encode = tiny_model.clip.encode_windows

    def encode_slowly(windows):
        begun.set()
        while not answered.is_set() and time.monotonic() < end:
            checkpoint()
        return encode(windows)

    monkeypatch.setattr(tiny_model.clip, "encode_windows", encode_slowly)
    monkeypatch.setattr(time_limit, "seen", lambda: 1e10)
    event_id = slow.join(segmenting(slow)).json()["event_id"]
    assert begun.wait(60)
    monkeypatch.setattr(time_limit, "seen", lambda: 1e13)
    quick.set("words", "sky, tree")
    said, outputs = quick.ask(segmenting(quick))
    assert not said and any("tree" in str(output) for output in outputs)
    assert not answered.is_set() and time.monotonic() < end
    answered.set()
    assert "hill" in str(slow.answer(event_id)["output"])
