"""The left column: the picture, the words, the models and the settings. All tabs answer this one question.

The controls of settings are read off the core's table: what they are called, their range, their choices, their default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image

import proxyclip_core as pc
from demo import limits, menus
from demo.components import Menu, Number, Picture, UploadButton
from demo.examples import Example
from demo.tabs import found
from demo.tabs.parts import QuestionParts
from proxyclip_core.settings import Setting
from proxyclip_core.word_files import SUFFIXES

THUMBNAIL_SIDE = 320  # pixels: twice what the gallery shows, for fine screens


def side_choices(side: int | None = None) -> list[tuple[str, str]]:
    """(what the menu says, value as text) of the resolutions, with `side` among them also where it is no usual one."""
    row = pc.SETTINGS["side"]
    more = () if side in row.values else ((f"{side}", side),)
    return [(label, row.as_text(value)) for label, value in (*row.choices, *more)]


def _named(row: Setting) -> dict[str, Any]:
    return {"label": row.label, "info": row.tip, "elem_id": row.name}


def _slider(name: str, default: pc.Settings, **more: Any) -> gr.Slider:
    row: Any = pc.SETTINGS[name]
    return gr.Slider(row.low, row.high, getattr(default, name), step=row.step, **_named(row), **more)


def _menu(name: str, default: pc.Settings) -> gr.Dropdown:
    row: Any = pc.SETTINGS[name]
    return gr.Dropdown(list(row.choices), value=getattr(default, name), min_width=180, **_named(row))


def layout(default: pc.Settings, examples: Sequence[Example]) -> QuestionParts:
    """default: what the page opens with."""
    picture = Picture(
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard", "webcam"],
        label="Picture",
        alt_text="The picture to be divided",
        height=300,
        elem_id="picture",
    )
    words = gr.Textbox(
        placeholder="sky; cloud, hill, tree, horse, grass",
        max_lines=8,
        max_length=limits.MOST_CHARACTERS,
        **_named(pc.SETTINGS["words"]),
    )
    finding = found.layout()
    # What is in a closed accordion is not built yet, so a script has a button of its own to hand a file to.
    words_drop = UploadButton(file_types=[*SUFFIXES], visible="hidden", elem_id="words-drop")
    with gr.Accordion("Word lists and background", open=False, elem_id="lists"):
        with gr.Row():
            preset = gr.Dropdown(
                list(pc.vocabulary_presets()),
                value=None,
                label="Word list of a benchmark",
                info="Takes the place of your words.",
                min_width=180,
                elem_id="preset",
            )
            background = _menu("background", default)
        words_file = UploadButton("Words from a file", file_types=[*SUFFIXES], size="sm", elem_id="words-file")
        threshold = _slider("threshold", default, interactive=False)
    typed = gr.Button(visible="hidden", elem_id="typed")  # which a script presses
    with gr.Row(elem_id="ask"):
        button = gr.Button("Segment", variant="primary", size="lg", scale=4, min_width=160, elem_id="segment")
        stop = gr.Button("Stop", size="lg", min_width=80, elem_id="stop")  # seen while something runs
    estimate = gr.HTML(elem_id="estimate")
    message = gr.HTML(visible=False, elem_id="message")
    with gr.Row(elem_id="failed"):
        again = gr.Button("Try again", size="sm", min_width=110, visible=False, elem_id="again")
        back = gr.Button("Back to models that are here", size="sm", min_width=200, visible=False, elem_id="back")
    download = gr.HTML(visible=False, elem_id="download")
    gallery = _gallery(examples) if examples else None
    asked: dict[str, Any] = finding | {
        "picture": picture,
        "words": words,
        "typed": typed,
        "button": button,
        "stop": stop,
        "estimate": estimate,
        "gallery": gallery,
    }
    asked |= {"words_file": words_file, "words_drop": words_drop, "preset": preset}
    asked |= {"background": background, "threshold": threshold}
    return QuestionParts(
        **asked, message=message, again=again, back=back, download=download, **_models(default), **_settings(default)
    )


def _gallery(examples: Sequence[Example]) -> gr.Gallery:
    gr.Markdown("Or take an example: one click.", elem_id="examples-note")
    return gr.Gallery(
        [(_thumbnail(example.picture), example.title) for example in examples],
        label="Examples",
        show_label=False,
        format="webp",
        columns=5,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )


def _thumbnail(path: str) -> Image.Image:
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return small


def _models(default: pc.Settings) -> dict[str, Any]:
    vfm = pc.find_vfm(default.vfm)
    with gr.Accordion("Models", elem_id="models"):
        with gr.Row():
            clip = Menu(menus.clip_choices(), value=default.clip, min_width=280, **_named(pc.SETTINGS["clip"]))
            family = Menu(menus.family_choices(), value=vfm.family, min_width=280, **_named(pc.SETTINGS["vfm"]))
        patch = Number(
            menus.patch_choices(vfm.family),
            value=vfm.patch,
            label="Patch size in pixels",
            info="Higher: coarser borders, faster.",
            elem_id="patch",
        )
        about = gr.Markdown(menus.about(default.clip, default.vfm), elem_id="about")
    return {"clip": clip, "family": family, "patch": patch, "about": about}


def _settings(default: pc.Settings) -> dict[str, Any]:
    row = pc.SETTINGS["side"]
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        with gr.Row():
            paper = gr.Button("As in the paper", size="sm", min_width=130, elem_id="paper")
            sharper = gr.Button("Refined", size="sm", min_width=130, elem_id="sharper")
        # They stand above the answer, of every tab: whoever moves them sees what they do.
        beta, gamma = (_slider(name, default, min_width=150, render=False) for name in ("beta", "gamma"))
        with gr.Row():
            side = Menu(side_choices(), value=row.as_text(row.default), min_width=180, **_named(row))
            windows = _menu("windows", default)
        with gr.Row():
            templates, fusion = _menu("templates", default), _menu("fusion", default)
        with gr.Row():
            facet, reach = _menu("facet", default), _menu("reach", default)
        with gr.Row():
            scope, refine = _menu("scope", default), _menu("refine", default)
        sam = _menu("sam", default)
    rows: dict[str, Any] = {"templates": templates, "fusion": fusion, "facet": facet, "reach": reach, "scope": scope}
    rows |= {"refine": refine, "sam": sam, "paper": paper, "sharper": sharper}
    return {"beta": beta, "gamma": gamma, "side": side, "windows": windows, **rows}
