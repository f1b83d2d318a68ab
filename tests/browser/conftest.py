"""What the browser's tests share: the browser itself, and pages served around small models."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.serving import app_process, page_around

IMAGES = "[...document.images].map((image) => [image.src.slice(-80), image.complete, image.naturalWidth])"


@pytest.fixture(scope="module")
def browser():
    from tests.browser.visit import CHROMIUM, playwright

    with playwright.sync_playwright() as tool:
        arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        chromium = tool.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Iterator[str]:
    """`python app.py` without network and weights."""
    with app_process(tmp_path_factory.mktemp("hub"), "--clip", "OpenAI B/16", "--vfm", "DINO B/8") as url:
        yield url


@pytest.fixture(scope="module")
def small(tiny_model) -> Iterator[str]:
    """The page around a small random model."""
    with page_around(tiny_model) as url:
        yield url


@pytest.fixture(scope="module")
def idle():
    """(viewport, scheme) -> browser contexts that no visit is using. A third of what opening the page takes is to fetch
    and to compile its files, which they have."""
    return defaultdict(list)


@pytest.fixture
def visit(browser, idle):
    from tests.browser.visit import DESKTOP, Visit

    visits = []

    def go(url: str, viewport=DESKTOP, scheme="light", late=""):
        kind = (*viewport.values(), scheme)
        context = idle[kind].pop() if idle[kind] else browser.new_context(viewport=viewport, color_scheme=scheme)
        visits.append((kind, Visit(context, url, late)))
        return visits[-1][1]

    yield go
    for kind, opened in visits:
        print(opened.errors, opened.page.evaluate(IMAGES))  # pytest shows it where a test failed
        for page in opened.context.pages:
            page.close()
        opened.context.clear_permissions()
        idle[kind].append(opened.context)


@pytest.fixture
def picture(blocks_file) -> str:
    return blocks_file


@pytest.fixture(scope="module")
def gallery(blocks, tmp_path_factory) -> Path:
    """An examples folder of two scenes."""
    folder = tmp_path_factory.mktemp("examples")
    rows = []
    for number, (title, words) in enumerate((("Fields", "grass, lake, sand"), ("Upside down", "snow, rock"))):
        Image.fromarray(blocks[:: 1 - 2 * number]).save(folder / f"scene{number}.png")
        rows.append({"file": f"scene{number}.png", "title": title, "words": words.split(", "), "text": words})
    (folder / "examples.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def with_examples(tiny_model, gallery) -> Iterator[str]:
    """The page around a small random model, with a gallery."""
    with page_around(tiny_model, gallery) as url:
        yield url
