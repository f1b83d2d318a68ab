"""The page's parts by name: one class a tab, made by its layout, read by whoever wires events to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

import proxyclip_core as pc
from demo import limits, menus, presets
from demo.answers.segment import Point
from demo.components import Held, Menu, Names, Number, Picture, Upload, UploadButton, held
from demo.examples import Example
from demo.request_log import note
from demo.runner import Runner
from demo.visit import Asked, Visit
from proxyclip_core.drawing.drawing import Look

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# Encoders run for two visitors at a time at most; of one visitor one such event is answered at a time, see
# `Door.next_events`. Only these give the visit back: one could undo another's otherwise.
ON_MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": limits.AT_ONCE + 1, **PRIVATE}
# What looks at a result in another way runs no encoder, unless what that gave had to make room. It has places of its
# own, so that it does not wait until a new picture is done.
ON_RESULT = ON_MODEL | {"concurrency_id": "result", "concurrency_limit": limits.LOOKS_AT_ONCE}
QUICK: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
# Of several that come while one is answered, the last. At most one listener of a component's event may be so: when its
# turn comes, gradio wakes all that listen to the event. And none that looks at what the event brings along, such as
# where was clicked: it would be told of the first event again.
LATEST: dict[str, Any] = {"trigger_mode": "always_last"}
EVERY: dict[str, Any] = {"trigger_mode": "multiple"}
GALLERY: dict[str, Any] = {"height": "auto", "object_fit": "contain", "format": "png", "interactive": False}
GALLERY |= {"buttons": ["download", "fullscreen"]}  # sharing works on Spaces alone
PROGRESS = gr.Progress()  # as an argument's default it asks gradio for the progress of that call


def script(*names: str, beside: str = "") -> str:
    """A script for the browser, out of one or more in demo/draw/. beside: the component without which it cannot run."""
    folder = Path(__file__).parents[1] / "draw"
    text = "".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in names)
    return f'{script("there")}there("{beside}").then(() => {{\n{text}}});' if beside else text


def click_on(download: gr.DownloadButton) -> str:
    """A script for an event: has the browser save what a hidden button holds, if it holds anything."""
    name = download.elem_id
    return f"() => document.querySelector('#{name} a, a#{name}, #{name}')?.click()"


Values = dict[Any, Any]  # component -> value: what gradio hands over where inputs are a set, and takes as outputs


@dataclass(frozen=True)
class QuestionParts:
    """The left column. clip and family are menus; a VFM is a family and a patch size. about: where models come from."""

    picture: Picture
    words: gr.Textbox
    typed: gr.Button
    find: gr.Button
    among: gr.Dropdown
    found: gr.HTML
    button: gr.Button
    stop: gr.Button
    estimate: gr.HTML
    message: gr.HTML
    again: gr.Button
    back: gr.Button
    download: gr.HTML
    preset: gr.Dropdown
    words_file: UploadButton
    words_drop: UploadButton
    background: gr.Dropdown
    threshold: gr.Slider
    gallery: gr.Gallery | None
    clip: Menu
    family: Menu
    patch: Number
    about: gr.Markdown
    beta: gr.Slider
    gamma: gr.Slider
    side: Menu
    windows: gr.Dropdown
    templates: gr.Dropdown
    fusion: gr.Dropdown
    facet: gr.Dropdown
    reach: gr.Dropdown
    scope: gr.Dropdown
    refine: gr.Dropdown
    sam: gr.Dropdown
    paper: gr.Button
    sharper: gr.Button

    @property
    def method(self) -> list[Any]:
        """The controls of `presets.METHOD`, in its order."""
        return [getattr(self, name) for name in presets.METHOD]

    @property
    def inputs(self) -> set[Any]:
        """The components that `read` needs; add your own for an event."""
        named = {self.picture, self.words, self.clip, self.family, self.patch, self.background, self.threshold}
        named |= {self.beta, self.gamma, self.side, self.windows, self.templates}
        return named | {self.fusion, self.facet, self.reach, self.scope, self.refine, self.sam}

    def read(self, values: Values) -> Asked:
        """What is asked for as it stands on the page. Raises ValueError for settings that cannot be."""
        background = values[self.background]
        settings = pc.Settings(
            clip=values[self.clip] or "",
            vfm=menus.vfm_name(values[self.family], values[self.patch]),
            words=values[self.words] or "",
            beta=values[self.beta],
            gamma=values[self.gamma],
            side=pc.SETTINGS["side"].from_text(values[self.side] or ""),  # type: ignore[arg-type]  # checked there
            windows=values[self.windows],
            templates=values[self.templates],
            background=background,
            # Without a background there is no class for pixels below the threshold to fall to.
            threshold=values[self.threshold] if background != "none" else 0.0,
            fusion=values[self.fusion],
            facet=values[self.facet],
            reach=values[self.reach],
            scope=values[self.scope],
            refine=values[self.refine],
            sam=values[self.sam],
        )
        return Asked(settings, values[self.picture] or "")


@dataclass(frozen=True)
class LinkParts:
    """To copy a link: a button, a line that says whether the browser took it, and the link itself. Each is rendered
    where it is to stand. The button says it, too, as the line may be below what is on the screen."""

    COPY: ClassVar[str] = "Copy link"

    copy: gr.Button
    copied: gr.HTML
    link: gr.Textbox

    @classmethod
    def make(cls, prefix: str = "") -> LinkParts:
        """prefix: of the elements' names."""
        return cls(
            gr.Button(cls.COPY, min_width=130, elem_id=f"{prefix}copy", render=False),
            gr.HTML(elem_id=f"{prefix}copied", elem_classes="copied", render=False),
            gr.Textbox(
                label="Link",
                visible=False,
                interactive=False,
                buttons=["copy"],
                elem_id=f"{prefix}link",
                render=False,
            ),
        )


