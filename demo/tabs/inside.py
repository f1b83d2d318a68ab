"""The tab "Look inside": layout and wiring. What an event does stands in `answers.inside`.

Each of its sections shows what one function makes of the visitor's stages.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
import matplotlib
import numpy as np

import proxyclip_core as pc
from demo import menus
from demo.answers import inside
from demo.answers.errors import NO_RESULT, message, missing, note
from demo.answers.live import Live, live
from demo.components import Menu, Names, Upload, as_download, in_files
from demo.examples import Example
from demo.models import Provider, ready_vfms
from demo.stages import Stages
from demo.tabs import inside_alike, inside_figure
from demo.tabs.parts import EVERY, GALLERY, PRIVATE, QUICK, InsideParts, Page, Values, script
from proxyclip_core.drawing import plate

# What moves the seeds: a name, as in `attention.js` -> what its button says.
PAD = {
    "left": "← left",
    "up": "↑ up",
    "down": "↓ down",
    "right": "→ right",
    "undo": "Remove last",
    "clear": "Remove all",
}
RAMP = np.rint(matplotlib.colormaps[plate.RAMP](np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes().hex()
HINT = (
    "The histograms are Fig. 4 of the paper. Grey: how alike all pairs of patches are; line: this patch and all "
    "others; solid upright: the mean; dashed: beta times the mean, below which is masked."
)
# Scripts of events: what `attention.js` has found, and what it is told.
SEEDS = "() => document.querySelector('#inside-live').dataset.seeds"
SHOWN = """(stage, scale, grid) => {
    document.dispatchEvent(new CustomEvent("shown", { detail: { stage, scale, grid } }));
}"""
STATISTICS = ["Vision model", "Mean similarity", "Masked pairs", "Attended patches"]


def layout(models: Provider, default: pc.Settings, examples: Sequence[Example]) -> InsideParts:
    """examples: of the gallery, for a second picture."""
    parts, tabs = _top(models, default), {}
    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "Attention": _attention,
        "Alike": lambda: {"alike": inside_alike.alike_section(examples)},
        "Word": lambda: {"word": inside_alike.word_section()},
        "Similarity": _similarity,
        "Features": _features,
        "Truth": _truth,
    }
    with gr.Tabs(overflow_behavior="wrap", elem_id="inside-sections"):
        for name, section in sections.items():
            view = f"inside/{name.lower()}"
            with gr.Tab(name, id=view) as tabs[view]:
                parts |= section()
    return InsideParts(**parts, tabs=tabs)


def _top(models: Provider, default: pc.Settings) -> dict[str, Any]:
    note = gr.HTML(f"<p>{NO_RESULT}</p>", elem_id="inside-note")
    sources = Names(
        also(models, default),
        value=[menus.OWN_ATTENTION],
        label="Also show",
        info="Beside the chosen vision model. Up to four in all, side by side; each reads the picture once.",
        elem_id="inside-sources",
    )
    return {"note": note, "sources": sources}


def also(models: Provider, settings: pc.Settings) -> list[str]:
    """What can be shown beside the vision model of these settings."""
    names = menus.vfm_names(ready_vfms(models, settings.clip), settings.vfm)
    return [menus.OWN_ATTENTION, *(name for name in names if name != menus.vfm_title(settings))]


def _attention() -> dict[str, Any]:
    live = gr.HTML(html_template=panes_html(), js_on_load=script("attend", "attention"), elem_id="inside-live")
    with gr.Row(equal_height=False, elem_id="inside-how"):
        stage = gr.Radio(
            inside.ATTENTION_STAGES,
            value="softmax",
            label="Stage",
            info="beta and gamma act on the last two. CLIP's own attention has the last one only.",
            elem_id="inside-stage",
        )
        scale = gr.Radio(inside.SCALES, value="own", label="Scale of the colours", elem_id="inside-scale")
    with gr.Row(elem_id="inside-more"):
        head = Menu(
            [menus.ALL_HEADS], value=menus.ALL_HEADS, label="CLIP's own attention", min_width=200, elem_id="inside-head"
        )
        with gr.Column(min_width=200):
            grid = gr.Checkbox(False, label="Patch grid", container=False, elem_id="inside-grid")
            windows = gr.Checkbox(
                False,
                label="In the windows of the result, not the whole picture at once",
                container=False,
                elem_id="inside-windows",
            )
    label = "Exact maps of the seeds: dark is little, yellow is much"
    maps = gr.Gallery(label=label, columns=3, elem_id="inside-maps", **GALLERY)
    shown = {"live": live, "stage": stage, "scale": scale, "head": head, "grid": grid, "windows": windows}
    return {**shown, "maps": maps, "figure": inside_figure.layout()}


def panes_html() -> str:
    """What `attention.js` draws in: a pane a source, a line on the seeds, the pad's buttons."""
    drawn = html.escape(json.dumps({"ramp": RAMP, "colours": plate.SEED_COLOURS}))
    keys = "The picture. Arrow keys move the last seed, Enter sets another, Delete removes it."
    pad = "".join(
        f'<button type="button" data-way="{way}" id="inside-{way}">{text}</button>' for way, text in PAD.items()
    )
    pane = (
        '<figure><div class="stack"><img alt="The picture"><canvas class="heat" aria-hidden="true"></canvas>'
        '<svg aria-hidden="true"></svg></div><figcaption><strong class="name"></strong> <span class="told"></span>'
        '</figcaption><div class="bar"><span class="low"></span><i></i><span class="high"></span></div>'
        '<div class="fig4"><canvas class="chart" width="360" height="90" role="img" aria-label="Similarities of all '
        'pairs of patches, and of this one with all others"></canvas><p><span class="from"></span><span '
        'class="what"></span><span class="to"></span></p></div>'
        "</figure>"
    )
    return (
        f'<div class="live" data-drawn="{drawn}">'
        f'<div class="panes" tabindex="0" role="group" aria-label="{keys}"></div>'
        f'<p class="hint">{HINT}</p><p class="where" id="inside-where"></p>'
        f'<div class="pad" id="inside-pad">{pad}</div><template>{pane}</template></div>'
    )


