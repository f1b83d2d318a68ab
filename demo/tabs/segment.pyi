"""The Segment tab: the overlay, its legend, scores, and what can be taken away. Wires the question's events too."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr

from demo import menus, preferences
from demo.answers import save_load as carry
from demo.answers import segment as callbacks
from demo.answers.segment import Look, Point
from demo.session import Settings, Staged
from demo.tabs.shared import ON_MODEL, PRIVATE, PROGRESS, Shared

SCRIPTS = Path(__file__).parents[1] / "draw"
QUICK = {"show_progress": "hidden", **PRIVATE}
LATEST = {"trigger_mode": "always_last"}
COPY = """(query) => {
    const address = location.origin + location.pathname + "?" + query;
    navigator.clipboard?.writeText(address).catch(() => {});
    return address;
}"""
CLICK_ZIP = "() => document.querySelector('#zip-file a, a#zip-file, #zip-file')?.click()"

from gradio.events import Dependency

class ClassName(gr.Dropdown):
    """One of the result's classes. gradio forgets which there are when it lets go of an old visit; so its check is left
    out, and a name that is none is passed over where it is used."""

    is_template = True

    def preprocess(self, payload: Any) -> str | None:
        return payload if isinstance(payload, str) else None
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


def build(shared: Shared, demo: gr.Blocks) -> SimpleNamespace:
    """Returns the tab's components by name."""
    parts = SimpleNamespace(**_result(), **_scores(), **_carry())
    parts.hidden, parts.point, parts.liked = gr.State(()), gr.State(), preferences.store()
    # Values that are new each time: a result is asked for, or the weights of two models. gradio tells of a changed
    # state only after events that went through its queue.
    parts.go, parts.wanted = gr.State(), gr.State()
    # Whether the page shows a result: the browser knows it even where the server has let the result go.
    parts.shown = gr.Textbox("", visible=False)
    parts.drawn = gr.State()  # the look that the page's picture was last drawn with by a stage
    _wire_stages(shared, parts)
    _wire_look(shared, parts)
    _wire_scores(shared, parts)
    _wire_models(shared, parts)
    _wire_fills(shared, parts, demo)
    _wire_carry(shared, parts)
    return parts


def _result() -> dict[str, Any]:
    overlay = gr.Image(
        # A box of one size, so that nothing jumps when a result comes.
        label="Result: click for the scores at a point",
        height="clamp(320px, 58vh, 1100px)",
        format="png",
        interactive=False,
        buttons=["download", "fullscreen"],
        alt_text="The picture with the region of each word in the colour of the legend",
        elem_id="overlay",
    )
    with gr.Row(elem_id="look"):
        opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity", min_width=160, scale=3, elem_id="opacity")
        with gr.Column(min_width=120, scale=1, elem_id="ticks"):
            outlines = gr.Checkbox(True, label="Outlines", container=False, elem_id="outlines")
            names = gr.Checkbox(True, label="Names", container=False, elem_id="names")
    script = (SCRIPTS / "legend.js").read_text(encoding="utf-8")
    legend = gr.HTML(js_on_load=script, elem_id="legend")
    status = gr.HTML(elem_id="status")
    shown = {"overlay": overlay, "opacity": opacity, "outlines": outlines, "names": names}
    return {**shown, "legend": legend, "status": status}


def _scores() -> dict[str, Any]:
    with gr.Accordion("Scores", open=False, elem_id="scores") as scores, gr.Row(equal_height=False):
        with gr.Column(min_width=260, scale=2):
            top = gr.Label(
                label="At the point last clicked: the five best classes",
                num_top_classes=5,
                show_heading=False,
                elem_id="top",
            )
        with gr.Column(min_width=260, scale=3):
            score_class = ClassName(
                [],
                label="Map of one class",
                info="Its score at every pixel, 0 to 1; all classes share 1.",
                elem_id="score-class",
            )
            score_map = gr.Image(
                label="Score map",
                format="png",
                image_mode="RGBA",
                interactive=False,
                height=330,
                buttons=["download", "fullscreen"],
                alt_text="Score of the chosen class at every pixel, with its colour bar",
                elem_id="score-map",
            )
    return {"scores": scores, "top": top, "score_class": score_class, "score_map": score_map}


