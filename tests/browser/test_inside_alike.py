"""What is like a seed, a second picture, and the way to the word, in a real browser."""

from __future__ import annotations

import io
import re
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from tests.browser.visit import expect, needs_browser

pytestmark = needs_browser


def looking_at(visit, url: str, section: str):
    query = {"example": "scene0", "words": "grass, lake, sand", "view": f"inside/{section}", "seeds": "60,40"}
    opened = visit(f"{url}?{urlencode(query)}")
    opened.until_result()
    opened.until_quiet()
    return opened


def test_a_mask_of_what_is_like_the_seed_can_be_taken(visit, with_examples, blocks):
    opened = looking_at(visit, with_examples, "alike")
    found = opened.page.locator("#alike-found")
    expect(found).to_contain_text(re.compile(r"1 · DINO B/8 · [\d.]+ % of the picture"))
    with opened.page.expect_download() as download:
        opened.page.click("#alike-take")
    mask = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())))
    assert mask.shape == blocks.shape[:2] and mask[40, 60] == 255 and set(np.unique(mask)) <= {0, 255}
    before = found.locator("img").get_attribute("src")
    opened.page.locator("#alike-picture img").click(position={"x": 30, "y": 60})
    expect(found.locator("img")).not_to_have_attribute("src", before)
    assert opened.errors == []


def test_a_second_picture_of_the_gallery_shows_the_best_match(visit, with_examples):
    opened = looking_at(visit, with_examples, "alike")
    opened.page.locator("#alike-scene input").click()
    opened.page.get_by_role("option", name="Upside down").click()
    expect(opened.page.locator("#alike-found")).to_contain_text(re.compile(r"best match at \(\d+, \d+\), similarity"))
    expect(opened.page.locator("#alike-other img")).to_be_visible()
    assert opened.errors == []


def test_the_way_to_the_word_is_that_of_the_proxy_or_of_clip_alone(visit, with_examples):
    opened = looking_at(visit, with_examples, "word")
    told = opened.page.locator("#word-told")
    expect(told.locator("ol.bars")).to_have_count(2)
    before = opened.page.locator("#word-attention img").get_attribute("src")
    opened.page.locator("#word-way").get_by_label("CLIP alone").check()
    expect(opened.page.locator("#word-attention img")).not_to_have_attribute("src", before)
    assert opened.errors == []
