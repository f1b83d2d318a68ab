"""The endpoint /words: the words of a vocabulary that are in a picture. Calls bring all they need."""

from __future__ import annotations

import gradio as gr

import proxyclip_core as pc
from demo import presets
from demo.answers import find
from demo.answers.api import PUBLIC, documented, input_of, load_models, patch_input, reasons, settings_of
from demo.answers.callers import Callers
from demo.components import Picture
from demo.tabs.parts import Page
from demo.visit import Asked
from proxyclip_core.settings import default

NUMBERS = ("beta", "gamma", "side", "windows")


def build(page: Page, callers: Callers) -> None:
    with gr.Column(visible=False):
        opened = presets.as_paper(page.default)  # as in /segment
        given = {name: input_of(name, getattr(opened, name)) for name in ("clip", "vfm", *NUMBERS)}
        patch = patch_input()
        picture = Picture(type="filepath", label="Picture")
        vocabulary = gr.Textbox("", label="Words to choose from, or the name of a list; none for all that are known")
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
        request: gr.Request | None = None,
    ) -> str:
        """Finds the words of a vocabulary that are in a picture, as /segment takes them; "" for none.

        vocabulary: words as in /segment, or the name of one of the page's lists; none for what the CLIP was trained on,
        where that is known, else the words of all lists. The rest as in /segment.
        """
        with reasons():
            settings = settings_of(clip, vfm, patch, side, words="", beta=beta, gamma=gamma, windows=windows)
            load_models(page, settings)
            asked, before = Asked(settings, picture or ""), callers.before(request)
            found, visit = find.found(page.runner, asked, vocabulary or "", before)
        callers.keep(request, visit)
        return found

    asking = [picture, vocabulary, given["clip"], given["vfm"], patch, *(given[name] for name in NUMBERS)]
    trigger.click(documented(words, asking), asking, found, api_name="words", **PUBLIC)
