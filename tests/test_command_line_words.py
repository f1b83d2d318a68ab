"""`proxyclip words`: the words that it prints, and what they are chosen from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxyclip_core import parse_vocabulary, presence
from proxyclip_core.evaluation import find_benchmark

FAST = ("--vfm", "DINO B/8", "--side", "as-is")


def test_it_prints_words_as_segment_takes_them(command, picture_file, capsys):
    assert command("words", picture_file, *FAST) == 0
    words = capsys.readouterr().out.strip()
    assert {(group[0],) for group in parse_vocabulary(words)} <= set(presence.candidate_words("OpenAI B/16"))
    assert command("segment", picture_file, words, *FAST, "--templates", "simple7") == 0


@pytest.mark.parametrize("given", ["sky; heaven, hill, horse", "words.txt", "@words.txt", "voc20"])
def test_words_are_chosen_from_a_list_a_file_or_a_benchmark(command, picture_file, given, capsys, monkeypatch):
    monkeypatch.setattr(presence, "PERHAPS_ABSENT", 0)
    Path("words.txt").write_text("sky; heaven\nhill\nhorse\n")
    assert command("words", picture_file, *FAST, "--vocabulary", given) == 0
    listed = find_benchmark("voc20").official if given == "voc20" else parse_vocabulary("sky; heaven, hill, horse")
    assert set(parse_vocabulary(capsys.readouterr().out)) <= set(listed)


def test_nothing_found_is_said_and_no_error(command, picture_file, capsys, monkeypatch):
    monkeypatch.setattr(presence, "PERHAPS_ABSENT", 1.1)
    assert command("words", picture_file, *FAST) == 0
    printed = capsys.readouterr()
    assert printed.out == "" and "none of the words" in printed.err


def test_a_picture_that_is_not_there_is_told_before_models_load(command, loaded, capsys):
    assert command("words", "none.png") == 1
    assert "no picture at none.png" in capsys.readouterr().err and not loaded


def test_segment_marks_what_is_perhaps_not_there(command, picture_file, capsys, monkeypatch):
    monkeypatch.setattr("proxyclip_core.segmentation.PERHAPS_ABSENT", 1.1)
    assert command("segment", picture_file, "sky, hill", *FAST) == 0
    shares = [line for line in capsys.readouterr().out.splitlines() if "%" in line]
    assert all(line.endswith(", perhaps not there") for line in shares if " 0.0%" not in line)
    assert command("segment", picture_file, "sky, hill", *FAST, "--json", "--force") == 0
    row = json.loads(capsys.readouterr().out)
    assert set(row["presence"]) == set(row["perhaps_absent"]) == {"sky", "hill"}
