"""What is said of words before their result is trusted, and that it is said once, wherever they are given."""

import warnings
from dataclasses import replace

import pytest

from proxyclip_core import PictureWarning, ProxyCLIP, Settings, WordsWarning, find_clip, parse_vocabulary
from proxyclip_core.models.registry import BUILTIN_FOLDER
from proxyclip_core.word_notes import language_note, not_latin, notes_on, unseen_note

ALONE = "'horse' is the only class, so all of the picture goes to it."  # CLIP_Surgery 2, 12; clipseg 37


def test_words_in_another_script_are_told():  # Grounded-Segment-Anything 465
    assert not_latin(["sky", "montaña", "Ærø", "ﬁsh", "天空", "небо", "🐎", "sky 山"]) == ("天空", "небо", "sky 山")
    note = language_note(find_clip("OpenAI B/16"), parse_vocabulary("天空，山，马，狗"))
    assert note == "OpenAI B/16 reads English; it hardly knows 天空, 山, 马 and others. Say it in English."
    assert language_note(find_clip("LAION B/16"), (("montaña",),)) == ""
    assert language_note(replace(find_clip("LAION B/16"), reads=""), (("天空",),)) == ""


def test_the_built_in_clip_says_what_it_never_saw():
    note = unseen_note(find_clip("Built-in"), (("sky", "theodolite"), ("a horse",), ("Bundesverfassungsgericht",)))
    assert note == ("Built-in never saw theodolite, Bundesverfassungsgericht when it was trained, so there it guesses.")
    assert unseen_note(find_clip("Built-in"), (("Horse",), ("brick wall", "blue sky"))) == ""
    assert unseen_note(find_clip("OpenAI B/16"), (("theodolite",),)) == ""


def test_what_a_slip_was_meant_to_be_is_named():
    note = unseen_note(find_clip("Built-in"), (("hores",), ("Blue skky",), ("xylem", "grsas"), ("hosre",)))
    assert note.startswith("Built-in never saw hores (horse?), Blue skky (blue sky?), xylem and others when")


def test_the_list_of_what_it_saw_is_the_one_it_was_trained_on():
    stuff, drawings = pytest.importorskip("assets.builtin.recipe.stuff"), "assets/builtin/recipe/words.txt"
    listed = (BUILTIN_FOLDER / "words.txt").read_text(encoding="utf-8").splitlines()
    assert {word for group in stuff.STUFF.values() for word in group} <= set(listed)
    with open(drawings, encoding="utf-8") as file:
        things = [line.partition("=")[0] for line in file if line.strip() and line[0] not in "#["]
    assert {word.strip() for line in things for word in line.split(",")} <= set(listed)


def test_a_class_that_is_alone_is_told_unless_a_background_takes_the_rest():
    assert notes_on((("horse",),), "mine", 1, False)[0].startswith(f"{ALONE} Name what else is there")
    assert notes_on((("horse",),), "mine", 2, True) == () == notes_on((("horse",), ("sky",)), "mine", 2, False)


def test_a_background_that_is_alone_is_told():
    assert notes_on((("horse",),), "mine", 1, True) == (
        "'horse' is the background and the only class, so all is background. Name what is there.",
    )


@pytest.mark.parametrize("words", ["sky; grass; palm tree", "sky | grass | palm tree"])
def test_one_class_of_several_wordings_is_shown_as_several_classes(words):
    note = notes_on(parse_vocabulary(words), "mine", 1, False)[0]
    assert "';' joins wordings of one class; if these are several: sky, grass, palm tree." in note


@pytest.mark.parametrize("words", ["sky. grass. horse", "sky/grass", "sky and grass", "sky grass horse", "sky + grass"])
def test_one_class_that_may_be_several_says_how_they_are_parted(words):
    assert "If these are several, put commas between them." in notes_on(((words,),), "mine", 1, False)[0]
    assert "commas" not in notes_on((("palm tree",),), "mine", 1, False)[0]


@pytest.fixture
def model(tiny_model, monkeypatch) -> ProxyCLIP:
    monkeypatch.setattr(tiny_model.clip, "name", "OpenAI B/16")
    return tiny_model


def test_a_result_carries_all_that_is_to_be_said_and_python_is_warned_once_of_each(model, tmp_path, blocks):
    from PIL import Image

    Image.fromarray(blocks[:56, :56]).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-2])
    with pytest.warns(UserWarning) as caught:
        result = model(tmp_path / "a.jpg", "马, 马", side=None)
    assert [warning.category for warning in caught] == [WordsWarning] * 3 + [PictureWarning]
    assert {warning.filename for warning in caught} == {__file__}
    picture, twice, language, alone = result.notes
    assert "the end of the file is missing" in picture and "taken once: '马'" in twice
    assert "hardly knows 马" in language and "'马' is the only class" in alone


def test_stage_by_stage_the_words_notes_reach_the_result(model, four_areas):
    with pytest.warns(WordsWarning, match="taken once") as caught:
        words = model.embed(["horse", "horse"])
    assert len(caught) == 1 and len(words.notes) == 2
    dense = model.fuse(model.encode(four_areas, side=None))
    assert model.classify(dense, words).segment().notes == words.notes


def test_classes_that_have_nothing_to_be_said_of_are_read_in_silence(model, four_areas):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model(four_areas, "sky, hill", side=None).notes == ()
        settings = Settings("OpenAI B/16", model.vfm.name, "horse", side=None, background="short", templates="none")
        assert model.run(four_areas, settings).notes == ()
