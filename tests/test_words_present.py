"""proxyclip_core.evaluation.words_present: how well it is known which words are there."""

from __future__ import annotations

import numpy as np
import pytest

from proxyclip_core import presence
from proxyclip_core.evaluation import LabelledPicture
from proxyclip_core.evaluation.words_present import WordScore, roc_auc


@pytest.mark.parametrize(
    ("higher", "lower", "area"),
    [([3, 4], [1, 2], 1), ([1, 2], [3, 4], 0), ([1, 3], [2], 0.5), ([1, 1], [1], 0.5), ([2, 1], [1, 0], 0.875)],
)
def test_the_area_is_the_share_of_pairs_in_order(higher, lower, area):
    assert roc_auc(higher, lower) == pytest.approx(area)


def test_words_are_counted_over_all_scenes(tiny_model, four_areas):
    labels = np.zeros(four_areas.shape[:2], dtype=np.uint8)
    scene = LabelledPicture("a", four_areas, labels, ["sky", ["hill", "Mound"]])
    dense = tiny_model.fuse(tiny_model.encode(four_areas, None))
    score, every = WordScore(), (("sky",), ("mound", "heap"), ("horse",), ("sea",))
    for _ in range(2):
        score.add(tiny_model, dense, scene, (("horse",), ("sea",), ("boat",)), every)
    found = tiny_model.words_in(dense, tiny_model.embed(every, templates=presence.TEMPLATES))
    right = len(set(found) & {("sky",), ("mound", "heap")})
    assert (score.proposed, score.right, score.true) == (2 * len(found), 2 * right, 4)
    assert score.recall == right / 2
    assert len(score.present) == 4 and len(score.absent) == 6
    expected = tiny_model.presence(dense, tiny_model.embed("sky; sky2, hill; Mound"))
    assert score.present[1] == pytest.approx(expected["hill"])


def test_without_absent_words_there_is_no_area():
    score = WordScore(present=[0.5, 0.95], true=2)
    assert score.auc is None and score.marked is None and score.unmarked == 0.5
    assert score.as_json()["words precision"] == 0
