"""What a person does under "Look inside", in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

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
        expect(opened.page.locator("#inside-live .told").nth(1)).to_contain_text("patches")
        opened.until_quiet()
        return opened

    return go


def spot_of(opened, across: float, down: float, pane: int = 0) -> tuple[float, float]:
    """Where on the screen the point at these shares of a pane's picture is."""
    stack = opened.page.locator("#inside-live .stack").nth(pane)
    # What lies under the sliders is in view, too.
    stack.evaluate("(stack) => stack.scrollIntoView({ block: 'center' })")
    box = opened.box(stack)
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def click_at(opened, across: float, down: float) -> None:
    opened.page.mouse.click(*spot_of(opened, across, down))


def told(opened, pane: int = 1) -> str:
    """What is said of a source: CLIP's own attention is the first, the page's vision model the second."""
    return opened.page.locator("#inside-live .told").nth(pane).inner_text()


def heat(opened, pane: int = 1) -> np.ndarray:
    """(h, w, 4): the colours over a pane's picture, one pixel a patch."""
    canvas = opened.page.locator("#inside-live .heat").nth(pane)
    address = canvas.evaluate("(canvas) => canvas.toDataURL()").partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address)))).astype(int)


def looked(opened) -> None:
    """Until what follows the pointer has been drawn."""
    opened.page.evaluate("new Promise((ready) => requestAnimationFrame(() => requestAnimationFrame(ready)))")


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
    assert opened.page.locator("#inside-live svg").first.get_attribute("viewBox") == "0 0 150 230"  # upright
    click_at(opened, 0.9, 0.05)
    expect(opened.page.locator("#inside-where")).to_contain_text("1: (13")  # x of 150
    ring, (x, y) = opened.page.locator("#inside-live .seeds circle").first, spot_of(opened, 0.9, 0.05)
    box = opened.box(ring)
    assert abs(box["x"] + box["width"] / 2 - x) < 2 and abs(box["y"] + box["height"] / 2 - y) < 2
    assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_heat_follows_the_pointer_without_asking_the_server(looking):
    opened = looking()
    opened.asked.clear()
    found = []
    for across, down in ((0.2, 0.2), (0.8, 0.8)):
        opened.page.mouse.move(*spot_of(opened, across, down))
        looked(opened)
        found.append((heat(opened), heat(opened, 0), told(opened)))
        x = "4[56]" if across < 0.5 else "18[345]"  # of 230
        expect(opened.page.locator("#inside-where")).to_contain_text(re.compile(rf"Under the pointer: \({x}, "))
    (first, own, _), (second, other, _) = found
    assert (first != second).any() and (own != other).any()
    lit = [colours[..., :3].sum(axis=-1) for colours in (first, second)]
    for one, other, part in ((*lit, np.s_[:15, :20]), (*lit[::-1], np.s_[-15:, -20:])):  # areas of one colour attend
        assert one[part].mean() > 1.5 * other[part].mean()
    expect(opened.page.locator("#inside-where")).to_contain_text(re.compile("(sky|tree)[.]"))  # the class there
    assert opened.asked == [] and opened.errors == []


def test_the_row_that_is_shown_is_the_models(looking, tiny_model, blocks):
    opened = looking()
    opened.page.get_by_label("Before masking (cosine)").check()
    click_at(opened, 0.25, 0.25)
    looked(opened)
    features = tiny_model.encode(blocks, windows="whole")
    exact = tiny_model.seed_attention(features, (57, 37), stage="cosine", on="grid")
    brightness = heat(opened)[..., :3].sum(axis=-1)
    assert brightness.shape == exact.shape
    assert np.corrcoef(np.argsort(np.argsort(brightness.ravel())), np.argsort(np.argsort(exact.ravel())))[0, 1] > 0.98


def test_beta_acts_on_what_is_shown_before_the_server_answers(looking):
    opened = looking()
    before = told(opened)
    opened.page.route("**/queue/join*", lambda route: None)  # never answered
    opened.page.locator("#beta input[type=range]").focus()
    opened.page.keyboard.press("End")
    expect(opened.page.locator("#inside-live .told").nth(1)).not_to_have_text(before)
    assert opened.errors == []


REST = """() => { // is over when `rested` is called, not when its time has passed
  const later = window.setTimeout;
  window.setTimeout = (run, wait, ...more) => (wait === 250 ? ((window.rested = run), 0) : later(run, wait, ...more));
}"""


def test_the_server_hears_of_beta_once_it_rests(looking):
    """Its answers would hold up the heat, which follows every step."""
    opened = looking()
    expect(opened.page.locator("#inside-maps img")).to_have_count(2)
    opened.until_quiet()
    opened.asked.clear()
    opened.page.evaluate(REST)
    before, seen = maps(opened), set()
    for beta in ("0.6", "0.9", "1.4"):
        opened.slide("#beta", beta)
        looked(opened)
        seen.add(told(opened))
        expect(opened.page.locator("#beta input[type=range]")).to_have_value(beta)
    assert len(seen) == 3 and opened.asked == []
    opened.page.evaluate("rested()")
    expect(opened.page.locator("#inside-maps img").last).not_to_have_attribute("src", before[1])
    assert opened.errors == []


