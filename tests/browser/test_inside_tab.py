"""What a person does under "Look inside", in a real browser."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from demo.draw.heat_map import SEED_COLOURS
from tests.browser.visit import DESKTOP, PHONE, expect, needs_browser
from tests.serving import page_around

pytestmark = needs_browser
WORDS = "red, green, blue, yellow"


@pytest.fixture(scope="module")
def labelled(blocks, tmp_path_factory):
    """A gallery of one picture with its true label map."""
    folder = tmp_path_factory.mktemp("gallery")
    labels = np.zeros(blocks.shape[:2], dtype=np.uint8)
    labels[:75, 115:], labels[75:, :115], labels[75:, 115:] = 1, 2, 3
    Image.fromarray(blocks).save(folder / "blocks.png")
    Image.fromarray(labels).save(folder / "blocks_labels.png")
    row = {"file": "blocks.png", "labels": "blocks_labels.png", "title": "Blocks", "words": WORDS.split(", ")}
    (folder / "examples.json").write_text(json.dumps([row]))
    return folder


@pytest.fixture(scope="module")
def served(tiny_model, labelled) -> Iterator[str]:
    with page_around(tiny_model, labelled) as url:
        yield url


@pytest.fixture
def looking(visit, served, picture):
    """Opens the page with a picture and its result, and goes to the tab."""

    def go(path: str = picture, viewport=DESKTOP, scheme="light"):
        opened = visit(served, viewport, scheme)
        expect(opened.chips().first).to_be_visible()  # the gallery's first picture is there by itself
        opened.ask(path, "sky, tree")
        expect(opened.chips()).to_have_count(2)
        opened.page.get_by_role("tab", name="Look inside").click()
        expect(opened.page.locator("#inside-maps img")).to_have_count(2)
        return opened

    return go


def click_at(opened, across: float, down: float) -> None:
    """A click at shares of the picture's sides; the picture may have empty room beside it in its box."""
    image = opened.page.locator("#inside-picture img")
    opened.until_decoded("#inside-picture img")
    image.scroll_into_view_if_needed()
    box, (width, height) = image.bounding_box(), image.evaluate("e => [e.naturalWidth, e.naturalHeight]")
    scale = min(box["width"] / width, box["height"] / height)
    left, top = (box["width"] - width * scale) / 2, (box["height"] - height * scale) / 2
    image.click(position={"x": left + across * width * scale, "y": top + down * height * scale})


def shown(opened, selector: str) -> np.ndarray:
    """The pixels of the picture that an <img> shows."""
    source = opened.page.locator(selector).first.get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(opened.page.request.get(source).body())).convert("RGB")).astype(int)


def maps(opened) -> list[str]:
    return [image.get_attribute("src") for image in opened.page.locator("#inside-maps img").all()]


def test_two_seeds_have_two_different_maps_of_each_source(looking):
    opened = looking()
    where = opened.page.locator("#inside-where")
    expect(where).to_contain_text("Click the picture")
    click_at(opened, 0.25, 0.25)
    expect(where).to_contain_text(re.compile(r"1: \(5[678], 3[678]\)"))
    click_at(opened, 0.75, 0.75)
    expect(where).to_contain_text(re.compile(r"2: \(17[123], 11[123]\)"))
    expect(opened.page.locator("#inside-maps img")).to_have_count(4)
    assert len(set(maps(opened))) == 4  # gradio names a file after its content
    expect(opened.page.locator("#inside-maps")).to_contain_text("2 · CLIP's own attention")
    opened.page.click("#inside-undo")
    expect(opened.page.locator("#inside-maps img")).to_have_count(2)
    assert opened.errors == []


def test_the_pad_moves_the_last_seed_by_one_patch(looking):
    opened = looking()
    click_at(opened, 0.5, 0.5)
    where = opened.page.locator("#inside-where")
    expect(where).to_contain_text(re.compile(r"1: \(11[456], 7[456]\)"))
    opened.page.locator("#inside-right").focus()
    opened.page.keyboard.press("Enter")  # a button, so the keyboard reaches it
    # The middle of the next patch; a patch is 8 * 150 / 336 = 3.6 pixels of the picture.
    expect(where).to_contain_text(re.compile(r"1: \((11[6-9]|120), 7[3-7]\)"))


