"""For how long a GPU is lent: as long as what is missing takes, and no longer than a bound."""

import math
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import proxyclip_core as pc
from demo import limits, time_limit
from demo import runner as running
from demo.answers.save_load import Chosen, save, unlike
from demo.answers.segment import segment
from demo.models import Models
from demo.runner import NOT_READ, START_SECONDS, Runner, missing
from demo.stages import Stages
from demo.time_limit import TOO_LATE
from demo.visit import Asked, Visit
from proxyclip_core.drawing.drawing import Look
from proxyclip_core.interrupt import checkpoint
from tests.serving import as_elsewhere

SETTINGS = pc.Settings(clip="OpenAI B/16", vfm="DINO B/8", words="sky, tree", side=None, windows="whole")


@pytest.fixture
def asked_for(monkeypatch):
    """Seconds that Hugging Face's `spaces` was asked for, which then runs the function in a process of its own."""
    seconds = []

    def lend(duration):
        def lent(function):
            return lambda *given: (seconds.append(duration(*given)), as_elsewhere(function)(*given))[1]

        return lent

    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=lend))
    return seconds


@pytest.fixture
def runner(asked_for, tiny_clip, tiny_vfm):
    models = Models("cpu", find=lambda spec: None, load_clip=lambda *given: tiny_clip, load_vfm=lambda *given: tiny_vfm)
    models.device = torch.device("mps")  # any but the CPU
    return Runner(models)


def visit_of(tmp_path, runner, size_hw=(112, 112), **changed) -> Visit:
    path = tmp_path / f"{size_hw}.png"
    Image.fromarray(np.zeros((*size_hw, 3), dtype=np.uint8)).save(path)
    return Stages.opened(runner.models, Visit.of(Asked(replace(SETTINGS, **changed), str(path))))[0]


def test_a_gpu_is_lent_for_what_is_missing(tmp_path, runner, asked_for, monkeypatch):
    monkeypatch.setattr(running, "OPERATIONS_A_SECOND", 1e9)
    visit = visit_of(tmp_path, runner)
    _, visit, error = runner(Stages.result, visit)
    tick = Visit.of(replace(visit.asked, settings=replace(visit.asked.settings, beta=1.0)), visit)
    runner(Stages.result, tick)
    first, later = asked_for
    assert not error and START_SECONDS < later < first


@pytest.mark.parametrize(
    "more",
    [
        {"size_hw": (1400, 1400)},
        {"vfm": "SAM H/16", "clip": "LAION H/14"},
        {"refine": "pixels+", "size_hw": (480, 640)},
    ],
)
def test_more_work_is_more_seconds(tmp_path, runner, asked_for, monkeypatch, more):
    monkeypatch.setattr(limits, "GPU_SECONDS", 1000)
    for visit in (visit_of(tmp_path, runner), visit_of(tmp_path, runner, **more)):
        runner(_nothing, visit)
    assert asked_for[1] > asked_for[0]


def test_no_more_than_the_bound_is_asked_for(tmp_path, runner, asked_for, monkeypatch):
    monkeypatch.setattr(limits, "GPU_SECONDS", 9)
    runner(_nothing, visit_of(tmp_path, runner, (1400, 1400)))
    assert asked_for == [9]


def test_an_endpoint_whose_visit_holds_nothing_asks_by_the_size_of_the_file(tmp_path, runner, asked_for):
    small, large = visit_of(tmp_path, runner), visit_of(tmp_path, runner, (1400, 1400))
    for opened in (small, large):
        runner(_nothing, opened)
        runner(_nothing, Visit.of(opened.asked))
    assert asked_for[0] == asked_for[1] < asked_for[2] == asked_for[3] < limits.GPU_SECONDS


def test_results_beside_the_pages_own_count_too(tmp_path, runner, asked_for):
    visit = visit_of(tmp_path, runner)
    others = [replace(SETTINGS, vfm=name) for name in ("SAM H/16", "SAM L/16")]
    runner(_nothing, visit)
    runner(_nothing, visit, wanted=others)
    assert asked_for[1] > asked_for[0]


def test_results_that_take_too_long_together_are_refused_before_any_is_made(tmp_path, runner, monkeypatch):
    visit = visit_of(tmp_path, runner)
    others = [replace(SETTINGS, vfm=name) for name in ("SAM B/16", "SAM L/16")]
    seconds = [sum(missing(visit, s, (112, 112), ()).values()) for s in others]
    monkeypatch.setattr(time_limit, "seen", lambda: max(seconds) / 50)
    monkeypatch.setattr(limits, "REQUEST_SECONDS", 60)
    assert 50 * sum(seconds) / max(seconds) > 60
    _, _, said = runner(_nothing, visit, wanted=others)
    assert "2 results would take about" in said
    assert not runner(_nothing, visit, wanted=others[1:])[2]  # one alone is looked at where it is made


