"""What is seen in "Look inside", to take away: attention as a figure, and a link. Layout, and the figure's wiring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from demo.answers import figure
from demo.answers.errors import NO_RESULT, message
from demo.answers.inside import View
from demo.components import Menu, as_download
from demo.tabs.parts import ON_MODEL, FigureParts, Page, Values, click_on


def layout() -> FigureParts:
    with gr.Row(equal_height=True, elem_id="inside-figure"):
        kind = Menu(
            list(figure.KINDS.items()),
            value="png",
            label="These maps as a figure",
            info="As in the paper, with one scale for all maps and a caption.",
            min_width=200,
            scale=3,
            elem_id="inside-figure-kind",
        )
        take = gr.Button("Download figure", min_width=150, elem_id="inside-figure-take")
        copy = gr.Button("Copy link", min_width=130, elem_id="inside-copy")
    link = gr.Textbox(label="Link", visible=False, interactive=False, buttons=["copy"], elem_id="inside-link")
    file = gr.DownloadButton("Figure", visible="hidden", elem_id="inside-figure-file")
    return FigureParts(kind, take, file, copy, link)


def wire(page: Page, looking: set[Any], read_view: Callable[[Page, Values], View]) -> None:
    """looking: the components that `read_view` reads."""
    parts, held = page.inside.figure, page.held

    def on_take(values: Values) -> Values:
        visit = page.visit(values)
        if visit is None:
            return {page.inside.note: message(NO_RESULT), parts.file: None}
        looked, kind = read_view(page, values), str(values[parts.kind])
        wanted = looked.vfms(looked.of(visit.asked.settings))
        made, visit, error = page.runner(figure.attention_figure, visit, looked, kind, wanted=wanted)
        name = f"attention.{kind}"
        return {
            held.visit: visit,
            page.inside.note: message(error),
            parts.file: None if error else as_download(parts.file, made, name),
        }

    inputs, outputs = looking | {held.visit, parts.kind}, [held.visit, page.inside.note, parts.file]
    taken = parts.take.click(on_take, inputs, outputs, show_progress_on=parts.take, **ON_MODEL)
    taken.success(None, None, None, js=click_on(parts.file))
