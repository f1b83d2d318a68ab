"""demo.session: the contract of the design's table. Which stages run when a setting changes, and which encoders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from demo import session
from demo.session import Settings, Staged, advance, nbytes, within_memory

ALL = {"vocabulary", "picture", "features", "dense", "logits", "result", "labels"}
FROM_LOGITS = {"logits", "result", "labels"}
FROM_DENSE = {"dense", *FROM_LOGITS}
FROM_FEATURES = {"features", *FROM_DENSE}


@pytest.fixture
def settings(blocks, tmp_path) -> Settings:
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    picture = str(tmp_path / "blocks.png")
    return Settings("tiny CLIP", "tiny VFM", "sky, tree", windows="whole", templates="simple7", picture=picture)


def test_the_first_time_everything_runs(tiny_model, settings, blocks):
    staged = advance(tiny_model, settings)
    assert set(staged.seconds) == ALL
    assert staged.result.labels.shape == staged.labels.shape == blocks.shape[:2]
    assert (staged.picture == blocks).all()


@pytest.mark.parametrize(
    ("change", "stages", "encoders"),
    [
        ({}, set(), {}),
        ({"threshold": 0.3}, {"result", "labels"}, {}),
        ({"beta": 1.4}, FROM_DENSE, {}),
        ({"gamma": 2.0}, FROM_DENSE, {}),
        ({"words": "sky, hill"}, {"vocabulary", *FROM_LOGITS}, {"text": 1}),
        ({"templates": "none"}, {"vocabulary", *FROM_LOGITS}, {"text": 1}),
        ({"background": "first"}, {"vocabulary", *FROM_LOGITS}, {"text": 1}),
        ({"side": 224}, FROM_FEATURES, {"clip": 1, "vfm": 1}),
        ({"windows": "sliding"}, FROM_FEATURES, {"clip": 1, "vfm": 3}),  # one window of the VFM at a time
        ({"vfm": "another"}, FROM_FEATURES, {"clip": 1, "vfm": 1}),
        ({"clip": "another"}, {"vocabulary", *FROM_FEATURES}, {"clip": 1, "vfm": 1, "text": 1}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_change_runs_only_what_depends_on_it(tiny_model, counter, settings, change, stages, encoders):
    before = advance(tiny_model, settings)
    counted = []
    calls = counter.during(lambda: counted.append(advance(tiny_model, replace(settings, **change), before)))
    assert set(counted[0].seconds) == stages
    assert calls == encoders


def test_another_picture_runs_no_text_tower(tiny_model, counter, settings, blocks, tmp_path):
    before = advance(tiny_model, settings)
    Image.fromarray(blocks[::-1]).save(tmp_path / "other.png")
    calls = counter.during(lambda: advance(tiny_model, replace(settings, picture=str(tmp_path / "other.png")), before))
    assert calls == {"clip": 1, "vfm": 1}


def test_the_same_picture_under_another_name_runs_nothing(tiny_model, settings, blocks, tmp_path):
    before = advance(tiny_model, settings)
    Image.fromarray(blocks).save(tmp_path / "copy.png")
    assert not advance(tiny_model, replace(settings, picture=str(tmp_path / "copy.png")), before).seconds


def test_stages_give_what_one_call_gives(tiny_model, settings):
    before = advance(tiny_model, replace(settings, words="dog", beta=1.5))
    staged = advance(tiny_model, settings, before)
    whole = tiny_model(settings.picture, settings.words, windows="whole")
    assert (staged.result.labels == whole.labels).all()
    assert np.array_equal(staged.result.confidence, whole.confidence)


def test_an_error_leaves_what_was_there(tiny_model, counter, settings):
    before = advance(tiny_model, settings)
    with pytest.raises(ValueError, match="twice"):
        advance(tiny_model, replace(settings, words="sky, sky", side=224), before)
    assert not advance(tiny_model, settings, before).seconds


def test_a_picture_that_is_gone_is_said_so(tiny_model, settings, tmp_path):
    with pytest.raises(ValueError, match="Upload it again"):
        advance(tiny_model, replace(settings, picture=str(tmp_path / "gone.png")))


def test_features_too_large_to_keep_run_again_where_they_are_needed(tiny_model, settings):
    staged = advance(tiny_model, settings)
    assert within_memory(staged) is staged
    kept = within_memory(staged, limit=nbytes(staged) - 1)
    assert kept.features is None and kept.dense is None and kept.result is staged.result
    assert set(advance(tiny_model, replace(settings, threshold=0.3), kept).seconds) == {"result", "labels"}
    assert set(advance(tiny_model, replace(settings, gamma=2.0), kept).seconds) == FROM_FEATURES


def test_what_is_drawn_is_kept_in_any_case(tiny_model, settings):
    kept = within_memory(advance(tiny_model, settings), limit=0)
    assert kept.result is None and kept.picture is not None and kept.labels is not None
    assert set(advance(tiny_model, settings, kept).seconds) == {"result"}


def refused(model, settings) -> None:
    with pytest.raises(ValueError, match="too many scores"):
        advance(model, settings)


def test_words_and_scores_are_bounded(tiny_model, settings, counter, monkeypatch):
    before = advance(tiny_model, settings)
    monkeypatch.setattr(session, "MOST_WORDS", 3)
    with pytest.raises(ValueError, match="There are 4 words with their synonyms; at most 3"):
        advance(tiny_model, replace(settings, words="sky; air, tree; bush"), before)
    patches = before.dense.tokens[:, 0].numel()
    monkeypatch.setattr(session, "MOST_SCORES", 3 * patches - 1)
    with pytest.raises(ValueError, match=f"3 words at {patches} patches .*at most 2 here"):
        advance(tiny_model, replace(settings, words="sky, tree, hill"), before)
    sliding = replace(settings, words="sky, tree, hill", windows="sliding")
    assert counter.during(lambda: refused(tiny_model, sliding)) == {"text": 1}  # before the encoders begin


def test_nbytes_counts_what_a_stage_holds(tiny_model, settings):
    features = advance(tiny_model, settings).features
    assert nbytes(features) == features.clip_tokens.nbytes + features.vfm.nbytes
    assert nbytes(Staged()) == 0
