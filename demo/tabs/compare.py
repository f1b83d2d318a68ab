"""The tab "Compare": layout and wiring. What an event does stands in `answers.compare`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

import proxyclip_core as pc
from demo import limits, menus, time_limit
from demo.answers import compare, ground_truth
from demo.answers.errors import NO_RESULT, message, missing, note
from demo.components import Menu, Names, as_file, in_files
from demo.models import Provider, ready_vfms
from demo.stages import Stages
from demo.tabs.parts import EVERY, GALLERY, ON_MODEL, PRIVATE, QUICK, CompareParts, LinkParts, Page, Values, script
from demo.visit import Visit
from proxyclip_core.drawing.drawing import Look

SLIDER_HEIGHT = 500  # pixels
TO_SLIDER = "() => document.getElementById('compare-slider').scrollIntoView({ block: 'center' })"


def layout(models: Provider, default: pc.Settings) -> CompareParts:
    ready = ready_vfms(models, default.clip)
    names = menus.result_names(ready, default.vfm)
    note = gr.HTML(f"<p>{NO_RESULT}</p>", elem_id="compare-note")
    both = gr.Button("The paper's result beside the refined one", size="sm", elem_id="compare-both")
    with gr.Row():
        left = Menu([menus.CURRENT, *names], value=names[0], label="Left", min_width=140, elem_id="compare-left")
        right = Menu(
            [menus.CURRENT, *names], value=menus.CURRENT, label="Right", min_width=140, elem_id="compare-right"
        )
    slider = gr.ImageSlider(
        label="Pull the line from one result to the other",
        format="png",
        interactive=False,
        height=SLIDER_HEIGHT + 2,
        max_height=SLIDER_HEIGHT,
        elem_id="compare-slider",
    )
    line = gr.HTML(min_height=72, js_on_load=script("divider", beside="compare-slider"), elem_id="compare-line")
    sharing = LinkParts.make("compare-")
    for part in (sharing.copy, sharing.copied, sharing.link):
        part.render()
    gr.Markdown(
        "## Contact sheet\n"
        "The time is that of the vision model and of what follows; CLIP reads the picture once for all."
    )
    chosen = Names(
        names,
        value=compare.suggested(default.vfm, ready),
        label="Results",
        info="A vision model with its patch size in pixels, and what of its patches is compared. Smaller patches give "
        "finer borders and take longer.",
        elem_id="compare-chosen",
    )
    with gr.Row():
        run = gr.Button("Compare all", variant="primary", min_width=140, elem_id="compare-run")
        stop = gr.Button("Stop", min_width=100, elem_id="compare-stop")
    progress = gr.HTML(min_height=48, elem_id="compare-progress")
    sheet = gr.Gallery(
        label="Contact sheet: click a result to lay it under the line, at the left",
        columns=3,
        allow_preview=False,
        elem_id="compare-sheet",
        **GALLERY,
    )
    return CompareParts(note, left, right, slider, line, sharing, chosen, both, run, stop, progress, sheet)


def inputs(page: Page) -> set[Any]:
    """The components that `fill` reads."""
    return {page.compare.left, page.compare.right, *_of_truth(page), *page.look, page.held.shown}


def _of_truth(page: Page) -> list[Any]:
    """The components that say what the true label map is."""
    return [page.inside.label_map, page.inside.mask_word]


def _true(page: Page, values: Values) -> tuple[Any, ...]:
    """What `ground_truth.of` takes besides the stages."""
    label_map, mask_word = (values[part] for part in _of_truth(page))
    return label_map, page.examples, mask_word


def outputs(page: Page) -> list[Any]:
    """The components that `fill` fills, besides the visit."""
    parts = page.compare
    return [parts.note, parts.left, parts.right, parts.chosen, parts.slider, parts.line]


def changes(page: Page) -> list[Any]:
    """The events after which the slider is filled again."""
    return [page.compare.left.input, page.compare.right.input]


def wire_choices(page: Page) -> list[Any]:
    """One click for what is to be compared -> the events, which the slider is filled after: the pair that most people
    want, and a result of the sheet."""
    parts, pair = page.compare, (menus.PAPER, menus.REFINED)

    def on_sheet(event: gr.SelectData) -> Any:
        caption = event.value.get("caption") if isinstance(event.value, dict) else None
        return compare.named(str(caption), menus.result_names(pc.VFM_MODELS)) or gr.skip()

    chosen = parts.sheet.select(on_sheet, None, parts.left, **EVERY, **QUICK)
    chosen.then(None, None, None, js=TO_SLIDER, **PRIVATE)
    return [parts.both.click(lambda: pair, None, [parts.left, parts.right], **QUICK), chosen]


def fill(page: Page, values: Values, may_encode: bool, choices: bool) -> Values:
    """The slider and the line below it. may_encode, choices: as in `view.fill`."""
    parts, visit = page.compare, page.visit(values)
    changed: Values = {}
    if choices:
        s = visit.asked.settings if visit else page.default
        names = menus.result_names(ready_vfms(page.runner.models, s.clip), s.vfm)
        changed |= {part: gr.update(choices=[menus.CURRENT, *names]) for part in (parts.left, parts.right)}
        changed[parts.chosen] = gr.update(choices=names)
    if visit is None:
        return changed | {parts.note: note(missing(page.shown(values)))}
    pair = [values[part] or menus.CURRENT for part in (parts.left, parts.right)]
    given = (*pair, page.read_look(values), *_true(page, values))
    made, visit, error = page.runner(_pair, visit, *given, may_encode=may_encode, wanted=_wanted(visit, *pair))
    changed |= {page.held.visit: visit, parts.note: message(error)}
    return changed if error else changed | {parts.slider: in_files(parts.slider, made[0]), parts.line: made[1]}


def _wanted(visit: Visit, *names: str) -> list[pc.Settings]:
    known = {menus.CURRENT, *menus.result_names(pc.VFM_MODELS)}  # of the others `compare` says what is wrong
    return [menus.variant(name, visit.asked.settings) for name in names if name in known]


def _pair(stages: Stages, left: str, right: str, look: Look, *truth: Any) -> Any:
    return compare.pair(stages, left, right, ground_truth.of(stages, *truth), look)


def _one(stages: Stages, name: str, look: Look, *truth: Any) -> compare.Shown:
    return compare.show(stages, name, ground_truth.of(stages, *truth), look)


def wire(page: Page) -> None:
    """The contact sheet. What is said of it stands below its button."""
    parts, held = page.compare, page.held

    def on_run(values: Values) -> Iterator[Any]:
        """One result at a time, so that a run can be stopped between two."""
        visit, names, rows = page.visit(values), values[parts.chosen], []
        if visit is None or not names:
            yield {parts.progress: note("Choose what to compare." if visit else missing(page.shown(values)))}
            return
        yield {parts.sheet: [], parts.progress: compare.progress(0, names)}
        end = time.monotonic() + limits.REQUEST_SECONDS
        for done, name in enumerate(names, 1):
            given = (name, page.read_look(values), *_true(page, values))
            made, visit, error = page.runner(_one, visit, *given, wanted=_wanted(visit, name))
            if not error and time.monotonic() > end and done < len(names):
                error = time_limit.TOO_LATE
            if error:
                yield {held.visit: visit, parts.progress: message(error)}
                return
            # gradio would write every array of the sheet anew each time one is added.
            rows.append((as_file(parts.sheet, made.drawn, made.name), made.caption))
            yield {held.visit: visit, parts.sheet: list(rows), parts.progress: compare.progress(done, names)}

    def on_stop(progress: Any) -> Any:
        return "<p>Stopped. What was done is kept.</p>" if compare.is_running(str(progress)) else gr.skip()

    asked: set[Any] = {held.visit, held.shown, parts.chosen, *page.look, *_of_truth(page)}
    filled = [held.visit, parts.sheet, parts.progress]
    started = parts.run.click(on_run, asked, filled, show_progress="hidden", **ON_MODEL)
    parts.stop.click(on_stop, parts.progress, parts.progress, cancels=[started], queue=False, **QUICK)
