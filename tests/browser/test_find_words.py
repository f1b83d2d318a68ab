"""Words are found for a picture and taken out again, and those that are perhaps not there are marked."""

from __future__ import annotations

from tests.browser.visit import PHONE, expect, needs_browser

pytestmark = needs_browser


def test_words_are_found_and_a_chip_takes_one_out(visit, small, picture):
    opened = visit(small, PHONE)
    opened.page.set_input_files("#picture input[type=file]", picture)
    expect(opened.page.locator("#picture img")).to_be_visible()
    opened.page.click("#find")
    chips = opened.page.locator("#found .chip")
    expect(chips.first).to_be_visible()
    expect(opened.chips().first).to_be_visible()
    opened.until_quiet()
    names = chips.evaluate_all("(found) => found.map((chip) => chip.dataset.name)")
    chips.first.press("Enter")
    expect(chips).to_have_count(len(names) - 1)
    expect(opened.page.locator("#words textarea")).not_to_have_value(names[0])
    opened.until_quiet()
    assert names[0] not in opened.chips().evaluate_all("(found) => found.map((chip) => chip.dataset.name)")
    assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert opened.errors == []


def test_a_word_that_is_perhaps_not_there_is_marked_in_words(visit, small, picture):
    opened = visit(small)
    opened.ask(picture, "sky, hill, horse, sea, boat, tree, house, road, wall, lamp")
    expect(opened.page.locator("#legend .doubt").first).to_have_text("perhaps not there")