def test_words_that_cannot_be_read_are_said_and_no_error(tmp_path, runner, asked_for):
    _, _, error = runner(Stages.result, visit_of(tmp_path, runner, words=" , "))
    assert error and asked_for == [START_SECONDS]


def test_what_is_held_is_read_without_a_gpu(tmp_path, runner, asked_for):
    _, visit, _ = runner(Stages.result, visit_of(tmp_path, runner))
    settings = tmp_path / "settings.json"
    settings.write_text(visit.asked.settings.to_json({"precision": "another"}))
    asked_for.clear()
    assert save(runner, visit, Look(), Chosen(("labels",)), str(tmp_path)).endswith(".zip")
    assert "the precision another" in unlike(runner, visit, str(settings), visit.asked.settings)
    assert asked_for == []


def test_a_gpu_is_lent_for_a_download_of_what_had_to_make_room(tmp_path, runner, asked_for):
    _, visit, _ = runner(Stages.result, visit_of(tmp_path, runner))
    spare = {key: entry for key, entry in visit.entries.items() if key[0] in ("clip", "vfm", "words")}
    asked_for.clear()
    assert save(runner, replace(visit, entries=spare), Look(), Chosen(("labels",)), str(tmp_path))
    assert save(runner, visit, Look(), Chosen(("npz",), ("logits",)), str(tmp_path))
    assert len(asked_for) == 2


def test_where_gpus_are_lent_how_long_a_result_takes_is_known_before_anything_was_measured(
    tmp_path, runner, monkeypatch
):
    monkeypatch.setattr(time_limit, "seen", lambda: 0.0)  # it is in the processes that borrow one
    short, long = visit_of(tmp_path, runner), visit_of(tmp_path, runner, (1400, 1400))
    assert 0 < runner.estimate(short) < runner.estimate(long)
    monkeypatch.delenv("SPACES_ZERO_GPU")
    assert runner.estimate(short) is None


def _nothing(stages: Stages) -> None:
    """A function that takes no time, for which a GPU is asked all the same."""


def count_pairs(stages: Stages) -> None:
    """As what the page shows is computed from what the stages give."""
    stages.picture()
    checkpoint()


def test_what_is_done_beside_the_stages_ends_when_its_time_is_up(tmp_path, runner, monkeypatch):
    visit = visit_of(tmp_path, runner)
    assert not runner(count_pairs, visit)[2]
    monkeypatch.setattr(limits, "REQUEST_SECONDS", -1)
    assert runner(count_pairs, visit)[2] == TOO_LATE


def load_models(stages: Stages) -> None:
    """As any function that computes begins."""
    stages.model()


@pytest.mark.parametrize(
    "load",
    [
        lambda runner, visit: runner(load_models, visit)[2],
        lambda runner, visit: segment(runner, visit.asked, None).error,
    ],
)
def test_models_load_no_longer_than_a_request_may_take_and_again_when_asked_again(tmp_path, monkeypatch, load):
    runner = Runner(Models("cpu"))
    visit = visit_of(tmp_path, runner, clip="Built-in", vfm="Built-in")
    with monkeypatch.context() as late:
        late.setattr(limits, "REQUEST_SECONDS", -1)
        assert load(runner, visit) in (TOO_LATE, NOT_READ) and not runner.models.loaded()
    assert not load(runner, visit) and runner.models.loaded()


def test_models_in_memory_wait_for_no_turn(runner, monkeypatch):
    s = pc.Settings("OpenAI B/16", "DINO B/8", "cat")
    runner.load(s)
    monkeypatch.setattr(runner.models, "get", lambda *given, **named: pytest.fail("it would take a turn"))
    runner.load(s)


def take_a_while(stages: Stages) -> None:
    stages.features()
    time.sleep(0.1)  # as drawing does


def test_whose_turn_it_is_depends_on_what_took_how_long_before(tmp_path, tiny_clip, tiny_vfm, monkeypatch):
    turns = []
    monkeypatch.setattr(running, "turn", lambda seconds: (turns.append(seconds), nullcontext())[1])
    monkeypatch.setattr(time_limit, "seen", lambda: 1e15)  # which no network reaches, small ones least of all
    encode = tiny_vfm.encode_windows
    monkeypatch.setattr(tiny_vfm, "encode_windows", lambda windows: (time.sleep(2), encode(windows))[1])
    encoders = {"load_clip": lambda *given: tiny_clip, "load_vfm": lambda *given: tiny_vfm}
    runner = Runner(Models("cpu", find=lambda spec: None, **encoders))
    for size in (98, 112, 126):
        _, visit, error = runner(take_a_while, visit_of(tmp_path, runner, (size, size)))
        assert not error
    runner(take_a_while, visit)
    first, second, third, drawn = turns
    assert first == math.inf and second < 0.01  # models were to be loaded, whose time is nobody's later
    assert third > 2.1 and 0.1 < drawn < 2
