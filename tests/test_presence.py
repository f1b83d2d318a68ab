"""proxyclip_core.presence: which words are in a picture at all, and which of many are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import proxyclip_core as pc
from proxyclip_core import presence

E, R = 16, 60
ONE_WORD = 0.005  # of the reference vocabulary: sums of another order may change two words' places


def unit(count: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, E, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture
def tokens() -> torch.Tensor:
    """(2, E, 3, 4): two windows of patches."""
    return torch.randn(2, E, 3, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def dense(tiny_model, four_areas) -> pc.DenseFeatures:
    return tiny_model.fuse(tiny_model.encode(four_areas, None))


def test_a_word_that_one_patch_shows_is_present_and_one_that_none_shows_is_not(tokens):
    shown, reference = unit(1, 2), unit(R, 3)
    away = -tokens.mean(dim=(0, 2, 3))[None]
    tokens[1, :, 2, 3] = shown[0]
    found = presence.presence_of(tokens, torch.cat([shown, F.normalize(away, dim=-1)]), reference)
    assert found[0] > 0.95 and found[1] < 0.5


def test_how_long_embeddings_are_and_what_all_words_share_does_not_matter(tokens):
    queries, reference, shared = unit(5, 4), unit(R, 5), 3 * unit(1, 6)
    found = presence.presence_of(tokens, queries, reference)
    assert torch.equal(presence.presence_of(7 * tokens, queries, reference), found)
    assert torch.equal(presence.presence_of(tokens, queries + shared, reference + shared), found)
    assert torch.equal(presence.presence_of(tokens, 0.2 * queries, 0.2 * reference), found)


def test_a_word_of_the_reference_vocabulary_has_its_rank_there(tokens):
    reference = unit(R, 5)
    found = presence.presence_of(tokens, reference, reference)
    assert sorted((found * R).round().tolist()) == list(range(R))


def test_a_class_has_what_its_best_wording_has():
    values = torch.tensor([0.2, 0.9, 0.5, 0.1])
    assert presence.best_of_class(values, torch.tensor([0, 0, 1, 2])).tolist() == pytest.approx([0.9, 0.5, 0.1])


def test_what_wins_a_region_among_the_present_words_is_found(monkeypatch):
    monkeypatch.setattr(presence, "LEAST_SHARE", 0.2)
    best = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1, 2]])
    values = F.one_hot(best, 4).float().movedim(-1, 1)[..., None]  # (1, 4, 10, 1)
    values[0, 3, :3] = 2  # another wording of class 2, where class 0 would win
    classes, everything = torch.tensor([0, 1, 2, 2]), torch.ones(3, dtype=torch.bool)
    assert presence.winners(values, classes, everything) == [1, 2]
    assert presence.winners(values, classes, torch.tensor([True, True, False])) == [1, 0]
    assert presence.winners(values, classes, ~everything) == []
    monkeypatch.setattr(presence, "LEAST_SHARE", 0.5)
    assert presence.winners(values, classes, everything) == [1]


def test_what_a_word_has_depends_on_no_other_word_nor_on_the_sentences(tiny_model, dense):
    among = tiny_model.presence(dense, tiny_model.embed("sky; cloud, hill, horse"))
    assert set(among) == {"sky", "hill", "horse"} and all(0 <= value <= 1 for value in among.values())
    for alone in (tiny_model.embed("hill"), tiny_model.embed("hill", templates="none")):
        assert tiny_model.presence(dense, alone) == {"hill": pytest.approx(among["hill"], abs=ONE_WORD)}


def test_the_background_is_never_doubted(tiny_model, dense):
    words = tiny_model.embed("hill, horse", "short")
    assert list(tiny_model.presence(dense, words)) == ["hill", "horse"]


def test_the_reference_vocabulary_is_read_once(tiny_model, dense, counter, monkeypatch):
    monkeypatch.setattr(tiny_model.clip, "reference", None)
    words = tiny_model.embed("sky, hill")
    assert counter.during(lambda: tiny_model.presence(dense, words)) == {"text": 1}
    assert counter.during(lambda: tiny_model.presence(dense, words)) == {}


def test_words_that_are_made_ready_are_not_read_again(tiny_model, dense, counter):
    words = tiny_model.with_plain(tiny_model.embed("sky, hill", templates="none"))
    assert tiny_model.presence(dense, words) == tiny_model.presence(
        dense, tiny_model.embed("sky, hill", "none", "none")
    )
    assert counter.during(lambda: tiny_model.presence(dense, words)) == {}


def test_another_clips_words_are_refused(tiny_model, dense):
    words = replace(tiny_model.embed("sky"), clip_id="other")
    with pytest.raises(ValueError, match="must come from one CLIP"):
        tiny_model.presence(dense, words)


def test_a_call_brings_it_along(tiny_model, four_areas, dense):
    result = tiny_model(four_areas, "sky, hill, horse", side=None)
    assert result.presence == tiny_model.presence(dense, tiny_model.embed("sky, hill, horse"))
    doubted = replace(result, presence={"sky": 1.0, "hill": presence.PERHAPS_ABSENT, "horse": 0.1})
    assert doubted.perhaps_absent == ("horse",)


def test_the_words_that_are_found_are_present_and_a_call_takes_them(tiny_model, four_areas, dense):
    found = tiny_model.find_words(four_areas, side=None)
    values = tiny_model.presence(dense, tiny_model.embed(found))
    assert found and min(values.values()) >= presence.PERHAPS_ABSENT - ONE_WORD
    labels = tiny_model(four_areas, found, side=None)
    assert labels.names == tuple(group[0] for group in found)
    few = tiny_model.find_words(four_areas, [*found[:2], "sky; heaven"], side=None)
    assert set(few) <= {*found[:2], ("sky", "heaven")}


def test_words_are_found_among_those_that_the_clip_was_trained_on():
    own = presence.candidate_words("Built-in")
    assert ("accordion",) in own and len(own) > 800
    assert presence.candidate_words("OpenAI B/16") == tuple((word,) for word in presence.reference_words())


def test_the_reference_vocabulary_has_each_word_once_and_no_background():
    words = presence.reference_words()
    assert len(words) == len({word.casefold() for word in words}) > 400
    assert "background" not in words and "aeroplane" in words
