"""From logits on the patch grid to labels: ties, thresholds, chunks of queries."""

import numpy as np
import pytest
import torch

from proxyclip_core import ClassLogits, Vocabulary, readout
from proxyclip_core.windows import plan_windows

LAYOUT = plan_windows((20, 30), None)


def logits_of(cosines: list[float], background: bool = False) -> ClassLogits:
    """A picture on which every patch has these cosines, one a class."""
    names = tuple(f"word {number}" for number in range(len(cosines)))
    values = torch.tensor(cosines).view(1, -1, 1, 1).expand(1, len(cosines), 7, 7).clone()
    classes, embeddings = torch.arange(len(names)), torch.eye(len(names))
    return ClassLogits(LAYOUT, values, Vocabulary(names, names, classes, embeddings, background, "none", "x", "x"))


@pytest.mark.parametrize("equals", [(3, 7), (0, 31), (31, 32), (5, 40), (33, 34, 69)])
def test_of_equal_queries_the_first_wins_within_a_chunk_and_across_chunks(equals):
    assert readout.QUERIES_AT_ONCE == 32
    cosines = [0.1] * 70
    for query in equals:
        cosines[query] = 0.5
    assert (logits_of(cosines).segment().labels == equals[0]).all()


def test_the_best_query_wins_wherever_it_stands():
    for best in (0, 31, 32, 64, 69):
        cosines = [0.1] * 70
        cosines[best] = 0.2
        assert (logits_of(cosines).segment().labels == best).all()


def test_a_score_that_equals_the_threshold_stays():
    logits = logits_of([0.1, 0.12], background=True)
    score = logits.segment().confidence
    assert (score == score[0, 0]).all() and 0.5 < score[0, 0] < 1
    exactly, above = float(score[0, 0]), float(np.nextafter(score[0, 0], np.float32(1)))
    assert (logits.segment(exactly).labels == 1).all()
    assert (logits.segment(above).labels == 0).all()


def test_the_confidence_is_the_softmax_over_all_queries_of_all_chunks():
    cosines = torch.linspace(0, 0.3, 70)
    expected = float((cosines * readout.LOGIT_SCALE).softmax(dim=0).max())
    assert logits_of(cosines.tolist()).segment().confidence == pytest.approx(expected, rel=1e-5)


def test_bands_are_small_and_give_what_the_whole_gives(monkeypatch):
    layout = plan_windows((90, 130), None, crop=56, stride=40)
    values = torch.rand(layout.count, 40, 7, 7, generator=torch.Generator().manual_seed(0))
    labels, confidence = readout.best_query(layout, values)
    monkeypatch.setattr(readout, "ENTRIES_AT_ONCE", 9000)
    blocks = list(readout.pixel_logits(layout, values))
    assert max(block.numel() for _, _, block in blocks) <= 9000 and len(blocks) > 40
    banded, its_confidence = readout.best_query(layout, values)
    assert (banded == labels).all() and np.allclose(its_confidence, confidence, rtol=1e-5)
    expected = torch.cat([block for rows, queries, block in blocks if queries.start == 0], dim=1)
    rows, columns = layout.to_picture((7, 7))
    assert torch.allclose(rows @ layout.tile(values)[:32] @ columns.T, expected, atol=1e-6)
