"""Words as people type them."""

import pytest

from proxyclip_core import background_presets, parse_vocabulary, vocabulary_presets
from proxyclip_core.words import TEMPLATES, as_text, check_classes, prompts_for, templates_of, with_background


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("cat", (("cat",),)),
        ("sky; cloud, hill", (("sky", "cloud"), ("hill",))),
        ("sky | cloud\nhill", (("sky", "cloud"), ("hill",))),
        ("  big   dog ,\n\n cat,\n", (("big dog",), ("cat",))),
        ("Hund, Gänseblümchen", (("Hund",), ("Gänseblümchen",))),
        ('"palm tree, tall", sky', (("palm tree, tall",), ("sky",))),
        ('"a; b"; "c|d"|e', (("a; b", "c|d", "e"),)),
        ('"the ""big"" one", a 5" pipe', (('the "big" one',), ('a 5" pipe',))),
    ],
)
def test_separators(text, classes):
    assert parse_vocabulary(text) == classes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "There are no words"),
        (" \n , ", "There are no words"),
        ("cat, , dog", r"Class 2 \(after 'cat'\) has an empty word"),
        ("cat; ; kitten", "Class 1 has an empty word"),
        ("cat, dog, Cat", "'Cat' is given twice"),
        ("Grass, grass", "'grass' is given twice"),
        ("grass, Grass", "'Grass' is given twice"),
        ("lawn; Grass, sky; grass", r"'grass' is given twice \(in 'lawn' and in 'sky'\)"),
        ("STRASSE, Straße", "'Straße' is given twice"),
        ("sky; cloud, cloud", "'cloud' is given twice"),
        ("sky; sky", "'sky' is given twice"),
        (None, "Got NoneType"),
    ],
)
def test_slips_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_vocabulary(text)


@pytest.mark.parametrize("words", [("cat", "cat"), ("Cat", "cat"), ("cat", "Cat")])
def test_equal_words_given_as_lists_are_found(tiny_model, words):
    with pytest.raises(ValueError, match="given twice"):
        tiny_model.embed([[word] for word in words])
    with pytest.raises(ValueError, match="given twice"):
        tiny_model.embed(list(words))


@pytest.mark.parametrize(
    "words",
    [
        ["sky", ["horse", "pony"]],
        (("sky",), ("horse", "pony")),
        {"sky": [], "horse": "pony"},
        {"sky": (), "horse": ["pony"]},
    ],
)
def test_words_are_a_list_or_a_table_too(words):
    assert check_classes(words) == (("sky",), ("horse", "pony"))


@pytest.mark.parametrize("classes", [(("sky", "cloud"), ("hill",)), (("palm, tall", 'say "a"'), ('"b', "c|d;e"))])
def test_classes_as_text_read_as_they_were(classes):
    assert parse_vocabulary(as_text(classes)) == classes


def test_too_long_words_are_named(tiny_model):
    with pytest.raises(ValueError, match="'very very"):
        tiny_model.embed("cat, " + "very " * 80 + "long")


def test_the_longest_word_that_fits_keeps_its_end_token(tiny_model):
    longest = tiny_model.clip.network.context_length - 2
    word = " ".join(["very"] * longest)
    assert tiny_model.clip.tokenizer([word])[0, -1] == 49407  # the end token is there
    assert tiny_model.embed([[word]], templates="none").names == (word,)
    with pytest.raises(ValueError, match="too long"):
        tiny_model.embed([[word + " very"]], templates="none")


def test_template_sets():
    assert [len(templates_of(name)) for name in TEMPLATES] == [1, 7, 80]
    assert all(template.count("{}") == 1 for name in TEMPLATES for template in templates_of(name))


def test_braces_in_words_are_only_characters():
    assert prompts_for("{0} {cat}", "none") == ["{0} {cat}"]


def test_background_presets_are_put_in_front():
    classes, declared = with_background((("cat",), ("dog",)), "short")
    assert declared and classes[0][0] == "background" and "sky" in classes[0]
    assert classes[1:] == (("cat",), ("dog",))


def test_background_wording_leaves_the_other_classes_their_words():
    classes, _ = with_background((("sky",), ("dog",)), "long")
    assert "sky" not in classes[0]


def test_background_wording_extends_a_class_called_background():
    classes, _ = with_background((("background",), ("dog",)), "short")
    assert len(classes) == 2 and len(classes[0]) > 3


def test_background_that_is_not_first_is_refused():
    with pytest.raises(ValueError, match="not the first class"):
        with_background((("dog",), ("background",)), "short")


def test_declared_background(tiny_model):
    assert tiny_model.embed("other, dog", background="first").has_background
    assert tiny_model.embed("other, dog", background="short").has_background
    assert not tiny_model.embed("other, dog").has_background
    with pytest.raises(ValueError, match="background is 'other'; expected one of"):
        tiny_model.embed("other, dog", background="other")


def test_every_preset_parses():
    sizes = {len(parse_vocabulary(words)) for words in vocabulary_presets().values()}
    assert sizes == {19, 20, 21, 59, 60, 81, 150, 171}
    assert len(background_presets()["short"]) < len(background_presets()["long"])


def test_every_preset_fits_into_the_prompts(tiny_model):
    for words in vocabulary_presets().values():
        for group in parse_vocabulary(words):
            for word in group:
                tiny_model.clip.check_length(word, 15)


@pytest.mark.parametrize(
    "classes, message",
    [
        (["sky", 3], "Got 3 for a class"),
        ([["sky", 3]], "Got 3 for a word"),
        ([[" "], ["sky"]], "empty word"),
        ([["sky"], ["sky "]], "given twice"),
        ([["sky\ud800"]], "half of a character"),
        (None, "Got NoneType"),
    ],
)
def test_lists_of_wordings_are_checked_as_text_is(classes, message):
    with pytest.raises(ValueError, match=message):
        check_classes(classes)
