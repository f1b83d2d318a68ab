"""A page that is open in a real browser, and what a person does on it."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

REQUIRED = os.environ.get("PROXYCLIP_BROWSER") == "required"
if REQUIRED:
    import playwright.sync_api as playwright  # fails, where a test that is skipped would be missed
else:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install '.[dev]'")
expect = playwright.expect
expect.set_options(timeout=60_000)  # the machine may be busy; nothing waits longer than it must

# The first is the same browser without windows, a fifth quicker here.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
if CHROMIUM is None and REQUIRED:
    raise RuntimeError("PROXYCLIP_BROWSER is 'required', but no chromium or google-chrome is on the PATH.")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the PATH")
PATIENCE = 120  # seconds until a page that never falls silent is a failure
# Which events of gradio's queue have not ended, as the page itself learns of it. The stream that tells of their ends is
# no sign: a receipt that comes after its event has ended opens one to which nobody writes until the next event.
EVENTS = """
const [send, open, ended] = [window.fetch, new Set(), new Set()];
const receipt = ({ event_id }) => event_id && !ended.has(event_id) && open.add(event_id);
async function follow(stream) {
  let text = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    const messages = (text + part).split("\\n\\n");
    text = messages.pop();
    for (const { msg, event_id } of messages.map((message) => JSON.parse(message.replace(/^data: /, "")))) {
      if (msg === "process_completed") ended.add(event_id) && open.delete(event_id);
    }
  }
}
window.openEvents = () => [...open];
window.fetch = async (...asked) => {
  const answer = await send(...asked);
  if (answer.url.includes("/queue/join")) await answer.clone().json().then(receipt);
  if (answer.url.includes("/queue/data")) follow(answer.clone().body).catch(() => {}); // it ends when gradio leaves it
  return answer;
};
"""
# The result is drawn as the controls say, and its cross-fade is over.
AS_CHOSEN = """() => {
    const [drawn, ...more] = document.querySelectorAll("#overlay canvas");
    const [look] = JSON.parse(drawn?.dataset.look ?? "[]");
    const [opacity, outlines, names] = ["#opacity input[type=range]", "#outlines input", "#names input"].map(
        (control) => document.querySelector(control));
    return look && !more.length && look.opacity === Number(opacity.value) && look.outlines === outlines.checked
        && look.names === names.checked;
}"""
DESKTOP, PHONE = {"width": 1400, "height": 1000}, {"width": 390, "height": 844}


class Visit:
    """A page that is open, with everything that its console and its requests said.

    context: of a browser, which may have the page's files; what the page has kept there is removed.
    """

    def __init__(self, context, url: str, late: str = "") -> None:
        self.context, self.page = context, context.new_page()
        kept = {"origin": "/".join(url.split("/")[:3]), "storageTypes": "cookies,local_storage"}
        context.new_cdp_session(self.page).send("Storage.clearDataForOrigin", kept)
        self.page.add_init_script(EVENTS)
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.asked: list[str] = []  # what the page has sent to the server
        self.unanswered: set[Any] = set()
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._note(request, url))
        for ended in ("requestfinished", "requestfailed"):
            self.page.on(ended, lambda request: self.unanswered.discard(request))
        held: list[Any] = []
        if late:  # a pattern of addresses whose files come after all others
            self.page.route(late, lambda route: held.append(route))
        self.page.goto(url)
        if late:
            expect(self.page.locator("#layers, #edit")).to_have_count(2)
            assert held
            for route in held:
                route.continue_()
        expect(self.page.locator("#segment")).to_be_visible()
        expect(self.page.locator("body[data-opened]")).to_be_attached()

    def _note(self, request, url: str) -> None:
        if request.method == "POST":
            self.asked.append(request.url)
        if not any(stream in request.url for stream in ("/heartbeat/", "/queue/data")):  # open while nothing happens
            self.unanswered.add(request)
        if not request.url.startswith((url, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def until_quiet(self) -> None:
        """Until everything that was asked for is there, and nothing follows from it."""
        frames = "new Promise((ready) => requestAnimationFrame(() => requestAnimationFrame(() => ready(openEvents()))))"
        calm, end = 0, time.monotonic() + PATIENCE
        while calm < 3:
            events = self.page.evaluate(frames)
            calm = 0 if self.unanswered or events else calm + 1
            waited = {f"{request.method} {request.url}" for request in self.unanswered} | {*events}
            assert time.monotonic() < end, f"not answered within {PATIENCE} s: {waited}"

    def box(self, place) -> dict[str, float]:
        """Where a locator's element is on the screen, once it neither moves nor is put on the page anew."""
        before, found, end = None, place.bounding_box(), time.monotonic() + PATIENCE
        while found is None or found != before:
            assert time.monotonic() < end, f"not in one place within {PATIENCE} s: {place}"
            self.page.evaluate("new Promise(requestAnimationFrame)")
            before, found = found, place.bounding_box()
        return found

    def until_decoded(self, image: str) -> None:
        """Until a picture on the page has its size; its box alone may be there before."""
        self.page.wait_for_function("(image) => document.querySelector(image)?.naturalWidth > 0", arg=image)

    def drawn(self) -> np.ndarray:
        """(H, W, 3): what the page has drawn of the result, once nothing moves any more."""
        self.until_quiet()
        self.page.wait_for_function(AS_CHOSEN)
        address = self.page.locator("#drawn").evaluate("(canvas) => canvas.toDataURL()")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))

    def until_result(self, before: str | None = None) -> str:
        """Until a result is drawn that is not `before`; what tells it from others."""
        expect(self.page.locator("#drawn")).to_have_attribute("data-result", re.compile(r".+"))
        if before:
            expect(self.page.locator("#drawn")).not_to_have_attribute("data-result", before)
        return str(self.page.locator("#drawn").get_attribute("data-result"))

    def ask(self, picture: str, words: str) -> None:
        self.page.set_input_files("#picture input[type=file]", picture)
        expect(self.page.locator("#picture img")).to_be_visible()
        self.page.fill("#words textarea", words)
        self.page.click("#segment")

    def chips(self):
        return self.page.locator("#legend .chip")

    def unfold(self, name: str) -> None:
        """Opens an accordion. What is in it is built only then, and takes no value before it is complete."""
        self.page.get_by_role("button", name=name).first.click()
        self.until_quiet()

    def slide(self, element: str, value: str) -> None:
        """Moves a slider and lets it go."""
        number = self.page.locator(f"{element} input[type=number]")
        number.fill(value)
        number.blur()


def opened_with_result(visit, url, *more, **named) -> Visit:
    opened = visit(url, *more, **named)
    opened.until_result()
    expect(opened.chips().first).to_be_visible()
    return opened
