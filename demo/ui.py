"""The page: the question's column beside three tabs that answer it. Layout only; events are wired tab by tab."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

import proxyclip_core as pc
from demo import limits, presets
from demo.answers import api, api_attention, api_words
from demo.answers.segment import segment as answer
from demo.door import Door
from demo.examples import FOLDER, first_for, read_examples
from demo.gate import MIDDLEWARE
from demo.models import Provider
from demo.runner import Runner
from demo.tabs import compare, inside, question, run, segment, view
from demo.tabs.parts import HeldParts, Page
from demo.visit import Asked

TITLE = "ProxyCLIP"
INTRO = (
    "Name what to look for, and the picture is divided among your words. Nothing is trained for it: "
    "CLIP knows the words, and a second vision model knows which parts of the picture belong together."
)

# gradio brings this font along, so the page looks the same without a network.
FONT = (gr.themes.utils.fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif")
THEME = gr.themes.Default(
    primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=FONT, radius_size="lg"
).set(
    button_primary_background_fill="*primary_700",  # white on it reads well, light and dark
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    body_text_color_subdued="*neutral_500",  # the theme's own grey is too faint on white
    block_info_text_color="*neutral_500",
    button_primary_text_color="white",
    button_primary_text_color_dark="white",
)
# What belongs to the page, but is given to `launch`.
LAUNCH: dict[str, Any] = {
    "theme": THEME,
    "css_paths": [Path(__file__).parent / "draw" / "style.css"],
    "max_file_size": f"{limits.UPLOAD_MEGABYTES}mb",
    "state_session_capacity": limits.SESSIONS,
    "footer_links": ["api"],  # gradio's own settings would be taken for those of the page
    "run_history": False,  # people's pictures are not kept in the browser
    "ssr_mode": False,
    "allowed_paths": [str(FOLDER)],
    "enable_monitoring": False,
    "app_kwargs": {"middleware": MIDDLEWARE},
    # Without gradio's second look at whether it can reach itself: where many come at once it takes over 3 s, and the
    # page would end again. The first one waits.
    "_frontend": False,
}


def build_demo(models: Provider, clip: str, vfm: str, examples: Path | None = None) -> Door:
    """The page over a provider of models, opened with the CLIP `clip` and the VFM `vfm` (full names).

    examples: a folder for the gallery. Launch with `**LAUNCH`.
    """
    scenes = read_examples(examples)
    first = first_for(scenes, clip)
    default = presets.refined(pc.Settings(clip, vfm, first.words if first else ""))
    opens_with = Asked(default, first.picture if first else "")
    with Door(title=TITLE, fill_width=True) as demo:
        demo.models = models
        gr.HTML('<a href="#tabs">Skip to the result</a>', elem_id="skip")
        gr.Markdown(f"# {TITLE}\n{INTRO}", elem_id="intro")
        with gr.Row(equal_height=False, elem_id="columns"):
            with gr.Column(min_width=320, scale=2, elem_id="question"):
                asked = question.layout(default, scenes)
            with gr.Column(min_width=320, scale=3, elem_id="answer"):
                with gr.Row(elem_id="knobs"):
                    asked.beta.render(), asked.gamma.render()
                with gr.Tabs(elem_id="tabs"):
                    with gr.Tab("Segment", id="segment") as segment_tab:
                        segmented = segment.layout()
                    with gr.Tab("Look inside", id="inside") as inside_tab:
                        looked = inside.layout(models, default, scenes)
                    with gr.Tab("Compare", id="compare") as compare_tab:
                        compared = compare.layout(models, default)
        page = Page(
            question=asked,
            segment=segmented,
            inside=looked,
            compare=compared,
            held=HeldParts.make(),
            runner=Runner(models, opens_with if first else None),
            default=default,
            examples=scenes,
        )
        inside.wire_shown(page)
        run.wire(page, demo)
        segment.wire(page)
        view.wire(page, {"segment": segment_tab, "inside": inside_tab, "compare": compare_tab})
        for endpoint in (api, api_attention, api_words):
            endpoint.build(page)
        demo.of_programs = page.held.programs
    demo.warm_up = partial(answer, page.runner, opens_with, None)
    return demo
