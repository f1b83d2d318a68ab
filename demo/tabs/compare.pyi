"""The tab "Compare": layout and wiring. What an event does stands in `compare`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np

from demo import variants
from demo.answers import compare
from demo.answers import ground_truth as truth
from demo.answers.segment import show_message
from demo.examples import Example
from demo.session import Staged
from demo.tabs.shared import Shared
from demo.variants import Bench

Examples = tuple[Example, ...]
TAB = "Compare"  # as it is called on the page
SLIDER_HEIGHT = 500  # pixels

from gradio.events import Dependency

class Names(gr.CheckboxGroup):
    """Results by name. The choices grow as weights arrive, and gradio forgets what it was told of them when it lets go
    of an old visit; so its check is left out."""

    is_template = True

    def preprocess(self, payload: Any) -> list[str]:
        return [name for name in payload or [] if _is_known(name)]
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class Name(gr.Dropdown):
    """One result by name, as `Names`."""

    is_template = True

    def preprocess(self, payload: Any) -> str:
        return payload if _is_known(payload) else compare.CURRENT
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


def _is_known(name: Any) -> bool:
    return name == compare.CURRENT or name in compare.choices(list(variants.pc.VFM_MODELS))


def build(shared: Shared, tab: gr.Tab, tabs: gr.Tabs, kept: gr.State, label_map: gr.File) -> None:
    """Fills `tab`, one of the page's `tabs`. kept, label_map: those of "Look inside", so that nothing runs twice."""
    parts = SimpleNamespace(kept=kept, label_map=label_map, is_open=gr.State(False), **_layout(shared))
    _wire(parts, shared, tab, tabs)


def _layout(shared: Shared) -> dict[str, Any]:
    ready = variants.ready_vfms(shared.models, shared.default.clip)
    names = compare.choices(ready)
    note = gr.HTML(f"<p>{variants.NO_RESULT}</p>", elem_id="compare-note")
    with gr.Row():
        left = Name([compare.CURRENT, *names], value=names[0], label="Left", min_width=140, elem_id="compare-left")
        right = Name(
            [compare.CURRENT, *names], value=compare.CURRENT, label="Right", min_width=140, elem_id="compare-right"
        )
    slider = gr.ImageSlider(
        label="Pull the line from one result to the other",
        format="png",
        interactive=False,
        height=SLIDER_HEIGHT + 2,
        max_height=SLIDER_HEIGHT,
        elem_id="compare-slider",
    )
    line = gr.HTML(min_height=72, elem_id="compare-line")
    gr.Markdown(
        "### Contact sheet\n"
        "The time is that of the vision model and of what follows; CLIP reads the picture once for all."
    )
    chosen = Names(
        names,
        value=compare.suggested(shared.default.vfm, ready),
        label="Results",
        info="A vision model with its patch size in pixels. Smaller patches give finer borders and take longer.",
        elem_id="compare-chosen",
    )
    with gr.Row():
        run = gr.Button("Compare all", variant="primary", min_width=140, elem_id="compare-run")
        stop = gr.Button("Stop", min_width=100, elem_id="compare-stop")
    progress = gr.HTML(min_height=48, elem_id="compare-progress")
    sheet = gr.Gallery(
        label="Contact sheet",
        columns=3,
        height="auto",
        object_fit="contain",
        format="png",
        interactive=False,
        elem_id="compare-sheet",
    )
    found = ("note", "left", "right", "slider", "line", "chosen", "run", "stop", "progress", "sheet")
    return dict(zip(found, (note, left, right, slider, line, chosen, run, stop, progress, sheet)))


