"""'Find words for me' below the words: its button, the list to choose from, and what was found, as chips."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from demo.answers import find, segment
from demo.answers.errors import message
from demo.tabs.parts import EVERY, PROGRESS, Page, Values, script


def layout() -> dict[str, Any]:
    with gr.Row(elem_id="find-row"):
        button = gr.Button("Find words for me", size="sm", min_width=150, scale=1, elem_id="find")
        among = gr.Dropdown(
            find.choices(),
            value=find.EVERY_WORD,
            label="Found among",
            container=False,
            min_width=170,
            scale=2,
            elem_id="among",
        )
    found = gr.HTML(js_on_load=script("found"), visible="hidden", elem_id="found")
    return {"find": button, "among": among, "found": found}


def wire(page: Page, answer: Callable[..., Values], busy: dict[str, Any]) -> list[Any]:
    """answer: as `run.answer`, for this page. busy: how listeners that bring a result are wired. Returns those here."""
    q = page.question

    def shown(changed: Values) -> Values:
        visit = changed.get(page.held.visit) if page.held.shown in changed else None
        return changed | fill(page, visit.asked.settings.words) if visit else changed

    def on_find(values: Values, progress: gr.Progress = PROGRESS) -> Any:
        return shown(answer(partial(find.find, among=values[q.among]), values, progress)) or gr.skip()

    def on_taken(values: Values, event: gr.EventData, progress: gr.Progress = PROGRESS) -> Any:
        try:
            words = find.without(values[q.words] or "", str(getattr(event, "name", "")))
        except ValueError as error:  # somebody is typing
            return {q.message: message(str(error))}
        if not words:
            return fill(page, "")
        return answer(segment.segment, values | {q.words: words}, progress) | fill(page, words)

    wiring = busy | {"inputs": busy["inputs"] | {q.among}, "outputs": [*busy["outputs"], q.words]}
    return [q.find.click(on_find, **wiring), q.found.click(on_taken, **(wiring | EVERY))]


def fill(page: Page, words: str) -> Values:
    """The words that were found, in their box and as chips."""
    return {page.question.words: words, page.question.found: gr.update(value=find.chips(words), visible=bool(words))}
