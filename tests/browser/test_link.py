"""A link that says how a result was looked at, opened in a real browser."""

from __future__ import annotations

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
}


def test_a_link_opens_the_tab_with_its_seeds_stage_sources_and_hidden_classes(visit, with_examples):
    opened = visit(f"{with_examples}?{urlencode(SAID)}")
    opened.until_result()
    expect(opened.page.locator("#inside-where")).to_contain_text("1: (60, 40)")
    expect(opened.page.get_by_label("Before masking (cosine)")).to_be_checked()
    expect(opened.page.locator("#inside-maps img")).to_have_count(1)
    opened.page.click("#inside-copy")
    address = opened.page.locator("#inside-link textarea, #inside-link input").first
    expect(address).to_be_visible()
    assert dict(parse_qsl(address.input_value().partition("?")[2])) == SAID
    opened.page.get_by_role("tab", name="Segment").click()
    expect(opened.chips().filter(has_text="lake")).to_have_attribute("aria-pressed", "false")
    expect(opened.chips().filter(has_text="grass")).to_have_attribute("aria-pressed", "true")
    assert opened.errors == []


def test_a_link_of_nonsense_opens_as_a_page_does(visit, with_examples):
    nonsense = {"view": "<b>", "seeds": "x;1e999,2", "sources": "[{}]", "stage": "$", "hidden": "[[["}
    opened = opened_with_result(visit, f"{with_examples}?{urlencode(nonsense)}")
    expect(opened.page.locator("#overlay")).to_be_visible()
    assert not opened.page.locator("#message [role=alert]").is_visible() and opened.errors == []
