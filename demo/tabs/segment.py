"""The Segment tab: the overlay, its legend, scores, and what can be taken away. Layout, and the tab's own events."""

from __future__ import annotations

import tempfile
from typing import Any

import gradio as gr

from demo.answers import save_load, segment
from demo.answers.errors import UserError, message, missing
from demo.components import Drawn, Menu, Names, UploadButton, liked
from demo.tabs.parts import (
    EVERY,
    LATEST,
    ON_RESULT,
    PRIVATE,
    QUICK,
    LinkParts,
    Page,
    SegmentParts,
    Values,
    click_on,
    script,
)
from proxyclip_core import export

# What scripts of these components have found, as they trigger an event.
HIDDEN = "() => document.querySelector('#legend').dataset.hidden"
POINT = "() => document.querySelector('#top').dataset.point"
TAKE = "() => document.querySelector('#drawn')?.take()"


EDIT_FORM = """<form hidden aria-label="Change a word">
<label>Words, with synonyms <input name="words" type="text" autocomplete="off"></label>
<label>or the same class as <select name="onto"></select></label>
<button type="submit">Change</button> <button type="button" name="out">Take out</button>
<button type="button" name="leave">Leave it</button>
</form>"""


def layout() -> SegmentParts:
    return SegmentParts(**_result(), **_scores(), **_save_and_share(), liked=liked())


def _result() -> dict[str, Any]:
    own_note = gr.HTML(visible=False, elem_id="own-note")
    use = gr.Button(visible=False, size="sm", elem_id="use-photo-models")
    with gr.Row(equal_height=False, elem_id="result"):
        with gr.Column(min_width=620, scale=5):
            drawn = _drawn()
        with gr.Column(min_width=340, scale=3):
            told = _told()
    return {"own_note": own_note, "use_photo_models": use, **drawn, **told}


def _drawn() -> dict[str, Any]:
    take = gr.Button("Save as PNG", elem_id="take")
    overlay = Drawn(  # the picture alone, on which canvas.js draws
        # A box of one size, so that nothing jumps when a result comes.
        label="Result: click for the scores at a point",
        height="clamp(320px, 58vh, 1100px)",
        interactive=False,
        buttons=[take, "fullscreen"],
        alt_text="The picture with the region of each word in the colour of the legend",
        elem_id="overlay",
    )
    take.click(None, None, None, js=TAKE, **PRIVATE)
    draw = script("canvas", beside="overlay")
    layers = gr.HTML(html_template="", js_on_load=draw, visible="hidden", elem_id="layers")
    top = gr.HTML(js_on_load=script("point", beside="overlay"), visible="hidden", elem_id="top")
    return {"overlay": overlay, "layers": layers, "top": top}


def _told() -> dict[str, Any]:
    """How the result is drawn, and what is said of it: below it, or beside it where there is room."""
    with gr.Row(elem_id="look"):
        opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity", min_width=160, scale=3, elem_id="opacity")
        with gr.Column(min_width=120, scale=1, elem_id="ticks"):
            outlines = gr.Checkbox(True, label="Outlines", container=False, elem_id="outlines")
            names = gr.Checkbox(True, label="Names", container=False, elem_id="names")
    legend = gr.HTML(js_on_load=script("legend"), elem_id="legend")
    edit = gr.HTML(EDIT_FORM, js_on_load=script("edit", beside="legend"), elem_id="edit")
    notes = gr.HTML(visible=False, elem_id="notes")
    offer = gr.Button("Let a background take the rest", size="sm", visible=False, elem_id="add-background")
    look = {"opacity": opacity, "outlines": outlines, "names": names}
    status = gr.HTML(elem_id="status")
    return {**look, "legend": legend, "edit": edit, "notes": notes, "add_background": offer, "status": status}


def _scores() -> dict[str, Any]:
    with gr.Accordion("Scores of one class", open=False, elem_id="scores"), gr.Row(equal_height=False):
        score_class = Menu(
            [],
            label="Class",
            info="Its score at every pixel, 0 to 1; all classes share 1.",
            min_width=200,
            scale=2,
            elem_id="score-class",
        )
        score_map = Drawn(
            label="Score map",
            format="png",
            interactive=False,
            height=330,
            buttons=["download", "fullscreen"],
            alt_text="Score of the chosen class at every pixel, with its colour bar",
            min_width=260,
            scale=3,
            elem_id="score-map",
        )
    return {"score_class": score_class, "score_map": score_map}


