"""demo.answers.edit_words: the words with one class changed, made another's synonym, or taken out."""

from __future__ import annotations

import pytest

from demo.answers.edit_words import edited

WORDS = "sky; cloud, hill,\ntree"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"name": "hill", "words": "mountain; peak"}, "sky; cloud, mountain; peak, tree"),
        ({"name": "sky", "words": "sky, cloud"}, "sky, cloud, hill, tree"),  # synonyms become classes
        ({"name": "hill", "words": " "}, "sky; cloud, tree"),
        ({"name": "hill", "words": None}, "sky; cloud, tree"),
        ({"name": "tree", "onto": "sky"}, "sky; cloud; tree, hill"),
        ({"name": "sky", "onto": "tree"}, "hill, tree; sky; cloud"),
        ({"name": "sky", "onto": "sky"}, "sky; cloud, hill, tree"),
        ({"name": "hill", "words": "tree"}, "sky; cloud, tree"),  # which is there already
        ({"name": "hill", "words": '"a, b"'}, 'sky; cloud, "a, b", tree'),
    ],
)
def test_one_class_is_changed_and_the_others_stay(told, words):
    assert edited(WORDS, told) == words


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"name": "horse", "words": "cow"}, "not in the box any more"),
        ({"name": "cloud", "words": "cow"}, "not in the box any more"),  # a synonym is no class
        ({"name": "sky", "onto": "horse"}, "not in the box any more"),
        ({"name": "hill", "words": "cloud"}, "given twice"),
        ({"name": 7, "words": ["cow"]}, "not in the box any more"),
        ({}, "not in the box any more"),
    ],
)
def test_what_cannot_be_is_said(told, said):
    with pytest.raises(ValueError, match=said):
        edited(WORDS, told)


def test_the_last_word_stays():
    with pytest.raises(ValueError, match="One word must stay"):
        edited("sky; cloud", {"name": "sky", "words": ""})