def test_a_second_seed_is_set_and_removed_by_keyboard(looking):
    opened = looking()
    panes, where = opened.page.locator("#inside-live .panes"), opened.page.locator("#inside-where")
    panes.focus()
    opened.page.keyboard.press("Enter")
    opened.page.keyboard.press("Enter")
    opened.page.keyboard.press("Shift+ArrowRight")
    expect(where).to_contain_text(re.compile(r"1: \(115, 75\) .*2: \(1(29|3[0-3]), 7"))  # four patches
    expect(where).to_have_attribute("role", "status")  # read out
    expect(opened.page.locator("#inside-maps img")).to_have_count(4)
    opened.page.keyboard.press("Delete")
    expect(opened.page.locator("#inside-maps img")).to_have_count(2)
    assert opened.errors == []


def test_stage_scale_and_grid_change_what_is_drawn(looking):
    opened = looking()
    first, high = maps(opened), opened.page.locator("#inside-live .high").nth(1)
    opened.page.get_by_label("Shared, times uniform (1/N)").check()
    expect(high).to_contain_text("× uniform")
    expect(opened.page.locator("#inside-maps img").nth(1)).not_to_have_attribute("src", first[1])
    opened.page.get_by_label("Before masking (cosine)").check()
    expect(high).to_have_text("1")  # a patch is most like itself
    opened.page.locator("#inside-grid input").check()
    expect(opened.page.locator("#inside-live .grid").first).to_be_visible()


def test_windows_are_drawn_where_they_are_asked_for(looking):
    opened = looking()
    expect(opened.page.locator("#inside-live .window")).to_have_count(0)
    opened.page.locator("#inside-windows input").check()
    expect(opened.page.locator("#inside-live .window")).not_to_have_count(0)
    expect(opened.page.locator("#inside-live .told").nth(1)).to_contain_text("in windows 1, 2, 3 of 3: attends to")
    opened.page.locator("#inside-windows input").uncheck()
    expect(opened.page.locator("#inside-live .told").nth(1)).to_contain_text(re.compile("^attends to"))
    assert opened.errors == []


def test_the_heat_follows_the_pointer_in_windows_too(looking):
    opened = looking()
    opened.page.locator("#inside-windows input").check()
    expect(opened.page.locator("#inside-live .told").nth(1)).to_contain_text("in windows 1, 2, 3 of 3")
    opened.until_quiet()
    opened.asked.clear()
    found = []
    for across in (0.05, 0.95):
        opened.page.mouse.move(*spot_of(opened, across, 0.2))
        looked(opened)
        found.append((heat(opened)[..., :3].sum(axis=-1), told(opened)))
    (left, first), (right, last) = found
    assert first.startswith("in window 1 of 3: attends to") and last.startswith("in window 3 of 3: attends to")
    darkest, third = left.min(), left.shape[1] // 5
    assert (left[:, -third:] == darkest).all() and (right[:, :third] == darkest).all()  # what is in other windows
    assert left[:, :third].mean() > 2 * darkest and right[:, -third:].mean() > 2 * darkest
    assert opened.asked == [] and opened.errors == []


def test_a_tall_picture_and_its_maps_fit_on_the_screen(looking, tmp_path):
    rows = np.arange(2000, dtype=np.uint8)[:, None, None].repeat(300, axis=1).repeat(3, axis=2)
    Image.fromarray(rows).save(tmp_path / "tall.png")
    opened = looking(str(tmp_path / "tall.png"))
    for selector in ("#inside-live .stack", "#inside-maps img"):
        box = opened.box(opened.page.locator(selector).first)
        assert box["height"] <= 0.61 * DESKTOP["height"], selector


def test_another_vision_model_is_laid_beside(looking):
    opened = looking()
    opened.page.locator("#inside-sources").get_by_label("DINO S/8").check()
    expect(opened.page.locator("#inside-maps img")).to_have_count(3)
    expect(opened.page.locator("#inside-maps")).to_contain_text("1 · DINO S/8")


def test_beta_moves_the_histogram_and_the_numbers(looking):
    opened = looking()
    opened.page.get_by_role("tab", name="Similarity").click()
    figure = opened.page.locator("#inside-similarity svg[role=img]").last
    table = opened.page.locator("#inside-statistics")
    expect(figure).to_be_visible()
    described, numbers = figure.get_attribute("aria-label"), table.inner_text()
    assert "masked" in described
    opened.unfold("Settings")
    opened.slide("#beta", "0.6")
    expect(figure).not_to_have_attribute("aria-label", described)
    expect(table).not_to_have_text(numbers)
    assert opened.errors == []


def test_figures_fit_a_phone(looking):
    opened = looking()
    opened.page.set_viewport_size(PHONE)
    opened.page.get_by_role("tab", name="Similarity").click()
    drawings = opened.page.locator("#inside-similarity svg[role=img]")
    expect(drawings).to_have_count(2)
    for drawing in drawings.all():
        box = opened.box(drawing)
        assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] and box["width"] > 250


def test_the_chosen_vision_model_is_not_offered_beside_itself(looking):
    opened = looking()
    offered = opened.page.locator("#inside-sources label")
    expect(offered.filter(has_text="DINO S/8")).to_have_count(1)
    expect(offered.filter(has_text=re.compile("^DINO B/8$"))).to_have_count(0)


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
