"""What is said beside the result, of the picture, the words, files of words and weights that are not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.page import file


@pytest.fixture
def cut_short(portrait, tmp_path) -> str:
    (tmp_path / "cut.jpg").write_bytes(Path(portrait).read_bytes()[:-2])
    return str(tmp_path / "cut.jpg")


NOTES = ("the end of the file is missing", "taken once: 'SKY'", "OpenAI B/16 reads English; it hardly knows 马")


@pytest.fixture
def as_openai(tiny_model, monkeypatch) -> None:
    monkeypatch.setattr(tiny_model.clip, "name", "OpenAI B/16")


def test_reservations_and_words_are_noted_beside_the_result_and_nowhere_else(empty, as_openai, cut_short, capfd):
    empty.set("picture", file(cut_short))
    empty.do("words", "submit", "sky, SKY, 马")
    assert all(text in empty.said("notes") for text in NOTES) and not empty.said()
    empty.do("gamma", "input", 8.0)  # the picture is not read again, its reservation stays
    assert NOTES[0] in empty.said("notes")
    empty.do("words", "submit", "sky, tree")
    assert NOTES[0] in empty.said("notes") and NOTES[2] not in empty.said("notes")
    assert capfd.readouterr().err == ""


def test_an_encoder_that_went_on_in_another_precision_is_noted(empty, tiny_model, monkeypatch):
    monkeypatch.setattr(tiny_model.vfm, "note", "golden overflows in float16; it goes on in float32.")
    empty.do("segment", "click")
    assert "golden overflows in float16" in empty.said("notes")
    summary = empty.call("segment", picture=empty["picture"], words="sky", windows="whole", templates="none")[2]
    assert "golden overflows in float16" in summary.root["notes"][-1]


def test_a_picture_without_reservations_takes_the_notes_away(empty, as_openai, cut_short, portrait):
    empty.set("picture", file(cut_short))
    empty.do("words", "submit", "sky, tree")
    empty.do("picture", "input", file(portrait))
    assert not empty.said("notes") and not empty.prop("notes", "visible")


def test_a_call_says_the_same_in_its_summary(asked, as_openai, cut_short, capfd):
    summary = asked.call("segment", picture=file(cut_short), words="sky, SKY, 马", windows="whole", templates="none")[2]
    notes = summary.root["notes"]
    assert len(notes) == 3 and all(text in note for text, note in zip(NOTES, notes))
    assert capfd.readouterr().err == ""


def test_one_class_alone_offers_a_background_by_one_click(empty):  # CLIP_Surgery 2, 12; clipseg 37
    empty.do("words", "submit", "horse")
    assert "'horse' is the only class" in empty.said("notes") and empty.prop("add-background", "visible")
    empty.do("add-background", "click")
    assert empty.visit.asked.settings.background == "short" and "background" in empty["legend"]
    assert not empty.said("notes") and not empty.prop("add-background", "visible")
    assert empty.prop("threshold", "interactive")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "# mine\nsky; cloud\npalm, tall\n", "sky; cloud\npalm\ntall"),
        ("a.csv", 'id,name\n1,sky;cloud\n2,"palm, tall"\n', 'sky; cloud\n"palm, tall"'),
        ("names.json", '{"names": ["sky", "hill"]}', "sky\nhill"),
    ],
)
def test_words_come_from_a_file(page, tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    page.do("words-file", "upload", file(tmp_path / name))
    assert page["words"] == words and not page.said()
    assert page.visit.asked.settings.words == words


def test_words_that_a_file_holds_twice_are_said(page, tmp_path):
    (tmp_path / "a.txt").write_text("sky\nhill\nSky\n")
    page.do("words-file", "upload", file(tmp_path / "a.txt"))
    assert page["words"] == "sky\nhill" and "taken once: 'Sky'" in page.said()


@pytest.mark.parametrize(
    ("content", "message"), [(b"sky, " * 200_000, "more than 500 kB"), (b"[3]", "Got 3"), (b"", "There are no words")]
)
def test_a_file_without_usable_words_is_said_and_the_words_stay(page, tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content) if content == b"[3]" else (tmp_path / "a.txt").write_bytes(content)
    page.do("words-file", "upload", file(next(tmp_path.glob("a.*"))))
    assert message in page.said() and page["words"] == "sky, tree"


def test_models_that_are_not_here_are_fetched_by_the_button_alone(arriving):
    page, models = arriving
    page.do("clip", "input", "OpenAI B/32")
    assert "OpenAI B/16 +" in page["status"] and models.here == {"OpenAI B/16"}  # the present ones go on
    page.do("segment", "click")
    assert "OpenAI B/32 +" in page["status"] and not page.prop("download", "visible") and not page.said()


def test_weights_that_cannot_be_had_end_the_chain_with_a_reason(arriving):
    page, models = arriving
    models.fails = True
    page.set("clip", "OpenAI B/32")
    before = page["overlay"]
    page.do("segment", "click")
    assert page.said() == "No connection, so no OpenAI B/32." and page["overlay"] == before
    assert page.toast == "" and not page.prop("download", "visible")


def test_nothing_is_fetched_for_words_with_a_slip(arriving):
    page, models = arriving
    page.set("clip", "OpenAI B/32")
    page.do("words", "submit", "sky,,tree")
    assert "empty word" in page.said() and models.here == {"OpenAI B/16"}
