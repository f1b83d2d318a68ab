"""What a person does on the page, in a real browser. Skipped where there is no Playwright or no Chromium."""

from __future__ import annotations

import pytest

from tests.browser.visit import DESKTOP, PHONE, expect, needs_browser

pytestmark = needs_browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_opens_clean_without_a_network(visit, bare, viewport, scheme):
    opened = visit(bare, viewport, scheme)
    expect(opened.page.locator("#about")).to_contain_text("will be downloaded on first use")
    width, room = opened.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= room  # no scrolling to the side
    assert opened.errors == []
    assert opened.elsewhere == []


def test_missing_weights_are_said_with_the_remedy_and_the_page_goes_on(visit, bare, picture):
    opened = visit(bare, PHONE)
    opened.ask(picture, "sky, tree")
    message = opened.page.locator("#message [role=alert]")
    expect(message).to_contain_text("hf download")
    assert "Traceback" not in message.inner_text()
    opened.page.fill("#words textarea", "sky,, tree")
    opened.page.click("#segment")
    expect(message).to_contain_text("empty word")
    assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert opened.errors == []


def test_menus_follow_the_family(visit, bare):
    opened = visit(bare)
    opened.page.click("#vfm input")
    opened.page.get_by_role("option", name="MAE B").click()
    expect(opened.page.locator("#about")).to_contain_text("not for commercial use")
    expect(opened.page.locator("#patch label")).to_have_text(["16 × 16"])


def test_a_chosen_family_is_used(visit, small, picture):
    opened = visit(small)
    opened.page.click("#vfm input")
    opened.page.get_by_role("option", name="DINOv2 S").click()
    expect(opened.page.locator("#patch label")).to_have_text(["14 × 14"])
    opened.ask(picture, "sky")
    expect(opened.page.locator("#status")).to_contain_text("OpenAI B/16 + DINOv2 S/14")


def test_words_become_a_legend_and_other_words_another(visit, small, picture):
    opened = visit(small)
    opened.ask(picture, "sky, hill")
    expect(opened.page.locator("#overlay img")).to_be_visible()
    expect(opened.page.locator("#legend")).to_contain_text("sky")
    expect(opened.page.locator("#status")).to_contain_text("230 × 150 pixels")
    opened.page.fill("#words textarea", "horse")
    opened.page.press("#words textarea", "Enter")
    expect(opened.chips()).to_have_text(["horse"])
    expect(opened.page.locator("#status")).not_to_contain_text("encoders")
    assert opened.errors == []


def test_words_are_text_and_never_markup_or_code(visit, small, picture):
    opened = visit(small)
    word = "<img src=x onerror='document.title=1'> ${document.title=2} {{this}}"
    opened.ask(picture, word)
    expect(opened.chips()).to_have_text([word])
    assert opened.page.locator("#legend img").count() == 0
    assert opened.page.title() == "ProxyCLIP"


def test_a_message_goes_when_the_next_try_works(visit, small, picture):
    opened = visit(small)
    opened.ask(picture, "sky; cloud, cloud")
    expect(opened.page.locator("#message [role=alert]")).to_contain_text("given twice")
    opened.page.fill("#words textarea", "sky")
    opened.page.click("#segment")
    expect(opened.chips()).to_have_text(["sky"])
    expect(opened.page.locator("#message [role=alert]")).to_have_count(0)


def test_opacity_draws_again_and_sliders_bring_up_to_date(visit, small, picture):
    opened = visit(small)
    opened.ask(picture, "sky, hill")
    opened.until_result()
    first = opened.drawn()
    opened.slide("#opacity", "0.1")
    assert (opened.drawn() != first).any()
    opened.unfold("Settings")
    opened.slide("#gamma", "9")
    expect(opened.page.locator("#status")).to_contain_text("(fusion")


def test_visitors_do_not_see_each_other(visit, small, picture):
    one, other = visit(small), visit(small)
    one.ask(picture, "sky")
    expect(one.chips()).to_have_text(["sky"])
    other.slide("#opacity", "0.1")
    other.page.click("#segment")
    expect(other.page.locator("#message [role=alert]")).to_contain_text("There is no picture yet")
    expect(other.page.locator("#overlay img")).to_have_count(0)


def test_nothing_moves_when_nobody_moves_anything(visit, small, picture):
    """Six quick ticks of a slider and six quick changes of tab ask for little, and for nothing afterwards."""
    opened = visit(small)
    opened.ask(picture, "sky, hill")
    expect(opened.page.locator("#overlay img")).to_be_visible()
    opened.unfold("Settings")
    opened.until_quiet()
    opened.asked.clear()
    opened.page.locator("#beta input[type=range]").focus()
    for _ in range(6):
        opened.page.keyboard.press("ArrowRight")
    expect(opened.page.locator("#status")).to_contain_text("(fusion")
    opened.until_quiet()
    assert 2 <= len([url for url in opened.asked if "/queue/join" in url]) <= 14
    for _ in range(3):
        opened.page.get_by_role("tab", name="Look inside").click()
        opened.page.get_by_role("tab", name="Segment").click()
    opened.until_quiet()
    opened.asked.clear()
    opened.page.wait_for_timeout(3000)  # silence can only be waited for
    assert opened.asked == []


def test_keys_lead_past_the_question_and_along_the_tabs(visit, small):
    opened = visit(small)
    keys, past = opened.page.keyboard, opened.page.get_by_role("link", name="Skip to the result")
    assert past.evaluate("(link) => getComputedStyle(link.closest('#skip')).clipPath") == "inset(50%)"
    keys.press("Tab")
    expect(past).to_be_focused()
    assert past.evaluate("(link) => getComputedStyle(link.closest('#skip')).clipPath") == "none"
    keys.press("Enter")
    keys.press("Tab")
    segment, inside, compare = (
        opened.page.get_by_role("tab", name=name, exact=True) for name in ("Segment", "Look inside", "Compare")
    )
    for key, reached in (("ArrowRight", inside), ("End", compare), ("ArrowRight", segment), ("ArrowLeft", compare)):
        keys.press(key)
        expect(reached).to_be_focused()
    expect(segment).to_have_attribute("aria-selected", "true")  # what is reached opens when it is wished
    keys.press("Enter")
    expect(compare).to_have_attribute("aria-selected", "true")


def test_a_slider_shows_that_it_has_the_focus(visit, small):
    opened = visit(small)
    opened.unfold("Word lists and background")
    opened.page.click("#background input")
    opened.page.get_by_role("option", name="short list of words").click()
    expect(opened.page.locator("#threshold input[type=range]")).to_be_enabled()
    for slider in ("beta", "gamma", "opacity", "threshold"):
        opened.page.locator(f"#{slider} button").focus()
        opened.page.keyboard.press("Tab")
        expect(opened.page.locator(f"#{slider} input[type=range]")).to_be_focused()
        expect(opened.page.locator(f"#{slider} input[type=range]")).to_have_css("outline-style", "solid")


def test_what_is_pressed_on_a_phone_is_as_large_as_a_finger(visit, small):
    opened = visit(small, PHONE)
    for selector, least in ((".source-selection button", 44), ("#beta input", 40), ("#opacity input[type=range]", 40)):
        found = opened.box(opened.page.locator(selector).last)
        assert found["height"] >= least, selector
    assert not any(dot.is_visible() for dot in opened.page.locator("footer .divider").all())


def test_a_picture_too_large_is_said(visit, small, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(bytes(21_000_000))
    opened = visit(small)
    opened.page.set_input_files("#picture input[type=file]", str(path))
    expect(opened.page.locator(".toast-body")).to_contain_text("20")
