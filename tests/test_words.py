"""Words as people type them."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyclip_core import WordsWarning, background_presets, parse_vocabulary, vocabulary_presets
from proxyclip_core.evaluation.benchmarks import BENCHMARKS
from proxyclip_core.words import (
    TEMPLATES,
    as_text,
    check_classes,
    list_called,
    list_names,
    prompts_for,
    templates_of,
    with_background,
)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("cat", (("cat",),)),
        ("sky; cloud, hill", (("sky", "cloud"), ("hill",))),
        ("sky | cloud\nhill", (("sky", "cloud"), ("hill",))),
        ("sky, 2. hill", (("sky",), ("2. hill",))),  # no list of numbers
        ("[a] sky, hill [b]", (("[a] sky",), ("hill [b]",))),  # no list in brackets
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
        ("lawn; Grass, sky; grass", r"'grass' is given twice \(in 'lawn' and in 'sky'\)"),
        ("STRASSE; lane, Straße", "'Straße' is given twice"),
        ("sky; cloud, cloud", "'cloud' is given twice"),
        (None, "Got NoneType"),
    ],
)
def test_slips_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_vocabulary(text)


@pytest.mark.parametrize(
    ("words", "classes", "said"),
    [
        ("cat, dog, Cat", (("cat",), ("dog",)), "'Cat'"),
        ("sky; cloud; Sky, hill", (("sky", "cloud"), ("hill",)), "'Sky'"),
        ("sky; cloud, cloud; sky", (("sky", "cloud"),), "'cloud'"),
        ("STRASSE, Straße", (("STRASSE",),), "'Straße'"),
        ("a & b, a &amp b", (("a & b",),), "'a &amp b'"),
        ("sky, s\u200bky, \ufeffsky", (("sky",),), "'sky'"),
        (["cat", "cat"], (("cat",),), "'cat'"),
        ([["cat"], ["Cat"]], (("cat",),), "'Cat'"),
    ],
)
def test_what_is_given_twice_is_taken_once_and_said(words, classes, said):
    with pytest.warns(WordsWarning, match=f"taken once: {said}"):
        found = parse_vocabulary(words) if isinstance(words, str) else check_classes(words)
    assert found == classes
    if not isinstance(words, str):
        with pytest.raises(ValueError, match="given twice"):
            check_classes(words, once=False)


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


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("天空，山，马", ("天空", "山", "马")),  # Grounded-Segment-Anything 465
        ("天空、山。马", ("天空", "山", "马")),
        ("سماء، جبل", ("سماء", "جبل")),
        ("sky﹐hill､horse", ("sky", "hill", "horse")),
        ("cat . dog .", ("cat", "dog")),  # Grounded-Segment-Anything 17, 157
        ("cat. big dog.", ("cat", "big dog")),
        ("sky, hill.", ("sky", "hill")),
        ("Washington D.C.", ("Washington D.C.",)),
        ("St. Bernard, cat", ("St. Bernard", "cat")),
        ("1. sky\n2. hill", ("sky", "hill")),
        ("1. sky 2. hill", ("sky", "hill")),
        ("①sky ②hill", ("sky", "hill")),
        ("①sky②hill", ("sky", "hill")),
        ("１．sky ２．hill", ("sky", "hill")),
        ('"sky" "hill"', ("sky", "hill")),
        ("「sky」「hill」", ("sky", "hill")),
        ("(1) sky (2) hill", ("sky", "hill")),
        ("a) sky\nb) hill", ("sky", "hill")),
        ("• sky • hill", ("sky", "hill")),
        ("sky ・ hill", ("sky", "hill")),
        ("1) sky\n2) hill", ("sky", "hill")),
        ("(1) sky, (2) hill", ("sky", "hill")),
        ("1、天空\n2、山", ("天空", "山")),
        ("- sky\n* hill\n• horse", ("sky", "hill", "horse")),
        ("1.5 litre bottle, 3d printer, 7 eleven", ("1.5 litre bottle", "3d printer", "7 eleven")),
        ('["sky", "hill"]', ("sky", "hill")),
        ("['sky', 'hill',]", ("sky", "hill")),
        ("[sky, hill]", ("sky", "hill")),
        ('("sky", "hill")', ("sky", "hill")),
        ('{"0": "sky", "10": "horse", "2": "hill"}', ("sky", "hill", "horse")),
        ('{"hill": 1, "sky": 0}', ("sky", "hill")),
        ('{"names": ["sky", "hill"]}', ("sky", "hill")),
        ('{"labels": ["sky", "hill"]}', ("sky", "hill")),
        ('{"label2id": {"hill": 1, "sky": 0}}', ("sky", "hill")),
        ('{"sky": {"id": 3}, "2": {"name": "hill"}}', ("sky", "hill")),
        ('[{"id": 1, "label": "sky"}, {"label": "hill"}]', ("sky", "hill")),
        ("{'sky', 'hill'}", ("sky", "hill")),  # a set, which has no order of its own
        ('classes = ("sky", "hill")', ("sky", "hill")),
        ("names:\n  0: sky\n  1: hill", ("sky", "hill")),
        ("names: [sky, hill]", ("sky", "hill")),
        ("{0: sky, 1: hill}", ("sky", "hill")),
        ("* [ ] sky\n* [x] hill\n→ horse", ("sky", "hill", "horse")),
        ("①sky\n② hill", ("sky", "hill")),
        ("time: [a], b = c", ("time: [a]", "b = c")),
        ("sky\thill\nhorse", ("sky", "hill", "horse")),  # cells of a spreadsheet
        ("1\tsky\n2\thill", ("sky", "hill")),
        ("sky,\thill\t, horse", ("sky", "hill", "horse")),
        ("မိုး၊ တောင်။", ("မိုး", "တောင်")),
        ("ሰማይ፣ ተራራ። ባሕር", ("ሰማይ", "ተራራ", "ባሕር")),
        ("གནམ།རི།", ("གནམ", "རི")),
        ("មេឃ។ភ្នំ", ("មេឃ", "ភ្នំ")),
        ("'palm tree, tall', `hill`, ‘sea’, 『空、海』", ("palm tree, tall", "hill", "sea", "空、海")),
        ("rock 'n' roll, '90s car, '80s car, 't Hooft", ("rock 'n' roll", "'90s car", "'80s car", "'t Hooft")),
        ('[{"id": 1, "name": "sky"}, {"id": 2, "name": "hill"}]', ("sky", "hill")),
        ("(left) arrow", ("(left) arrow",)),
        ("“palm tree, tall”， sky", ("palm tree, tall", "sky")),  # Detic 94
        ("«a, b», 「c、d」", ("a, b", "c、d")),
        ("\ufeffsky\u200b, hi\x00ll, \u202dcat", ("sky", "hi ll", "cat")),
        ("👩‍🚒, می‌خواهم", ("👩‍🚒", "می‌خواهم")),  # joined by a character without width, which stays
    ],
)
def test_other_ways_to_write_a_list_are_understood(text, names):
    assert parse_vocabulary(text) == tuple((name,) for name in names)


@pytest.mark.parametrize(
    "text", ["天空；蓝天，山", '[["天空", "蓝天"], "山"]', '{"天空": "蓝天", "山": []}', "天空｜蓝天\n山"]
)
def test_synonyms_in_other_ways_to_write_them(text):
    assert parse_vocabulary(text) == (("天空", "蓝天"), ("山",))


AWKWARD = st.sampled_from(list(",;|.，、；。\"“”«»「」[](){}-*•12 '‘’`『』།→①=:abß\u200b\u200dé山👩\t\n\x00&"))


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.lists(st.text(AWKWARD | st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1), min_size=1)
)
def test_classes_as_text_read_as_they_were(lists):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WordsWarning)
        try:
            classes = check_classes(lists)
        except ValueError:
            return
        assert parse_vocabulary(as_text(classes)) == classes == check_classes(classes)
        assert parse_vocabulary("\n".join(as_text((group,)) for group in classes)) == classes


@settings(deadline=None, max_examples=300)
@given(st.text(AWKWARD))
def test_any_text_is_read_or_refused_in_words(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            classes = parse_vocabulary(text)
        except ValueError:
            return
        assert parse_vocabulary(as_text(classes)) == classes


def test_words_of_a_command_line_in_an_ascii_locale_are_read():  # which Python hands on byte by byte
    assert parse_vocabulary("山, montaña".encode().decode("ascii", "surrogateescape")) == (("山",), ("montaña",))


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


def test_background_keeps_its_own_words():
    classes, _ = with_background((("background", "curtain"), ("dog",)), "short")
    assert classes[0][:2] == ("background", "curtain") and len(classes[0]) > 2


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


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("ADE20K, 150 classes", ["ade20k", " ADE20K ", "ADE20K, 150 classes"]),
        ("COCO-Stuff, 171 classes", ["coco-stuff", "COCO_Stuff", "coco-stuff, 171 classes"]),
    ],
)
def test_a_list_is_found_by_its_title_and_by_its_short_name(title, names):
    assert all(list_called(name) == vocabulary_presets()[title] for name in names)


def test_short_names_of_lists_are_those_of_the_benchmarks():
    assert set(list_names()) == set(BENCHMARKS) and list_called("sky") is None


def test_every_preset_fits_into_the_prompts(tiny_model):
    for words in vocabulary_presets().values():
        for group in parse_vocabulary(words):
            tiny_model.clip.check_length(group, "imagenet80")


@pytest.mark.parametrize(
    "classes, message",
    [
        (["sky", 3], "Got 3 for a class"),
        ([["sky", 3]], "Got 3 for a word"),
        ([[" "], ["sky"]], "empty word"),
        ([["sky"], ["hill", "sky "]], "given twice"),
        ([["sky\ud800"]], "half of a character"),
        (None, "Got NoneType"),
    ],
)
def test_lists_of_wordings_are_checked_as_text_is(classes, message):
    with pytest.raises(ValueError, match=message):
        check_classes(classes)


@pytest.mark.parametrize("run", ["\u200d", "\u0301\u0323"], ids=["joiners", "accents"])
def test_a_word_without_end_is_refused_at_once(run):
    """To look at what has no width, or to put accents in order, took time with the square: for these, minutes."""
    with pytest.raises(ValueError, match=r"is one word of \d+ characters; at most 5000 can be taken"):
        parse_vocabulary("é" + run * 150_000 + "é")


def test_the_longest_word_that_can_be_taken():
    assert parse_vocabulary("a" * 5000) == (("a" * 5000,),)
    with pytest.raises(ValueError, match="5001 characters"):
        parse_vocabulary("a" * 5001)


def test_two_joiners_stay_where_a_script_needs_them():
    assert parse_vocabulary("क\u200dष, a\u200d\u200db, é\u200d\u200d\u200cé, \u200dx") == (
        ("क\u200dष",),
        ("ab",),
        ("é\u200d\u200d\u200cé",),
        ("x",),
    )


def test_a_background_of_ones_own_is_extended_in_whatever_case_it_is_written():
    classes, declared = with_background((("Background", "lawn"), ("cat",)), "short")
    assert declared and classes == (("background", "lawn", *background_presets()["short"]), ("cat",))