def _carry() -> dict[str, Any]:
    with gr.Accordion("Save and share", open=True, elem_id="carry"):
        with gr.Row():
            save = gr.Button("Download", min_width=130, elem_id="save")
            load = gr.UploadButton("Load settings", file_types=[".json"], min_width=130, elem_id="load", size="lg")
            copy = gr.Button("Copy link", min_width=130, elem_id="copy")
        gr.Markdown(
            "The download holds the overlay, label map, masks, COCO JSON, NPZ and all settings; "
            "the link holds the settings, no picture.",
            elem_id="carry-note",
        )
        link = gr.Textbox(label="Link", visible=False, interactive=False, buttons=["copy"], elem_id="link")
        zip_file = gr.DownloadButton("Download", visible="hidden", elem_id="zip-file")
        query = gr.Textbox(visible=False)
    return {"save": save, "load": load, "copy": copy, "link": link, "zip_file": zip_file, "query": query}


def _look(parts: SimpleNamespace) -> set[Any]:
    return {parts.opacity, parts.outlines, parts.names, parts.hidden, parts.point, parts.shown}


def _liked(parts: SimpleNamespace) -> list[Any]:
    """What the browser remembers, in the order of `preferences`."""
    return [parts.opacity, parts.outlines, parts.names]


def _read_look(parts: SimpleNamespace, values: dict[Any, Any]) -> Look:
    return Look(
        values[parts.opacity],
        values[parts.outlines],
        values[parts.names],
        tuple(values[parts.hidden]),
        values[parts.point],
    )


def _wire_stages(shared: Shared, parts: SimpleNamespace) -> None:
    """Everything that brings the result up to date. gradio hands over one dict of component -> value."""
    inputs = shared.inputs | _look(parts)
    outputs = [shared.message, parts.overlay, parts.legend, parts.status, shared.state, parts.shown, parts.drawn]

    def ask(do: Any, values: dict[Any, Any], progress: gr.Progress, **more: bool) -> tuple[Any, ...]:
        settings, before = shared.read(values)
        look = _read_look(parts, values)
        answer = do(shared.models, shared.compute, settings, look, before, progress, **more)
        is_new = isinstance(answer[-1], Staged)
        return *answer, "yes" if is_new else gr.skip(), look if is_new else gr.skip()

    def on_segment(values: dict[Any, Any], progress: gr.Progress = PROGRESS) -> tuple[Any, ...]:
        settings, _ = shared.read(values)
        if callbacks.can_be_asked(settings) and not shared.models.ready(settings.clip, settings.vfm):
            return *(gr.skip() for _ in outputs), (settings.clip, settings.vfm, time.monotonic_ns())
        return *ask(callbacks.segment, values, progress), gr.skip()

    def on_go(values: dict[Any, Any], progress: gr.Progress = PROGRESS) -> tuple[Any, ...]:
        """As the button; but what was said of the link or the file stays, unless there is worse to say."""
        message, *rest = on_segment(values, progress)
        return (message if message.get("value") else gr.skip()), *rest

    def on_change(values: dict[Any, Any], progress: gr.Progress = PROGRESS) -> tuple[Any, ...]:
        return ask(callbacks.refresh, values, progress, shown=bool(values[parts.shown]))

    def on_settled(values: dict[Any, Any]) -> tuple[Any, Any, Any]:
        """What was changed of the look while a stage ran: the picture and legend were drawn as it was before."""
        look, staged = _read_look(parts, values), values[shared.state]
        if staged is None or values[parts.drawn] in (None, look):
            return gr.skip(), gr.skip(), gr.skip()
        return *callbacks.show(staged, look), look

    busy = {"show_progress_on": parts.overlay, **LATEST, **ON_MODEL, **PRIVATE}
    settled = {
        "fn": on_settled,
        "inputs": _look(parts) | {shared.state, parts.drawn},
        "outputs": [parts.overlay, parts.legend, parts.drawn],
        **QUICK,
    }
    asked = gr.on([shared.button.click, shared.words.submit], on_segment, inputs, [*outputs, parts.wanted], **busy)
    asked.then(**settled)
    parts.go.change(on_go, inputs, [*outputs, parts.wanted], **busy).then(**settled)
    changes = [shared.words.blur, shared.picture.input]
    changes += [menu.input for menu in (shared.side, shared.windows, shared.templates, shared.background)]
    changes += [menu.input for menu in (shared.clip, shared.family, shared.patch)]
    gr.on(changes, on_change, inputs, outputs, **busy).then(**settled)
    # While they move, by mouse or keys: no encoder runs, so the picture keeps up.
    sliders = [slider.input for slider in (shared.threshold, shared.beta, shared.gamma)]
    gr.on(sliders, on_change, inputs, outputs, show_progress="hidden", **LATEST, **ON_MODEL, **PRIVATE)


