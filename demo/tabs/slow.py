"""What takes long: about how long is said before, and Stop ends it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from demo import limits
from demo.tabs.parts import EVERY, QUICK, Page, Values
from demo.time_limit import rounded
from demo.visit import Visit


def estimate(page: Page, values: Values) -> float | None:
    """Seconds that the result takes which the page asks for; None where that is not known."""
    try:
        asked = page.question.read(values)
        if not page.runner.models.ready(asked.settings.clip, asked.settings.vfm):
            return None
        return page.runner.estimate(Visit.of(asked, values[page.held.visit]))
    except ValueError:  # which is said when it is asked for
        return None


def waits(seconds: float | None) -> bool:
    """Whether what a menu asks for takes so long that it waits for Segment."""
    return seconds is not None and seconds > limits.UNASKED_SECONDS


def line(seconds: float | None) -> str:
    """What is said beside the button; "" for what takes no time to speak of."""
    if seconds is None or seconds <= limits.TYPING_SECONDS:
        return ""
    return f"<p>About {rounded(seconds)} s{': press Segment to begin' if waits(seconds) else ''}.</p>"


def wire(page: Page, demo: Any, changes: list[Any]) -> dict[str, Any]:
    """changes: the events after which it is said how long the result will take. Returns how a listener that says so is
    wired."""
    q = page.question

    def on_estimate(values: Values) -> Any:
        return {q.estimate: line(estimate(page, values))}

    def on_stop(request: gr.Request) -> None:
        demo.stop(request.session_hash if request else None)

    q.stop.click(on_stop, None, None, queue=False, **EVERY, **QUICK)
    estimating = {"fn": on_estimate, "inputs": q.inputs | {page.held.visit}, "outputs": [q.estimate], "queue": False}
    estimating |= {**EVERY, **QUICK}
    gr.on(changes, **estimating)
    return estimating
