"""No barrier that axe-core finds, in any tab and state, light and dark. It is not kept in this repository:
`npm install --no-save --ignore-scripts axe-core@4` brings it; the tests are skipped where it is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.visit import DESKTOP, PHONE, expect, needs_browser, opened_with_result
from tests.serving import ROOT, app_process

AXE = Path(os.environ.get("PROXYCLIP_AXE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
pytestmark = [needs_browser, pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not in node_modules")]

# What gradio brings along and cannot be told otherwise: rule -> a selector of what it may be found at.
GRADIOS = {
    "target-size": ".icon-button-wrapper *, .upload-container *, .source-selection *, .slider_input_container *",
    "image-redundant-alt": "footer *, .thumbnail-item *, .preview *",
    "label-content-name-mismatch": "#inside-label-map *, #picture *, #alike-other *",
    "aria-prohibited-attr": ".empty, .empty *, [aria-label='Empty value']",
}
FOUND = """async (rules) => {
    const fading = document.getAnimations().filter((one) => one instanceof CSSTransition); // text that was out of date
    await Promise.all(fading.map((one) => one.finished.catch(() => {})));
    const found = await axe.run(document, { resultTypes: ["violations"] });
    return found.violations.flatMap(({ id, nodes }) => nodes.map(({ target, html, any }) => [id, target.join(" "), html,
        any.map((one) => one.message).join("; ")])).filter(([id, target]) => {
        const known = rules[id];
        return !(known && document.querySelector(target)?.matches(known));
    }).map((row) => row.join(" | ").slice(0, 400));
}"""


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Iterator[str]:
    with app_process(tmp_path_factory.mktemp("hub")) as url:
        yield url


def barriers(opened) -> list[str]:
    opened.until_quiet()
    if not opened.page.evaluate("Boolean(window.axe)"):
        opened.page.add_script_tag(path=str(AXE))
    return opened.page.evaluate(FOUND, GRADIOS)


def tabs(opened) -> Iterator[str]:
    """Opens one tab and section after the other, and says which."""
    yield "Segment"
    for name in ("Look inside", "Alike", "Word", "Similarity", "Features", "Truth", "Compare"):
        opened.page.get_by_role("tab", name=name, exact=True).click()
        yield name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_tab_has_a_barrier(visit, app, viewport, scheme):
    opened = opened_with_result(visit, app, viewport, scheme)
    found = {name: barriers(opened) for name in tabs(opened)}
    assert not any(found.values()), found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_has_a_barrier(visit, app, blocks_file, scheme):
    opened = opened_with_result(visit, app, DESKTOP, scheme)
    found = {}
    opened.page.get_by_role("button", name="The result").focus()
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("Enter")
    expect(opened.page.locator("#card .bars")).to_be_attached()
    opened.chips().nth(1).click()
    for name in ("Settings", "Word lists and background", "Scores of one class", "What is in the download"):
        opened.unfold(name)
    found["a point, a hidden class, all unfolded"] = barriers(opened)
    opened.ask(blocks_file, "sky, hill")
    expect(opened.page.locator("#own-note")).to_be_visible()
    opened.page.locator("#words textarea").press_sequentially(",,x")
    opened.page.click("#segment")
    expect(opened.page.locator("#message [role=alert]")).to_be_visible()
    found["an own picture, words that have changed, a message"] = barriers(opened)
    assert not any(found.values()), found
