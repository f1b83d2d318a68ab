"""What brings the result up to date: the button, the menus and sliders, and whatever fills the question in.

Each is a chain: fill the question, segment; where weights are missing, fetch them and segment then. What follows a
result stands in `view`.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr

import proxyclip_core as pc
from demo import menus, presets, stopping
from demo.answers import save_load, segment
from demo.answers.errors import in_words, message, note, notice
from demo.components import as_download
from demo.examples import suits
from demo.models import Download
from demo.tabs import filling, slow, wording
from demo.tabs import found as finding
from demo.tabs.parts import EVERY, LATEST, ON_MODEL, ON_RESULT, PRIVATE, PROGRESS, QUICK, Page, Values, script
from demo.visit import Visit

KEEP = """(shown, picture) => {
    const { settings, asked } = JSON.parse(shown || null) ?? {};
    if (!settings || picture?.path !== asked.picture) return;
    sessionStorage.setItem("proxyclip", JSON.stringify({ address: location.search, settings, picture }));
}"""


def wire(page: Page, demo: gr.Blocks) -> None:
    q = page.question
    inputs = q.inputs | {page.held.visit, page.held.shown}
    busy = {"inputs": inputs, "outputs": _outputs(page), "show_progress_on": page.segment.overlay, **LATEST, **ON_MODEL}
    fetching = {"inputs": q.inputs, "outputs": [q.message, q.again, q.back, q.download, q.clip, q.family], **QUICK}
    # Not one at a time with the models: everybody goes on while weights come.
    fetching |= {"concurrency_limit": 4, **LATEST}

    hidden = {part: gr.update(visible=False) for part in (q.again, q.back)}

    def segmented(values: Values, progress: Any) -> Values:
        changed = _answer(page, segment.segment, values, progress)
        if page.held.shown in changed:  # its weights may have come just now
            s = changed[page.held.visit].asked.settings
            changed[q.about] = menus.about(s.clip, s.vfm)
        return changed

    def on_segment(values: Values, progress: gr.Progress = PROGRESS) -> Values:
        """The button. To fetch weights, which are seldom missing, is no step before it: that would wait in the queue,
        too."""
        if _are_here(page, values):
            return segmented(values, progress) | hidden
        try:
            stopping.check_wanted()
        except stopping.Stopped as stopped:
            return {q.message: note(str(stopped))}
        return {page.held.missing: time.monotonic_ns()}

    def on_fetched(values: Values, progress: gr.Progress = PROGRESS) -> Any:
        return segmented(values, progress) or gr.skip()

    def on_filled(values: Values, progress: gr.Progress = PROGRESS) -> Values:
        """As the button; but what was said of the link or the file stays, unless there is worse to say.

        An example that the models know nothing of is not run: it is said which do.
        """
        if _is_unknown_example(page, values):
            return filling.own_note(page, True) | hidden
        changed = on_segment(values, progress)
        if q.message in changed and not changed[q.message]["visible"]:
            del changed[q.message]
        return changed

    def on_loaded(values: Values) -> Any:
        """Saved settings have brought their result: it may not be quite the same as then."""
        path = values[page.segment.load]
        found = save_load.unlike(page.runner, page.visit(values), path, page.default) if path else ""
        return note(found) if found else gr.skip()

    def on_opened(values: Values, progress: gr.Progress = PROGRESS) -> Any:
        """A page has opened: with a result, if that takes no download."""
        asked = q.read(values)
        if not asked.picture or not asked.settings.words:
            return gr.skip()
        if page.runner.models.ready(asked.settings.clip, asked.settings.vfm):
            return on_filled(values, progress)
        return {q.message: note(menus.absent(asked.settings.clip, asked.settings.vfm))}

    def on_change(values: Values, progress: gr.Progress = PROGRESS) -> Any:
        return _answer(page, segment.refresh, values, progress, shown=page.shown(values)) or gr.skip()

    def on_menu(values: Values, progress: gr.Progress = PROGRESS) -> Any:
        """As `on_change`; what would take long waits for the button, beside which that is said."""
        return gr.skip() if slow.waits(slow.estimate(page, values)) else on_change(values, progress)

    def on_fetch(values: Values) -> Iterator[Any]:
        yield from _fetch(page, values)

    asked = [q.button.click, q.again.click, q.words.submit]
    reveal = {"fn": None, "js": script("reveal"), **EVERY, **PRIVATE}  # on a phone the result is below what asks for it
    for moment in asked:  # before the result is asked for: gradio wakes one listener when the one before it is done
        moment(**reveal)
    asking = busy | {"outputs": [*_outputs(page), page.held.missing, *hidden]}
    fetched = page.held.missing.change(on_fetch, **fetching)
    pressed, followed = gr.on(asked, on_segment, **asking), fetched.success(on_fetched, **busy)
    for moment in (pressed.then, pressed.failure, fetched.failure, followed.then):
        moment(**reveal)
    done = [pressed, followed, *(filled.success(on_filled, **asking) for filled in filling.wire(page))]
    loaded = {"inputs": {page.segment.load, page.held.visit}, "outputs": q.message, **QUICK, **ON_MODEL}
    for segmentation in (done[-1], followed):  # at once, or with weights that had to come
        segmentation.success(on_loaded, **loaded)
    done.append(filling.wire_opening(page, demo).then(on_opened, **asking))

    chosen = [menu.input for menu in (q.side, q.windows, q.templates, q.background)]
    chosen += [menu.input for menu in (q.fusion, q.facet, q.reach, q.scope, q.refine, q.sam)]
    estimating = slow.wire(page, demo, [q.picture.input, *chosen])  # before what it is about
    done.append(gr.on([q.words.blur, q.picture.input], on_change, **busy))
    done.append(gr.on(chosen, on_menu, **busy))
    models = gr.on([menu.input for menu in (q.clip, q.family, q.patch)], **_choosing(page))
    done += [filled.then(**estimating).then(on_menu, **busy) for filled in (models, *_wire_presets(page))]
    # While they move, by mouse or keys: no encoder runs, so the picture keeps up.
    sliders = [slider.input for slider in (q.threshold, q.beta, q.gamma)]
    done.append(gr.on(sliders, on_change, **busy | ON_RESULT | {"show_progress": "hidden"}))
    for part in (finding, wording):
        done += part.wire(page, partial(_answer, page), busy)
    _wire_belonging(page, [*(segmentation.then for segmentation in done), pressed.failure, fetched.failure])
    # Without a background there is nothing that the threshold could do.
    q.background.input(_moves_threshold, q.background, q.threshold, queue=False, **EVERY, **QUICK)


def _wire_belonging(page: Page, ends: list[Callable[..., Any]]) -> None:
    """Whether the result on the page is of what the question says. ends: what is called at the end of a chain."""
    q = page.question
    asked = [page.held.shown, q.picture, q.words, q.clip, q.family, q.patch]
    belonging = {"inputs": asked, "outputs": None, "js": script("belongs"), **PRIVATE}
    q.words.input(None, None, q.preset, js="() => null", **EVERY, **PRIVATE)  # they are no list's any more
    for follow in (q.words.input, q.picture.clear, *ends):
        follow(None, **belonging)
    for follow in ends:  # until its tab is closed, the browser knows what a page that is loaded again is to show
        follow(None, [page.held.shown, q.picture], None, js=KEEP, **PRIVATE)


def _outputs(page: Page) -> list[Any]:
    parts, held = page.segment, page.held
    shown = [parts.overlay, parts.layers, parts.legend, parts.status, parts.notes, parts.add_background]
    shown += [parts.own_note, parts.use_photo_models]
    shown += [held.visit, held.shown]
    return [
        page.question.message,
        page.question.estimate,
        page.question.about,
        page.question.found,
        *shown,
        page.compare.sheet,
        page.compare.progress,
    ]


def _answer(page: Page, do: Callable[..., segment.Answer], values: Values, progress: Any, **more: Any) -> Values:
    """What a result changes on the page, by component."""
    try:
        asked = page.question.read(values)
    except ValueError as error:
        return {page.question.message: message(str(error))}
    before = page.visit(values)
    found = do(page.runner, asked, values[page.held.visit], progress, **more)
    parts, held = page.segment, page.held
    changed: Values = {}
    if found.error is not None:
        is_wished = found.error == stopping.STOPPED
        changed[page.question.message] = note(found.error) if is_wished else message(found.error)
        changed[page.question.estimate] = ""
    if found.visit is not None and found.error:  # what was done is kept, beside the result that stays
        changed[held.visit] = before.with_values_of(found.visit) if before else found.visit.without_result()
    elif found.visit is not None:
        changed |= {held.visit: found.visit, held.shown: _shown(found.visit)}
    if found.visit is not None and found.layers is not None:
        if found.picture is not None:
            changed[parts.overlay] = as_download(parts.overlay, found.picture, f"{found.visit.picture}.webp")
        changed |= {parts.layers: found.layers, parts.legend: found.legend, parts.status: found.status}
        changed[parts.notes] = notice((*found.visit.reservations, *found.visit.notes))
        changed[parts.add_background] = gr.update(visible=found.is_alone)
        if before is None or before.asked.settings.words != found.visit.asked.settings.words:
            changed[page.question.found] = gr.update(visible="hidden")  # what was found is another's
        beyond = segment.is_beyond(found.visit, page.examples)
        changed |= filling.own_note(page, beyond)
        # A contact sheet of an earlier result would be taken for one of this.
        changed |= {page.compare.sheet: None, page.compare.progress: ""}
    return changed


def _is_unknown_example(page: Page, values: Values) -> bool:
    """Whether the picture is an example that the models know nothing of."""
    try:
        asked = page.question.read(values)
        example = save_load.example_of(asked, page.examples)
        return example is not None and not suits(example, asked.settings.clip)
    except ValueError:  # it is said by the segmentation that follows
        return False


def _shown(visit: Visit) -> dict[str, Any]:
    """What the browser holds of a result, as `belongs.js` compares it."""
    s = visit.asked.settings
    vfm = pc.find_vfm(s.vfm)
    asked = {"picture": visit.asked.picture, "words": s.words, "models": [s.clip, vfm.family, vfm.patch]}
    settings = {name: getattr(s, name) for name in pc.SETTINGS}
    return {"picture": visit.picture, "result": visit.name, "asked": asked, "settings": settings}


def _are_here(page: Page, values: Values) -> bool:
    """Whether no weights are missing for what is asked; so, too, where it cannot be: the segmentation says why."""
    try:
        asked = page.question.read(values)
        segment.check(asked)
        return page.runner.models.ready(asked.settings.clip, asked.settings.vfm)
    except ValueError:
        return True


def _fetch(page: Page, values: Values) -> Iterator[Any]:
    """Downloads the weights that are missing, if any. Where that fails it says so and ends the chain."""
    q = page.question
    # From a generator that never yields gradio would take None for every output.
    hidden, shown = gr.update(visible=False), gr.update(visible=True)
    yield {q.again: hidden, q.back: hidden}
    if _are_here(page, values):
        return
    s = q.read(values).settings
    try:
        for part in page.runner.models.fetch(s.clip, s.vfm):
            yield {q.message: message(""), q.download: gr.update(value=download_html(part), visible=True)}
    except Exception as error:  # noqa: BLE001 every error becomes a line that the person can read
        yield {q.message: message(in_words(error)), q.again: shown, q.back: shown, q.download: hidden}
        raise filling.stop() from None
    here = {q.clip: gr.update(choices=menus.clip_choices()), q.family: gr.update(choices=menus.family_choices())}
    yield {q.message: message(""), q.download: gr.update(visible=False), **here}


def download_html(part: Download) -> str:
    text = f"Downloading {part.name}: {part.done / 1e6:.0f} of {part.total / 1e6:.0f} MB"
    return (
        f'<label class="download">{html.escape(text)}<progress max="{part.total}" value="{part.done}"></progress>'
        "<span>You can go on with the present models.</span></label>"
    )


def _choosing(page: Page) -> dict[str, Any]:
    q = page.question

    def on_model(clip: str, family: str, patch: int | None, *method: Any) -> list[Any]:
        """A model was chosen -> the patch sizes of its family, where the weights come from, the preset that follows."""
        vfm = menus.vfm_name(family, patch)
        sizes = gr.update(choices=menus.patch_choices(family), value=pc.find_vfm(vfm).patch)
        values = presets.followed(clip, vfm, dict(zip(presets.METHOD, method)))
        return [sizes, menus.about(clip, vfm), *values.values()]

    wiring = {"fn": on_model, "inputs": [q.clip, q.family, q.patch, *q.method]}
    wiring |= {"outputs": [q.patch, q.about, *q.method]}
    return {**wiring, "queue": False, **EVERY, **QUICK}


def _wire_presets(page: Page) -> list[Any]:
    """All settings of the method at once: as in the paper, or what measures best with the models that are chosen."""
    q = page.question

    def on_sharper(clip: str, family: str, patch: int | None) -> list[Any]:
        return list(presets.sharper(clip, menus.vfm_name(family, patch)).values())

    wiring: dict[str, Any] = {"outputs": q.method, "queue": False, **EVERY, **QUICK}
    paper = q.paper.click(lambda: list(presets.PAPER.values()), None, **wiring)
    return [paper, q.sharper.click(on_sharper, [q.clip, q.family, q.patch], **wiring)]


def _moves_threshold(background: str) -> Any:
    return gr.update(interactive=background != "none")
