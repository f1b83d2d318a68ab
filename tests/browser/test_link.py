"""A link that says how a result was looked at, opened in a real browser."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode

from tests.browser.visit import expect, needs_browser, opened_with_result

pytestmark = needs_browser
SAID = {
    "example": "scene0",
    "words": "grass, lake, sand",
    "view": "inside/attention",
    "seeds": "60.0,40.0",
    "sources": "[]",
    "stage": "cosine",
    "hidden": '["lake"]',
    "head": "head 2",
    "alike": "share",
    "share": "0.25",
    "second": "scene1",
    "way": "clip",
    "left": "As in the paper",
    "right": "CLIP alone",
    "opacity": "0.35",
}
CLIPBOARD = ["clipboard-read", "clipboard-write"]


def test_a_link_opens_the_tab_with_its_seeds_stage_sources_and_hidden_classes(visit, with_examples):
    opened = visit(f"{with_examples}?{urlencode(SAID)}")
    opened.until_result()
    expect(opened.page.locator("#inside-where")).to_contain_text("1: (60, 40)")
    expect(opened.page.get_by_label("Before masking (cosine)")).to_be_checked()
    expect(opened.page.locator("#inside-maps img")).to_have_count(1)
    opened.context.grant_permissions(CLIPBOARD)
    opened.page.click("#inside-copy")
    copied = opened.page.locator("#inside-copied")
    expect(copied).to_have_text("Copied")
    expect(opened.page.locator("#inside-copy")).to_have_text("Copy link")  # again, after it said so, too
    expect(copied).to_have_attribute("role", "status")  # read out
    address = opened.page.locator("#inside-link textarea, #inside-link input").first
    assert dict(parse_qsl(address.input_value().partition("?")[2])) == SAID
    assert opened.page.evaluate("navigator.clipboard.readText()") == address.input_value()
    opened.page.get_by_role("tab", name="Segment").click()
    expect(opened.chips().filter(has_text="lake")).to_have_attribute("aria-pressed", "false")
    expect(opened.chips().filter(has_text="grass")).to_have_attribute("aria-pressed", "true")
    assert opened.page.locator("#opacity input[type=number]").input_value() == "0.35"
    assert opened.errors == []


def test_a_link_opens_what_is_compared_and_the_second_picture(visit, with_examples):
    opened = visit(f"{with_examples}?{urlencode(SAID | {'view': 'compare'})}")
    opened.until_result()
    expect(opened.page.locator("#compare-line")).to_contain_text(
        re.compile("Left: As in the paper.*Right: CLIP alone", re.S)
    )
    opened.page.click("#compare-copy")
    expect(opened.page.locator("#compare-link textarea, #compare-link input").first).to_have_value(
        re.compile("view=compare")
    )
    opened.page.get_by_role("tab", name="Look inside").click()
    opened.page.get_by_role("tab", name="Alike").click()
    expect(opened.page.locator("#alike-found")).to_contain_text("best match at")
    expect(opened.page.locator("#alike-other img")).to_be_visible()
    assert opened.errors == []


def test_where_the_browser_does_not_copy_it_says_so(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    opened.page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('denied')))")
    opened.page.click("#copy")
    expect(opened.page.locator("#copied")).to_contain_text("take the link from the box below")
    expect(opened.page.locator("#link textarea, #link input").first).to_be_visible()


def test_a_link_of_nonsense_opens_as_a_page_does(visit, with_examples):
    nonsense = {"view": "<b>", "seeds": "x;1e999,2", "sources": "[{}]", "stage": "$", "hidden": "[[["}
    opened = opened_with_result(visit, f"{with_examples}?{urlencode(nonsense)}")
    expect(opened.page.locator("#overlay")).to_be_visible()
    assert not opened.page.locator("#message [role=alert]").is_visible() and opened.errors == []
