"""Links: to what is asked and how it is looked at, and what a page that is opened by one takes from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from demo import menus
from demo.answers import save_load
from demo.answers.errors import message
from demo.answers.inside import Point, Seeds
from demo.answers.looking import FIRST_VIEW, Looking
from demo.models import ready_vfms
from demo.tabs.parts import PRIVATE, QUICK, Page, Values, script
from demo.visit import Asked, file_digest

COPY = """(query) => {
    const address = location.origin + location.pathname + "?" + query;
    navigator.clipboard?.writeText(address).catch(() => {});
    return address;
}"""


def wire(page: Page) -> None:
    """The buttons: the browser copies the address, and shows it where it may not."""
    q, inside, held = page.question, page.inside, page.held

    def on_link(values: Values) -> Values:
        try:
            asked = q.read(values)
            query = save_load.query_of(asked, page.default, page.examples) | _looking(page, values, asked).as_query()
        except ValueError as error:
            return {q.message: message(str(error))}
        return {page.segment.query: urlencode(query)}

    def on_linked(address: str) -> Any:
        return gr.update(value=address, visible=True)

    looked = {inside.sources, inside.stage, inside.scale, inside.windows, held.view, held.seeds, held.hidden}
    for button, box in ((page.segment.copy, page.segment.link), (inside.figure.copy, inside.figure.link)):
        linked = button.click(on_link, q.inputs | looked, [page.segment.query, q.message], queue=False, **QUICK)
        linked.success(on_linked, page.segment.query, box, js=COPY, **QUICK)


def _looking(page: Page, values: Values, asked: Asked) -> Looking:
    inside, held = page.inside, page.held
    points: tuple[Point, ...] = ()
    if save_load.example_of(asked, page.examples):  # any other picture stays here, and its seeds with it
        points = Seeds.read(values[held.seeds], file_digest(asked.picture)).points
    view, sources = str(values[held.view]), tuple(values[inside.sources])
    shown = (values[inside.stage], values[inside.scale], bool(values[inside.windows]))
    return Looking(view, points, sources, *shown, page.hidden(values))


def restored(page: Page, query: Mapping[str, str], asked: Asked) -> Values:
    """What a link says of how its result was looked at, for a page that opens with what was asked."""
    s, inside, held = asked.settings, page.inside, page.held
    sources = [menus.OWN_ATTENTION, *menus.vfm_names(ready_vfms(page.runner.models, s.clip), s.vfm)]
    looking = Looking.from_query(query, (FIRST_VIEW, *inside.tabs, "compare"), sources)
    found: Values = {
        held.hidden: list(looking.hidden),
        held.linked: {"view": looking.view, "hidden": looking.hidden},
        inside.sources: gr.update(choices=sources, value=list(looking.sources)),
        inside.stage: looking.stage,
        inside.scale: looking.scale,
        inside.windows: looking.windows,
    }
    example = save_load.example_of(asked, page.examples)
    if example is not None and example.name == query.get("example"):
        found[held.seeds] = {"picture": file_digest(asked.picture), "points": looking.points}
    return found


def outputs(page: Page) -> list[Any]:
    """The components that `restored` fills."""
    held, inside = page.held, page.inside
    shown = [inside.sources, inside.stage, inside.scale, inside.windows]
    return [held.hidden, held.linked, held.seeds, *shown]


def follow(page: Page, opened: Any) -> None:
    """Once the page has opened, its script hides the classes and opens the tab."""
    opened.then(None, page.held.linked, None, js=script("linked"), **PRIVATE)
