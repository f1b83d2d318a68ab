"""demo.answers.errors: what strangers may read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

import proxyclip_core as pc
from demo import limits
from demo.answers.errors import MOST_SAID, in_words, message, outward


@pytest.fixture(autouse=True)
def public(monkeypatch):
    monkeypatch.setattr(limits, "PUBLIC", True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/srv/data/weights/clip.pt is damaged", "clip.pt is damaged"),
        (
            "Tried: PROXYCLIP_WEIGHTS (/home/ann/w), the cache (/srv/.cache/hub).",
            "PROXYCLIP_WEIGHTS (w), the cache (hub)",
        ),
        ("no file '/a/b c/d.png'", "d.png"),
        (r"C:\Users\ann\w.pt is damaged", "w.pt is damaged"),
        (f"{Path.home()}/own folder/x.png is gone", "own folder/x.png is gone"),
        (f"{tempfile.gettempdir()}/gradio/ab12/x.png", "x.png"),
    ],
)
def test_files_are_told_by_their_names(text, said):
    shown = outward(text)
    assert said in shown and not any(part in shown for part in ("/srv", "/home", "/root", "Users", str(Path.home())))


@pytest.mark.parametrize(
    "text",
    [
        "hf download timm/vit_base.dino model.safetensors --local-dir weights/vit_base",
        "No CLIP is called 'OpenAI B/99'. Known: OpenAI B/16, OpenAI L/14 336.",
        "and/or, 1/2, </b> and https://huggingface.co/timm/x",
    ],
)
def test_what_is_no_file_of_the_server_stays(text):
    assert outward(text) == text


def test_of_an_error_inside_the_log_says_where_and_to_strangers_pages_no_word(caplog, monkeypatch):
    def failing(words):
        raise KeyError(words)

    secret = " ".join(("a", "secret"))  # the log quotes the lines of the program

    for is_public in (True, False):
        caplog.clear()
        monkeypatch.setattr(limits, "PUBLIC", is_public)
        with pytest.raises(KeyError) as failed:
            failing(secret)
        assert "Something went wrong inside (KeyError)" in in_words(failed.value)
        assert "KeyError" in caplog.text and "in failing" in caplog.text
        assert ("a secret" in caplog.text) is not is_public


def test_the_log_has_it_in_full(caplog):
    in_words(pc.WeightsError("/srv/weights/clip.pt is damaged"))
    assert "/srv/weights/clip.pt" in caplog.text


def test_every_message_goes_by_this_door():
    assert "/srv" not in message("/srv/a/b.pt is damaged")["value"]


def test_a_message_is_of_a_length_that_can_be_read():
    assert len(outward("x" * 10**6)) == MOST_SAID


def test_on_a_page_for_this_machine_folders_are_named(monkeypatch):
    monkeypatch.setattr(limits, "PUBLIC", False)
    assert outward("/srv/weights/clip.pt is damaged") == "/srv/weights/clip.pt is damaged"
