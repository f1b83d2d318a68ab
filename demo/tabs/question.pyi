"""The left column: the picture, the words, the models and the settings. All tabs answer this one question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

import proxyclip_core as pc
from demo import menus
from demo.answers import segment as callbacks
from demo.examples import Example

SIDES = [("224", 224), ("336 (the paper's)", 336), ("448", 448), ("560", 560), ("672", 672), ("1024", 1024)]
AS_IS = ("as it is", 0)
WINDOWS = [("sliding, as in the paper", "sliding"), ("whole picture at once", "whole")]
TEMPLATES = [("none", "none"), ("7 sentences", "simple7"), ("80 sentences, the paper's", "imagenet80")]
BACKGROUND = [("none", ""), ("my first word", "first"), ("short list of words", "short"), ("long list", "long")]

from gradio.events import Dependency

class Picture(gr.Image):
    """A picture as the file that was given. gradio's own reading is left out: the core's `read_image` knows about
    orientation, transparency and depth, and says in plain words when a file is no picture."""

    is_template = True  # for the browser it is a gr.Image

    def preprocess(self, payload: Any) -> str | None:
        if payload is not None and payload.path and not str(payload.url or "").startswith("data:"):
            return payload.path
        return super().preprocess(payload)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class PatchSize(gr.Radio):
    """The patch sizes of the chosen family. They change with the family, and gradio forgets what it was told of them
    when it lets go of an old visit; so its check is left out, and `menus.vfm_name` copes with any number."""

    is_template = True

    def preprocess(self, payload: Any) -> int | None:
        return payload if isinstance(payload, int) else None
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class Side(gr.Dropdown):
    """The resolution. Saved settings may hold one that the menu does not list; the core says which there can be."""

    is_template = True

    def preprocess(self, payload: Any) -> int | None:
        return payload if isinstance(payload, int) else None
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


def build(clip: str, vfm: pc.VfmSpec, examples: Sequence[Example]) -> dict[str, Any]:
    """The column's components by name. gallery is None without examples."""
    asked = _picture_and_words()
    gallery = None
    if examples:
        gr.Markdown("Or take an example: one click.", elem_id="examples-note")
        gallery = gr.Gallery(
            [(example.picture, example.title) for example in examples],
            label="Examples",
            show_label=False,
            columns=5,
            height="auto",
            object_fit="cover",
            allow_preview=False,
            interactive=False,
            buttons=[],
            elem_id="examples",
        )
    return {**asked, "gallery": gallery, **_model_menus(clip, vfm), **_settings()}


def _picture_and_words() -> dict[str, Any]:
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
        label="Words",
        placeholder="sky; cloud, hill, tree, horse, grass",
        info="A comma between classes, a semicolon between words for the same class. Enter brings the result.",
        max_lines=8,
        max_length=callbacks.MOST_CHARACTERS,
        elem_id="words",
    )
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
            background = gr.Dropdown(
                BACKGROUND,
                value="",
                label="Background",
                info="What takes the pixels that no word fits.",
                min_width=180,
                elem_id="background",
            )
        threshold = gr.Slider(
            0,
            1,
            0,
            step=0.01,
            label="Threshold",
            info="Higher: more of the picture goes to the background, where there is one.",
            interactive=False,
            elem_id="threshold",
        )
    button = gr.Button("Segment", variant="primary", size="lg", elem_id="segment")
    message = gr.HTML(visible=False, elem_id="message")
    download = gr.HTML(visible=False, elem_id="download")
    names = ("picture", "words", "preset", "background", "threshold", "button", "message", "download")
    return dict(zip(names, (picture, words, preset, background, threshold, button, message, download)))


def _model_menus(clip: str, vfm: pc.VfmSpec) -> dict[str, Any]:
    with gr.Accordion("Models", elem_id="models"):
        with gr.Row():
            clip_menu = gr.Dropdown(
                menus.clip_choices(), value=clip, label="CLIP", info="Knows the words.", min_width=280, elem_id="clip"
            )
            family = gr.Dropdown(
                menus.family_choices(),
                value=vfm.family,
                label="Vision model",
                info="Knows which parts belong together.",
                min_width=280,
                elem_id="vfm",
            )
        patch = PatchSize(
            menus.patch_choices(vfm.family),
            value=vfm.patch,
            label="Patch size in pixels",
            info="Higher: coarser borders, faster.",
            elem_id="patch",
        )
        about = gr.Markdown(menus.about(clip, vfm.name), elem_id="about")
    return {"clip": clip_menu, "family": family, "patch": patch, "about": about}


def _settings() -> dict[str, Any]:
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        beta = gr.Slider(
            0.5, 2.5, 1.2, step=0.05, label="beta", info="Higher: fewer, more similar patches count.", elem_id="beta"
        )
        gamma = gr.Slider(
            0.5, 10, 3.0, step=0.1, label="gamma", info="Higher: the nearest patches count for more.", elem_id="gamma"
        )
        with gr.Row():
            side = Side(
                [*SIDES, AS_IS],
                value=336,
                label="Resolution",
                info="Short side in pixels. Higher: finer, slower.",
                min_width=180,
                elem_id="side",
            )
            windows = gr.Dropdown(
                WINDOWS,
                value="sliding",
                label="Windows",
                info="Sliding is finer, whole is faster.",
                min_width=180,
                elem_id="windows",
            )
        templates = gr.Dropdown(
            TEMPLATES,
            value="simple7",
            label="Sentences",
            info="Each word is read in these. More: steadier, slower for new words.",
            elem_id="templates",
        )
    return {"beta": beta, "gamma": gamma, "side": side, "windows": windows, "templates": templates}