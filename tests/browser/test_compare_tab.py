"""What a person does under "Compare", in a real browser."""

from __future__ import annotations

import re
import threading

import pytest

from tests.browser.visit import DESKTOP, PHONE, expect, needs_browser
from tests.serving import OneModel, page_around

pytestmark = needs_browser


class Gated(OneModel):
    """A provider whose 'DINO B/16' is given out only when `gate` is set."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.gate, self.asked = threading.Event(), threading.Event()
        self.given: list[str] = []

    def get(self, clip, vfm, say=lambda done, text: None):
        if vfm == "DINO B/16":
            self.asked.set()
            self.gate.wait(timeout=60)
        self.given.append(vfm)
        return self.model

    def ready(self, clip, vfm):
        return vfm in ("DINO B/8", "DINO B/16", "DINO S/8", "DINO S/16")


@pytest.fixture
def models(tiny_model) -> Gated:
    return Gated(tiny_model)


@pytest.fixture
def comparing(visit, models, picture):
    """Opens the page with a picture and its result, and goes to the tab."""
    with page_around(models) as url:

        def go(viewport=DESKTOP):
            opened = visit(url, viewport)
            opened.ask(picture, "sky, tree")
            expect(opened.chips()).to_have_count(2)
            opened.page.get_by_role("tab", name="Compare").click()
            expect(opened.page.locator("#compare-slider img")).to_have_count(2)
            return opened

        yield go
        models.gate.set()


def sources(opened) -> list[str]:
    return [image.get_attribute("src") for image in opened.page.locator("#compare-slider img").all()]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_slider_lies_between_two_results(comparing, viewport):
    opened = comparing(viewport)
    line = opened.page.locator("#compare-line")
    expect(line).to_contain_text("Left: CLIP alone")
    expect(line).to_contain_text("The current result (DINO B/8)")
    first = sources(opened)
    assert first[0] != first[1]
    opened.page.locator("#compare-left input").click()
    opened.page.get_by_role("option", name="CLIP's values alone").click()
    expect(line).to_contain_text("Left: CLIP's values alone")
    assert sources(opened) != first
    assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert opened.errors == []


def test_the_line_is_moved_by_keys(comparing):
    opened = comparing()
    line = opened.page.get_by_role("slider", name="The line between left and right")
    expect(line).to_have_attribute("aria-valuenow", "50")
    before = opened.box(line)["x"]
    for key in ("ArrowRight", "PageUp", "ArrowLeft"):
        line.press(key)
    expect(line).to_have_attribute("aria-valuenow", "70")
    width = opened.box(opened.page.locator("#compare-slider img").first)["width"]
    assert abs(opened.box(line)["x"] - before - 0.2 * width) < 0.01 * width
    expect(opened.page.locator("#compare-line")).to_have_attribute("role", "status")
    line.press("Home")
    expect(line).to_have_attribute("aria-valuenow", "0")
    line.press("End")
    expect(line).to_have_attribute("aria-valuenow", "100")
    assert opened.errors == []


def test_the_slider_follows_the_words(comparing):
    opened = comparing()
    first = sources(opened)
    opened.page.fill("#words textarea", "horse, cloud, road")
    opened.page.press("#words textarea", "Enter")
    expect(opened.page.locator("#compare-slider img").first).not_to_have_attribute("src", first[0])


def test_the_contact_sheet_shows_every_result_with_its_time(comparing, models):
    models.gate.set()
    opened = comparing()
    opened.page.click("#compare-run")
    expect(opened.page.locator("#compare-progress")).to_contain_text("4 of 4 · done")
    expect(opened.page.locator("#compare-sheet img")).to_have_count(4)
    expect(opened.page.locator("#compare-sheet")).to_contain_text(re.compile(r"DINO B/16 · \d+\.\d\d s"))
    opened.page.locator("#compare-sheet button.thumbnail-item").nth(3).click()
    expect(opened.page.locator("#compare-left input")).to_have_value("DINO B/16")
    expect(opened.page.locator("#compare-line")).to_contain_text("Left: DINO B/16")
    expect(opened.page.locator("#compare-slider")).to_be_in_viewport()
    assert opened.errors == []


def test_what_is_said_of_the_sheet_is_seen_from_its_button(comparing):
    opened = comparing()
    for box in opened.page.locator("#compare-chosen input").all():
        box.uncheck()
    opened.page.click("#compare-run")
    expect(opened.page.get_by_text("Choose what to compare.")).to_be_in_viewport()


def test_stop_stops_between_two_results_and_what_was_done_stays(comparing, models):
    opened = comparing()
    opened.page.locator("#compare-chosen").get_by_label("DINO S/8").check()
    opened.page.click("#compare-run")
    assert models.asked.wait(timeout=60)
    progress = opened.page.locator("#compare-progress")
    expect(progress.locator("progress")).to_have_attribute("value", "3")
    expect(progress).to_contain_text("3 of 5 · DINO B/16")
    opened.page.click("#compare-stop")
    expect(progress).to_contain_text("Stopped")
    models.gate.set()
    # The next event waits for the one that was stopped: once it has answered, nothing of that can be under way.
    opened.page.locator("#compare-left input").click()
    opened.page.get_by_role("option", name="The current result").click()
    expect(opened.page.locator("#compare-line")).to_contain_text("Left: The current result")
    assert "DINO S/8" not in models.given
    expect(progress).to_contain_text("Stopped")
    expect(opened.page.locator("#compare-sheet img")).to_have_count(3)
