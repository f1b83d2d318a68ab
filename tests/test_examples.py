"""demo.examples, and how the page takes an example that its models know nothing of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import proxyclip_core as pc
from demo import menus
from demo.answers import save_load
from demo.asked_words import words_of
from demo.examples import FOLDER, first_for, read_examples
from demo.ui import build_demo
from tests.page import Page, file
from tests.serving import OneModel

SHIPPED = [example for example in read_examples(FOLDER) if example.is_photograph]


@pytest.fixture(scope="module")
def folder(blocks, tmp_path_factory) -> Path:
    """A gallery of one photograph and one drawn scene."""
    top = tmp_path_factory.mktemp("gallery")
    (top / "photographs").mkdir()
    Image.fromarray(blocks).save(top / "photographs" / "cat.png")
    Image.fromarray(blocks[::-1]).save(top / "fields.png")
    photograph = {
        "file": "cat.png",
        "title": "A cat",
        "text": "cat, wall",
        "origin": "by somebody",
        "licence": "CC0-1.0",
    }
    (top / "photographs" / "photographs.json").write_text(json.dumps([photograph]))
    (top / "examples.json").write_text(json.dumps([{"file": "fields.png", "words": ["lake", "sand"]}]))
    return top


@pytest.fixture(scope="module")
def built_in(tiny_model, folder) -> Page:
    """With the drawn scene segmented."""
    page = Page(build_demo(OneModel(tiny_model), "Built-in", "Built-in/8", folder))
    quick = {"picture": file(folder / "fields.png"), "windows": "whole", "templates": "none", "refine": "none"}
    for name, value in quick.items():
        page.set(name, value)
    page.do("words", "submit", "lake, sand")
    return page


def click(page: Page, place: int) -> None:
    page.do("examples", "select", data={"index": place, "value": None})


@pytest.mark.parametrize("example", SHIPPED, ids=lambda example: example.name)
def test_a_photograph_that_is_shipped_is_small_has_words_and_says_whose_it_is(example):
    path = Path(example.picture)
    assert path.stat().st_size < 100_000 and max(Image.open(path).size) <= 640
    assert len(words_of(example.words)[0]) >= 4 and not words_of(example.words)[1]
    assert example.origin.endswith(("; public domain", "; CC0-1.0"))
    assert f"| {example.name} |" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_photographs_come_first(folder):
    examples = read_examples(folder)
    assert len(SHIPPED) >= 4 and [example.name for example in examples] == ["cat", "fields"]
    assert first_for((), "Built-in") is None and read_examples(None) == ()


@pytest.mark.parametrize(("clip", "words"), [("Built-in", "lake, sand"), ("OpenAI B/16", "cat, wall")])
def test_a_page_opens_with_what_its_models_know(folder, clip, words):
    asked, said = save_load.opening({}, pc.Settings(clip, "DINO B/8", ""), read_examples(folder))
    assert (asked.settings.words, said) == (words, "")


def test_a_photograph_is_not_given_to_the_built_in_models_but_says_which_others_to_take(built_in, counter):
    page = built_in.copy()
    assert counter.during(lambda: click(page, 0)) == {}
    assert page["words"] == "cat, wall" and page.visit.asked.settings.words == "lake, sand"
    assert "The built-in models know drawn things only" in page.said("own-note")
    assert page.prop("use-photo-models", "value").startswith("Use OpenAI B/16 and DINO B/8: 9")
    assert page.said() == "A cat: by somebody; CC0-1.0."
    click(page, 1)  # and back
    assert page.said("own-note") == page.said() == ""


def test_whoever_insists_has_it_run_under_a_notice(built_in):
    page = built_in.copy()
    click(page, 0)
    page.do("segment", "click")
    assert page.visit.asked.settings.words == "cat, wall" and "drawn things only" in page.said("own-note")


def test_where_models_that_know_photographs_are_here_they_are_taken(built_in, monkeypatch):
    monkeypatch.setattr(menus, "photo_models_here", lambda: ("LAION B/16", "DINO S/16"))
    page = built_in.copy()
    click(page, 0)
    found = page.visit.asked.settings
    assert (found.clip, found.vfm, found.words) == ("LAION B/16", "DINO S/16", "cat, wall")
    assert page["patch"] == 16 and not page.prop("own-note", "visible")


@pytest.mark.parametrize(
    ("here", "found"),
    [
        (("OpenAI B/16", "LAION B/16", "DINO B/8", "MAE B/16"), ("OpenAI B/16", "DINO B/8")),
        (("LAION B/16", "DINO S/16"), ("LAION B/16", "DINO S/16")),
        (("LAION B/16",), None),
        (("Built-in", "Built-in/8"), None),
    ],
)
def test_the_models_for_photographs_are_those_that_are_here(monkeypatch, here, found):
    monkeypatch.setattr(pc, "is_available", lambda spec: spec.name in here)
    assert menus.photo_models_here() == found
