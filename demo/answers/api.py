"""The endpoint /segment. Every call brings all it needs."""

from __future__ import annotations

import inspect
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import gradio as gr
import numpy as np
from PIL import Image

import proxyclip_core as pc
from demo import limits, presets
from demo.answers.errors import UserError
from demo.answers.save_load import Chosen, save
from demo.answers.segment import check
from demo.asked_words import words_of
from demo.components import MOST_IN_A_NAME, Drawn, Picture
from demo.draw.legend import legend_rows
from demo.models import NOT_FOR_VISITORS, NOT_NOW
from demo.stages import Stages
from demo.tabs.parts import ON_MODEL, Page
from demo.visit import Asked, Visit
from proxyclip_core import export
from proxyclip_core.drawing.drawing import Look
from proxyclip_core.models import weights
from proxyclip_core.settings import default

IN_ORDER = (
    "beta",
    "gamma",
    "side",
    "windows",
    "templates",
    "background",
    "threshold",
    "fusion",
    "reach",
    "refine",
    "facet",
    "sam",
    "scope",
)
Function = TypeVar("Function", bound=Callable[..., Any])
PUBLIC = {name: value for name, value in ON_MODEL.items() if name != "api_visibility"}

UPLOADED = (
    ": a file that was uploaded here, by a POST to /gradio_api/upload; a tool names it by the address that it has "
    f"here, or sends a data: address of a file of at most {limits.REQUEST_BYTES * 0.7 / 1e6:.1f} MB"
)


def build(page: Page) -> None:
    q = page.question
    with gr.Column(visible=False):
        # By name and number, so that a caller may say what the page's menus do not list, and reads the table's own
        # reason for what cannot be.
        opened = presets.as_paper(page.default)  # the library's defaults, with the page's models
        given = {name: input_of(name, getattr(opened, name)) for name in pc.SETTINGS if name != "words"}
        patch = patch_input()
        overlay = Drawn(label="Overlay: the picture with the region of each word in its colour")
        labels = gr.Image(label="Label map, 16 bit", format="png", image_mode=None)
        summary = gr.JSON(label="Summary")
        looks = (
            gr.Number(Look.opacity, label="Opacity of the regions in the overlay: a number from 0 to 1"),
            gr.Checkbox(Look.outlines, label="Whether the overlay has the regions' borders"),
            gr.Checkbox(Look.names, label="Whether the overlay has names or numbers on the regions"),
        )
        formats = gr.Textbox("", label=f"Of {', '.join(export.FORMATS)}: what a zip is to hold, with commas between")
        files = gr.File(label="Zip with the result in these formats")
        trigger = gr.Button("segment")

    def segment(
        picture: str,
        words: str,
        clip: str,
        vfm: str,
        patch: float | None = None,
        beta: float = default("beta"),
        gamma: float = default("gamma"),
        side: str = pc.SETTINGS["side"].as_text(default("side")),
        windows: str = default("windows"),
        templates: str = default("templates"),
        background: str = default("background"),
        threshold: float = default("threshold"),
        fusion: str = default("fusion"),
        reach: str = default("reach"),
        refine: str = default("refine"),
        facet: str = default("facet"),
        sam: str = default("sam"),
        scope: str = default("scope"),
        opacity: float = Look.opacity,
        outlines: bool = Look.outlines,
        names: bool = Look.names,
        formats: str = "",
        before: Visit | None = None,
        request: gr.Request | None = None,
    ) -> tuple[Any, ...]:
        """Divides a picture among words.

        Returns the overlay; the label map, a 16 bit PNG of the picture's size with indices into names; a summary:
        names, classes (index into names, name, words: it and its synonyms as they were asked for, colour, pattern: 0 or
        how it is hatched, share, presence in 0..1 and whether that is so low that it is perhaps_absent, largest first;
        a background from a list has no words and no presence), size_hw, models, seconds, and notes: what is to be said
        of how the picture was read, and of the words, a sentence each; and, where formats asks for it, a zip with the
        result in these.

        words: a comma between classes, a semicolon between words for the same class. background: "none", "first" (the
        first class is the background), "short" or "long" (a list of words is put in front as class 0).
        """
        asked = {"words": words, "beta": beta, "gamma": gamma, "windows": windows, "threshold": threshold}
        asked |= {"templates": templates, "background": background, "fusion": fusion}
        asked |= {"reach": reach, "refine": refine, "facet": facet, "sam": sam, "scope": scope}
        with reasons():
            settings = settings_of(clip, vfm, patch, side, **asked)
            chosen = formats_of(formats)
            look = Look(opacity, outlines, names)
            found, visit = answer(page, Asked(settings, picture or ""), look, chosen, before)
        return *found, to_keep(visit, request)

    asking = [q.picture, q.words, given["clip"], given["vfm"], patch, *(given[name] for name in IN_ORDER)]
    asking += [*looks, formats]
    given_back = [overlay, labels, summary, files]
    wire(page, trigger, segment, asking, given_back)


def wire(page: Page, trigger: gr.Button, function: Function, inputs: list[Any], outputs: list[Any]) -> None:
    """The endpoint of the function's name, which is also given what was kept of the last call, and gives it back."""
    kept = page.held.programs
    asked = documented(function, inputs)
    trigger.click(asked, [*inputs, kept], [*outputs, kept], api_name=function.__name__, **PUBLIC)


