"""One table says what each setting may be; settings come back from their file as they were."""

import inspect
import json
from dataclasses import fields, replace

import numpy as np
import pytest

from proxyclip_core import ProxyCLIP, load
from proxyclip_core.computed_with import differences
from proxyclip_core.settings import SETTINGS, Settings

SAVED = Settings("OpenAI B/16", "DINO B/8", "Himmel; Wolke, „Hügel“", 1.1, 4.0, None, "whole", "simple7", "short", 0.25)


def test_the_table_has_a_row_for_every_setting():
    assert set(SETTINGS) == {entry.name for entry in fields(Settings) if entry.compare}
    assert all(row.check(row.default) == row.default and row.label and row.tip for row in SETTINGS.values())


DOORS = [
    getattr(ProxyCLIP, name)
    for name in ("__call__", "find_words", "encode", "encode_all", "fuse", "embed", "refine", "sam_model", "sam_views")
]
DOORS += [ProxyCLIP.seed_attention, ProxyCLIP.seen_by_sam, load]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_every_function_of_the_library_has_the_tables_defaults(door):
    parameters = inspect.signature(door).parameters
    given = {name: parameters[name].default for name in SETTINGS if name in parameters}
    said = {name: value for name, value in given.items() if value not in (None, inspect.Parameter.empty)}
    assert said and all(value == SETTINGS[name].default for name, value in said.items())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("beta", float("nan"), "beta is nan; expected a number from 0 to 3"),
        ("beta", 3.01, "beta is 3.01"),
        ("beta", -1e-9, "beta is -1e-09"),
        ("beta", "1.2", "beta is '1.2'"),
        ("beta", True, "beta is True"),
        ("gamma", float("inf"), "gamma is inf"),
        ("gamma", 0, "gamma is 0; expected a number from 0.5 to 20"),
        ("side", 2**31, "side is 2147483648; expected 224 to 1024 pixels, or 'as-is'"),
        ("side", 10**400, "a number of over 20 digits"),
        ("side", 336.0, "side is 336.0"),
        ("windows", "tiled", "windows is 'tiled'; expected one of 'sliding', 'whole'"),
        ("background", "", "background is ''; expected one of 'none', 'first', 'short', 'long'"),
        ("words", None, "words is None; expected text"),
    ],
)
def test_what_a_setting_cannot_be_is_said_with_what_it_can(name, value, message):
    with pytest.raises(ValueError, match=message):
        SETTINGS[name].check(value)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("side", None, "as-is"), ("side", 448, "448"), ("beta", 1.4, "1.4"), ("windows", "whole", "whole")],
)
def test_every_value_has_one_spelling(name, value, text):
    assert SETTINGS[name].as_text(value) == text
    assert SETTINGS[name].from_text(text) == value


@pytest.mark.parametrize("text", ["", "1e400", "none", "nan", "336.5"])
def test_other_spellings_are_refused(text):
    with pytest.raises(ValueError, match="side is"):
        SETTINGS["side"].from_text(text)


def test_numbers_of_numpy_are_numbers():
    settings = Settings("a", "b", "c", beta=np.float32(1.5), side=np.int64(224))
    assert (type(settings.beta), type(settings.side)) == (float, int)


def test_they_come_back_as_they_were():
    assert Settings.from_json(SAVED.to_json()) == SAVED
    assert json.loads(SAVED.to_json())["computed_with"]["versions"]["torch"]
    assert json.loads(SAVED.to_json({"precision": "bfloat16"}))["computed_with"] == {"precision": "bfloat16"}


def test_files_of_the_first_format_are_read():
    first = {"proxyclip_settings": 1, "clip": "OpenAI B/16", "vfm": "DINO B/8", "words": "sky, hill", "beta": 1.2}
    first |= {
        "gamma": 3.0,
        "side": None,
        "windows": "sliding",
        "templates": "simple7",
        "background": "",
        "threshold": 0.0,
    }
    settings = Settings.from_json(json.dumps(first | {"versions": {"torch": "2.8"}}))
    assert (settings.side, settings.background, settings.fusion) == (None, "none", "proxy")


def test_files_from_before_refinement_ask_for_none():
    entries = json.loads(SAVED.to_json())
    del entries["reach"], entries["refine"]
    assert Settings.from_json(json.dumps(entries)) == SAVED
    assert (SAVED.reach, SAVED.refine) == ("windows", "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proxyclip_settings": 3}, "no settings"),
        ({"beta": "high"}, "beta is 'high'"),
        ({"gamma": True}, "gamma is True"),
        ({"side": 1.5}, "side is 1.5"),
        ({"words": ["sky"]}, r"words is \['sky'\]"),
        ({"windows": "tiled"}, "windows is 'tiled'"),
        ({"refine": "more"}, "refine is 'more'; expected one of 'none', "),
        ({"colour": 1}, "unknown: colour"),
        ({"background": "none"}, "Declare one: background='first'"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Settings.from_json(json.dumps({**json.loads(SAVED.to_json()), **change}))


@pytest.mark.parametrize("text", ["", "[]", "hello", '{"clip": "a"}', "[" * 200_000])
def test_other_files_are_no_settings(text):
    with pytest.raises(ValueError, match="no settings"):
        Settings.from_json(text)


def test_what_is_not_said_is_as_the_default_has_it():
    found = Settings.from_json('\ufeff{"words": "sky, grass", "beta": 0.9}', SAVED)
    assert found == replace(SAVED, words="sky, grass", beta=0.9)


def test_settings_remember_what_their_result_was_computed_with_and_are_equal_all_the_same():
    record = {"versions": {"torch": "2.8"}, "device": "cuda"}
    found = Settings.from_json(SAVED.to_json(record))
    assert found.computed_with == record and found == SAVED and hash(found) == hash(SAVED)


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ({}, ""),
        ({"versions": {"torch": "2.9", "python": "3.10"}, "device": "cpu", "vfm_weights": None, "kernels": 5}, ""),
        ({"versions": {"torch": "2.8"}}, "saved with torch 2.8 (here 2.9)"),
        (
            {"device": "cuda", "kernels": {"linear": "x"}},
            "the device cuda (here cpu), the kernels for linear x (here y)",
        ),
        ({"vfm_weights": "1f"}, "the vision model's weights 1f (here 2e)"),
        ({"versions": [], "device": "x" * 1000}, f"the device {'x' * 80} (here cpu)"),
    ],
)
def test_how_two_records_differ_is_said(then, said):
    now = {"versions": {"torch": "2.9"}, "device": "cpu", "kernels": {"linear": "y"}, "vfm_weights": "2e"}
    found = differences(then, now)
    assert said in found if said else found == ""


def test_missing_entries_are_named():
    with pytest.raises(ValueError, match="missing: words"):
        Settings.from_json('{"proxyclip_settings": 1, "clip": "OpenAI B/16"}')


def test_what_somebody_wrote_by_hand_needs_words_alone():
    assert Settings.from_json('{"words": "sky, grass", "beta": 1.5}') == Settings("", "", "sky, grass", beta=1.5)


def test_a_number_that_no_float_holds_is_no_beta():
    with pytest.raises(ValueError, match="beta is"):
        Settings("a", "b", "sky", beta=10**400)
