"""A page with a picture and words, with a result, or with models whose weights are still to come."""

from __future__ import annotations

import pytest
from PIL import Image

import proxyclip_core as pc
from demo.ui import build_demo
from tests.page import Page, file, page_asking
from tests.serving import Failing, OneModel


@pytest.fixture(scope="module")
def portrait(blocks, tmp_path_factory) -> str:
    """A phone picture: 150 rows of 230 pixels in the file, which a viewer turns upright to 230 x 150."""
    path = tmp_path_factory.mktemp("pictures") / "portrait.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn clockwise to show
    Image.fromarray(blocks).save(path, exif=exif, quality=95)
    return str(path)


@pytest.fixture(scope="module")
def models(tiny_model) -> Failing:
    return Failing(tiny_model)


@pytest.fixture(scope="module")
def asked(models, portrait) -> Page:
    """With a picture and two words, and nothing done yet."""
    return page_asking(build_demo(models, "OpenAI B/16", "DINO B/8"), portrait, "sky, tree")


@pytest.fixture(scope="module")
def segmented(asked) -> Page:
    page = asked.copy()
    page.do("segment", "click")
    return page


@pytest.fixture
def page(segmented) -> Page:
    return segmented.copy()


@pytest.fixture
def empty(asked) -> Page:
    return asked.copy()


class Arriving(OneModel):
    """Has one CLIP; the weights of others can be fetched, or not."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.here, self.fails = {"OpenAI B/16"}, False

    def ready(self, clip, vfm):
        return clip in self.here

    def fetch(self, clip, vfm):
        from demo.models import Download

        yield Download(clip, 1, 605_000_000)
        if self.fails:
            raise pc.WeightsError(f"No connection, so no {clip}.")
        self.here.add(clip)


@pytest.fixture
def arriving(tiny_model, portrait) -> tuple[Page, Arriving]:
    models = Arriving(tiny_model)
    page = Page(build_demo(models, "OpenAI B/16", "DINO B/8"))
    page.set("picture", file(portrait))
    page.set("windows", "whole")
    page.do("words", "submit", "sky, tree")
    return page, models
