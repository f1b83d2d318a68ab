"""A model by names: a named half gets its partner, and what answers for want of others says so."""

import pytest
import torch

import proxyclip_core as pc
from proxyclip_core import loader
from proxyclip_core.models import loading


@pytest.fixture
def loaded(monkeypatch, tiny_model) -> list[str]:
    """Names that `load` asks for; small networks answer."""
    names: list[str] = []
    monkeypatch.setattr(loader, "load_clip", lambda name, *given: names.append(name) or tiny_model.clip)
    monkeypatch.setattr(loader, "load_vfm", lambda name, *given, **more: names.append(name) or tiny_model.vfm)
    return names


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"clip": "OpenAI B/16"}, ["OpenAI B/16", "DINO B/8"]),
        ({"clip": "LAION H/14", "patch": 16}, ["LAION H/14", "DINO B/16"]),
        ({"vfm": "DINO B/8"}, ["OpenAI B/16", "DINO B/8"]),
        ({"vfm": "SAM B"}, ["OpenAI B/16", "SAM B/16"]),
        ({"clip": "Built-in"}, ["Built-in", "Built-in/8"]),
        ({"vfm": "Built-in", "patch": 4}, ["Built-in", "Built-in/4"]),
        ({"clip": "Built-in", "vfm": "DINO S/8"}, ["Built-in", "DINO S/8"]),
        ({"clip": "OpenAI B/32", "fusion": "values"}, ["OpenAI B/32"]),
    ],
)
def test_a_named_half_gets_the_papers_partner(loaded, recwarn, asked, names):
    pc.load(**asked)
    assert loaded == names and not recwarn.list


def test_the_built_in_pair_says_that_it_answers_for_want_of_others(loaded):
    with pytest.warns(UserWarning, match="No other model is at hand.*drawn things, not photographs"):
        pc.load()
    assert loaded == ["Built-in", "Built-in/8"]


def test_models_of_the_environment_are_completed_too(loaded, monkeypatch, recwarn):
    monkeypatch.setenv("PROXYCLIP_CLIP", "OpenAI L/14")
    pc.load()
    assert loaded == ["OpenAI L/14", "DINO B/8"] and not recwarn.list


def test_models_that_are_there_are_preferred_to_the_built_in_ones(monkeypatch):
    monkeypatch.setattr(loading, "is_available", lambda spec: True)
    assert pc.default_models() == ("OpenAI B/16", "DINO B/8")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"clip": "CLOP"}, "No CLIP is called 'CLOP'"),
        ({"fusion": "sum"}, "fusion is 'sum'"),
        ({"patch": 5}, "patch size 5"),
    ],
)
def test_what_is_not_known_is_said_before_anything_loads(loaded, asked, message):
    with pytest.raises(ValueError, match=message):
        pc.load(**asked)
    assert loaded == []


def test_loading_changes_nothing_of_the_process(monkeypatch):
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    monkeypatch.setattr("proxyclip_core.cpu.memory.keep_freed_memory", lambda: pytest.fail("the allocator was set"))
    with pytest.warns(UserWarning):
        pc.load()
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)