def test_arrow_keys_on_the_picture_move_the_last_seed(looking):
    opened = looking()
    click_at(opened, 0.5, 0.5)
    where = opened.page.locator("#inside-where")
    expect(where).to_contain_text(re.compile(r"1: \(11[456], 7[456]\)"))
    scrolled = opened.page.evaluate("scrollY")
    opened.page.keyboard.press("ArrowDown")  # the click left the picture with the keys
    expect(where).to_contain_text(re.compile(r"1: \(11[3-7], (7[6-9]|80)\)"))
    opened.page.keyboard.press("ArrowRight")
    expect(where).to_contain_text(re.compile(r"1: \((11[7-9]|12[01]), (7[6-9]|80)\)"))
    assert opened.page.evaluate("scrollY") == scrolled and opened.errors == []


def test_the_marker_is_where_a_phone_picture_was_clicked(looking, blocks, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # 150 rows of 230 pixels in the file, 230 rows of 150 as it is shown
    Image.fromarray(blocks).save(tmp_path / "portrait.jpg", exif=exif, quality=95)
    opened = looking(str(tmp_path / "portrait.jpg"), PHONE)
    before = shown(opened, "#inside-picture img")
    assert before.shape[0] > before.shape[1]  # upright
    click_at(opened, 0.9, 0.05)
    expect(opened.page.locator("#inside-where")).to_contain_text("1: (13")  # x of 150
    after = shown(opened, "#inside-picture img")
    colour = np.array([int(SEED_COLOURS[0][at : at + 2], 16) for at in (1, 3, 5)])
    rows, columns = np.nonzero((np.abs(after - colour).sum(-1) < 60) & (np.abs(after - before).sum(-1) > 60))
    height, width = after.shape[:2]
    assert abs(np.median(columns) / width - 0.9) < 0.06 and abs(np.median(rows) / height - 0.05) < 0.04
    assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_stage_and_grid_change_what_is_drawn(looking):
    opened = looking()
    first, plain = maps(opened), opened.page.locator("#inside-picture img").get_attribute("src")
    opened.page.get_by_label("Before masking (cosine)").check()
    expect(opened.page.locator("#inside-maps img").nth(1)).not_to_have_attribute("src", first[1])
    opened.page.locator("#inside-grid input").check()
    expect(opened.page.locator("#inside-picture img")).not_to_have_attribute("src", plain)


def test_another_vision_model_is_laid_beside(looking):
    opened = looking()
    opened.page.locator("#inside-sources").get_by_label("DINO S/8").check()
    expect(opened.page.locator("#inside-maps img")).to_have_count(3)
    expect(opened.page.locator("#inside-maps")).to_contain_text("1 · DINO S/8")


def test_beta_moves_the_histogram_and_the_numbers(looking):
    opened = looking()
    opened.page.get_by_role("tab", name="Similarity").click()
    figure, table = opened.page.locator("#inside-similarity svg[role=img]"), opened.page.locator("#inside-statistics")
    expect(figure).to_be_visible()
    described, numbers = figure.get_attribute("aria-label"), table.inner_text()
    assert "masked" in described
    opened.unfold("Settings")
    opened.slide("#beta", "0.6")
    expect(figure).not_to_have_attribute("aria-label", described)
    expect(table).not_to_have_text(numbers)
    assert opened.errors == []


def test_features_are_shown_in_colours(looking):
    opened = looking()
    opened.page.get_by_role("tab", name="Features").click()
    expect(opened.page.locator("#inside-features img")).to_have_count(2)


def test_the_gallery_and_an_upload_bring_the_truth(looking, tmp_path):
    opened = looking()
    opened.page.get_by_role("tab", name="Truth").click()
    miou = opened.page.locator("#inside-miou")
    expect(miou).to_contain_text("None of the true classes is among your words")  # the picture is the gallery's
    opened.page.fill("#words textarea", WORDS)
    opened.page.press("#words textarea", "Enter")
    expect(miou).to_contain_text("mIoU")  # follows the result while it is open
    curves = opened.page.locator("#inside-curves svg[role=img]")
    expect(curves).to_have_attribute("aria-label", re.compile("DINO B/8: average precision"))
    Image.fromarray(np.zeros((5, 5), dtype=np.uint8)).save(tmp_path / "small.png")
    opened.page.set_input_files("#inside-label-map input[type=file]", str(tmp_path / "small.png"))
    expect(opened.page.locator("#inside-note [role=alert]")).to_contain_text("5 × 5 pixels, but the picture 230 × 150")
    assert opened.errors == []


def test_without_a_result_the_tab_says_what_to_do(visit, tiny_model):
    with page_around(tiny_model) as url:
        opened = visit(url)
        for name, note in (("Look inside", "#inside-note"), ("Compare", "#compare-note")):
            opened.page.get_by_role("tab", name=name).click()
            expect(opened.page.locator(note)).to_contain_text("No result yet. Give a picture and words")
