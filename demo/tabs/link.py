"""Links: to what is asked and how it is looked at, and what a page that is opened by one takes from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from demo import menus
from demo.answers import save_load
from demo.answers.errors import message
from demo.answers.inside import Seeds
from demo.answers.looking import FIRST_VIEW, Looking
from demo.models import ready_vfms
from demo.tabs.inside import also
from demo.tabs.parts import PRIVATE, QUICK, LinkParts, Page, Values, script
from demo.visit import Asked, file_digest

COPY = """async (query) => {
    const address = location.origin + location.pathname + "?" + query;
    const copied = await navigator.clipboard?.writeText(address).then(() => "yes", () => "");
    return [address, copied ?? ""]; // without https there is no clipboard
}"""
SHOWN_FOR = 3000  # milliseconds
BACK = f"() => new Promise((done) => setTimeout(() => done({json.dumps(LinkParts.COPY)}), {SHOWN_FOR}))"
COPIED, NOT_COPIED = "Copied", "The browser does not let a page copy here: take the link from the box below."


def wire(page: Page) -> None:
    """The buttons: the browser copies the address, and shows it."""
    q, parts = page.question, page.segment

    def on_link(values: Values) -> Values:
        try:
            asked = q.read(values)
            query = save_load.query_of(asked, page.default, page.examples) | _looking(page, values, asked).as_query()
        except ValueError as error:
            return {q.message: message(str(error))}
        # An earlier "Copied" goes, so that the next one is read out, too.
        return {parts.query: urlencode(query), q.message: message(""), **dict.fromkeys(lines, "")}

    def on_linked(address: str, copied: str) -> Any:
        said, label = (COPIED, COPIED) if copied == "yes" else (NOT_COPIED, LinkParts.COPY)
        return gr.update(value=address, visible=True), f"<p>{said}</p>", label

    inputs = q.inputs | set(_parts(page)) | {page.inside.alike.other, page.held.view, page.held.hidden}
    shares = (parts.sharing, page.inside.figure.sharing, page.compare.sharing)
    lines = [share.copied for share in shares]
    for share in shares:
        linked = share.copy.click(on_link, inputs, [parts.query, q.message, *lines], queue=False, **QUICK)
        told = linked.success(on_linked, [parts.query] * 2, [share.link, share.copied, share.copy], js=COPY, **QUICK)
        told.then(None, None, share.copy, js=BACK, **PRIVATE)


def _parts(page: Page) -> list[Any]:
    """The components that a link is about, besides the question, in the order of `_looking`."""
    inside, compared = page.inside, page.compare
    shown = [inside.sources, inside.stage, inside.scale, inside.windows, inside.head]
    alike = [inside.alike.by, inside.alike.share, inside.alike.scene, inside.word.way]
    return [*shown, *alike, compared.left, compared.right, page.segment.opacity, page.held.seeds]


def _looking(page: Page, values: Values, asked: Asked) -> Looking:
    sources, stage, scale, windows, head, by, share, _, way, left, right, opacity, seeds = (
        values[part] for part in _parts(page)
    )
    other = values[page.inside.alike.other]
    second = save_load.example_of(replace(asked, picture=other), page.examples) if other else None
    # Any picture but an example's stays here, and its seeds with it.
    points = Seeds.read(seeds, file_digest(asked.picture)).points if save_load.example_of(asked, page.examples) else ()
    return Looking(
        view=str(values[page.held.view]),
        points=points,
        sources=tuple(sources),
        stage=stage,
        scale=scale,
        windows=bool(windows),
        hidden=page.hidden(values),
        head=menus.head_of(head),
        by=by,
        share=share,
        second=second.name if second else "",
        way=way,
        left=left or menus.CURRENT,
        right=right or menus.CURRENT,
        opacity=opacity,
    )


def restored(page: Page, query: Mapping[str, str], asked: Asked) -> Values:
    """What a link says of how its result was looked at, for a page that opens with what was asked."""
    s, inside, held = asked.settings, page.inside, page.held
    sources = also(page.runner.models, s)
    results = [menus.CURRENT, *menus.result_names(ready_vfms(page.runner.models, s.clip), s.vfm)]
    pictures = {example.name: example.picture for example in page.examples}
    views = (FIRST_VIEW, *inside.tabs, "compare")
    looking = Looking.from_query(query, views, sources, results, scenes=pictures)
    heads = [menus.ALL_HEADS, *([] if looking.head is None else [menus.head_name(looking.head)])]
    found: Values = {
        held.hidden: list(looking.hidden),
        held.linked: {"view": looking.view, "hidden": looking.hidden},
        inside.sources: gr.update(choices=sources, value=list(looking.sources)),
        inside.stage: looking.stage,
        inside.scale: looking.scale,
        inside.windows: looking.windows,
        inside.head: gr.update(choices=heads, value=heads[-1]),  # how many there are is known when it is looked at
        inside.alike.by: looking.by,
        inside.alike.share: looking.share,
        inside.alike.scene: looking.second,
        inside.alike.other: pictures.get(looking.second),
        inside.word.way: looking.way,
        page.compare.left: gr.update(choices=results, value=looking.left),
        page.compare.right: gr.update(choices=results, value=looking.right),
    }
    if "opacity" in query:  # otherwise as the person likes it
        found[page.segment.opacity] = looking.opacity
    example = save_load.example_of(asked, page.examples)
    if example is not None and example.name == query.get("example"):
        found[held.seeds] = {"picture": file_digest(asked.picture), "points": looking.points}
    return found


def outputs(page: Page) -> list[Any]:
    """The components that `restored` fills."""
    return [page.held.hidden, page.held.linked, page.inside.alike.other, *_parts(page)]


def follow(page: Page, opened: Any) -> None:
    """Once the page has opened, its script hides the classes and opens the tab."""
    opened.then(None, page.held.linked, None, js=script("linked"), **PRIVATE)
