"""A page for strangers, somebody with a result on it, and that the next request is served whatever was sent."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from demo import limits
from tests.serving import page_around
from tests.strangers.bad_inputs import QUICK, is_fit_for_strangers, png, segmenting, shown
from tests.strangers.stranger import Stranger


@pytest.fixture(scope="module")
def url(tiny_model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "PUBLIC", True)
        with page_around(tiny_model) as address:
            yield address


@pytest.fixture(scope="module")
def stranger(url) -> Stranger:
    return Stranger(url)


@pytest.fixture(scope="module")
def picture(stranger, four_areas) -> dict[str, Any]:
    return stranger.upload("fields.png", png(four_areas))


@pytest.fixture(scope="module")
def segmented(url, picture) -> Iterator[Stranger]:
    """A visit whose picture is segmented. After all tests it still can be."""
    visitor = Stranger(url)
    for name, value in (QUICK | {"picture": picture, "words": "sky, tree"}).items():
        visitor.set(name, value)
    visitor.ask(segmenting(visitor))
    assert shown(visitor, "legend")
    yield visitor
    served, text = visitor.call(picture=picture, words="sky, tree", **QUICK)
    assert served, text


@pytest.fixture
def page(segmented) -> Stranger:
    visitor = copy.copy(segmented)
    visitor.values = dict(segmented.values)
    return visitor


@pytest.fixture(autouse=True)
def the_next_request_is_served(stranger):
    yield
    said, outputs = stranger.ask(stranger.event("background", "input"))
    assert not said and outputs


@pytest.fixture
def refused(stranger, picture):
    """Asks /segment for what it is to refuse, and gives what it said."""

    def call(**given: Any) -> str:
        served, text = stranger.call(**({"picture": picture, "words": "sky, tree"} | QUICK | given))
        assert not served and is_fit_for_strangers(text) and "inside" not in text, (given, text)
        return text

    return call