@dataclass(frozen=True)
class SegmentParts:
    own_note: gr.HTML
    use_photo_models: gr.Button
    overlay: gr.Image
    opacity: gr.Slider
    outlines: gr.Checkbox
    names: gr.Checkbox
    legend: gr.HTML
    edit: gr.HTML
    status: gr.HTML
    notes: gr.HTML
    add_background: gr.Button
    top: gr.HTML
    score_class: Menu
    score_map: gr.Image
    save: gr.Button
    formats: Names
    wishes: Names
    load: UploadButton
    sharing: LinkParts
    zip_file: gr.DownloadButton
    query: gr.Textbox
    layers: gr.HTML
    liked: gr.BrowserState


@dataclass(frozen=True)
class FigureParts:
    """What is seen of attention, to take away: as one file, which a hidden button holds, and as a link."""

    kind: Menu
    take: gr.Button
    file: gr.DownloadButton
    sharing: LinkParts


@dataclass(frozen=True)
class AlikeParts:
    """What is like the seeds. scene: names an example as the second picture; other: any. file: hidden, of the masks."""

    picture: gr.Image
    by: gr.Radio
    share: gr.Slider
    scene: Menu
    other: Picture
    found: gr.Gallery
    take: gr.Button
    file: gr.DownloadButton


@dataclass(frozen=True)
class WordParts:
    """The way from a seed to its word."""

    picture: gr.Image
    way: gr.Radio
    attention: gr.Image
    told: gr.HTML


@dataclass(frozen=True)
class InsideParts:
    """tabs: view -> the section's tab."""

    note: gr.HTML
    sources: Names
    tabs: dict[str, gr.Tab]
    live: gr.HTML
    stage: gr.Radio
    scale: gr.Radio
    head: Menu
    grid: gr.Checkbox
    windows: gr.Checkbox
    maps: gr.Gallery
    figure: FigureParts
    alike: AlikeParts
    word: WordParts
    histogram: gr.HTML
    table: gr.Dataframe
    pictures: gr.Gallery
    label_map: Upload
    mask_word: Menu
    miou: gr.HTML
    curves: gr.HTML


@dataclass(frozen=True)
class CompareParts:
    note: gr.HTML
    left: Menu
    right: Menu
    slider: gr.ImageSlider
    line: gr.HTML
    sharing: LinkParts
    chosen: Names
    both: gr.Button
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML
    sheet: gr.Gallery


@dataclass(frozen=True)
class HeldParts:
    """What a visit holds: on the server `visit`, which may be gone at any time, or `programs`, which is the same for a
    program that names a session, as gradio's clients do; almost all else in the browser.

    missing: on the server, too; it changes when weights have to be fetched. shown: which result is on the page, the
    digest of its picture, and what was asked. view: which tab, and which section of Look inside, is open; section: the
    one that was open last. linked: what the page's link says of how its result is looked at. hidden, point, seeds:
    classes that are not drawn, the point last clicked, and the patches that are looked at. kept: the settings of a page
    that is loaded again.
    """

    visit: gr.State
    programs: gr.State
    missing: gr.State
    shown: Held
    view: Held
    section: Held
    linked: Held
    hidden: Held
    point: Held
    seeds: Held
    kept: Held

    @classmethod
    def make(cls) -> HeldParts:
        return cls(
            gr.State(time_to_live=limits.KEPT_SECONDS),
            gr.State(time_to_live=limits.KEPT_SECONDS),
            gr.State(),
            shown=held("shown"),
            view=held("view", "segment"),
            section=held("section", "inside/attention"),
            linked=held("linked"),
            hidden=held("hidden", []),
            point=held("point"),
            seeds=held("seeds"),
            kept=held("kept"),
        )


@dataclass(frozen=True, eq=False)
class Page:
    """The whole page."""

    question: QuestionParts
    segment: SegmentParts
    inside: InsideParts
    compare: CompareParts
    held: HeldParts
    runner: Runner
    default: pc.Settings  # what the page opens with
    examples: tuple[Example, ...] = ()

    @property
    def look(self) -> set[Any]:
        """The components that `read_look` needs."""
        return {self.segment.opacity, self.segment.outlines, self.segment.names, self.held.hidden}

    def read_look(self, values: Values) -> Look:
        parts = self.segment
        return Look(values[parts.opacity], values[parts.outlines], values[parts.names], self.hidden(values))

    def hidden(self, values: Values) -> tuple[str, ...]:
        """The classes that are not drawn."""
        names = values[self.held.hidden]
        listed = names[: limits.MOST_WORDS] if isinstance(names, list) else []
        return tuple(dict.fromkeys(name for name in listed if isinstance(name, str)))

    def point(self, values: Values) -> Point | None:
        return Point.read(values[self.held.point])

    def shown(self, values: Values) -> str:
        """Digest of the picture whose result is on the page, "" where there is none."""
        shown = values[self.held.shown]
        return str(shown.get("picture")) if isinstance(shown, dict) else ""

    def visit(self, values: Values) -> Visit | None:
        """What is kept of the result on the page, None where that is gone or none was made yet."""
        visit: Visit | None = values[self.held.visit]
        if visit is None or not visit.has_result:
            return None
        note(**visit.facts())
        return visit
