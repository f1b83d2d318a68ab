"""The question filled in from elsewhere: a list of words, an example, saved settings, a link, or what was there before
the page was loaded again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr

import proxyclip_core as pc
from demo import menus
from demo.answers import save_load
from demo.answers.errors import message, note
from demo.components import MOST_HELD, read_liked
from demo.examples import suits
from demo.tabs import link
from demo.tabs.parts import EVERY, PRIVATE, QUICK, Page, Values, script
from demo.tabs.question import side_choices
from demo.visit import Asked

# Their controls show the value itself.
PLAIN_SETTINGS = ("beta", "gamma", "windows", "templates", "fusion", "facet", "reach", "scope", "refine", "sam")
OWN_PICTURE = (
    "<p>The built-in models know drawn things only, such as the drawn examples: in a photograph they see what is not "
    "there. Other models know photographs.</p>"
)
OPENING = """async (_, liked) => {
    const kept = JSON.parse(sessionStorage.getItem("proxyclip") ?? "null");
    if (kept?.address !== location.search) return [location.search, liked, null, null];
    const there = await fetch(kept.picture.url, { method: "HEAD" }).catch(() => null);
    return [location.search, liked, there?.ok ? JSON.stringify(kept.settings) : null, there?.ok ? kept.picture : null];
}"""


def fill(page: Page, asked: Asked, said: str = "") -> Values:
    """The question filled in, with a message. Menus are told their choices as they are now."""
    q, s = page.question, asked.settings
    vfm, side = pc.find_vfm(s.vfm), pc.SETTINGS["side"].as_text(s.side)
    # A person may have been quicker than the page: what is not said here stays as it is.
    filled = {part: value for part, value in ((q.picture, asked.picture), (q.words, s.words)) if value}
    filled |= {getattr(q, name): getattr(s, name) for name in PLAIN_SETTINGS}
    return {
        **filled,
        q.clip: gr.update(choices=menus.clip_choices(), value=s.clip),
        q.family: gr.update(choices=menus.family_choices(), value=vfm.family),
        q.patch: gr.update(choices=menus.patch_choices(vfm.family), value=vfm.patch),
        q.side: gr.update(choices=side_choices(s.side), value=side),
        q.background: s.background,
        q.threshold: gr.update(value=s.threshold, interactive=s.background != "none"),
        q.about: menus.about(s.clip, s.vfm),
        q.message: message(said),
    }


def _with_models(page: Page, clip: str, vfm: str) -> Values:
    """The question with other models, and nothing said of those before."""
    q, row = page.question, pc.find_vfm(vfm)
    patch = gr.update(choices=menus.patch_choices(row.family), value=row.patch)
    models = {q.clip: clip, q.family: row.family, q.patch: patch, q.about: menus.about(clip, vfm)}
    hidden = gr.update(visible=False)
    return {**models, q.message: message(""), q.again: hidden, q.back: hidden}


def _filled(page: Page) -> list[Any]:
    """All that `fill` fills."""
    q = page.question
    return [*sorted(q.inputs, key=lambda part: part._id), q.about, q.message]


def wire(page: Page) -> list[Any]:
    """The question filled in from elsewhere: a benchmark's words, an example, and, last, saved settings."""
    q, parts = page.question, page.segment

    def on_example(values: Values, event: gr.SelectData) -> Any:
        chosen = event.index if isinstance(event.index, int) else -1
        if not 0 <= chosen < len(page.examples):
            return gr.skip()
        example, here = page.examples[chosen], menus.photo_models_here()
        beyond = not suits(example, values[q.clip] or page.default.clip)
        taken = _with_models(page, *here) if here and beyond else {}
        said = note(f"{example.title}: {example.origin}.") if example.is_photograph else message("")
        asked = {q.picture: example.picture, q.words: example.words, q.preset: None, q.message: said}
        return taken | asked | own_note(page, False)  # until it is known to be so

    def on_preset(title: str | None) -> tuple[Any, ...]:
        return pc.vocabulary_presets().get(title or "") or gr.skip(), message("")

    def on_words(path: str) -> Iterator[Values]:
        try:
            words, said = save_load.read_words(path)
        except ValueError as error:
            yield {q.message: message(str(error))}
            raise stop() from None
        yield {q.words: words, q.message: note(said) if said else message("")}

    def on_background() -> tuple[Any, ...]:
        return "short", gr.update(interactive=True), message("")

    def on_file(path: str, picture: str | None) -> Iterator[Values]:
        try:
            settings = save_load.read_settings(path, page.default)
        except ValueError as error:
            yield {q.message: message(str(error))}
            raise stop() from None
        yield fill(page, Asked(settings, picture or ""))

    def on_photo() -> Values:
        return _with_models(page, *menus.PHOTO_MODELS)

    def on_back(values: Values) -> Values:
        visit = page.visit(values)
        s = visit.asked.settings if visit else page.default
        return _with_models(page, s.clip, s.vfm)

    models = [q.clip, q.family, q.patch, q.about, q.message, q.again, q.back]
    back = q.back.click(on_back, {page.held.visit}, models, **EVERY, **QUICK)
    fills = [back, parts.use_photo_models.click(on_photo, None, models, **EVERY, **QUICK)]
    fills += [q.preset.input(on_preset, q.preset, [q.words, q.message], **EVERY, **QUICK)]
    for given in (q.words_file, q.words_drop):
        fills.append(given.upload(on_words, given, [q.words, q.message], **EVERY, **QUICK))
    outputs = [q.background, q.threshold, q.message]
    fills.append(parts.add_background.click(on_background, None, outputs, **EVERY, **QUICK))
    if q.gallery is not None:
        example: list[Any] = [q.picture, q.words, q.preset, *models, parts.own_note, parts.use_photo_models]
        fills.append(q.gallery.select(on_example, {q.clip}, example, **EVERY, **QUICK))
    return [*fills, parts.load.upload(on_file, [parts.load, q.picture], _filled(page), **EVERY, **QUICK)]


