"""From logits on the patch grid to labels: ties, thresholds, chunks of queries."""

import numpy as np
import pytest
import torch

from proxyclip_core import ClassLogits, PixelLogits, Vocabulary, readout
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
    labels, confidence = readout.best_query(readout.PatchReader(layout, values))
    monkeypatch.setattr(readout, "ENTRIES_AT_ONCE", 9000)
    blocks = list(readout.PatchReader(layout, values).blocks())
    assert max(block.numel() for _, _, block in blocks) <= 9000 and len(blocks) > 40
    banded, its_confidence = readout.best_query(readout.PatchReader(layout, values))
    assert (banded == labels).all() and np.allclose(its_confidence, confidence, rtol=1e-5)
    expected = torch.cat([block for rows, queries, block in blocks if queries.start == 0], dim=1)
    rows, columns = layout.to_picture((7, 7))
    assert torch.allclose(rows @ layout.tile(values)[:32] @ columns.T, expected, atol=1e-6)


def pixel_logits(refined: dict[int, float], cosines: list[float], size_hw: tuple[int, int] = (20, 30)) -> PixelLogits:
    """As `logits_of`, with some queries refined to other values, the same at every pixel."""
    patches = logits_of(cosines)
    values = torch.tensor(list(refined.values())).view(-1, 1, 1).expand(-1, *size_hw).clone()
    return PixelLogits(LAYOUT, values, torch.tensor(list(refined)), patches.values, patches.vocabulary)


@pytest.mark.parametrize("size_hw", [(20, 30), (10, 15)])
def test_refined_queries_and_the_others_are_read_together(size_hw):
    mixed = [0.1, 0.15, 0.12, 0.2]
    mixed_of = pixel_logits({3: 0.2, 1: 0.15}, [0.1, 0.9, 0.12, 0.9], size_hw)
    expected = logits_of(mixed)
    assert np.array_equal(mixed_of.segment().labels, expected.segment().labels)
    assert mixed_of.segment().confidence == pytest.approx(expected.segment().confidence, rel=1e-5)
    for name in expected.vocabulary.names:
        assert mixed_of.scores(name) == pytest.approx(expected.scores(name), rel=1e-5)
    assert mixed_of.scores_at((29, 19)) == pytest.approx(expected.scores_at((29, 19)), rel=1e-5)


def test_refined_queries_are_read_in_chunks_too():
    cosines = np.linspace(0, 0.3, 70).round(3).tolist()
    refined = {query: cosines[query] for query in range(0, 70, 2)}
    mixed = pixel_logits(refined, [9.0 if query in refined else value for query, value in enumerate(cosines)])
    assert (mixed.segment().labels == 69).all()
    assert mixed.scores("word 40") == pytest.approx(logits_of(cosines).scores("word 40"), rel=1e-4)


def test_refined_values_run_evenly_between_their_pixels():
    patches = logits_of([0.0, 0.1])
    values = torch.stack([torch.zeros(1, 2), torch.tensor([[0.0, 0.3]])])
    coarse = PixelLogits(LAYOUT, values, torch.tensor([0, 1]), patches.values, patches.vocabulary)
    scores = coarse.scores("word 1")
    assert scores[0, 0] == pytest.approx(0.5) and scores[0, -1] > 0.99
    assert (np.diff(scores[0]) >= 0).all() and (scores == scores[:1]).all()


def test_scores_far_apart_do_not_overflow():
    far = logits_of([-3.0, 3.0])  # times 40: 240 apart, and float32's exp ends at 88
    assert np.allclose(far.segment().confidence, 1) and np.allclose(far.scores("word 1"), 1)


def test_a_map_at_another_size_holds_what_lies_at_the_middle_of_each_pixel():
    assert readout.nearest(torch.arange(3)[None], (1, 7)).tolist() == [[0, 0, 1, 1, 1, 2, 2]]
    assert readout.nearest(torch.arange(4)[:, None], (2, 1)).tolist() == [[1], [3]]


def test_shares_of_several_windows_are_halved_and_other_quantities_averaged_where_they_are():
    layout, ones = plan_windows((56, 84), None, crop=56, stride=28), torch.ones(7, 7)  # columns 0..55 and 28..83
    both, first = {0: ones, 1: ones}, {0: ones}
    at = [0, 27, 28, 55, 56, 83]
    assert readout.window_maps(layout, both, shares=True)[5, at] == pytest.approx([0.5, 0.5, 1, 1, 0.5, 0.5])
    assert readout.window_maps(layout, both, shares=False)[5, at] == pytest.approx([1] * 6)
    assert readout.window_maps(layout, first, shares=True)[5, at] == pytest.approx([1, 1, 1, 1, 0, 0])
    assert np.isnan(readout.window_maps(layout, first, shares=False)[5, at]).tolist() == [False] * 4 + [True] * 2
