"""The tab "Look inside": layout and wiring. What an event does stands in `inside`.

The tab has four sections, and only the one that is open is computed: when it is opened, and when what it shows changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from demo import variants
from demo.answers import ground_truth as truth
from demo.answers import inside
from demo.answers.segment import show_message
from demo.examples import Example
from demo.session import Staged
from demo.tabs.shared import Shared
from demo.variants import Bench

SCRIPTS = Path(__file__).parents[1] / "draw"
TAB = "Look inside"  # as it is called on the page
ATTENTION, SIMILARITY, FEATURES, TRUTH = SECTIONS = ("Attention", "Similarity", "Features", "Truth")
STEPS = {("←", "left"): (-1, 0), ("↑", "up"): (0, -1), ("↓", "down"): (0, 1), ("→", "right"): (1, 0)}
STATISTICS = ["Vision model", "Mean similarity", "Masked pairs", "Attended patches"]

from gradio.events import Dependency

class Sources(gr.CheckboxGroup):
    """What is looked at beside the page's own VFM. The choices grow as weights arrive, and gradio forgets what it was
    told of them when it lets go of an old visit; so its check is left out, and unknown names are dropped here."""

    is_template = True

    def preprocess(self, payload: Any) -> list[str]:
        known = (inside.OWN_ATTENTION, *variants.pc.VFM_MODELS)
        return [name for name in payload or [] if name in known]
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


def build(shared: Shared, tab: gr.Tab, tabs: gr.Tabs) -> SimpleNamespace:
    """Fills `tab`, one of the page's `tabs`. Returns its `kept` state and `label_map`, which "Compare" uses too."""
    parts = SimpleNamespace(
        kept=gr.State(time_to_live=1800),
        seeds=gr.State(time_to_live=1800),
        section=gr.State(ATTENTION),
        is_open=gr.State(False),
        **_top(shared),
    )
    with gr.Tabs(overflow_behavior="wrap", elem_id="inside-sections"):
        for name, layout in zip(SECTIONS, (_attention, _similarity, _features, _truth)):
            with gr.Tab(name) as section:
                vars(parts).update(layout())
            chosen = partial(_same, name)
            section.select(chosen, None, parts.section, queue=False, show_progress="hidden", **shared.PRIVATE)
            setattr(parts, f"tab_{SECTIONS.index(name)}", section)
    _wire(parts, shared, tab, tabs)
    return parts


def _same(value: Any) -> Any:
    return value


def _top(shared: Shared) -> dict[str, Any]:
    note = gr.HTML(f"<p>{variants.NO_RESULT}</p>", elem_id="inside-note")
    sources = Sources(
        [inside.OWN_ATTENTION, *variants.ready_vfms(shared.models, shared.default.clip)],
        value=[inside.OWN_ATTENTION],
        label="Also show",
        info="The chosen vision model is always there. Up to four side by side; each reads the picture once.",
        elem_id="inside-sources",
    )
    return {"note": note, "sources": sources}


def _attention() -> dict[str, Any]:
    picture = gr.Image(
        label="Click a patch, up to four",
        format="png",
        interactive=False,
        height="clamp(260px, 46vh, 560px)",
        buttons=["fullscreen"],
        alt_text="The picture; a click chooses the patch whose attention is shown",
        elem_id="inside-picture",
    )
    keys = (SCRIPTS / "keys.js").read_text(encoding="utf-8")
    where = gr.HTML(js_on_load=keys, elem_id="inside-where")
    with gr.Row(elem_id="inside-pad"):
        steps = {
            step: gr.Button(f"{arrow} {name}", size="sm", min_width=64, elem_id=f"inside-{name}")
            for (arrow, name), step in STEPS.items()
        }
        undo = gr.Button("Remove last", size="sm", min_width=100, elem_id="inside-undo")
        clear = gr.Button("Remove all", size="sm", min_width=100, elem_id="inside-clear")
    stage = gr.Radio(
        inside.STAGES,
        value="softmax",
        label="Stage",
        info="beta and gamma (under Settings) act on the last two. CLIP's own attention has the last one only.",
        elem_id="inside-stage",
    )
    grid = gr.Checkbox(False, label="Show the patch grid of the chosen vision model", elem_id="inside-grid")
    maps = gr.Gallery(
        label="Attention: dark is little, yellow is much",
        columns=3,
        height="auto",
        object_fit="contain",
        format="png",
        interactive=False,
        elem_id="inside-maps",
    )
    names = ("clicked", "where", "steps", "undo", "clear", "stage", "grid", "maps")
    return dict(zip(names, (picture, where, steps, undo, clear, stage, grid, maps)))


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
    gallery = gr.Gallery(
        label="Features",
        columns=2,
        height="auto",
        object_fit="contain",
        format="png",
        interactive=False,
        elem_id="inside-features",
    )
    return {"pictures": gallery}