def wire_opening(page: Page, demo: gr.Blocks) -> Any:
    """The page opens: filled in from its address, or as it was before it was loaded again, and looking as the person
    liked it last."""
    parts = page.segment

    def on_load(query: str | None, liked: Any, kept: Any, picture: str | None) -> Values:
        said = dict(parse_qsl((query or "")[:MOST_HELD].removeprefix("?")))
        asked, problem = save_load.reopening(kept, picture, page.default), ""
        if asked is None:
            asked, problem = save_load.opening(said, page.default, page.examples)
        read = read_liked(liked)
        look = {parts.opacity: read["opacity"], parts.outlines: read["outlines"], parts.names: read["names"]}
        return fill(page, asked, problem) | look | link.restored(page, said, asked)

    looks = [parts.opacity, parts.outlines, parts.names]
    outputs = [*_filled(page), *looks, *link.outputs(page)]
    told = [parts.query, parts.liked, page.held.kept, page.question.picture]
    # Not by way of the queue: the page opens also where all places are taken.
    opened = demo.load(on_load, told, outputs, js=OPENING, queue=False, **QUICK)
    opened.then(None, looks, None, js=script("look"), **PRIVATE)
    link.follow(page, opened)
    # Whoever drives the page by a program can wait for this: what is filled in earlier may be filled in again.
    # It tells so by body[data-opened].
    for name in ("drop", "typing", "tabs", "names", "sliders"):
        opened.then(None, js=script(name), **PRIVATE)
    return opened


def own_note(page: Page, is_beyond: bool) -> Values:
    """What is said where the models know nothing of what is in the picture."""
    parts = page.segment
    return {
        parts.own_note: gr.update(value=OWN_PICTURE if is_beyond else "", visible=is_beyond),
        parts.use_photo_models: gr.update(value=menus.photo_models(), visible=is_beyond),
    }


def stop() -> gr.Error:
    """Ends a chain. What there is to say has been said."""
    return gr.Error(visible=False, print_exception=False)
