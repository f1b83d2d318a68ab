"""The vocabularies of the benchmarks and the wording of the background, as they lie in the data files.

The files are read directly: label order and names are checked here, whatever the code makes of them.
"""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "proxyclip_core" / "vocabularies"

COUNTS = {
    "voc21": 21,
    "voc20": 20,
    "context60": 60,
    "context59": 59,
    "coco_object": 81,
    "coco_stuff": 171,
    "cityscapes": 19,
    "ade20k": 150,
}
WITH_BACKGROUND = {"voc21": "voc20", "context60": "context59", "coco_object": None}
BACKGROUNDS = ("background_short", "background_long")

# Index -> first name of the class, from the label lists of the data sets; the first and the last class are among them.
KNOWN = {
    "voc21": {0: "background", 1: "aeroplane", 5: "bottle", 11: "dining table", 15: "person", 20: "tv monitor"},
    "voc20": {0: "aeroplane", 6: "car", 10: "dining table", 15: "potted plant", 19: "tv monitor"},
    "context60": {0: "background", 1: "aeroplane", 2: "bag", 29: "grass", 37: "person", 50: "table", 59: "wood"},
    "context59": {0: "aeroplane", 4: "bench", 28: "grass", 36: "person", 46: "sky", 49: "table", 58: "wood"},
    "coco_object": {0: "background", 1: "person", 12: "stop sign", 18: "horse", 61: "dining table", 80: "toothbrush"},
    "coco_stuff": {
        0: "person",
        11: "stop sign",
        24: "backpack",
        60: "dining table",
        79: "toothbrush",
        80: "banner",
        84: "building",
        94: "clouds",
        121: "mirror",
        145: "sky",
        158: "vegetable",
        159: "brick wall",
        161: "wall",
        170: "wood",
    },
    "cityscapes": {0: "road", 5: "pole", 8: "vegetation", 10: "sky", 11: "person", 13: "car", 18: "bicycle"},
    "ade20k": {
        0: "wall",
        1: "building",
        12: "person",
        20: "car",
        35: "wardrobe",
        58: "screen door",
        65: "toilet",
        89: "television",
        94: "land",
        125: "pot",
        130: "screen",
        149: "flag",
    },
}

# Index of a class -> all its names, in order.
SYNONYMS = {
    1: ["building", "edifice"],
    13: ["earth", "ground"],
    58: ["screen door"],
    94: ["land", "soil"],
    130: ["screen", "silver screen", "projection screen"],
}


def read_lines(name):
    return (FOLDER / f"{name}.txt").read_bytes().decode("utf-8").split("\n")


def read_header(name):
    return [line for line in read_lines(name) if line.startswith("#")]


def read_classes(name):
    """The classes of a file, each as the list of its names."""
    return [line.split("; ") for line in read_lines(name) if line and not line.startswith("#")]


def first_names(name):
    return [names[0] for names in read_classes(name)]


def test_no_other_files():
    assert {path.name for path in FOLDER.iterdir() if path.suffix == ".txt"} == {
        f"{name}.txt" for name in (*COUNTS, *BACKGROUNDS)
    }


@pytest.mark.parametrize("name", COUNTS)
def test_count_of_classes(name):
    assert len(read_classes(name)) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_known_labels(name):
    names = first_names(name)
    assert {index: names[index] for index in KNOWN[name]} == KNOWN[name]
    assert {0, len(names) - 1} <= KNOWN[name].keys()


@pytest.mark.parametrize("name", [*COUNTS, *BACKGROUNDS])
def test_no_name_occurs_twice(name):
    words = [word.casefold() for names in read_classes(name) for word in names]
    assert sorted(words) == sorted(set(words))


@pytest.mark.parametrize("name", [*COUNTS, *BACKGROUNDS])
def test_names_are_clean(name):
    for names in read_classes(name):
        for word in names:
            assert word == " ".join(word.split()), f"spaces: {word!r}"
            assert word and word.isascii() and word == word.lower(), f"letters: {word!r}"
            assert not set(word) & set(",;|#_"), f"signs: {word!r}"


@pytest.mark.parametrize("name", [*COUNTS, *BACKGROUNDS])
def test_layout_of_the_file(name):
    lines = read_lines(name)
    assert lines[-1] == "" and "" not in lines[:-1], "one newline at the end, no empty lines"
    assert not any("\r" in line for line in lines)
    header = read_header(name)
    assert lines[: len(header)] == header, "comments come first"


@pytest.mark.parametrize("name", [*COUNTS, *BACKGROUNDS])
def test_header(name):
    header = read_header(name)
    kind = "words" if name in BACKGROUNDS else "classes"
    count = len(read_classes(name))
    assert header[0].startswith("# title: ") and header[0].endswith(f", {count} {kind}")
    assert header[1].startswith("# source: ")
    assert header[2].startswith(f"# {kind}: {count};")
    assert any(line.startswith("# names: ") for line in header)


def test_titles_differ():
    titles = [read_header(name)[0] for name in [*COUNTS, *BACKGROUNDS]]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", COUNTS)
def test_background_is_one_word_and_first(name):
    classes = read_classes(name)
    assert (classes[0] == ["background"]) == (name in WITH_BACKGROUND)
    assert "background" not in [word for names in classes[1:] for word in names]
    without = WITH_BACKGROUND.get(name)
    if without:
        assert classes[1:] == read_classes(without)


def test_context_order_is_alphabetical():
    # 'pottedplant' and 'tvmonitor' are the official spellings, and the order is theirs.
    names = [word.replace(" ", "") for word in first_names("context59")]
    assert names == sorted(names)


def test_coco_stuff_begins_with_the_objects():
    assert first_names("coco_stuff")[:80] == first_names("coco_object")[1:]


def test_ade20k_synonyms():
    classes = read_classes("ade20k")
    assert {index: classes[index] for index in SYNONYMS} == SYNONYMS


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_background_words(name):
    classes = read_classes(name)
    assert all(len(names) == 1 for names in classes)
    words = {names[0] for names in classes}
    stuff = set(first_names("coco_stuff")[80:]) | set(first_names("context59"))
    assert words <= stuff
    objects = {word for other in ("voc21", "coco_object") for names in read_classes(other) for word in names}
    assert not words & objects


def test_background_lists_are_short_and_long():
    short, long = (first_names(name) for name in BACKGROUNDS)
    assert 5 <= len(short) <= 8 and 20 <= len(long) <= 30
    assert set(short) < set(long)
