"""demo.answers.looking: what a link says of how a result is looked at."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest

from demo import limits, menus
from demo.answers.looking import Looking

VIEWS = ("segment", "inside/attention", "compare")
SOURCES = (menus.OWN_ATTENTION, "DINO B/8, keys", "DINO B/16")
RESULTS, SCENES = (menus.CURRENT, "CLIP alone", "DINO B/16"), ("farm", "天")
LOOKING = Looking(
    view="inside/attention",
    points=((120.5, 80.0), (3.0, 4.0)),
    sources=SOURCES[1:],
    stage="cosine",
    scale="shared",
    windows=True,
    hidden=("a & b; c", "$x_1$", "天"),
    head=2,
    by="share",
    share=0.25,
    second="天",
    way="clip",
    left="DINO B/16",
    right="CLIP alone",
    opacity=0.35,
)


def read(**query: str) -> Looking:
    return Looking.from_query(query, VIEWS, SOURCES, RESULTS, SCENES)


def test_a_link_brings_back_how_a_result_was_looked_at():
    address = urlencode(LOOKING.as_query())
    assert read(**dict(parse_qsl(address))) == LOOKING


def test_a_link_says_only_what_is_not_as_the_page_opens():
    assert Looking().as_query() == {} and read() == Looking()
    assert Looking(sources=()).as_query() == {"sources": "[]"} and read(sources="[]").sources == ()


@pytest.mark.parametrize(
    "query",
    [
        {"view": "../x"},
        {"view": "inside"},
        {"stage": "<script>"},
        {"scale": "7", "in": "<b>"},
        {"head": "head 0", "way": "", "alike": "<b>", "second": "../farm.png"},
        {"head": "head -1", "left": "SAM B/16", "right": "[]"},
        {"head": "head 99999", "share": "nan", "opacity": "1e999"},
        {"share": "0", "opacity": "-1"},
        {"share": "x", "opacity": ""},
        {"seeds": "a,b;1;2,3,4;nan,0;inf,1;,"},
        {"seeds": "9" * 400 + ",1"},
        {"hidden": "{}"},
        {"hidden": "[" * 5000},
        {"hidden": "[1, null, {}]"},
        {"hidden": '["' + "x" * 300_000 + '"]'},
    ],
)
def test_what_makes_no_sense_is_passed_over(query):
    assert read(**query) == Looking()


def test_sources_that_are_not_here_are_passed_over():
    assert read(sources='["DINO B/16", "../x", "SAM B/16"]').sources == ("DINO B/16",)


def test_no_more_is_taken_than_the_page_itself_takes():
    assert len(read(seeds=";".join(["1,2"] * 50)).points) == limits.MOST_SEEDS
    many = read(hidden=str([f"word {number}" for number in range(500)]).replace("'", '"')).hidden
    assert len(many) == 100 and len(read(hidden='["' + "x" * 5000 + '"]').hidden[0]) == 300