def to_keep(visit: Visit, request: gr.Request | None) -> Any:
    """What a program's session holds until its next call. gradio's tools of MCP, which say so in a header, share one
    for all agents: by what is quick they would learn what somebody else asked for. Of calls without a session, as by
    curl, the door keeps nothing."""
    return gr.skip() if request is None or request.headers.get("x-gradio-user") == "mcp" else visit


def documented(function: Function, inputs: Sequence[Any]) -> Function:
    """The function, its docstring with what each argument is, as its control says it: agents read it there."""
    said = [f"{part.label}{UPLOADED if isinstance(part, Picture) else ''}" for part in inputs]
    rows = (f"    {name}: {text}" for name, text in zip(inspect.signature(function).parameters, said))
    function.__doc__ = "\n".join([inspect.getdoc(function) or "", "Parameters:", *rows])
    return function


def patch_input() -> gr.Number:
    return gr.Number(None, label="patch size of the VFM's family, a whole number; left out: its first")


@contextmanager
def reasons() -> Iterator[None]:
    """What is wrong with a call, or missing for it, is its answer."""
    try:
        yield
    except (ValueError, pc.WeightsError) as error:
        raise gr.Error(str(error), print_exception=False) from None


def settings_of(clip: Any, vfm: Any, patch: float | None, side: str, **more: Any) -> pc.Settings:
    """What a call asks for, its VFM by name or family. more: the other settings, as they are. Raises ValueError."""
    clip, vfm = (str(name or "")[:MOST_IN_A_NAME] for name in (clip, vfm))  # a call may have left out their text
    chosen = pc.find_vfm(vfm, _whole(patch))
    sized = pc.SETTINGS["side"].from_text(str(side))
    return pc.Settings(clip=clip, vfm=chosen.name, side=sized, **more)  # type: ignore[arg-type]


def _whole(patch: float | None) -> int | None:
    if patch is None:
        return None
    is_number = isinstance(patch, (int, float)) and not isinstance(patch, bool)
    if not is_number or not 0 < patch < 1000 or patch != int(patch):
        raise ValueError(f"patch is {repr(patch)[:40]}; expected a whole number of pixels, such as 8.")
    return int(patch)


def input_of(name: str, value: Any) -> Any:
    row = pc.SETTINGS[name]
    expected = "a name that /models lists" if name in ("clip", "vfm") else row.expected
    label = f"{row.label}: {expected}. {row.tip}"
    return gr.Number(value, label=label) if row.kind == "number" else gr.Textbox(row.as_text(value), label=label)


def load_models(page: Page, s: pc.Settings) -> None:
    """Calls wait for places with all others: none waits there for weights, as the page does. Raises WeightsError."""
    if not page.runner.models.ready(s.clip, s.vfm):
        for spec in (pc.find_clip(s.clip), pc.find_vfm(s.vfm)):
            weights.find_here(spec, NOT_NOW if limits.DOWNLOADS else NOT_FOR_VISITORS)
    page.runner.load(s)


def formats_of(text: str) -> tuple[str, ...]:
    """Names of `export.FORMATS` that stand in a text. Raises ValueError for others."""
    chosen = tuple(filter(None, (part.strip() for part in (text or "")[:MOST_IN_A_NAME].split(","))))
    if unknown := [name for name in chosen if name not in export.FORMATS]:
        raise ValueError(f"formats has {unknown[0]!r}; expected some of {', '.join(export.FORMATS)}, or nothing.")
    return chosen


def answer(
    page: Page, asked: Asked, look: Look, formats: tuple[str, ...] = (), before: Visit | None = None
) -> tuple[tuple[np.ndarray, Image.Image, dict[str, Any], str | None], Visit]:
    """The drawn picture, the label map (16 bit, the picture's own size), what is in it, and the path of a zip with the
    result in some formats, None for none; and what is kept of all that. Raises ValueError."""
    start, s = time.perf_counter(), asked.settings
    check(asked)
    load_models(page, s)
    found, visit, error = page.runner(_segment, Visit.of(asked, before))
    if error:
        raise UserError(error)
    picture, drawing, labels, presence, notes, seconds, device = found
    summary = {
        "names": list(drawing.coverage),
        "classes": legend_rows(drawing.coverage, drawing.colours, presence, words_of(s.words)[0], drawing.patterns),
        "size_hw": list(drawing.size_hw),
        "models": {"clip": s.clip, "vfm": s.vfm, "device": device},
        "notes": list(notes),
        "seconds": {"total": round(time.perf_counter() - start, 3)}
        | {stage: round(spent, 3) for stage, spent in seconds.items()},
    }
    packed = _packed(page, visit, look, formats)
    return (drawing.draw(picture, look), Image.fromarray(labels), summary, packed), visit


def _packed(page: Page, visit: Visit, look: Look, formats: tuple[str, ...]) -> str | None:
    if not formats:
        return None
    with tempfile.TemporaryDirectory(prefix="proxyclip-") as folder:  # gradio's own lies there for an hour
        path = save(page.runner, visit, look, Chosen(formats), folder)
        return page.segment.zip_file.move_resource_to_block_cache(path)


def _segment(stages: Stages) -> tuple[Any, ...]:
    stages.check_time("result")
    stages.words()  # first: a slip is found before the slow encoders have run
    limits.check_saved(stages.picture().shape[:2])
    drawn, notes = (stages.canvas(), stages.drawing()), (*stages.reservations(), *stages.notes())
    return *drawn, stages.result().labels, stages.presence(), notes, stages.ran, str(stages.model().device)