def _wire_look(shared: Shared, parts: SimpleNamespace) -> None:
    """Only drawn again."""
    inputs = _look(parts) | {shared.state}

    def on_look(values: dict[Any, Any]) -> Any:
        return callbacks.redraw(_read_look(parts, values), values[shared.state], bool(values[parts.shown]))

    def on_chip(values: dict[Any, Any], event: gr.EventData) -> tuple[Any, ...]:
        hidden = tuple(str(name) for name in event._data["hidden"])
        look = replace(_read_look(parts, values), hidden=hidden)
        return *callbacks.redraw(look, values[shared.state], bool(values[parts.shown])), hidden

    looked = [parts.opacity.input, parts.outlines.input, parts.names.input]
    drawn = [shared.message, parts.overlay]
    gr.on(looked, on_look, inputs, drawn, **LATEST, **QUICK)
    gr.on(looked, preferences.write, _liked(parts), parts.liked, queue=False, **QUICK)
    parts.legend.click(on_chip, inputs, [*drawn, parts.hidden], **LATEST, **QUICK)


def _wire_scores(shared: Shared, parts: SimpleNamespace) -> None:
    """Scores are read from the classes that are there; no encoder runs."""

    def on_point(values: dict[Any, Any], event: gr.SelectData) -> tuple[Any, ...]:
        staged = values[shared.state]
        if staged is None:
            return *callbacks.redraw(Look(), None, bool(values[parts.shown])), gr.skip(), gr.skip(), gr.skip()
        height, width = callbacks.drawn_size(staged)
        xy = ((event.index[0] + 0.5) / width, (event.index[1] + 0.5) / height)
        point = Point(xy, staged.made_from["picture"])
        drawn = callbacks.redraw(replace(_read_look(parts, values), point=point), staged)
        return *drawn, point, callbacks.scores_at(staged, point), gr.update(open=True)

    def on_class(name: str | None, staged: Any) -> Any:
        return callbacks.score_picture(staged, name)

    def on_result(staged: Any, point: Any, name: str | None) -> tuple[Any, Any, Any]:
        if staged is None:
            return gr.skip(), gr.skip(), gr.skip()
        names = list(staged.vocabulary.names)
        kept = name if name in names else None
        picture = callbacks.score_picture(staged, kept)
        return callbacks.scores_at(staged, point), gr.update(choices=names, value=kept), picture

    scores = [parts.top, parts.score_class, parts.score_map]
    inputs = _look(parts) | {shared.state}
    outputs = [shared.message, parts.overlay, parts.point, parts.top, parts.scores]
    parts.overlay.select(on_point, inputs, outputs, **LATEST, **QUICK)
    parts.score_class.input(
        on_class, [parts.score_class, shared.state], parts.score_map, show_progress_on=parts.score_map, **PRIVATE
    )
    shared.state.change(on_result, [shared.state, parts.point, parts.score_class], scores, **LATEST, **QUICK)


def _wire_models(shared: Shared, parts: SimpleNamespace) -> None:
    chosen = [shared.clip, shared.family, shared.patch]

    def on_wanted(wanted: tuple[str, str, int] | None) -> Any:
        yield from callbacks.fetch(shared.models, *wanted[:2]) if wanted else ()

    def on_arrived(wanted: tuple[str, str, int] | None, clip: str, family: str, patch: int | None) -> tuple[Any, ...]:
        """What the menus say of the models is no longer true."""
        go = time.monotonic_ns() if wanted and shared.models.ready(*wanted[:2]) else gr.skip()
        choices = gr.update(choices=menus.clip_choices()), gr.update(choices=menus.family_choices())
        return go, menus.about(clip, menus.vfm_name(family, patch)), *choices

    menu_inputs = [shared.clip.input, shared.family.input, shared.patch.input]
    gr.on(menu_inputs, callbacks.choose_models, chosen, [shared.patch, shared.about], queue=False, **QUICK)
    shared.background.input(callbacks.choose_background, shared.background, shared.threshold, queue=False, **QUICK)
    # Not one at a time with the models: everybody goes on while weights come.
    outputs = [shared.message, shared.download]
    fetched = parts.wanted.change(on_wanted, parts.wanted, outputs, concurrency_limit=4, **QUICK)
    arrived = [parts.go, shared.about, shared.clip, shared.family]
    fetched.then(on_arrived, [parts.wanted, *chosen], arrived, **QUICK)


