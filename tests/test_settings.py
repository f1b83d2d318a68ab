"""Settings come back from their file as they were."""

import json

import pytest

from proxyclip_core.settings import Settings

SETTINGS = Settings(
    "OpenAI B/16", "DINO B/8", "Himmel; Wolke, „Hügel“", 1.1, 4.0, None, "whole", "simple7", "short", 0.25
)


def test_they_come_back_as_they_were():
    assert Settings.from_json(SETTINGS.to_json()) == SETTINGS
    assert json.loads(SETTINGS.to_json())["versions"]["torch"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proxyclip_settings": 2}, "no settings"),
        ({"beta": "high"}, "beta is 'high'"),
        ({"gamma": True}, "gamma is True"),
        ({"side": 1.5}, "side is 1.5"),
        ({"words": ["sky"]}, r"words is \['sky'\]"),
        ({"windows": "tiled"}, "windows is 'tiled'"),
        ({"colour": 1}, "unknown: colour"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Settings.from_json(json.dumps({**json.loads(SETTINGS.to_json()), **change}))


@pytest.mark.parametrize("text", ["", "[]", "hello", '{"clip": "a"}'])
def test_other_files_are_no_settings(text):
    with pytest.raises(ValueError, match="no settings"):
        Settings.from_json(text)


def test_missing_entries_are_named():
    with pytest.raises(ValueError, match="missing: vfm, words"):
        Settings.from_json('{"proxyclip_settings": 1, "clip": "OpenAI B/16"}')


@pytest.mark.parametrize("background", [("", False), ("first", True), ("long", "long")])
def test_background_as_the_pipeline_takes_it(background):
    assert Settings("a", "b", "c", background=background[0]).declared_background == background[1]


@pytest.mark.parametrize("text", ["[" * 200_000, json.dumps({"proxyclip_settings": 1, "beta": 10**400})])
def test_monstrous_files_are_no_settings(text):
    with pytest.raises(ValueError):
        Settings.from_json(text)


def test_a_number_that_no_float_holds_is_no_beta():
    with pytest.raises(ValueError, match="beta is"):
        Settings("a", "b", "sky", beta=10**400)
