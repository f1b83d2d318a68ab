"""Which tab is open, and what it shows. Only what is open is computed: when it opens, and after each result.

The browser knows which one that is, so it is known also when the server has let go of the visit.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from demo.answers import segment
from demo.components import SAME, set_to
from demo.tabs import compare, inside, inside_alike, inside_figure, link
from demo.tabs.parts import LATEST, ON_MODEL, ON_RESULT, PRIVATE, Page, Values
from demo.visit import Visit


def wire(page: Page, tabs: dict[str, gr.Tab]) -> None:
    """tabs: "segment", "inside" and "compare" -> the page's tabs."""
    held, parts = page.held, page.segment
    inputs = inside.inputs(page) | compare.inputs(page) | {held.visit, held.view, held.point, parts.score_class}
    scores = [parts.top, parts.score_class, parts.score_map]
    outputs = [held.visit, *scores, *inside.outputs(page), *compare.outputs(page)]
    busy = [
        page.inside.maps,
        page.inside.histogram,
        page.inside.pictures,
        page.inside.curves,
        page.inside.alike.found,
        page.inside.word.attention,
        page.compare.slider,
    ]
    filling = {"inputs": inputs, "outputs": outputs, "show_progress_on": busy, **LATEST, **ON_MODEL}
    looking = filling | ON_RESULT

    def on_result(values: Values) -> Any:
        """The one listener to a new result."""
        visit = page.visit(values)
        if visit is None:
            return gr.skip()
        encoded = any(stage in visit.ran for stage in ("clip", "vfm"))
        return {**_scores(page, values, visit), **fill(page, values, encoded, choices=encoded)}

    def on_opened(values: Values) -> Any:
        return fill(page, values, True, choices=True) or gr.skip()

    def on_changed(values: Values) -> Any:
        return fill(page, values, True) or gr.skip()

    held.visit.change(on_result, **looking)
    tabs["segment"].select(None, None, held.view, js=set_to("segment"), **PRIVATE)
    # gradio dispatches the step after a script by itself; a listener of its own would wake the script again.
    tabs["inside"].select(None, held.section, held.view, js=SAME, **PRIVATE).then(on_opened, **filling)
    tabs["compare"].select(None, None, held.view, js=set_to("compare"), **PRIVATE).then(on_opened, **filling)
    for name, tab in page.inside.tabs.items():
        chosen = tab.select(None, None, [held.view, held.section], js=set_to(name, 2), **PRIVATE)
        chosen.then(on_opened, **filling)
    gr.on([*inside.changes(page), *compare.changes(page)], on_changed, **looking)
    inside.wire_seeds(page).then(on_changed, **looking)
    for chain in inside_alike.wire(page):
        chain.then(on_changed, **looking)
    for chosen in compare.wire_choices(page):
        chosen.then(on_changed, **looking)
    compare.wire(page)
    link.wire(page)
    inside_figure.wire(page, inside.inputs(page), inside.read_view)


def fill(page: Page, values: Values, may_encode: bool, choices: bool = False) -> Values:
    """What the open tab shows. choices: also what its menus offer now."""
    view = str(values[page.held.view])
    if view == "compare":
        return compare.fill(page, values, may_encode, choices)
    return inside.fill(page, values, view, may_encode, choices) if view in page.inside.tabs else {}


def _scores(page: Page, values: Values, visit: Visit) -> Values:
    parts, logits = page.segment, segment.logits_of(page.runner, visit)
    if logits is None:
        return {}
    names, name = list(logits.vocabulary.names), values[parts.score_class]
    return {
        parts.top: segment.scores_at(logits, page.point(values), visit),
        parts.score_class: gr.update(choices=names, value=name if name in names else None),
        parts.score_map: segment.score_map(logits, name),
    }