def _wire_fills(shared: Shared, parts: SimpleNamespace, demo: gr.Blocks) -> None:
    """The question filled in from elsewhere: an example, a benchmark's words, saved settings, the page's address."""
    filled = [getattr(shared, name) for name in carry.FILLED] + [shared.about, shared.message, parts.go]

    def fill(settings: Settings, go: Any, message: str = "") -> list[Any]:
        said = callbacks.show_message(message)
        return [*carry.fill(settings), menus.about(settings.clip, settings.vfm), said, go]

    def on_load(query: str, liked: Any) -> list[Any]:
        said = dict(parse_qsl(query.removeprefix("?")))
        settings, message = carry.opening(said, shared.default, shared.examples)
        ready = settings.picture and settings.words and shared.models.ready(settings.clip, settings.vfm)
        filling = fill(settings, time.monotonic_ns() if ready else gr.skip(), message)
        return [*filling, *preferences.read(liked).values()]

    def on_example(event: gr.SelectData) -> tuple[Any, ...]:
        example = shared.examples[event.index]
        return example.picture, example.words, callbacks.show_message(""), time.monotonic_ns()

    def on_preset(title: str | None) -> tuple[Any, ...]:
        words = carry.preset_words(title)
        quiet = callbacks.show_message("")
        return (words, quiet, time.monotonic_ns()) if words else (gr.skip(), gr.skip(), gr.skip())

    def on_file(path: str, picture: str | None) -> list[Any]:
        try:
            settings = carry.read_settings(path)
        except ValueError as error:
            return [*(gr.skip() for _ in filled[:-2]), callbacks.show_message(str(error)), gr.skip()]
        return fill(Settings.of(settings, picture or ""), time.monotonic_ns())

    first = "(_, liked) => [location.search, liked]"
    opened = demo.load(on_load, [parts.query, parts.liked], [*filled, *_liked(parts)], js=first, **QUICK)
    # Whoever drives the page by a program can wait for this: what is filled in earlier may be filled in again.
    # It tells so by body[data-opened].
    opened.then(None, js=(SCRIPTS / "names.js").read_text(encoding="utf-8"), **PRIVATE)
    shared.preset.input(on_preset, shared.preset, [shared.words, shared.message, parts.go], **QUICK)
    parts.load.upload(on_file, [parts.load, shared.picture], filled, **QUICK)
    if shared.gallery is not None:
        outputs = [shared.picture, shared.words, shared.message, parts.go]
        shared.gallery.select(on_example, None, outputs, **QUICK)


def _wire_carry(shared: Shared, parts: SimpleNamespace) -> None:
    def on_save(values: dict[Any, Any], progress: gr.Progress = PROGRESS) -> tuple[Any, Any]:
        staged, look = values[shared.state], _read_look(parts, values)
        with tempfile.TemporaryDirectory(prefix="proxyclip-") as folder:
            try:
                path = carry.save(shared.models, shared.compute, staged, look, progress, folder)
            except callbacks.UserError as error:
                return callbacks.show_message(str(error)), None  # not the file before, which is another result's
            # gradio deletes what lies in its own folder after a day; ours goes now.
            return callbacks.show_message(""), parts.zip_file.move_resource_to_block_cache(path)

    def on_link(values: dict[Any, Any]) -> str:
        settings, _ = shared.read(values)
        return carry.query_of(settings, shared.default, shared.examples)

    saved = parts.save.click(
        on_save,
        _look(parts) | {shared.state},
        [shared.message, parts.zip_file],
        show_progress_on=parts.save,
        **ON_MODEL,
        **PRIVATE,
    )
    saved.success(None, None, None, js=CLICK_ZIP)
    linked = parts.copy.click(on_link, shared.inputs, parts.query, queue=False, **QUICK)
    linked.success(lambda address: gr.update(value=address, visible=True), parts.query, parts.link, js=COPY, **QUICK)