def _similarity() -> dict[str, Any]:
    gr.Markdown(
        "How alike all pairs of patches are, and, filled, the last seed's patch with all others. Solid upright lines: "
        "the mean; dotted: beta times the mean, below which pairs are masked. The table's last column says to how many "
        "patches an average one attends."
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
    count = stages.model().clip.heads
    heads: dict[str, Any] = {"choices": [menus.ALL_HEADS, *(menus.head_name(head) for head in range(count))]}
    if view.head is not None and not 0 <= view.head < count:  # it was of another CLIP, which had more
        view, heads = replace(view, head=None), heads | {"value": menus.ALL_HEADS}
    maps, columns = inside.attention_maps(stages, view)  # each seed has a row of its own
    return live(stages, view), gr.update(value=maps, columns=columns), gr.update(**heads)


def _against_truth(stages: Stages, view: inside.View) -> tuple[Any, ...]:
    line, curves, words = inside.against_truth(stages, view)
    return line, curves, gr.update(choices=words, visible=bool(words))


def sections(page: Page) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """View -> what makes it, and the components that it fills."""
    parts = page.inside
    return {
        "inside/attention": (_attention_maps, [parts.live, parts.maps, parts.head]),
        "inside/alike": (inside_alike.show_alike, [parts.alike.picture, parts.alike.found]),
        "inside/word": (inside_alike.show_word, [parts.word.picture, parts.word.attention, parts.word.told]),
        "inside/similarity": (inside.similarity, [parts.histogram, parts.table]),
        "inside/features": (inside.feature_pictures, [parts.pictures]),
        "inside/truth": (_against_truth, [parts.miou, parts.curves, parts.mask_word]),
    }


def inputs(page: Page) -> set[Any]:
    """The components that `fill` reads."""
    parts = page.inside
    chosen = {parts.sources, parts.stage, parts.scale, parts.head, parts.windows, parts.label_map, parts.mask_word}
    chosen |= {parts.alike.by, parts.alike.share, parts.alike.other, parts.word.way}
    return chosen | {page.held.seeds, page.held.shown}


def outputs(page: Page) -> list[Any]:
    """The components that `fill` fills, besides the visit."""
    filled = [part for _, parts in sections(page).values() for part in parts]
    return [page.inside.note, page.inside.sources, *filled]


def changes(page: Page) -> list[Any]:
    """The events after which the open section is filled again."""
    parts = page.inside
    chosen: list[Any] = [parts.sources, parts.stage, parts.scale, parts.head, parts.windows, parts.mask_word]
    chosen += [parts.alike.by, parts.alike.share, parts.alike.other, parts.word.way]
    moved = [part.input for part in chosen]
    return [*moved, parts.label_map.upload, parts.label_map.clear]


def fill(page: Page, values: Values, view: str, may_encode: bool, choices: bool) -> Values:
    """One section. may_encode, choices: as in `view.fill`."""
    parts, visit = page.inside, page.visit(values)
    s = visit.asked.settings if visit else page.default
    menu: Values = {}
    if choices:
        menu[parts.sources] = gr.update(choices=also(page.runner.models, s))
    if visit is None:
        return {parts.note: note(missing(page.shown(values))), **menu}
    show, filled = sections(page)[view]
    looked = read_view(page, values)
    wanted = looked.vfms(looked.of(visit.asked.settings))
    given: dict[str, Any] = {"may_encode": may_encode, "wanted": wanted, "more": bool(looked.other)}
    made, visit, error = page.runner(show, visit, looked, **given)
    held = {page.held.visit: visit, parts.note: message(error), **menu}
    if error:
        return held
    new = dict(zip(filled, made if len(filled) > 1 else [made]))
    return held | {part: _as_sent(part, value) for part, value in new.items()}


def _as_sent(part: Any, value: Any) -> Any:
    """With files for what is large."""
    if isinstance(value, Live):
        return json.dumps(value.with_files(lambda data: as_download(part, data, "patches.bin")))
    return in_files(part, value) if isinstance(part, gr.Gallery) else value


def read_view(page: Page, values: Values) -> inside.View:
    """What is looked at, as it stands on the page."""
    parts = page.inside
    shown = (values[parts.stage], values[parts.scale], bool(values[parts.windows]), menus.head_of(values[parts.head]))
    truth = (values[parts.label_map], page.examples, values[parts.mask_word])
    alike = (values[parts.alike.by], values[parts.alike.share], values[parts.alike.other] or "", values[parts.word.way])
    return inside.View(tuple(values[parts.sources]), *shown, values[page.held.seeds], *truth, *alike)


def wire_shown(page: Page) -> None:
    """How attention is shown is the browser's affair, as are beta and gamma (sliders.js). To be called before anything
    else listens to these controls: gradio wakes one listener after another, and the next only when the server has
    answered."""
    parts = page.inside
    shown: list[Any] = [parts.stage, parts.scale, parts.grid]
    gr.on([part.input for part in shown], None, shown, None, js=SHOWN, **EVERY, **PRIVATE)


def wire_seeds(page: Page) -> Any:
    """Seeds are the browser's affair; the exact maps are to follow what is returned."""
    q, parts = page.question, page.inside
    # The label map was of another picture.
    of_another = [parts.label_map, parts.mask_word]
    q.picture.change(lambda: (None, None), None, of_another, queue=False, **QUICK)
    return parts.live.click(None, None, page.held.seeds, js=SEEDS, **EVERY, **PRIVATE)
