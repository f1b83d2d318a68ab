"""What the tabs share: the question's components, the visitor's state, and the models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo import menus
from demo.answers.segment import Provider
from demo.examples import Example
from demo.session import Settings, Staged
from demo.variants import Kept

ON_MODEL = {"concurrency_id": "model", "concurrency_limit": 1}  # encoders run for one visitor at a time
PRIVATE = {"api_visibility": "private"}
PROGRESS = gr.Progress()  # as an argument's default it asks gradio for the progress of that call
ASKED = ("picture", "words", "clip", "family", "patch", "beta", "gamma", "side", "windows")
ASKED += ("templates", "background", "threshold")


@dataclass(frozen=True, eq=False)
class Shared:
    """The question's components, by the names of the settings they give, and what answers it.

    state: gr.State of a `Staged` or None. compute: (settings, before) -> Staged. answer: `variants.answer` without
    `models`. clip and family are menus; a VFM is a family and a patch size. about and download are panels: where the
    models come from, how far a download is.
    """

    picture: gr.Image
    words: gr.Textbox
    button: gr.Button
    message: gr.HTML
    download: gr.HTML
    preset: gr.Dropdown
    clip: gr.Dropdown
    family: gr.Dropdown
    patch: gr.Radio
    about: gr.Markdown
    beta: gr.Slider
    gamma: gr.Slider
    side: gr.Dropdown
    windows: gr.Dropdown
    templates: gr.Dropdown
    background: gr.Dropdown
    threshold: gr.Slider
    state: gr.State
    models: Provider
    compute: Callable[[Settings, Staged | None], Staged]
    answer: Callable[..., tuple[Any, Kept, str]]
    default: Settings  # what the page opens with
    examples: tuple[Example, ...] = ()
    gallery: gr.Gallery | None = None

    ON_MODEL = ON_MODEL
    PRIVATE = PRIVATE

    @property
    def inputs(self) -> set[Any]:
        """The components that `read` needs; add your own for an event."""
        return {getattr(self, name) for name in ASKED} | {self.state}

    def read(self, values: dict[Any, Any]) -> tuple[Settings, Staged | None]:
        """gradio's dict of component -> value -> the settings as they stand on the page, and the visitor's state."""
        background = values[self.background]
        settings = Settings(
            picture=values[self.picture] or "",
            words=values[self.words] or "",
            clip=values[self.clip],
            vfm=menus.vfm_name(values[self.family], values[self.patch]),
            beta=values[self.beta],
            gamma=values[self.gamma],
            side=values[self.side] or None,
            windows=values[self.windows],
            templates=values[self.templates],
            background=background,
            # Without a background there is no class for pixels below the threshold to fall to.
            threshold=values[self.threshold] if background else 0.0,
        )
        return settings, values[self.state]