def _wire(parts: SimpleNamespace, shared: Shared, tab: gr.Tab, tabs: gr.Tabs) -> None:
    asking = {shared.state, parts.kept, parts.left, parts.right, parts.chosen, parts.is_open, parts.label_map}
    quick = {"show_progress": "hidden", "queue": False, **shared.PRIVATE}

    options = {
        "inputs": asking,
        "outputs": [parts.note, parts.kept, parts.slider, parts.line],
        "show_progress_on": parts.slider,
        "trigger_mode": "always_last",
        **shared.ON_MODEL,
        **shared.PRIVATE,
    }
    gr.on([tab.select, parts.left.input, parts.right.input], partial(_pair, parts, shared, True), **options)
    gr.on([shared.state.change], partial(_pair, parts, shared, False), **options)

    outputs = [parts.note, parts.kept, parts.sheet, parts.progress]
    started = parts.run.click(
        partial(_sheet, parts, shared), asking, outputs, show_progress="hidden", **shared.ON_MODEL, **shared.PRIVATE
    )
    parts.stop.click(_stopped, parts.progress, parts.progress, cancels=[started], **quick)
    # A sheet of an earlier result would be taken for one of this.
    shared.state.change(lambda: (None, ""), None, [parts.sheet, parts.progress], cancels=[started], **quick)
    tab.select(partial(_choices, shared), shared.state, [parts.left, parts.right, parts.chosen], **quick)
    tabs.select(_is_open, None, parts.is_open, **quick)


def _pair(parts: SimpleNamespace, shared: Shared, wanted: bool, values: dict[Any, Any]) -> tuple[Any, ...]:
    """note, kept, the slider's two pictures, the line below. wanted: False where the tab may not be the open one."""
    skip = gr.skip()
    staged: Staged | None = values[shared.state]
    if not (wanted or values[parts.is_open]):
        return skip, skip, skip, skip
    if staged is None:
        return _say(variants.NO_RESULT), skip, skip, skip
    given = (values[parts.left], values[parts.right], values[parts.label_map], shared.examples)
    shown, kept, error = shared.answer(_show_pair, staged, values[parts.kept], *given)
    return (show_message(error), skip, skip, skip) if error else (show_message(""), kept, *shown)


def _sheet(parts: SimpleNamespace, shared: Shared, values: dict[Any, Any]) -> Iterator[tuple[Any, ...]]:
    """note, kept, the sheet so far, the progress bar: after each result."""
    skip = gr.skip()
    staged, names = values[shared.state], values[parts.chosen]
    if staged is None or not names:
        yield _say(variants.NO_RESULT if staged is None else "Choose what to compare."), skip, skip, skip
        return
    kept, rows = values[parts.kept], []
    yield show_message(""), skip, rows, compare.progress(0, names)
    for done, name in enumerate(names, 1):  # one at a time, so that a run can be stopped between two
        given = (name, values[parts.label_map], shared.examples)
        row, kept, error = shared.answer(_show_one, staged, kept, *given)
        if error:
            yield show_message(error), kept, skip, ""
            return
        rows.append(row)
        yield skip, kept, list(rows), compare.progress(done, names)


def _stopped(progress: str | None) -> Any:
    return "<p>Stopped. What was done is kept.</p>" if compare.is_running(progress or "") else gr.skip()


def _say(text: str) -> Any:
    return gr.update(value=f"<p>{text}</p>", visible=True)


def _show_pair(bench: Bench, left: str, right: str, label_map: str | None, examples: Examples) -> Any:
    return compare.pair(bench, left, right, truth.of(bench, label_map, examples))


def _show_one(bench: Bench, name: str, label_map: str | None, examples: Examples) -> tuple[np.ndarray, str]:
    shown = compare.show(bench, name, truth.of(bench, label_map, examples))
    return shown.drawn, shown.caption


def _choices(shared: Shared, staged: Staged | None) -> tuple[Any, Any, Any]:
    names = compare.choices(variants.ready_vfms(shared.models, staged.settings.clip if staged else shared.default.clip))
    one = gr.update(choices=[compare.CURRENT, *names])
    return one, one, gr.update(choices=names)


def _is_open(event: gr.SelectData) -> bool:
    """A tab of the page was opened -> whether it is this one."""
    return event.value == TAB