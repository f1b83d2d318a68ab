"""What a person does in the Segment tab, in a real browser."""

from __future__ import annotations

import io
import json
import re
import tempfile
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from demo.answers import save_load
from demo.answers.errors import UserError
from demo.models import Download
from demo.tabs.parts import script
from proxyclip_core.settings import Settings
from tests.browser.visit import PHONE, expect, needs_browser, opened_with_result
from tests.serving import OneModel, page_around

pytestmark = needs_browser
IN_VIEW = "Math.abs(document.querySelector('#overlay').getBoundingClientRect().top) < 100"  # below the tabs


def test_a_result_is_there_when_the_page_opens(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    expect(opened.page.locator("#words textarea")).to_have_value("grass, lake, sand")
    expect(opened.page.locator("#status")).to_contain_text("230 × 150 pixels")
    assert opened.errors == []


def test_on_a_phone_nothing_scrolls_to_the_side(visit, with_examples):
    opened = opened_with_result(visit, with_examples, PHONE, "dark")
    assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_an_example_is_one_click(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    opened.page.locator("#examples button.thumbnail-item").nth(1).click()
    expect(opened.page.locator("#words textarea")).to_have_value("snow, rock")
    expect(opened.page.locator("#legend")).to_contain_text("rock")
    expect(opened.page.locator("#legend")).not_to_contain_text("lake")


def test_one_class_alone_is_told_below_the_legend_and_one_click_adds_a_background(visit, small, picture):
    opened = visit(small, PHONE)
    opened.ask(picture, "<b>horse</b>")
    expect(opened.page.locator("#notes li")).to_contain_text("'<b>horse</b>' is the only class")
    opened.page.click("#add-background")
    expect(opened.page.locator("#legend")).to_contain_text("background")
    expect(opened.page.locator("#notes")).to_be_hidden()
    expect(opened.page.locator("#add-background")).to_be_hidden()


def test_words_come_from_a_file(visit, small, picture, tmp_path):
    (tmp_path / "names.csv").write_text("id,name\n0,sky\n1,hill\n2,sky\n")
    opened = visit(small)
    opened.ask(picture, "horse, tree")
    expect(opened.chips().first).to_be_visible()
    opened.unfold("Word lists and background")
    opened.page.set_input_files('input[type=file][accept*=".csv"]', str(tmp_path / "names.csv"))
    expect(opened.page.locator("#words textarea")).to_have_value("sky\nhill")
    expect(opened.page.locator("#message")).to_contain_text("taken once: 'sky'")
    expect(opened.page.locator("#legend")).to_contain_text("sky")


DROP = """([box, name, text]) => {
  const held = new DataTransfer();
  held.items.add(new File([text], name));
  for (const type of ["dragover", "drop"]) {
    const event = new DragEvent(type, { dataTransfer: held, bubbles: true, cancelable: true });
    document.querySelector(box).dispatchEvent(event);
  }
}"""


def test_a_file_that_is_dropped_on_the_words_is_read(visit, small, picture):
    opened = visit(small)
    opened.ask(picture, "horse, tree")
    expect(opened.chips().first).to_be_visible()
    opened.page.evaluate(DROP, ["#words textarea", "names.txt", "sky\nhill\nsky\n"])
    expect(opened.page.locator("#words textarea")).to_have_value("sky\nhill")
    expect(opened.page.locator("#message")).to_contain_text("taken once: 'sky'")
    expect(opened.page.locator("#legend")).to_contain_text("sky")
    opened.page.evaluate(DROP, ["#words textarea", "names.txt", "sea\nsand\n"])  # and once more
    expect(opened.page.locator("#words textarea")).to_have_value("sea\nsand")
    assert opened.errors == []


@pytest.mark.parametrize("leave", ["Enter", "Tab"])
def test_words_answer_to_enter_and_when_they_are_left(visit, with_examples, leave):
    opened = opened_with_result(visit, with_examples)
    opened.page.fill("#words textarea", "horse")
    opened.page.press("#words textarea", leave)
    expect(opened.chips()).to_have_text(["horse"])
    expect(opened.page.locator("#status")).not_to_contain_text("encoders")


def test_the_threshold_works_on_the_background(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    opened.unfold("Word lists and background")
    opened.page.click("#background input")
    opened.page.get_by_role("option", name="my first word").click()
    expect(opened.page.locator("#threshold input[type=number]")).to_be_enabled()
    opened.slide("#threshold", "1")
    expect(opened.chips()).to_have_text(["grass"])
    expect(opened.page.locator("#legend .share")).to_have_text(["100 %"])


def test_the_download_holds_what_is_shown_and_what_is_ticked(visit, with_examples, tmp_path):
    opened = opened_with_result(visit, with_examples)
    opened.page.click("#contents button")
    opened.page.check("#formats label:has-text('NPZ') input")
    with opened.page.expect_download() as download:
        opened.page.click("#save")
    archive = zipfile.ZipFile(download.value.path())
    labels = np.asarray(Image.open(io.BytesIO(archive.read("labels.png"))))
    names = json.loads(archive.read("names.json"))
    assert names == ["grass", "lake", "sand"] and labels.shape == (150, 230)
    shares = {row["data-name"]: row["share"] for row in _legend(opened)}
    for index, name in enumerate(names):
        mask = np.asarray(Image.open(io.BytesIO(archive.read(f"masks/{index:03d}_{name}.png"))))
        assert ((mask == 255) == (labels == index)).all()
        assert abs(float((labels == index).mean()) - shares.get(name, 0)) < 0.006
    overlay = Image.open(io.BytesIO(archive.read("overlay.png")))
    assert overlay.size == (230, 150)  # on the page it is drawn larger
    larger = np.asarray(overlay.resize(opened.drawn().shape[1::-1])).astype(int)
    assert np.abs(larger - opened.drawn()).mean() < 25
    annotations = json.loads(archive.read("coco.json"))["annotations"]  # each region by itself
    assert {one["category_id"] - 1 for one in annotations} == set(np.unique(labels).tolist())
    assert sum(one["area"] for one in annotations) >= 0.99 * labels.size  # but for single pixels
    assert (np.load(io.BytesIO(archive.read("result.npz")))["labels"] == labels).all()
    # The settings bring the same words back on a page that has gone on.
    (tmp_path / "settings.json").write_bytes(archive.read("settings.json"))
    opened.page.fill("#words textarea", "horse")
    opened.page.press("#words textarea", "Enter")
    expect(opened.chips()).to_have_text(["horse"])
    opened.page.set_input_files('input[type=file][accept=".json"]', str(tmp_path / "settings.json"))
    expect(opened.page.locator("#words textarea")).to_have_value("grass, lake, sand")
    expect(opened.page.locator("#legend")).to_contain_text("grass")


def _legend(opened) -> list[dict]:
    return opened.page.locator("#legend li").evaluate_all(
        """(rows) => rows.map((row) => ({"data-name": row.querySelector(".chip").dataset.name,
            "share": parseFloat(row.querySelector(".share").textContent) / 100}))"""
    )


def test_a_link_opens_with_its_settings(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    opened.page.fill("#words textarea", "moss & fern")
    opened.page.press("#words textarea", "Enter")
    expect(opened.chips()).to_have_text(["moss & fern"])
    opened.page.click("#copy")
    address = opened.page.locator("#link textarea, #link input").first
    expect(address).to_have_value(f"{with_examples}?example=scene0&words=moss+%26+fern")
    other = opened_with_result(visit, address.input_value() + "&beta=1.5")
    expect(other.chips()).to_have_text(["moss & fern"])
    other.unfold("Settings")
    expect(other.page.locator("#beta input[type=number]")).to_have_value("1.5")


def test_a_link_that_cannot_be_is_said(visit, with_examples):
    opened = opened_with_result(visit, f"{with_examples}?gamma=99")
    expect(opened.page.locator("#message [role=alert]")).to_contain_text("gamma is 99")


class Arriving(OneModel):
    """Has one model; the weights of all others come when the test says so."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.half, self.come = threading.Event(), threading.Event()

    def ready(self, clip, vfm):
        return clip == "OpenAI B/16" or self.come.is_set()

    def fetch(self, clip, vfm):
        yield Download(clip, 0, 605_000_000)
        yield Download(clip, 302_000_000, 605_000_000)
        self.half.set()
        self.come.wait(60)


def test_a_download_shows_how_far_it_is_and_the_present_model_goes_on(visit, tiny_model, gallery):
    arriving = Arriving(tiny_model)
    with page_around(arriving, gallery) as url:
        opened = opened_with_result(visit, url)
        opened.page.click("#clip input")
        opened.page.get_by_role("option", name="OpenAI B/32").click()
        opened.page.click("#segment")
        expect(opened.page.locator("#download")).to_contain_text("302 of 605 MB")
        opened.page.fill("#words textarea", "horse")
        opened.page.press("#words textarea", "Tab")
        expect(opened.chips()).to_have_text(["horse"])
        expect(opened.page.locator("#status")).to_contain_text("OpenAI B/16 +")
        arriving.come.set()
        expect(opened.page.locator("#status")).to_contain_text("OpenAI B/32 +")
        expect(opened.page.locator("#download progress")).to_have_count(0)


def test_settings_of_another_kind_are_refused_in_words(visit, with_examples, tmp_path):
    opened = opened_with_result(visit, with_examples)
    path = tmp_path / "settings.json"
    path.write_text(Settings("OpenAI B/99", "DINO B/8", "sky").to_json())
    opened.page.set_input_files('input[type=file][accept=".json"]', str(path))
    expect(opened.page.locator("#message [role=alert]")).to_contain_text("No CLIP is called")


def test_sliders_answer_to_the_keyboard(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    status, before = opened.page.locator("#status"), opened.drawn()
    opened.page.locator("#opacity input[type=range]").press("ArrowLeft")
    assert (opened.drawn() != before).any()
    opened.unfold("Settings")
    line = status.inner_text()
    opened.page.locator("#beta input[type=range]").press("ArrowRight")
    expect(status).not_to_have_text(line)
    expect(status).to_contain_text("fusion")


def test_a_failed_download_does_not_hand_out_the_one_before(visit, with_examples, monkeypatch):
    opened = opened_with_result(visit, with_examples)
    files = []
    opened.page.on("download", lambda file: files.append(file))
    with opened.page.expect_download():
        opened.page.click("#save")

    def fail(*_):
        raise UserError("There is no room left.")

    with monkeypatch.context() as broken:
        broken.setattr(save_load, "save", fail)
        opened.page.click("#save")
        expect(opened.page.locator("#message [role=alert]")).to_contain_text("There is no room left.")
    with opened.page.expect_download():
        opened.page.click("#save")
    assert len(files) == 2


def test_downloads_leave_nothing_behind(visit, with_examples, tmp_path, monkeypatch):
    opened = opened_with_result(visit, with_examples)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other pages have folders where it usually is
    with opened.page.expect_download():
        opened.page.click("#save")
    assert not list(tmp_path.iterdir())


def test_examples_are_named_by_their_captions(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    expect(opened.page.locator("body[data-opened]")).to_be_attached()
    first = opened.page.locator("#examples button.thumbnail-item").first
    caption = first.locator(".caption-label").text_content().strip()
    expect(first).to_have_attribute("aria-label", caption)
    for line in ("status", "estimate"):  # read out when they change
        expect(opened.page.locator(f"#{line}")).to_have_attribute("role", "status")


def test_a_page_that_is_loaded_again_keeps_picture_words_and_settings(visit, with_examples, picture):
    opened = opened_with_result(visit, with_examples)
    opened.ask(picture, "moss, fern")
    expect(opened.chips().first).to_have_text(re.compile("moss|fern"))
    opened.unfold("Settings")
    opened.slide("#beta", "1.5")
    expect(opened.page.locator("#status")).to_contain_text("(fusion")
    opened.until_quiet()
    opened.page.reload()
    opened.until_result()
    expect(opened.page.locator("#words textarea")).to_have_value("moss, fern")
    expect(opened.chips().first).to_have_text(re.compile("moss|fern"))
    opened.unfold("Settings")
    expect(opened.page.locator("#beta input[type=number]")).to_have_value("1.5")
    expect(opened.page.locator("#picture img")).to_have_attribute("src", re.compile("blocks"))
    other = opened_with_result(visit, with_examples)
    expect(other.page.locator("#words textarea")).to_have_value("grass, lake, sand")


def test_on_a_phone_segment_brings_the_result_into_view(visit, small, picture):
    opened = visit(small, PHONE)
    opened.ask(picture, "sky, hill")
    opened.until_result()
    opened.page.wait_for_function(IN_VIEW)


def test_on_a_phone_it_stays_in_view_whatever_comes_above_it_until_somebody_scrolls(visit, small):
    opened = visit(small, PHONE)
    opened.until_quiet()
    opened.page.evaluate("""() => {
        window.grow = (pixels) => document.getElementById("picture").style.marginTop = `${pixels}px`;
        addEventListener("scroll", () => grow(300), { once: true });  // while it is on its way
    }""")
    opened.page.evaluate(script("reveal"))
    opened.page.wait_for_function("document.getElementById('picture').style.marginTop === '300px'")
    opened.page.wait_for_function(IN_VIEW)
    opened.box(opened.page.locator("#overlay"))  # until it has arrived
    opened.page.mouse.move(200, 500)
    opened.page.mouse.wheel(0, -5000)
    opened.page.wait_for_function("scrollY === 0")
    opened.page.evaluate("grow(600)")
    opened.until_quiet()
    assert opened.page.evaluate("scrollY") == 0


def test_the_gallery_shows_small_pictures(visit, with_examples):
    opened = opened_with_result(visit, with_examples)
    image = opened.page.locator("#examples img").first
    assert len(opened.page.request.get(image.get_attribute("src")).body()) < 12_000
