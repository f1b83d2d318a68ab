"""Anything at all as arguments of /segment and as a file of settings; `python -m tests.fuzz` goes on for longer."""

from __future__ import annotations

import pytest

from tests.fuzz import Fuzz, calls, files, trial


@pytest.fixture(scope="module")
def fuzz(tiny_model, tmp_path_factory) -> Fuzz:
    return Fuzz(tiny_model, tmp_path_factory.mktemp("fuzz"))


def test_a_call_gets_an_answer_or_a_sentence_whatever_it_brings(fuzz):
    trial(fuzz.call, calls, 25, derandomize=True)()


def test_a_file_of_settings_is_read_or_refused_in_a_sentence_whatever_it_holds(fuzz):
    trial(fuzz.read, files, 300, derandomize=True)()
