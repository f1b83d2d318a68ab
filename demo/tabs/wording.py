"""Words that change otherwise than by Enter: while they are typed, and by the chips of the legend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from demo import limits
from demo.answers import edit_words, segment
from demo.answers.errors import message
from demo.tabs import slow
from demo.tabs.parts import EVERY, PROGRESS, Page, Values


def wire(page: Page, answer: Callable[..., Values], busy: dict[str, Any]) -> list[Any]:
    """answer, busy: as in `found.wire`. Returns the listeners that bring a result."""
    q, parts = page.question, page.segment

    def on_typed(values: Values, progress: gr.Progress = PROGRESS) -> Any:
        """The keys have rested. What is half typed may make no sense yet: only Enter has it said."""
        try:
            segment.check(q.read(values))
        except ValueError:
            return gr.skip()
        seconds = slow.estimate(page, values)
        if seconds is None or seconds > limits.TYPING_SECONDS:
            return gr.skip()
        changed = answer(segment.refresh, values, progress, shown=page.shown(values))
        if changed.get(q.message, {}).get("visible"):
            return {held: changed[held] for held in (page.held.visit,) if held in changed} or gr.skip()
        return changed or gr.skip()

    def on_edited(values: Values, event: gr.EventData, progress: gr.Progress = PROGRESS) -> Any:
        told = {name: getattr(event, name, None) for name in ("name", "onto", "words")}
        try:
            words = edit_words.edited(values[q.words] or "", told)
        except ValueError as error:
            return {q.message: message(str(error))}
        refresh = partial(segment.refresh, shown=page.shown(values))
        return answer(refresh, values | {q.words: words}, progress) | {q.words: words}

    typed = q.typed.click(on_typed, **(busy | {"show_progress": "hidden"}))
    edited = parts.edit.submit(on_edited, **(busy | {"outputs": [*busy["outputs"], q.words]} | EVERY))
    return [typed, edited]
