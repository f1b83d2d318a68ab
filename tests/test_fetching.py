"""Weights that are missing where a result is asked for: they are fetched first, and what was asked for follows."""

from __future__ import annotations

import pytest

import proxyclip_core as pc
from demo import stopping
from demo.models import Download
from demo.ui import build_demo
from tests.page import Page, file, page_asking
from tests.serving import OneModel


class Fetching(OneModel):
    """Has no weights until they were fetched, which fails while there is an `error`."""

    here, error = False, None

    def ready(self, clip, vfm):
        return self.here

    def fetch(self, clip, vfm):
        yield Download(clip, 1, 2)
        if self.error:
            raise self.error
        self.here = True


@pytest.fixture
def models(tiny_model) -> Fetching:
    return Fetching(tiny_model)


@pytest.fixture
def page(models, blocks_file) -> Page:
    return page_asking(build_demo(models, "OpenAI B/16", "DINO B/8"), blocks_file, "sky, tree", "none")


def visible(page: Page) -> list[str]:
    return [name for name in ("again", "back", "download") if page.prop(name, "visible")]


@pytest.mark.parametrize(("control", "event"), [("segment", "click"), ("words", "submit"), ("again", "click")])
def test_what_was_asked_for_follows_when_they_have_come(page, control, event):
    page.do(control, event)
    assert page.requests == ["on_segment", "on_fetch", "on_fetched", "on_result", "on_loaded"]
    assert "sky" in page["legend"] and not page.said() and visible(page) == []
    page.requests.clear()
    page.do("words", "submit", "sky, horse")
    assert page.requests == ["on_segment", "on_result"]


def test_a_result_that_saved_settings_ask_for_follows_too(page, blocks_file, tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(pc.Settings("OpenAI B/16", "DINO B/8", "horse", windows="whole", templates="none").to_json())
    page.do("load", "upload", file(path))
    assert {"on_file", "on_filled", "on_fetch", "on_fetched"} <= set(page.requests)
    assert "horse" in page["legend"] and page.visit.asked.settings.words == "horse"


def test_what_fails_is_said_and_tried_again_when_asked(page, models):
    models.error = pc.WeightsError("The hub cannot be reached.")
    page.do("segment", "click")
    assert "cannot be reached" in page.said() and visible(page) == ["again", "back"] and page.visit is None
    models.error = None
    page.do("again", "click")
    assert "sky" in page["legend"] and not page.said() and visible(page) == []


def test_what_was_stopped_while_it_waited_fetches_nothing(page, monkeypatch):
    def stopped():
        raise stopping.Stopped(stopping.STOPPED)

    monkeypatch.setattr(stopping, "check_wanted", stopped)
    page.do("segment", "click")
    assert "Stopped" in page.said() and page.requests == ["on_segment"]


def test_weights_that_need_not_be_fetched_make_room_for_no_message(page, models):
    """They came by another visitor's wish, and this one's buttons to try again are in the way."""
    models.error = pc.WeightsError("The hub cannot be reached.")
    page.do("segment", "click")
    models.here = True
    page.do("segment", "click")
    assert "sky" in page["legend"] and not page.said() and visible(page) == []
