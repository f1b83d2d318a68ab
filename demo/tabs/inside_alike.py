"""Two sections of "Look inside": what is like the seeds, here and in another picture; and the way from seed to word.

In both a click on the picture chooses a seed. There is one set of seeds for the whole tab.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from demo.answers import alike, to_word
from demo.answers.errors import message
from demo.answers.inside import View
from demo.components import Drawn, Menu, Picture, spot
from demo.examples import Example
from demo.stages import Stages
from demo.tabs.parts import EVERY, GALLERY, ON_MODEL, QUICK, AlikeParts, Page, Values, WordParts

# attention.js has the seeds of its own.
TELL = """(seeds) => {
    document.dispatchEvent(new CustomEvent("seeds", { detail: JSON.parse(seeds || null) }));
}"""
NO_OTHER = "No other: what is like it in the picture itself"


def alike_section(examples: Sequence[Example]) -> AlikeParts:
    gr.Markdown("What the vision models hold for like the seeds: here as a mask, in a second picture as a map.")
    with gr.Row(equal_height=False):
        picture = _picker("alike")
        found = gr.Gallery(label="Like the seeds", columns=1, min_width=260, elem_id="alike-found", **GALLERY)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=260):
            by = gr.Radio(alike.BY, value="beta", label="Like it is", elem_id="alike-by")
            share = gr.Slider(0.01, 1, 0.1, step=0.01, label="Share of the picture", elem_id="alike-share")
        with gr.Column(min_width=260):
            scene = Menu(
                [(NO_OTHER, ""), *((example.title, example.name) for example in examples)],
                value="",
                label="A second picture",
                elem_id="alike-scene",
            )
            other = Picture(
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard"],
                label="Or one of your own",
                alt_text="The second picture",
                height=160,
                elem_id="alike-other",
            )
    take = gr.Button("Download as masks", min_width=150, elem_id="alike-take")
    file = gr.DownloadButton("Masks", visible="hidden", elem_id="alike-file")
    return AlikeParts(picture, by, share, scene, other, found, take, file)


def word_section() -> WordParts:
    gr.Markdown("From the last seed to its word: where its patch attends, what CLIP's values say there, and its label.")
    way = gr.Radio(to_word.WAYS, value="proxy", label="How it attends", elem_id="word-way")
    with gr.Row(equal_height=False):
        picture = _picker("word")
        attention = Drawn(
            label="Where it attends",
            format="png",
            interactive=False,
            buttons=["download", "fullscreen"],
            alt_text="What the seed's patch attends to, over the picture",
            min_width=260,
            elem_id="word-attention",
        )
        with gr.Column(min_width=260):  # below the others on a phone
            told = gr.HTML(min_height=200, elem_id="word-told")
    return WordParts(picture, way, attention, told)


def _picker(name: str) -> Drawn:
    return Drawn(
        label="Click to choose the seed",
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        alt_text="The picture with its seeds; a click chooses another one",
        min_width=260,
        elem_id=f"{name}-picture",
    )


def show_alike(stages: Stages, view: View) -> tuple[Any, ...]:
    found, columns = alike.alike(stages, view)
    return alike.picked_picture(stages, view), gr.update(value=found, columns=columns)


def show_word(stages: Stages, view: View) -> tuple[Any, ...]:
    return alike.picked_picture(stages, view), *to_word.shown(stages, view)


def wire(page: Page) -> list[Any]:
    """What is returned is to be followed by filling the open section."""
    parts, held, inside = page.inside.alike, page.held, page.inside

    def on_pick(values: Values, event: gr.EventData) -> Any:
        visit, index = page.visit(values), spot(event.index)
        if visit is None or index is None or page.shown(values) != visit.picture:  # another picture has come meanwhile
            return gr.skip()
        made, visit, error = page.runner(alike.pick, visit, index)
        return {held.visit: visit, inside.note: message(error)} | ({} if error else {held.seeds: made})

    def on_scene(name: str | None) -> Any:
        return next((example.picture for example in page.examples if example.name == name), None)

    picked = gr.on(
        [parts.picture.select, inside.word.picture.select],
        on_pick,
        {held.visit, held.shown},
        [held.visit, inside.note, held.seeds],
        **EVERY,
        **ON_MODEL,
    )
    picked.then(None, held.seeds, None, js=TELL, **QUICK)
    chosen = parts.scene.input(on_scene, parts.scene, parts.other, queue=False, **QUICK)
    return [picked, chosen]
