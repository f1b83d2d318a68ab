"""The page: the question's column beside three tabs that answer it. Layout only; events are wired tab by tab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

import proxyclip_core as pc
from demo import api, variants
from demo.answers.segment import Provider
from demo.examples import FOLDER, read_examples
from demo.session import Settings, Staged, advance
from demo.tabs import compare as compare_tab
from demo.tabs import inside as inside_tab
from demo.tabs import question
from demo.tabs import segment as segment_tab
from demo.tabs.shared import Shared
from demo.variants import Kept

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
    button_primary_background_fill_hover="*primary_600",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_600",
    body_text_color_subdued="*neutral_500",  # the theme's own grey is too faint on white
    block_info_text_color="*neutral_500",
    button_primary_text_color="white",
    button_primary_text_color_dark="white",
)
# What belongs to the page but is said at launch. State is what fills the memory: an evicted page encodes again.
LAUNCH: dict[str, Any] = {
    "theme": THEME,
    "css_paths": [Path(__file__).parent / "draw" / "style.css"],
    "max_file_size": "20mb",
    "state_session_capacity": 16,
    "footer_links": ["api", "settings"],
    "run_history": False,  # people's pictures are not kept in the browser
    "ssr_mode": False,
    "allowed_paths": [str(FOLDER)],
}
WAITING = 32  # requests in the queue before the page says that it is full


def build_demo(
    models: Provider,
    clip: str,
    vfm: str,
    on_device: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda function: function,
    examples: Path | None = None,
) -> gr.Blocks:
    """The page over a provider of models, opened with the CLIP `clip` and the VFM `vfm` (full names).

    on_device wraps the two functions that compute (`spaces.GPU` does). examples: a folder for the gallery.
    Launch with `**LAUNCH`.
    """
    vfm_spec = pc.find_vfm(vfm)
    scenes = read_examples(examples)
    default = Settings(clip, vfm_spec.name, scenes[0].words if scenes else "", templates="simple7")

    @on_device
    def compute(settings: Settings, before: Staged | None) -> Staged:
        return advance(models.get(settings.clip, settings.vfm), settings, before)

    @on_device
    def answer(do: Callable[..., Any], staged: Staged, kept: Kept | None, *given: Any) -> tuple[Any, Kept | None, str]:
        return variants.answer(models, do, staged, kept, *given)

    with gr.Blocks(title=TITLE, fill_width=True, delete_cache=(3600, 24 * 3600)) as demo:
        gr.Markdown(f"# {TITLE}\n{INTRO}", elem_id="intro")
        with gr.Row(equal_height=False, elem_id="columns"):
            with gr.Column(min_width=320, scale=2, elem_id="question"):
                asked = question.build(clip, vfm_spec, scenes)
            shared = Shared(
                **asked,
                state=gr.State(time_to_live=1800),
                models=models,
                compute=compute,
                answer=answer,
                default=default,
                examples=scenes,
            )
            with gr.Column(min_width=320, scale=3, elem_id="answer"), gr.Tabs(elem_id="tabs") as tabs:
                with gr.Tab("Segment", id="segment"):
                    overlay = segment_tab.build(shared, demo)
                with gr.Tab(inside_tab.TAB, id="inside") as tab:
                    looked = inside_tab.build(shared, tab, tabs)
                with gr.Tab(compare_tab.TAB, id="compare") as tab:
                    compare_tab.build(shared, tab, tabs, looked.kept, looked.label_map)
        api.build(shared, overlay)
    return demo.queue(max_size=WAITING)
