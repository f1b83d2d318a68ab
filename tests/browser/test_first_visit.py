"""A first visit with nothing but the repository: `python app.py` with the built-in models, no network, no weights."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.examples import FOLDER, read_examples
from tests.browser.visit import DESKTOP, PHONE, expect, needs_browser
from tests.serving import app_process

pytestmark = needs_browser
PHOTOGRAPHS = [example for example in read_examples(FOLDER) if example.is_photograph]
DRAWN = [example for example in read_examples(FOLDER) if not example.is_photograph]


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Iterator[str]:
    with app_process(tmp_path_factory.mktemp("hub")) as url:
        yield url


# Bytes of all that was fetched, as it was sent, without gradio's own scripts and fonts.
FETCHED = """() => performance.getEntries().filter((one) => !/\\/(assets|static)\\//.test(one.name))
    .reduce((sum, one) => sum + (one.encodedBodySize ?? 0), 0)"""


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_result_is_there_before_anything_is_done(visit, app, viewport):
    opened = visit(app, viewport)
    expect(opened.page.locator("#overlay img")).to_be_visible()
    first = DRAWN[0]
    shown = set(opened.chips().all_inner_texts())
    assert len(shown) >= 3 and shown <= set(first.words.split(", "))
    status = opened.page.locator("#status")
    expect(status).to_contain_text("Built-in + Built-in/8")
    expect(status).to_contain_text("drawn things, not photographs")
    assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    opened.until_quiet()
    assert 100_000 < opened.page.evaluate(FETCHED) < 900_000
    assert opened.errors == [] and opened.elsewhere == []


def test_an_example_is_one_click_and_has_its_truth(visit, app):
    opened = visit(app)
    expect(opened.page.locator("#overlay img")).to_be_visible()
    before = opened.page.locator("#overlay img").get_attribute("src")
    opened.page.locator("#examples button.thumbnail-item").nth(len(PHOTOGRAPHS) + 1).click()
    expect(opened.page.locator("#overlay img")).not_to_have_attribute("src", before)
    second = DRAWN[1]
    assert set(opened.chips().all_inner_texts()) <= set(second.words.split(", "))
    opened.page.get_by_role("tab", name="Look inside").click()
    opened.page.get_by_role("tab", name="Truth").click()
    expect(opened.page.locator("#inside-miou")).to_contain_text("mIoU")
    assert opened.errors == []


def test_a_photograph_waits_for_models_that_know_it(visit, app):
    opened = visit(app)
    opened.until_result()
    opened.page.locator("#examples button.thumbnail-item").first.click()
    expect(opened.page.locator("#own-note")).to_contain_text("drawn things only")
    expect(opened.page.locator("#use-photo-models")).to_contain_text("MB, downloaded once")
    expect(opened.page.locator("#message")).to_contain_text("public domain")
    expect(opened.page.locator("#belongs")).to_have_text("This result is of the picture before.")
    assert opened.errors == []


def test_both_patch_sizes_are_compared_with_their_scores(visit, app):
    opened = visit(app)
    expect(opened.page.locator("#overlay img")).to_be_visible()
    opened.page.get_by_role("tab", name="Compare").click()
    opened.page.click("#compare-run")
    expect(opened.page.locator("#compare-progress")).to_contain_text("done")
    sheet = opened.page.locator("#compare-sheet")
    for name in ("CLIP alone", "Built-in/8 · mIoU", "Built-in/4 · mIoU"):
        expect(sheet).to_contain_text(name)
    assert opened.errors == []