def _truth() -> dict[str, Any]:
    gr.Markdown(
        "Does similarity tell which patches belong to one class? The examples bring their true label maps. For a "
        "picture of your own, give a palette or grey PNG of the same size: a pixel's value is the place of its class "
        "in your words, the first is 0, and 255 does not count."
    )
    upload = gr.File(label="True label map (PNG)", file_types=[".png"], height=120, elem_id="inside-label-map")
    miou = gr.HTML(elem_id="inside-miou")
    curves = gr.HTML(min_height=300, elem_id="inside-curves")
    return {"label_map": upload, "miou": miou, "curves": curves}


def _wire(parts: SimpleNamespace, shared: Shared, tab: gr.Tab, tabs: gr.Tabs) -> None:
    """Every section has one event: it runs when the section opens, and while it is open when its inputs change."""
    asking = {shared.state, shared.beta, shared.gamma, parts.kept, parts.seeds, parts.section, parts.is_open}
    asking |= {parts.sources, parts.stage, parts.grid, parts.label_map}
    sliders = [event for slider in (shared.beta, shared.gamma) for event in (slider.input, slider.release)]
    sections = (
        (ATTENTION, _show_attention, [parts.clicked, parts.where, parts.maps], parts.maps, sliders),
        (SIMILARITY, _show_similarity, [parts.histogram, parts.table], parts.histogram, sliders),
        (FEATURES, _show_features, [parts.pictures], parts.pictures, []),
        (TRUTH, _show_truth, [parts.miou, parts.curves], parts.curves, [parts.label_map.change]),
    )
    fills = {}
    for number, (name, show, outputs, busy, changes) in enumerate(sections):
        options = {
            "inputs": asking,
            "outputs": [parts.note, parts.kept, *outputs],
            "show_progress_on": busy,
            "trigger_mode": "always_last",
            **shared.ON_MODEL,
            **shared.PRIVATE,
        }
        fill = partial(_fill, parts, shared, show, len(outputs))
        gr.on([getattr(parts, f"tab_{number}").select], partial(fill, None, True), **options)
        gr.on([tab.select], partial(fill, name, True), **options)
        gr.on([shared.state.change, parts.sources.input, *changes], partial(fill, name, False), **options)
        fills[name] = (partial(fill, name, True), options)
    _wire_seeds(parts, shared, asking, *fills[ATTENTION])
    quick = {"show_progress": "hidden", "queue": False, **shared.PRIVATE}
    tab.select(partial(_choices, shared), shared.state, parts.sources, **quick)
    tabs.select(_is_open, None, parts.is_open, **quick)
    shared.picture.change(lambda: None, None, parts.label_map, **quick)  # it was another picture's


def _wire_seeds(
    parts: SimpleNamespace, shared: Shared, asking: set[Any], fill: Callable[..., Any], options: dict[str, Any]
) -> None:
    """Clicks and the pad: the marker moves at once, and then the maps follow."""

    def change(what: SeedChange, values: dict[Any, Any]) -> tuple[Any, ...]:
        if values[shared.state] is None:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        given = (what, values[parts.seeds], _look(parts, shared, values))
        placed, _, error = shared.answer(_place, values[shared.state], values[parts.kept], *given)
        return (show_message(error), *(placed or (gr.skip(), gr.skip(), gr.skip())))

    def on_click(values: dict[Any, Any], event: gr.SelectData) -> tuple[Any, ...]:
        return change(partial(_clicked, event.index), values)

    events = [(parts.clicked.select, on_click)]
    events += [(button.click, partial(change, partial(_moved, step))) for step, button in parts.steps.items()]
    events.append((parts.undo.click, partial(change, _undone)))
    events.append((parts.clear.click, partial(change, _cleared)))
    events.append((parts.grid.input, partial(change, _kept)))
    outputs = [parts.note, parts.seeds, parts.clicked, parts.where]
    for event, function in events:
        # Every press of a key counts, also those that come before the last one is answered.
        every = {"trigger_mode": "multiple", "show_progress": "hidden"}
        placed = event(function, asking, outputs, **every, **shared.ON_MODEL, **shared.PRIVATE)
        if event != parts.grid.input:
            placed.then(fill, **options)
    parts.stage.input(fill, **options)


