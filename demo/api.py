"""The page's one public endpoint, /segment. It holds no state: every call brings all it needs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr

from demo.answers import segment as callbacks
from demo.answers.segment import Look
from demo.session import Settings
from demo.tabs.shared import ON_MODEL, Shared


def build(shared: Shared, shown: SimpleNamespace) -> None:
    """The one public endpoint. It holds no state: every call brings all it needs."""
    with gr.Column(visible=False):
        # By name and number, so that a caller may say what the page's menus do not list, or list later.
        clip = gr.Textbox(shared.default.clip, label="CLIP, by name")
        vfm = gr.Textbox(shared.default.vfm, label="VFM, by name ('DINO B/8') or family ('DINO B')")
        patch = gr.Number(None, label="patch size of the family; none for its first", precision=0)
        side = gr.Number(336, label="short side, 224 to 1024 pixels; 0 for the picture as it is", precision=0)
        labels = gr.Image(label="Label map, 16 bit", format="png", image_mode=None)
        summary = gr.JSON(label="Summary")
        trigger = gr.Button("segment")

    def segment(
        picture: str,
        words: str,
        clip: str,
        vfm: str,
        patch: int | None = None,
        beta: float = 1.2,
        gamma: float = 3.0,
        side: int | None = 336,
        windows: str = "sliding",
        templates: str = "simple7",
        background: str = "",
        threshold: float = 0.0,
        opacity: float = 0.6,
        outlines: bool = True,
        names: bool = True,
    ) -> tuple[Any, ...]:
        """Divides a picture among words.

        Returns the overlay; the label map, a 16 bit PNG of the picture's size with indices into names; and a summary:
        names, classes (name, colour, share, largest first), size_hw, models, seconds.

        words: a comma between classes, a semicolon between words for the same class. threshold: score below which a
        pixel goes to class 0. background: "", "first" (class 0 is the background), "short" or "long" (a list of
        words is put in front as class 0).
        """
        settings = Settings(
            clip, vfm, words, beta, gamma, side or None, windows, templates, background, threshold, picture or ""
        )
        return callbacks.segment_for_api(shared.models, shared.compute, settings, patch, Look(opacity, outlines, names))

    asking = [shared.picture, shared.words, clip, vfm, patch, shared.beta, shared.gamma, side, shared.windows]
    asking += [shared.templates, shared.background, shared.threshold, shown.opacity, shown.outlines, shown.names]
    trigger.click(segment, asking, [shown.overlay, labels, summary], api_name="segment", **ON_MODEL)
