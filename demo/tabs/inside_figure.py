"""What is seen in "Look inside", to take away: attention as a figure, masks, and a link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from demo.answers import alike, figure
from demo.answers.errors import NO_RESULT, message
from demo.answers.inside import View
from demo.components import Menu, as_download
from demo.tabs.parts import ON_MODEL, FigureParts, LinkParts, Page, Values, click_on


def layout() -> FigureParts:
    sharing = LinkParts.make("inside-")
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
        sharing.copy.render()
    sharing.copied.render()
    sharing.link.render()
    file = gr.DownloadButton("Figure", visible="hidden", elem_id="inside-figure-file")
    return FigureParts(kind, take, file, sharing)


def wire(page: Page, looking: set[Any], read_view: Callable[[Page, Values], View]) -> None:
    """looking: the components that `read_view` reads."""
    parts, other = page.inside.figure, page.inside.alike
    reading = looking, read_view
    _wire_take(page, *reading, parts.take, parts.file, figure.attention_figure, parts.kind)
    _wire_take(page, *reading, other.take, other.file, alike.masks)


def _wire_take(
    page: Page,
    looking: set[Any],
    read_view: Callable[[Page, Values], View],
    take: gr.Button,
    file: gr.DownloadButton,
    make: Callable[..., tuple[str, bytes]],
    *chosen: Any,
) -> None:
    """A button that has a file made of what is looked at, which the browser then saves.

    make: (stages, view, values of the components `chosen`) -> (name, content).
    """
    held, note = page.held, page.inside.note

    def on_take(values: Values) -> Values:
        visit = page.visit(values)
        if visit is None:
            return {note: message(NO_RESULT), file: None}
        view = read_view(page, values)
        given, wanted = [values[part] for part in chosen], view.vfms(view.of(visit.asked.settings))
        made, visit, error = page.runner(make, visit, view, *given, wanted=wanted, more=bool(view.other))
        return {held.visit: visit, note: message(error), file: None if error else as_download(file, made[1], made[0])}

    inputs = looking | {held.visit, *chosen}
    taken = take.click(on_take, inputs, [held.visit, note, file], show_progress_on=take, **ON_MODEL)
    taken.success(None, None, None, js=click_on(file))