# What an event does to the seeds: plain functions of this module, so that they can go to where the models are.
SeedChange = Callable[[Bench, inside.Seeds | None], inside.Seeds]


def _clicked(index_xy: Sequence[float], bench: Bench, seeds: inside.Seeds | None) -> inside.Seeds:
    return inside.click(bench.staged, seeds, index_xy)


def _moved(step: tuple[int, int], bench: Bench, seeds: inside.Seeds | None) -> inside.Seeds:
    return inside.move(bench, seeds, step)


def _undone(bench: Bench, seeds: inside.Seeds | None) -> inside.Seeds:
    return inside.undo(bench.staged, seeds)


def _cleared(bench: Bench, seeds: inside.Seeds | None) -> inside.Seeds:
    return inside.seeds_of(bench.staged, None)


def _kept(bench: Bench, seeds: inside.Seeds | None) -> inside.Seeds:
    return inside.seeds_of(bench.staged, seeds)


def _place(
    bench: Bench, what: SeedChange, seeds: inside.Seeds | None, look: inside.Look
) -> tuple[inside.Seeds, Any, str]:
    seeds = what(bench, seeds)
    return seeds, *_clickable(bench, seeds, look)


def _fill(
    parts: SimpleNamespace,
    shared: Shared,
    show: Callable[..., tuple[Any, ...]],
    count: int,
    section: str | None,
    wanted: bool,
    values: dict[Any, Any],
) -> tuple[Any, ...]:
    """A section's outputs, after the tab's line and what is kept.

    section: None to show it in any case, else its name: only while it is the chosen one. wanted: False where the tab
    may not be the open one.
    """
    nothing = tuple(gr.skip() for _ in range(2 + count))
    if (section and values[parts.section] != section) or not (wanted or values[parts.is_open]):
        return nothing
    staged: Staged | None = values[shared.state]
    if staged is None:
        return gr.update(value=f"<p>{variants.NO_RESULT}</p>", visible=True), *nothing[1:]
    asked = Asked(_look(parts, shared, values), values[parts.seeds], values[parts.label_map], shared.examples)
    shown, kept, error = shared.answer(show, staged, values[parts.kept], asked)
    if error:
        return show_message(error), *nothing[1:]
    return show_message(""), kept, *shown


def _look(parts: SimpleNamespace, shared: Shared, values: dict[Any, Any]) -> inside.Look:
    sources = values[parts.sources]
    return inside.Look(
        others=tuple(name for name in sources if name != inside.OWN_ATTENTION),
        own_attention=inside.OWN_ATTENTION in sources,
        stage=values[parts.stage],
        beta=values[shared.beta],
        gamma=values[shared.gamma],
        grid=values[parts.grid],
    )


def _clickable(bench: Bench, seeds: inside.Seeds, look: inside.Look) -> tuple[Any, str]:
    where = inside.describe_seeds(bench.staged, seeds)
    return inside.picture_with_seeds(bench, seeds, look), f"<p>{where}</p>"


@dataclass(frozen=True)
class Asked:
    """What a section is shown for, beside the picture."""

    look: inside.Look
    seeds: inside.Seeds | None
    label_map: str | None
    examples: tuple[Example, ...]


def _show_attention(bench: Bench, asked: Asked) -> tuple[Any, ...]:
    look, seeds = asked.look, inside.seeds_of(bench.staged, asked.seeds)
    maps = inside.attention_maps(bench, seeds, look)
    return *_clickable(bench, seeds, look), gr.update(value=maps, columns=inside.columns(bench, look))


def _show_similarity(bench: Bench, asked: Asked) -> tuple[Any, ...]:
    return inside.similarity(bench, asked.look)


def _show_features(bench: Bench, asked: Asked) -> tuple[Any, ...]:
    return (inside.feature_pictures(bench, asked.look),)


def _show_truth(bench: Bench, asked: Asked) -> tuple[Any, ...]:
    true = truth.of(bench, asked.label_map, asked.examples)
    if true is None:
        return "<p>This picture has no true label map yet. Give one above.</p>", ""
    curves, line = inside.against_truth(bench, asked.look, true)
    return line, curves


def _choices(shared: Shared, staged: Staged | None) -> Any:
    clip = staged.settings.clip if staged else shared.default.clip
    return gr.update(choices=[inside.OWN_ATTENTION, *variants.ready_vfms(shared.models, clip)])


def _is_open(event: gr.SelectData) -> bool:
    """A tab of the page was opened -> whether it is this one."""
    return event.value == TAB