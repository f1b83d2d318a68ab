"""The endpoint /words: the words of a vocabulary that are in a picture. Calls bring all they need."""

from __future__ import annotations

from typing import Any

import gradio as gr

import proxyclip_core as pc
from demo import presets
from demo.answers import find
from demo.answers.api import input_of, load_models, patch_input, reasons, settings_of, to_keep, wire
from demo.components import Picture
from demo.tabs.parts import Page
from demo.visit import Asked, Visit
from proxyclip_core.settings import default
from proxyclip_core.words import list_names

NUMBERS = ("beta", "gamma", "side", "windows")


def build(page: Page) -> None:
    with gr.Column(visible=False):
        opened = presets.as_paper(page.default)  # as in /segment
        given = {name: input_of(name, getattr(opened, name)) for name in ("clip", "vfm", *NUMBERS)}
        patch = patch_input()
        picture = Picture(type="filepath", label="Picture")
        lists = ", ".join(list_names())
        label = f"Words to choose from, or the name of a list, one of {lists}; left out: all that are known"
        vocabulary = gr.Textbox("", label=label)
        found, trigger = gr.Textbox(label="Words"), gr.Button("words")

    def words(
        picture: str,
        vocabulary: str,
        clip: str,
        vfm: str,
        patch: float | None = None,
        beta: float = default("beta"),
        gamma: float = default("gamma"),
        side: str = pc.SETTINGS["side"].as_text(default("side")),
        windows: str = default("windows"),
        before: Visit | None = None,
        request: gr.Request | None = None,
    ) -> tuple[str, Any]:
        """Finds the words of a vocabulary that are in a picture, as /segment takes them; "" for none.

        vocabulary: words as in /segment, or the name of a list. Left out, it is what the CLIP was trained on, where
        that is known, else the words of all lists. The rest as in /segment.
        """
        with reasons():
            settings = settings_of(clip, vfm, patch, side, words="", beta=beta, gamma=gamma, windows=windows)
            load_models(page, settings)
            found, visit = find.found(page.runner, Asked(settings, picture or ""), vocabulary or "", before)
        return found, to_keep(visit, request)

    asking = [picture, vocabulary, given["clip"], given["vfm"], patch, *(given[name] for name in NUMBERS)]
    wire(page, trigger, words, asking, [found])
