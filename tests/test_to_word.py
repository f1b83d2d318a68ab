"""demo.answers.to_word: from a seed to its word, with the proxy attention or by CLIP alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import proxyclip_core as pc
from demo.answers import to_word
from demo.answers.inside import View
from demo.stages import Stages
from demo.visit import Asked, Visit
from tests.serving import OneModel

SEED = (30.0, 30.0)
WORDS = "red; crimson, <b>green</b>, blue, yellow"


@pytest.fixture(scope="module")
def stages(tiny_model, blocks_file) -> Stages:
    settings = pc.Settings("OpenAI B/16", "DINO B/8", WORDS, side=224, windows="whole", templates="none")
    made = Stages(OneModel(tiny_model), Visit.of(Asked(settings, blocks_file)))
    made.overlay()
    return made


@pytest.fixture
def view(stages) -> View:
    return View(seeds={"picture": stages.digest, "points": [[200, 20], list(SEED)]})


def test_with_proxy_the_steps_are_those_of_the_method(stages, tiny_model):
    found = to_word.to_word(stages, View(way="proxy"), SEED)
    row = tiny_model.seed_attention(stages.features(), SEED, on="grid")
    values = tiny_model.classify(tiny_model.fuse(stages.features(), fusion="values"), stages.words())
    best = values.vocabulary.query_class[values.values[0].argmax(dim=0)].numpy()  # on CLIP's grid
    rows, columns = (((np.arange(many) + 0.5) * few / many).astype(int) for many, few in zip(row.shape, best.shape))
    says = best[rows][:, columns]
    for index, name in enumerate(values.vocabulary.names):
        assert found.said[name] == pytest.approx(float(row[says == index].sum()), abs=1e-4)
    assert found.scores == stages.logits(replace(stages.settings, refine="none")).scores_at(SEED)
    assert list(found.said.values()) == sorted(found.said.values())[::-1]
    assert sum(found.said.values()) == pytest.approx(1)


def test_clip_alone_attends_by_itself_and_answers_by_its_last_block(stages, tiny_model):
    found = to_word.to_word(stages, View(way="clip"), SEED)
    alone = tiny_model.classify(tiny_model.fuse(stages.features(), fusion="clip"), stages.words())
    assert found.scores == alone.scores_at(SEED)
    proxy = to_word.to_word(stages, View(way="proxy"), SEED)
    assert np.abs(found.attention - proxy.attention).max() > 0 and found.said != proxy.said


def test_the_last_seed_is_followed_and_words_are_text(stages, view):
    drawn, told = to_word.shown(stages, view)
    assert drawn.shape[1] == 400 and "&lt;b&gt;green" in told and "<b>" not in told
    label = next(iter(to_word.to_word(stages, View(way="proxy"), SEED).scores))
    assert told.count("<strong>") == 2 and to_word.html.escape(repr(label)) in told


def test_a_refined_result_that_says_otherwise_is_named(stages, view, monkeypatch):
    found = to_word.to_word(stages, View(way="proxy"), SEED)
    other = next(name for name in found.scores if name != next(iter(found.scores)))
    result = stages.result()
    labels = np.full_like(result.labels, result.names.index(other))
    monkeypatch.setattr(stages, "result", lambda: replace(result, labels=labels))
    assert "The result on the page, by its own settings, has" in to_word.shown(stages, view)[1]


def test_no_encoder_runs_for_it(stages, view, counter):
    for _, fusion in to_word.WAYS:
        assert counter.during(lambda: to_word.shown(stages, replace(view, way=fusion))) == {}  # noqa: B023


def test_another_way_is_refused(stages):
    with pytest.raises(ValueError, match="The way is 'values'; expected one of proxy, clip"):
        to_word.to_word(stages, View(way="values"), SEED)
