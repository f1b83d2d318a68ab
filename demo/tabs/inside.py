"""The tab "Look inside": layout and wiring. What an event does stands in `answers.inside`.

Each of its four sections shows what one function makes of the visitor's stages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import gradio as gr

import proxyclip_core as pc
from demo import menus
from demo.answers import inside
from demo.answers.errors import NO_RESULT, message, missing, note
from demo.components import Drawn, Menu, Names, Upload, in_files, spot
from demo.models import Provider, ready_vfms
from demo.stages import Stages
from demo.tabs import inside_figure
from demo.tabs.parts import EVERY, GALLERY, ON_MODEL, QUICK, InsideParts, Page, Values, script

# What moves the seeds: a name -> what its button says, and how wide it is at least.
PAD = {"left": ("← left", 64), "up": ("↑ up", 64), "down": ("↓ down", 64), "right": ("→ right", 64)}
PAD |= {"undo": ("Remove last", 100), "clear": ("Remove all", 100)}
STATISTICS = ["Vision model", "Mean similarity", "Masked pairs", "Attended patches"]


def layout(models: Provider, default: pc.Settings) -> InsideParts:
    parts, tabs = _top(models, default), {}
    sections = {"Attention": _attention, "Similarity": _similarity, "Features": _features, "Truth": _truth}
    with gr.Tabs(overflow_behavior="wrap", elem_id="inside-sections"):
        for name, section in sections.items():
            with gr.Tab(name) as tabs[f"inside/{name.lower()}"]:
                parts |= section()
    return InsideParts(**parts, tabs=tabs)


def _top(models: Provider, default: pc.Settings) -> dict[str, Any]:
    note = gr.HTML(f"<p>{NO_RESULT}</p>", elem_id="inside-note")
    sources = Names(
        [menus.OWN_ATTENTION, *menus.vfm_names(ready_vfms(models, default.clip), default.vfm)],
        value=[menus.OWN_ATTENTION],
        label="Also show",
        info="The chosen vision model is always there. Up to four side by side; each reads the picture once.",
        elem_id="inside-sources",
    )
    return {"note": note, "sources": sources}


def _attention() -> dict[str, Any]:
    picture = Drawn(
        label="Click a patch, up to four",
        format="png",
        interactive=False,
        height="clamp(260px, 46vh, 560px)",
        buttons=["fullscreen"],
        alt_text="The picture; a click chooses the patch whose attention is shown",
        elem_id="inside-picture",
    )
    where = gr.HTML(js_on_load=script("keys"), elem_id="inside-where")
    with gr.Row(elem_id="inside-pad"):
        pad = [
            gr.Button(text, size="sm", min_width=width, elem_id=f"inside-{how}") for how, (text, width) in PAD.items()
        ]
    stage = gr.Radio(
        inside.ATTENTION_STAGES,
        value="softmax",
        label="Stage",
        info="beta and gamma (under Settings) act on the last two. CLIP's own attention has the last one only.",
        elem_id="inside-stage",
    )
    grid = gr.Checkbox(False, label="Show the patch grid of the chosen vision model", elem_id="inside-grid")
    label = "Attention: dark is little, yellow is much"
    maps = gr.Gallery(label=label, columns=3, elem_id="inside-maps", **GALLERY)
    shown = {"clicked": picture, "where": where, "pad": pad, "figure": inside_figure.layout()}
    return {**shown, "stage": stage, "grid": grid, "maps": maps}


def _similarity() -> dict[str, Any]:
    gr.Markdown(
        "How alike all pairs of patches are. Solid upright lines: the mean; dotted: beta times the mean, below which "
        "pairs are masked. The last column says to how many patches an average one attends."
    )
    figure = gr.HTML(min_height=260, elem_id="inside-similarity")
    table = gr.Dataframe(headers=STATISTICS, interactive=False, wrap=True, buttons=[], elem_id="inside-statistics")
    return {"histogram": figure, "table": table}


def _features() -> dict[str, Any]:
    gr.Markdown("The three main directions of the features as red, green and blue: like colours are like features.")
    return {"pictures": gr.Gallery(label="Features", columns=2, elem_id="inside-features", **GALLERY)}


def _truth() -> dict[str, Any]:
    gr.Markdown(
        "Does similarity tell which patches belong to one class? The examples bring their true label maps. For a "
        "picture of your own, give the download's labels.png, or any palette or grey PNG or TIFF of the same size: a "
        "pixel's value is the place of its class in your words, the first is 0. 255, or 65535 in a map of 16 bits, "
        "does not count. The mask of one object, white on black, is taken too."
    )
    upload = Upload(
        label="True label map (PNG)", file_types=[".png", ".tif", ".tiff"], height=120, elem_id="inside-label-map"
    )
    mask_word = Menu([], value=None, label="The object of the mask", visible=False, elem_id="inside-mask-word")
    miou = gr.HTML(elem_id="inside-miou")
    curves = gr.HTML(min_height=300, elem_id="inside-curves")
    return {"label_map": upload, "mask_word": mask_word, "miou": miou, "curves": curves}


def _attention_maps(stages: Stages, view: inside.View) -> tuple[Any, ...]:
    maps, columns = inside.attention_maps(stages, view)  # each seed has a row of its own
    return *inside.clickable(stages, view), gr.update(value=maps, columns=columns)


def _against_truth(stages: Stages, view: inside.View) -> tuple[Any, ...]:
    line, curves, words = inside.against_truth(stages, view)
    return line, curves, gr.update(choices=words, visible=bool(words))


def _place(stages: Stages, view: inside.View, how: str, index_xy: Any) -> tuple[Any, ...]:
    seeds = asdict(inside.place(stages, view, how, index_xy))
    return seeds, *inside.clickable(stages, replace(view, seeds=seeds))


def sections(page: Page) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """View -> what makes it, and the components that it fills."""
    parts = page.inside
    return {
        "inside/attention": (_attention_maps, [parts.clicked, parts.where, parts.maps]),
        "inside/similarity": (inside.similarity, [parts.histogram, parts.table]),
        "inside/features": (inside.feature_pictures, [parts.pictures]),
        "inside/truth": (_against_truth, [parts.miou, parts.curves, parts.mask_word]),
    }


def inputs(page: Page) -> set[Any]:
    """The components that `fill` reads."""
    parts = page.inside
    chosen = {parts.sources, parts.stage, parts.grid, parts.label_map, parts.mask_word}
    return chosen | {page.held.seeds, page.held.shown}


def outputs(page: Page) -> list[Any]:
    """The components that `fill` fills, besides the visit."""
    filled = [part for _, parts in sections(page).values() for part in parts]
    return [page.inside.note, page.inside.sources, *filled]


def changes(page: Page) -> list[Any]:
    """The events after which the open section is filled again."""
    parts = page.inside
    moved = [part.input for part in (parts.sources, parts.stage, parts.grid, parts.mask_word)]
    return [*moved, parts.label_map.upload, parts.label_map.clear]


def fill(page: Page, values: Values, view: str, may_encode: bool, choices: bool) -> Values:
    """One section. may_encode, choices: as in `view.fill`."""
    parts, visit = page.inside, page.visit(values)
    s = visit.asked.settings if visit else page.default
    menu: Values = {}
    if choices:
        names = menus.vfm_names(ready_vfms(page.runner.models, s.clip), s.vfm)
        menu[parts.sources] = gr.update(choices=[menus.OWN_ATTENTION, *names])
    if visit is None:
        return {parts.note: note(missing(page.shown(values))), **menu}
    show, filled = sections(page)[view]
    looked = read_view(page, values)
    more: dict[str, Any] = {"may_encode": may_encode, "wanted": looked.vfms(visit.asked.settings)}
    made, visit, error = page.runner(show, visit, looked, **more)
    held = {page.held.visit: visit, parts.note: message(error), **menu}
    if error:
        return held
    new = dict(zip(filled, made if len(filled) > 1 else [made]))
    return held | {
        part: in_files(part, value) if isinstance(part, gr.Gallery) else value for part, value in new.items()
    }


def read_view(page: Page, values: Values) -> inside.View:
    """What is looked at, as it stands on the page."""
    parts = page.inside
    looked = (tuple(values[parts.sources]), values[parts.stage], bool(values[parts.grid]))
    truth = (values[parts.label_map], page.examples, values[parts.mask_word])
    return inside.View(*looked, values[page.held.seeds], *truth)


def wire_seeds(page: Page) -> Any:
    """Clicks and the pad: the marker moves at once. The maps are to follow what is returned."""
    parts, held = page.inside, page.held

    def on_seed(values: Values, event: gr.EventData) -> Any:
        visit = page.visit(values)
        # A click may be answered late, after another picture has come.
        if visit is None or page.shown(values) != visit.picture:
            return gr.skip()
        how = str(event.target and event.target.elem_id).removeprefix("inside-")
        given = (read_view(page, values), how, spot(event.index) if how == "picture" else None)
        made, visit, error = page.runner(_place, visit, *given)
        changed = {held.visit: visit, parts.note: message(error)}
        return changed if error else changed | dict(zip([held.seeds, parts.clicked, parts.where], made))

    # The label map was of another picture.
    of_another = [parts.label_map, parts.mask_word]
    page.question.picture.change(lambda: (None, None), None, of_another, queue=False, **QUICK)
    events = [parts.clicked.select, *(button.click for button in parts.pad)]
    filled = [held.visit, parts.note, held.seeds, parts.clicked, parts.where]
    # Every press of a key counts, also those that come before the last one is answered.
    return gr.on(events, on_seed, inputs(page) | {held.visit}, filled, show_progress="hidden", **EVERY, **ON_MODEL)
