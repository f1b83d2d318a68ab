"""What people type and upload stays text in a real browser, and nothing leaves the page."""

from __future__ import annotations

import io
import zipfile

from PIL import Image, ImageOps

from tests.browser.visit import expect, needs_browser

pytestmark = needs_browser
HARM = "<img src=x onerror=document.title='harm'>"
WORDS = f"{HARM}, <script>document.title='harm'</script>, ../../up, $x^2$ {{{{1}}}}, \u202egnp"


def test_words_and_file_names_are_text_everywhere_and_no_request_leaves(visit, small, blocks, tmp_path):
    opened = visit(small)
    page, held = opened.page, io.BytesIO()
    Image.fromarray(blocks).save(held, "PNG")
    upload = {"name": f"{HARM.replace('/', '')}.png", "mimeType": "image/png", "buffer": held.getvalue()}
    page.set_input_files("#picture input[type=file]", upload)
    expect(page.locator("#picture img")).to_be_visible()
    page.fill("#words textarea", WORDS)
    page.click("#segment")
    expect(opened.chips().first).to_be_visible()
    assert HARM in page.locator("#legend").inner_text()
    opened.until_result()  # a click on what is not drawn yet asks for nothing
    opened.chips().first.hover()  # its tip, and its class alone
    page.click("#overlay img")
    expect(page.locator("#top")).to_contain_text(HARM)
    expect(page.locator("#card")).to_contain_text(HARM)
    opened.unfold("Scores of one class")
    page.locator("#score-class input").click()
    page.get_by_role("option", name=HARM).click()
    expect(page.locator("#score-map img")).to_be_visible()
    with page.expect_download() as download:
        page.click("#save")
    archive = zipfile.ZipFile(download.value.path())
    assert not [name for name in archive.namelist() if name.startswith("/") or ".." in name or "\\" in name]

    page.get_by_role("tab", name="Look inside").click()
    expect(page.locator("#inside-maps img").first).to_be_visible()
    page.get_by_role("tab", name="Truth").click()
    mask = ImageOps.pad(Image.new("L", (60, 60), 255), blocks.shape[1::-1])
    mask.save(tmp_path / "mask.png")
    page.set_input_files("#inside-label-map input[type=file]", str(tmp_path / "mask.png"))
    expect(page.locator("#inside-mask-word")).to_be_visible()
    page.locator("#inside-mask-word input").click()
    page.get_by_role("option", name=HARM).click()
    expect(page.locator("#inside-miou")).to_contain_text(HARM)
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#compare-line")).to_contain_text("Left: CLIP alone")

    page.get_by_role("tab", name="Segment").click()
    page.fill("#words textarea", f"{HARM}; x, {HARM}; y")
    page.press("#words textarea", "Enter")
    expect(page.locator("#message [role=alert]")).to_contain_text(HARM)
    opened.until_quiet()
    assert page.title() == "ProxyCLIP" and page.locator("img[src='x']").count() == 0
    assert opened.errors == [] and opened.elsewhere == []  # a breach of the page's policy would be an error


def test_the_page_may_ask_nobody_else(visit, small):
    opened = visit(small)
    for script in ("fetch('https://example.org/')", "fetch('http://127.0.0.1:9/')"):
        assert opened.page.evaluate(f"{script}.then(() => 'asked', () => 'refused')") == "refused"
    refused = [text for text in opened.errors if "Content Security Policy" in text]
    assert len(refused) >= 2


def test_an_uploaded_page_or_drawing_runs_nothing(visit, small):
    opened = visit(small)
    scripts = {
        "page.html": b"<!DOCTYPE html><title>still</title><script>document.title = 'harm'</script>",
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.title = 'harm'</script></svg>",
    }
    for name, content in scripts.items():
        (path,) = opened.context.request.post(
            f"{small}gradio_api/upload",
            multipart={"files": {"name": name, "mimeType": "text/plain", "buffer": content}},
        ).json()
        answer = opened.context.request.get(f"{small}gradio_api/file={path}")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers.get("content-disposition", "").startswith("attachment")
    assert opened.page.title() == "ProxyCLIP"
