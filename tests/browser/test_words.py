"""Words while they are typed, and changed by their chips: by pointer, by keys, and by what a finger can press."""

from __future__ import annotations

import threading
import time

from demo import limits
from proxyclip_core.interrupt import checkpoint
from tests.browser.visit import PHONE, expect, needs_browser, opened_with_result
from tests.serving import page_around

pytestmark = needs_browser


def test_words_that_are_typed_bring_their_result_without_enter(visit, with_examples, monkeypatch):
    monkeypatch.setattr(limits, "TYPING_SECONDS", 1000)  # the machine may be busy
    opened = opened_with_result(visit, with_examples)
    opened.until_quiet()
    opened.asked.clear()
    words = opened.page.locator("#words textarea")
    words.press_sequentially(", rock; stone", delay=20)
    expect(opened.page.locator('#legend [data-words="rock; stone"]')).to_be_attached()
    expect(words).to_be_focused()
    expect(words).to_have_value("grass, lake, sand, rock; stone")
    opened.until_quiet()
    assert len([url for url in opened.asked if "/queue/join" in url]) <= 6  # for 13 keys
    assert opened.errors == []


def test_chips_are_merged_by_dragging_and_reworded_and_taken_out_by_keys(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    opened.until_quiet()
    words, chips = opened.page.locator("#words textarea"), opened.page.locator("#legend [data-words]")
    first, second = (chips.nth(place).get_attribute("data-name") for place in range(2))
    opened.page.locator(f'#legend [data-name="{second}"]').drag_to(
        opened.page.locator(f'#legend [data-name="{first}"]')
    )
    expect(opened.page.locator(f'#legend [data-words="{first}; {second}"]')).to_be_attached()
    assert f"{first}; {second}" in words.input_value()
    opened.page.locator(f'#legend [data-name="{first}"]').press("F2")
    opened.page.keyboard.type("moss, fern")
    opened.page.keyboard.press("Enter")
    expect(opened.page.locator('#legend [data-name="fern"]')).to_be_attached()
    assert "moss, fern" in words.input_value()
    expect(opened.page.locator("#edit form")).to_be_hidden()
    opened.page.locator('#legend [data-name="fern"]').press("Delete")
    expect(opened.page.locator('#legend [data-name="fern"]')).to_have_count(0)
    assert "fern" not in words.input_value()
    assert opened.errors == []


def test_a_finger_merges_and_takes_out_words_in_the_form(visit, with_examples):
    opened = opened_with_result(visit, with_examples, PHONE)
    opened.until_quiet()
    form = opened.page.locator("#edit form")
    opened.page.get_by_role("button", name="Change lake").click()
    expect(form.locator("[name=words]")).to_have_value("lake")
    form.locator("[name=onto]").select_option("grass")
    form.get_by_role("button", name="Change", exact=True).click()
    expect(opened.page.locator('#legend [data-words="grass; lake"]')).to_be_attached()
    opened.until_quiet()
    opened.page.get_by_role("button", name="Change sand").click()
    form.get_by_role("button", name="Take out").click()
    expect(opened.page.locator("#words textarea")).to_have_value("grass; lake")
    assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert opened.errors == []


def test_stop_ends_what_runs_and_the_result_before_stays(visit, tiny_model, gallery, monkeypatch):
    with page_around(tiny_model, gallery) as url:
        opened = opened_with_result(visit, url)
        opened.until_quiet()
        before, begun, end = opened.until_result(), threading.Event(), time.monotonic() + 120

        def endless(windows):
            begun.set()
            while time.monotonic() < end:
                checkpoint()
            raise TimeoutError

        monkeypatch.setattr(tiny_model.clip, "encode_windows", endless)
        stop = opened.page.get_by_role("button", name="Stop", exact=True)
        expect(stop).to_be_hidden()
        opened.unfold("Settings")
        opened.page.click("#windows input")
        opened.page.get_by_role("option", name="Whole picture").click()
        assert begun.wait(60)
        stop.click()
        expect(opened.page.locator("#message")).to_contain_text("Stopped")
        expect(stop).to_be_hidden()
        assert opened.until_result() == before
        assert opened.errors == []
