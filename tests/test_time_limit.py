"""demo.time_limit: what would take too long is refused before it begins, with what would fit."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch

import proxyclip_core as pc
from demo import limits, time_limit, work
from demo.answers.errors import UserError
from demo.stages import Stages
from demo.visit import Asked, Visit
from tests.serving import OneModel

SETTINGS = pc.Settings("Built-in", "Built-in/4", "sky, hill", side=1024, windows="whole")
LARGE = (1024, 2048)
ALL = {"words", "clip", "vfm", "dense", "logits", "refined", "result"}


def check(s: pc.Settings, new: list[str], needed: set[str], seconds: float) -> None:
    """On a machine that takes `seconds` for all."""
    total = sum(work.operations(s, LARGE, ["sky", "hill"], new)[stage] for stage in needed)
    time_limit.check_time(s, LARGE, ["sky", "hill"], new, needed, total / seconds)


@pytest.fixture(autouse=True)
def a_minute(monkeypatch):
    monkeypatch.setattr(limits, "REQUEST_SECONDS", 60)


def test_what_takes_less_is_taken():
    check(SETTINGS, [], ALL, 59)


def test_what_takes_longer_is_refused_with_a_resolution_that_fits():
    with pytest.raises(
        UserError, match=r"about 120 s on this machine; at most 60 s .* Resolution (\d+) would fit"
    ) as said:
        check(SETTINGS, [], ALL, 120)
    side = int(str(said.value).split("Resolution ")[1].split()[0])
    fitting = pc.Settings(**{name: getattr(SETTINGS, name) for name in pc.SETTINGS} | {"side": side})
    speed = sum(work.operations(SETTINGS, LARGE, ["sky", "hill"], []).values()) / 120
    time_limit.check_time(fitting, LARGE, ["sky", "hill"], [], ALL, speed)


def test_where_no_resolution_fits_another_model_is_said():
    with pytest.raises(UserError, match="Choose a smaller model, a larger patch"):
        check(SETTINGS, [], ALL, 10**9)


def test_too_many_new_words_are_told_how_many_fit():
    words = [f"word {number}" for number in range(1000)]
    with pytest.raises(UserError, match=r"Take at most (299|300) new words at a time"):
        check(SETTINGS, words, {"words"}, 100)


def test_what_takes_long_together_is_refused_with_how_many_fit():
    time_limit.check_together(4, 60)
    with pytest.raises(UserError, match=r"4 results would take about 130 s .* at most 60 s .* Choose 1 at a time"):
        time_limit.check_together(4, 130)


def test_what_is_held_takes_no_time():
    check(SETTINGS, [], set(), 1)


def test_a_machine_has_a_speed():
    speed = time_limit.operations_a_second(torch.device("cpu"), torch.float32)
    assert 1e8 < speed < 1e15
    assert time_limit.operations_a_second(torch.device("cpu"), torch.float32, again=True) >= speed


@pytest.fixture
def stages(tiny_model, blocks_file) -> Stages:
    s = pc.Settings("OpenAI B/16", "DINO B/8", "sky, hill", windows="whole", templates="simple7")
    return Stages(OneModel(tiny_model), Visit.of(Asked(s, blocks_file)))


def test_a_slow_machine_runs_no_encoder_for_what_is_too_much(stages, monkeypatch, counter):
    monkeypatch.setattr(time_limit, "operations_a_second", lambda *given, **named: 1e6)
    for ask in (stages.words, stages.features, stages.dense, stages.logits, stages.result):
        with pytest.raises(UserError, match="at most 60 s"):
            ask()
    assert not any(counter.counts.values())


def test_a_request_that_goes_on_for_too_long_ends_and_keeps_what_was_done(stages, monkeypatch):
    monkeypatch.setattr(time_limit, "operations_a_second", lambda *given, **named: 1e15)
    stages.features()
    monkeypatch.setattr(limits, "REQUEST_SECONDS", -1)
    late = Stages(stages.models, Visit(stages.asked, stages.digest, stages.entries(), {}))
    monkeypatch.setattr(limits, "REQUEST_SECONDS", 60)
    late.features()
    with pytest.raises(UserError, match="What was done is kept"):
        late.result()


def test_a_request_ends_in_the_middle_of_an_encoder_when_its_time_is_up(stages, monkeypatch, counter):
    monkeypatch.setattr(time_limit, "operations_a_second", lambda *given, **named: 1e15)
    stages.words(), stages.picture()
    asked = iter([0.0] * 3)  # before CLIP, its block, before the VFM; then its blocks
    now = [0.0]
    monkeypatch.setattr("demo.stopping.check_wanted", lambda: now.append(next(asked, 1e12)))
    clock = SimpleNamespace(perf_counter=time.perf_counter, monotonic=lambda: now[-1])
    monkeypatch.setattr("demo.kept.time", clock)
    with pytest.raises(UserError, match="What was done is kept"):
        stages.features()
    assert counter.counts["clip"] == counter.counts["vfm"] == 1
    assert not any(key[0] == "vfm" for key in stages.entries())
