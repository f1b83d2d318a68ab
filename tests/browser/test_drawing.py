"""How a result is drawn on the page, what is told at a point, and what becomes of it, in a real browser."""

from __future__ import annotations

import io
import re
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from proxyclip_core import ClassLogits, PixelLogits, Segmentation
from tests.browser.visit import expect, needs_browser, opened_with_result
from tests.serving import OneModel, page_around

pytestmark = needs_browser


def test_a_chip_hides_its_class_and_shows_it_again(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    before = opened.drawn()
    opened.asked.clear()
    opened.chips().first.click()
    expect(opened.chips().first).to_have_attribute("aria-pressed", "false")
    hidden = opened.drawn()
    assert (hidden != before).any() and opened.asked == []
    # It stays hidden when the picture is drawn anew, and other visitors do not notice.
    name = opened.chips().first.inner_text()
    opened.page.fill("#words textarea", f"{name}, horse")
    opened.page.press("#words textarea", "Enter")
    expect(opened.page.locator("#legend")).to_contain_text("horse")
    expect(opened.page.locator(f'#legend [data-name="{name}"]')).to_have_attribute("aria-pressed", "false")
    other = opened_with_result(visit, with_examples)
    assert (other.drawn() == before).all()
    without = opened.drawn()
    opened.page.locator(f'#legend [data-name="{name}"]').press("Enter")
    assert (opened.drawn() != without).any()


def test_a_double_click_on_a_chip_leaves_only_its_class_and_one_click_shows_all(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    before = opened.drawn()
    every = opened.page.get_by_role("button", name="Show all")
    expect(every).to_be_hidden()
    opened.chips().first.dblclick()
    pressed = [chip.get_attribute("aria-pressed") for chip in opened.chips().all()]
    assert pressed == ["true"] + ["false"] * (len(pressed) - 1) and len(pressed) > 1
    every.click()
    opened.page.mouse.move(1, 1)
    opened.page.evaluate("document.activeElement.blur()")
    assert (opened.drawn() == before).all()


def test_a_result_is_drawn_again_where_its_picture_was_put_on_the_page_anew(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    before = opened.drawn()
    anew = "(image) => image.parentElement.replaceWith(image.parentElement.cloneNode(true))"
    opened.page.locator("#drawn").evaluate("(canvas) => canvas.remove()")
    opened.page.locator("#overlay img").evaluate(anew)
    assert (opened.drawn() == before).all()


def test_a_result_is_drawn_though_the_script_for_pictures_comes_last(visit, with_examples):
    opened = opened_with_result(visit, with_examples, late="**/assets/ImagePreview-*.js")
    opened.page.click("#overlay img")
    expect(opened.page.locator("#card .bars")).to_be_visible()
    assert opened.errors == []


def test_how_results_are_drawn_is_remembered_by_the_browser(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    usual = opened.drawn()
    opened.page.locator("#names input").uncheck()
    without_names = opened.drawn()
    opened.page.wait_for_function("localStorage.getItem('proxyclip-look')")
    opened.page.reload()
    expect(opened.page.locator("body[data-opened]")).to_be_attached()
    expect(opened.page.locator("#names input")).not_to_be_checked()
    opened.until_result()
    assert (opened.drawn() == without_names).all() and (usual != without_names).any()
    assert opened_with_result(visit, with_examples).page.locator("#names input").is_checked()  # another browser


def test_pointing_at_a_chip_leaves_its_class_alone(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    opened.page.locator("#names input").uncheck()
    opened.page.locator("#outlines input").uncheck()
    before = opened.drawn()
    opened.chips().first.hover()
    same = (opened.drawn() == before).all(axis=-1).mean()
    share = float(opened.page.locator("#legend .share").first.inner_text().split()[0]) / 100
    assert abs(same - share) < 0.02
    opened.page.mouse.move(1, 1)
    assert (opened.drawn() == before).all()
    opened.page.locator("#names input").focus()
    opened.page.keyboard.press("Tab")
    assert (opened.drawn() != before).any()


@pytest.fixture
def large(blocks, tmp_path) -> str:
    """A picture that is drawn at its own size, noisy enough to tell any two roundings apart."""
    noise = np.random.default_rng(3).integers(-40, 41, (900, 1300, 3))
    picture = np.asarray(Image.fromarray(blocks).resize((1300, 900))).astype(int) + noise
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(tmp_path / "large.png")
    return str(tmp_path / "large.png")


def test_what_is_drawn_has_the_pixels_of_the_exported_overlay(visit, small, large):
    opened = visit(small)
    opened.ask(large, "grass, lake, sand, a rather long name; meadow, duck")
    expect(opened.chips().first).to_be_visible()
    opened.page.click("#contents button")
    for ticked in opened.page.locator("#formats input:checked").all()[::-1]:
        ticked.uncheck()
    opened.page.check("#formats label:has-text('overlay') input")

    def exported() -> np.ndarray:
        with opened.page.expect_download() as download:
            opened.page.click("#save")
        with zipfile.ZipFile(download.value.path()) as archive:
            return np.asarray(Image.open(io.BytesIO(archive.read("overlay.png")))).astype(int)

    def largest_difference() -> int:
        return int(np.abs(opened.drawn() - exported()).max())

    assert largest_difference() <= 1
    opened.slide("#opacity", "0.35")
    opened.chips().nth(1).click()
    opened.page.mouse.move(1, 1)
    opened.page.evaluate("document.activeElement.blur()")
    assert largest_difference() <= 1
    opened.page.locator("#outlines input").uncheck()
    opened.page.locator("#names input").uncheck()
    opened.slide("#opacity", "1")
    assert largest_difference() <= 1


def test_hatched_classes_are_drawn_and_told_like_the_export(visit, tiny_model, large, monkeypatch):
    squares = np.arange(20, dtype=np.uint16).reshape(4, 5).repeat(225, axis=0).repeat(260, axis=1)
    words = [f"word {number}" for number in range(20)]
    result = Segmentation(squares, tuple(words), np.ones(squares.shape, np.float32))
    for logits in (ClassLogits, PixelLogits):
        monkeypatch.setattr(logits, "segment", lambda *given: result)
    with page_around(tiny_model) as url:
        opened = visit(url)
        opened.ask(large, ", ".join(words))
        opened.until_result()
        opened.page.mouse.move(1, 1)
        drawn = opened.drawn().astype(int)
        swatches = [img.get_attribute("title") for img in opened.page.locator("#legend .chip img").all()]
        assert 0 < len(swatches) < 10 and set(swatches) <= {"hatched to the right", "hatched to the left"}
        picture = np.asarray(Image.open(large).convert("RGB"))
        assert np.abs(drawn - result.overlay(picture)).max() <= 1
        hatched = opened.page.locator("#legend .chip:has(img)").first
        hatched.click()
        opened.page.mouse.move(1, 1)
        opened.page.evaluate("document.activeElement.blur()")
        hidden = [hatched.get_attribute("data-name")]
        assert np.abs(opened.drawn().astype(int) - result.overlay(picture, hidden=hidden)).max() <= 1


def test_what_is_shown_is_saved_as_a_picture(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    opened.slide("#opacity", "0.3")
    shown = opened.drawn()
    with opened.page.expect_download() as download:
        opened.page.get_by_role("button", name="Save as PNG").click()
    assert (np.asarray(Image.open(download.value.path()).convert("RGB")) == shown).all()


def test_the_look_asks_the_server_nothing(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    before = opened.drawn()
    opened.asked.clear()
    opened.slide("#opacity", "0.1")
    lighter = opened.drawn()
    opened.page.locator("#outlines input").uncheck()
    plain = opened.drawn()
    opened.page.locator("#overlay").hover()
    assert opened.asked == [] and opened.unanswered == set()
    assert (lighter != before).any() and (plain != lighter).any()


def test_pointing_tells_the_class_and_its_score_and_a_click_the_five_best(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    opened.until_quiet()
    opened.asked.clear()
    box = opened.box(opened.page.locator("#overlay img"))
    opened.page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.7)
    expect(opened.page.locator("#tip")).to_have_text(re.compile(r"^(grass|lake|sand) (\d+|< 1) %$"))
    assert opened.asked == []
    before, told = opened.drawn(), opened.page.locator("#tip").inner_text().rsplit(" ", 2)[0]
    opened.page.mouse.down()
    opened.page.mouse.up()
    expect(opened.page.locator("#card .bars li")).to_have_count(3)
    expect(opened.page.locator("#card .bars li").first).to_contain_text(told)
    marked = np.argwhere((opened.drawn() != before).any(axis=-1))
    height, width = before.shape[:2]
    scale = min(box["width"] / width, box["height"] / height)
    expected = height / 2 + 0.2 * box["height"] / scale, width / 2 - 0.2 * box["width"] / scale
    assert np.abs(marked.mean(axis=0) - expected).max() < 3
    opened.page.keyboard.press("Escape")
    expect(opened.page.locator("#card")).to_have_count(0)
    opened.unfold("Scores of one class")
    opened.page.click("#score-class input")
    opened.page.get_by_role("option", name="lake").click()
    expect(opened.page.locator("#score-map img")).to_be_visible()


def test_arrow_keys_read_the_result_and_enter_gives_the_scores(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    opened.page.get_by_role("button", name="The result").focus()
    scrolled = opened.page.evaluate("scrollY")
    opened.page.keyboard.press("ArrowRight")
    expect(opened.page.locator("#tip[role=status]")).to_have_text(re.compile(r"%$"))
    opened.page.keyboard.press("Enter")
    expect(opened.page.locator("#card .bars li")).to_have_count(3)
    assert opened.page.evaluate("scrollY") == scrolled


def test_a_result_that_is_no_longer_of_the_question_says_so(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    line = opened.page.locator("#belongs")
    opened.page.locator("#words textarea").press_sequentially(",, rock")  # which Enter alone refuses
    expect(line).to_contain_text("The words have changed")
    opened.page.fill("#words textarea", "grass, rock")
    opened.page.press("#words textarea", "Enter")
    expect(line).to_be_empty()
    opened.page.get_by_role("button", name="Remove Image").click()
    expect(line).to_contain_text("of the picture before")


class Gated(OneModel):
    """Has its model only while the gate is open."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.gate, self.asked = threading.Event(), threading.Event()
        self.gate.set()

    def get(self, *given, **more):
        self.asked.set()
        self.gate.wait(60)
        return super().get(*given, **more)


def test_what_is_changed_of_the_look_while_a_stage_runs_is_kept(visit, tiny_model, gallery):
    gated = Gated(tiny_model)
    with page_around(gated, gallery) as url:
        opened = opened_with_result(visit, url)
        expect(opened.page.locator("body[data-opened]")).to_be_attached()
        gated.gate.clear(), gated.asked.clear()
        opened.page.fill("#words textarea", "grass, lake, horse")
        opened.page.press("#words textarea", "Enter")
        assert gated.asked.wait(30)
        chip = opened.page.locator('#legend [data-name="grass"]')
        chip.click()
        expect(chip).to_have_attribute("aria-pressed", "false")
        gated.gate.set()
        expect(opened.page.locator("#legend")).to_contain_text("horse")
        expect(chip).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("late", ["#outlines input", "#names input"])
def test_the_look_may_be_changed_while_a_slider_is_answered(visit, tiny_model, gallery, late):
    gated = Gated(tiny_model)
    with page_around(gated, gallery) as url:
        opened = opened_with_result(visit, url)
        opened.unfold("Settings")
        before, old = opened.drawn(), opened.until_result()
        gated.gate.clear(), gated.asked.clear()
        opened.page.locator("#beta input[type=range]").press("ArrowRight")
        assert gated.asked.wait(30)
        opened.page.locator(late).uncheck()
        expect(opened.page.locator("#drawn")).to_have_attribute("data-look", re.compile("false"))  # at once
        gated.gate.set()
        opened.until_result(old)
        without = opened.drawn()
        opened.page.locator(late).check()
        opened.page.locator(late).uncheck()
        assert (opened.drawn() == without).all() and (without != before).any()


def test_the_old_result_stays_while_another_is_computed(visit, tiny_model, gallery):
    gated = Gated(tiny_model)
    with page_around(gated, gallery) as url:
        opened = opened_with_result(visit, url)
        opened.until_quiet()
        old = opened.until_result()
        gated.gate.clear(), gated.asked.clear()
        opened.page.fill("#words textarea", "horse, lake")
        opened.page.press("#words textarea", "Enter")
        assert gated.asked.wait(30)
        expect(opened.page.locator("#drawn")).to_have_attribute("data-result", old)
        expect(opened.page.locator("#overlay > .wrap")).to_be_visible()
        dimmed = opened.page.locator("#drawn").evaluate("(canvas) => getComputedStyle(canvas).filter")
        assert dimmed != "none"
        gated.gate.set()
        opened.until_result(old)
        expect(opened.page.locator("#belongs")).to_be_empty()
        opened.drawn()  # one canvas is left
        assert opened.page.locator("#drawn").evaluate("(canvas) => getComputedStyle(canvas).filter") == "none"


@pytest.mark.parametrize("slider, moved", [("beta", "0.6"), ("opacity", "0.2")])
def test_a_slider_that_is_put_back_is_followed_as_one_that_is_moved(visit, with_examples, slider, moved):
    opened = opened_with_result(visit, with_examples)
    before = opened.drawn()
    opened.slide(f"#{slider}", moved)
    expect(opened.page.locator(f"#{slider} input[type=range]")).to_have_value(moved)
    assert (opened.drawn() != before).any()
    opened.page.locator(f"#{slider}").get_by_role("button", name="Reset to default value").click()
    expect(opened.page.locator(f"#{slider} input[type=range]")).not_to_have_value(moved)
    assert np.array_equal(opened.drawn(), before) and opened.errors == []
