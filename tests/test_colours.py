"""proxyclip_core.drawing.colours: found classes are told apart by every sight, and a word keeps its colour."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import proxyclip_core as pc
from proxyclip_core import Segmentation
from proxyclip_core.drawing.colours import BACKGROUND, colours_of, shades_of
from proxyclip_core.drawing.natural_colours import NATURAL, natural_colour
from proxyclip_core.drawing.patterns import PATTERNS
from proxyclip_core.drawing.sight import text_on

PRESETS = {
    title: [wordings[0] for wordings in pc.parse_vocabulary(words)] for title, words in pc.vocabulary_presets().items()
}
MOST = max(PRESETS.values(), key=len)
# Machado, Oliveira, Fernandes 2009: linear RGB as seen with no red, green or blue cones; and how far apart in OKLab
# colours are then to be. 0.02 is just noticeable, and tritanopia is rare.
SIGHT = {
    "normal": (np.eye(3), 0.10),
    "protan": (
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        0.07,
    ),
    "deutan": (
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        0.07,
    ),
    "tritan": (
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
        0.05,
    ),
}


def linear(colours: np.ndarray) -> np.ndarray:
    channels = colours / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(light: np.ndarray) -> np.ndarray:
    cones = light @ np.transpose(
        [
            [0.41222147, 0.53633254, 0.05144599],
            [0.21190350, 0.68069955, 0.10739696],
            [0.08830246, 0.28171884, 0.62997870],
        ]
    )
    return np.cbrt(cones) @ np.transpose(
        [
            [0.21045426, 0.79361779, -0.00407205],
            [1.97799850, -2.42859221, 0.45059371],
            [0.02590404, 0.78277177, -0.80867577],
        ]
    )


def hue(colour: np.ndarray) -> float:
    """Degrees: 25 is red, 100 yellow, 145 green, 250 blue."""
    _, a, b = oklab(linear(np.asarray(colour, float)))
    return float(np.degrees(np.arctan2(b, a)) % 360)


def regions(rng: np.random.Generator, classes: np.ndarray) -> np.ndarray:
    """(60, 80) labels: the areas around random points, two a class, as in a picture of many things."""
    own, points = np.tile(classes, 2), rng.random((2 * len(classes), 2)) * (60, 80)
    pixels = np.stack(np.mgrid[:60, :80], axis=-1)[..., None, :]
    return own[((pixels - points) ** 2).sum(axis=-1).argmin(axis=-1)].astype(np.uint16)


def result(labels, names, has_background: bool = False) -> Segmentation:
    labels = np.asarray(labels, np.uint16)
    return Segmentation(labels, tuple(names), np.ones(labels.shape, np.float32), has_background)


def alone(name: str) -> np.ndarray:
    """(3,): the colour of a word that has a picture to itself."""
    return colours_of(result([[0]], [name]))[0]


def touching(labels: np.ndarray) -> set[tuple[int, int]]:
    pairs = Counter([*zip(labels[1:].flat, labels[:-1].flat), *zip(labels[:, 1:].flat, labels[:, :-1].flat)])
    return {pair for pair, steps in pairs.items() if pair[0] != pair[1] and steps >= 3}


def apart(colours: np.ndarray) -> np.ndarray:
    """(K, K): distances in units of what is asked for, of the sight that tells two colours apart worst."""
    seen = (oklab(np.clip(linear(colours) @ np.transpose(matrix), 0, 1)) / bound for matrix, bound in SIGHT.values())
    return np.min([np.linalg.norm(lab[:, None] - lab, axis=-1) for lab in seen], axis=0) + np.eye(len(colours)) * 9


@pytest.mark.parametrize("names", PRESETS.values(), ids=PRESETS)
def test_twelve_found_classes_of_any_preset_are_told_apart_by_every_sight_and_neighbours_first(names):
    rng = np.random.default_rng(0)
    for _ in range(8):
        labels = regions(rng, rng.choice(len(names), 12, replace=False))
        distance, found = apart(colours_of(result(labels, names))), np.unique(labels)
        assert distance[np.ix_(found, found)].min() > 0.98  # colours are whole numbers
        assert min(distance[pair] for pair in touching(labels)) > 1.3


@pytest.mark.parametrize("found", [16, 20, 30, 45, 60, 80, 120, 171])
@pytest.mark.parametrize("names", PRESETS.values(), ids=PRESETS)
def test_all_found_classes_of_any_preset_are_told_apart_by_colour_or_hatching_and_neighbours_first(names, found):
    if len(names) < found:
        pytest.skip(f"the preset has {len(names)} classes")
    labels = regions(rng := np.random.default_rng(found), rng.choice(len(names), found, replace=False))
    colours, patterns = shades_of(result(labels, names))
    distance, present = np.where(patterns[:, None] == patterns, apart(colours), 9), np.unique(labels)
    assert distance[np.ix_(present, present)].min() > 0.98
    assert min(distance[pair] for pair in touching(labels)) > 1.3
    # A label map has colours alone.
    assert apart(colours)[np.ix_(present, present)].min() > (0.3 if found <= 60 else 0.1)
    assert (patterns < PATTERNS).all() and (patterns[present] == 0).sum() >= 12


def test_larger_classes_are_not_hatched_because_of_smaller_ones():
    labels = np.repeat(np.arange(14, dtype=np.uint16), np.arange(30, 2, -2))[None].repeat(40, axis=0)
    before = shades_of(result(labels, MOST))[0]
    labels[20] = np.arange(100, 130).repeat(8)[: labels.shape[1]]
    after, patterns = shades_of(result(labels, MOST))
    assert (before[:14] == after[:14]).all() and patterns[100:130].any() and not patterns[:14].any()


def test_all_classes_of_the_longest_preset_differ_where_all_are_found():  # labelme 908
    colours = colours_of(result(np.arange(len(MOST))[None].repeat(5, axis=0), MOST))
    assert len(np.unique(colours, axis=0)) == len(MOST) == 171
    assert apart(colours).min() > 0.1


def test_thousands_of_words_have_colours_and_the_found_ones_are_told_apart():
    names = [f"word {number}" for number in range(3000)]
    labels = regions(np.random.default_rng(0), np.arange(2985, 2997))
    assert apart(colours_of(result(labels, names))[2985:2997]).min() > 0.98


def test_a_word_has_its_colour_in_every_vocabulary_and_picture_where_it_is_free():
    assert (colours_of(result([[1, 1], [1, 0]], ["sky", "horse"]))[1] == alone("horse")).all()
    assert (colours_of(result([[0, 0]], ["Horse", "sky"]))[0] == alone("horse")).all()


def test_words_added_to_the_list_change_no_colours():
    labels, names = regions(np.random.default_rng(0), np.arange(12)), MOST[:20]
    assert (colours_of(result(labels, names)) == colours_of(result(labels, names + MOST[20:]))[:20]).all()


@pytest.mark.parametrize("newcomer", ["clock", "mud"])
def test_a_class_that_appears_leaves_larger_ones_as_they_are(newcomer):
    rng, new = np.random.default_rng(0), MOST.index(newcomer)
    for _ in range(8):
        labels = regions(rng, rng.choice(np.delete(np.arange(len(MOST)), new), 10, replace=False))
        before, areas = colours_of(result(labels, MOST)), np.bincount(labels.flat, minlength=len(MOST))
        labels[30:32, 40:43] = new
        larger = areas > 8 * 6 + 6
        assert (before[larger] == colours_of(result(labels, MOST))[larger]).all()


def test_of_two_that_would_be_mixed_up_the_smaller_steps_aside_and_stays_near():
    names = ["lake", "river", "house"]
    colours = colours_of(result([[0, 0, 0, 1, 2]] * 5, names))
    assert (colours[0] == alone("lake")).all() and (colours[1] != alone("river")).any()
    assert (colours_of(result([[0, 1, 1, 1, 2]] * 5, names))[1] == alone("river")).all()
    assert abs(hue(colours[1]) - hue(colours[0])) < 30


@pytest.mark.parametrize(
    ("names", "low", "high"),
    [
        (("grass", "lawn", "tree", "palm trees", "forest", "leaves", "bushes", "broccoli"), 110, 170),
        (("sky", "blue sky", "skies", "lake", "sea", "ocean waves", "river", "body of water"), 225, 275),
        (("sand", "sandy beach", "desert", "wooden floor", "wood"), 60, 100),
        (("brick wall", "red brick wall", "fire", "dirt road", "muddy ground", "red car"), 20, 70),
    ],
)
def test_what_has_a_colour_by_nature_gets_one_near_it(names, low, high):
    assert all(low < hue(alone(name)) < high for name in names), [hue(alone(name)) for name in names]


@pytest.mark.parametrize("names", [PRESETS[title] for title in PRESETS if "COCO-Stuff" in title or "59" in title])
def test_nature_keeps_its_hues_among_other_found_classes(names):
    rng, expected = np.random.default_rng(0), {"grass": 140, "tree": 140, "water": 245, "sky": 245, "sea": 255}
    present = [names.index(name) for name in expected if name in names]
    for _ in range(8):
        others = rng.choice(np.delete(np.arange(len(names)), present), 8, replace=False)
        colours = colours_of(result(regions(rng, np.array([*present, *others])), names))
        assert all(abs(hue(colours[index]) - expected[names[index]]) < 40 for index in present)


@pytest.mark.parametrize(
    "name",
    ["beach umbrella", "water bottle", "street light", "man on the beach", "grasshopper", "snowman", "天空", ""],
)
def test_a_thing_is_no_stuff_it_is_named_after(name):
    assert natural_colour(name) is None


def test_clouds_and_snow_are_light_and_a_road_is_grey():
    assert all(
        oklab(linear(alone(name).astype(float)))[0] > 0.9 for name in ("cloud", "clouds", "snow", "snowy mountain")
    )
    assert np.ptp(alone("road").astype(int)) < 30


def test_the_background_is_grey_whatever_is_found():
    names = ["background", "gray", "horse"]
    colours = colours_of(result([[0, 1, 1, 1, 2]] * 5, names, has_background=True))
    assert (colours[0] == BACKGROUND).all() and (colours[2] == alone("horse")).all()
    assert apart(colours).min() > 0.98


def test_colours_that_are_settled_stay_and_others_step_aside():
    names, red = ["horse", "red"], alone("red")
    colours = colours_of(result([[0, 1, 1, 1, 1]] * 5, names), {0: (red, 0)})
    assert (colours[0] == red).all() and apart(colours).min() > 0.98


def test_text_reads_on_every_colour():
    words = [word for words in NATURAL.values() for word in words.split()] + [f"word {number}" for number in range(99)]
    for colour in colours_of(result([range(len(words))], words)):
        light = float(linear(colour.astype(float)) @ (0.2126, 0.7152, 0.0722))
        text = {"#000000": 0.0, "#ffffff": 1.0}[text_on(colour)]
        assert (max(light, text) + 0.05) / (min(light, text) + 0.05) >= 4.5  # WCAG AA