def _save_and_share() -> dict[str, Any]:
    sharing = LinkParts.make()
    with gr.Accordion("Save and share", open=True, elem_id="carry"):
        with gr.Row():
            save = gr.Button("Download", min_width=130, elem_id="save")
            load = UploadButton("Load settings", file_types=[".json"], min_width=130, elem_id="load", size="lg")
            sharing.copy.render()
        sharing.copied.render()
        gr.Markdown(
            "The download holds what is ticked below; the link holds the settings and what is looked at, no picture.",
            elem_id="carry-note",
        )
        with gr.Accordion("What is in the download", open=False, elem_id="contents"):
            formats = Names(
                [(f"{row.label}: {row.purpose}", name) for name, row in export.FORMATS.items()],
                value=[name for name, row in export.FORMATS.items() if row.usual],
                label="Formats",
                elem_id="formats",
            )
            wishes = Names(
                [(line, name) for name, line in export.WISHES.items()],
                value=["split", "polygons"],  # which most tools read
                label="If wished",
                elem_id="wishes",
            )
        sharing.link.render()
        zip_file = gr.DownloadButton("Download", visible="hidden", elem_id="zip-file")
        query = gr.Textbox(visible=False)
    taken = {"save": save, "formats": formats, "wishes": wishes, "load": load, "sharing": sharing}
    return {**taken, "zip_file": zip_file, "query": query}


def wire(page: Page) -> None:
    _wire_look(page)
    _wire_scores(page)
    _wire_save(page)


def _wire_look(page: Page) -> None:
    """How the result looks is the browser's affair; a download asks for it."""
    parts = page.segment
    look = [parts.opacity, parts.outlines, parts.names]
    changes = [parts.opacity.input, parts.outlines.input, parts.names.input]
    gr.on(changes, None, look, parts.liked, js=script("look"), **EVERY, **PRIVATE)
    parts.legend.click(None, None, page.held.hidden, js=HIDDEN, **EVERY, **PRIVATE)


def _wire_scores(page: Page) -> None:
    """Scores are read from the classes that are there; no encoder runs."""
    q, parts, held = page.question, page.segment, page.held

    def on_point(values: Values) -> Any:
        visit, point = page.visit(values), page.point(values)
        if visit is None:
            return {q.message: message(missing(page.shown(values)))}
        logits = segment.logits_of(page.runner, visit) if point and point.picture == visit.picture else None
        return {parts.top: segment.scores_at(logits, point, visit)} if logits else gr.skip()

    def on_class(values: Values) -> Values:
        visit = page.visit(values)
        logits = segment.logits_of(page.runner, visit) if visit else None
        return {parts.score_map: segment.score_map(logits, values[parts.score_class]) if logits else None}

    pointed = parts.top.click(None, None, held.point, js=POINT, **EVERY, **PRIVATE)
    asked: set[Any] = {held.visit, held.shown, held.point}
    pointed.then(on_point, asked, [q.message, parts.top], **LATEST, **QUICK)
    inputs: set[Any] = {parts.score_class, held.visit}
    parts.score_class.input(on_class, inputs, [parts.score_map], show_progress_on=parts.score_map, **LATEST, **PRIVATE)


def _wire_save(page: Page) -> None:
    q, parts, held = page.question, page.segment, page.held

    def on_save(values: Values) -> Values:
        chosen = save_load.Chosen(tuple(values[parts.formats]), tuple(values[parts.wishes]))
        with tempfile.TemporaryDirectory(prefix="proxyclip-") as folder:
            try:
                path = save_load.save(page.runner, page.visit(values), page.read_look(values), chosen, folder)
            except UserError as error:
                return {q.message: message(str(error)), parts.zip_file: None}  # not the one of an earlier result
            # gradio deletes what lies in its own folder within the hour; ours goes now.
            return {q.message: message(""), parts.zip_file: parts.zip_file.move_resource_to_block_cache(path)}

    inputs, outputs = page.look | {held.visit, parts.formats, parts.wishes}, [q.message, parts.zip_file]
    saved = parts.save.click(on_save, inputs, outputs, show_progress_on=parts.save, **ON_RESULT)
    saved.success(None, None, None, js=click_on(parts.zip_file))
