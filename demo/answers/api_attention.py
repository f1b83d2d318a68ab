"""The endpoints /attention, what the patch under a pixel attends to, and /models. Calls bring all they need."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr
import numpy as np

import proxyclip_core as pc
from demo import presets
from demo.answers.api import input_of, load_models, patch_input, reasons, settings_of, to_keep, wire
from demo.answers.errors import UserError
from demo.answers.inside import ATTENTION_STAGES, MAP_SIDE, Point, attention_map, patch_box
from demo.answers.segment import check
from demo.components import Picture
from demo.stages import Stages
from demo.tabs.parts import Page
from demo.visit import Asked, Visit
from proxyclip_core.drawing.overlay import picture_at, size_within
from proxyclip_core.settings import default

NO_WORDS = {"words": "anything", "templates": "none"}  # settings have words, of which attention knows nothing


def build(page: Page) -> None:
    with gr.Column(visible=False):
        names = ("clip", "vfm", "beta", "gamma", "side", "windows")
        opened = presets.as_paper(page.default)  # as in /segment
        given = {name: input_of(name, getattr(opened, name)) for name in names}
        patch = patch_input()
        picture = Picture(type="filepath", label="Picture")
        x, y = (gr.Number(label=f"{axis} of a pixel of the picture, from 0 at the top left on") for axis in "xy")
        stages = ", ".join(name for _, name in ATTENTION_STAGES)
        stage = gr.Textbox("softmax", label=f"Stage of the attention: {stages}")
        source = gr.Textbox("vfm", label="vfm for the proxy attention, clip for CLIP's own in its last block")
        drawn, numbers = gr.Image(label="Map", format="png"), gr.JSON(label="Numbers")
        trigger = gr.Button("attention")

    def attention(
        picture: str,
        x: float,
        y: float,
        clip: str,
        vfm: str,
        patch: float | None = None,
        beta: float = default("beta"),
        gamma: float = default("gamma"),
        side: str = pc.SETTINGS["side"].as_text(default("side")),
        windows: str = default("windows"),
        stage: str = "softmax",
        source: str = "vfm",
        before: Visit | None = None,
        request: gr.Request | None = None,
    ) -> tuple[np.ndarray, dict[str, Any], Any]:
        """Shows what one patch of a picture attends to: the row of the attention that belongs to it.

        Returns the row as colours over the picture, with the seed marked; and numbers: row, the attention itself on the
        grid of the patches of one window that holds the pixel (for softmax it sums to 1), grid_hw, its lowest and
        highest value, models, seconds, and for softmax its spread over patches: the exponential of its entropy.
        seed is the patch's [row, column] in that grid. seed_box is its [left, top, right, bottom] in pixels of the
        picture; all patches are of that size and lie side by side.

        stage: "cosine" (similarity), "normalised" (by beta and gamma, masked entries as 0) or "softmax", which alone
        CLIP's own attention has.
        """
        with reasons():
            settings = settings_of(clip, vfm, patch, side, beta=beta, gamma=gamma, windows=windows, **NO_WORDS)
            asked = Asked(settings, picture or "")
            check(asked)
            load_models(page, asked.settings)
            start = time.perf_counter()
            visit = Visit.of(asked, before)
            found, visit, error = page.runner(_row, visit, (_number(x), _number(y)), stage, source)
            if error:
                raise UserError(error)
        numbers = found[1] | {"seconds": round(time.perf_counter() - start, 3)}
        return found[0], numbers, to_keep(visit, request)

    asking = [picture, x, y, given["clip"], given["vfm"], patch, *(given[name] for name in names[2:]), stage, source]
    wire(page, trigger, attention, asking, [drawn, numbers])
    with gr.Column(visible=False):
        listed, list_models = gr.JSON(label="Models"), gr.Button("models")
    list_models.click(models, None, listed, api_name="models")


def models() -> list[dict[str, Any]]:
    """Lists the models that /segment, /words and /attention take.

    Each has a kind ("clip" or "vfm"), the name to give, its licence, the megabytes of its weights, is_here: whether
    they are on this machine (a call does not download), a note on what limits its use; a VFM its patch size in pixels.
    """
    rows: list[pc.ClipSpec | pc.VfmSpec] = [*pc.CLIP_MODELS.values(), *pc.VFM_MODELS.values()]
    return [
        {
            "kind": "clip" if isinstance(row, pc.ClipSpec) else "vfm",
            "name": row.name,
            **({"patch": row.patch} if isinstance(row, pc.VfmSpec) else {}),
            "licence": row.licence,
            "megabytes": row.megabytes,
            "is_here": pc.is_available(row),
            "note": row.note,
        }
        for row in rows
    ]


def _number(value: Any) -> float:
    """Raises ValueError for what is no place on a picture."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9:
        return float(value)
    raise UserError("x and y are the pixel whose patch is asked for; both must be numbers.")


def _row(stages: Stages, point: Point, stage: str, source: str) -> tuple[np.ndarray, dict[str, Any]]:
    s, model, picture, features = stages.settings, stages.model(), stages.picture(), stages.features()
    row = model.seed_attention(features, point, s.beta, s.gamma, stage=stage, source=source, on="grid")
    small = picture_at(picture, size_within(picture.shape[:2], MAP_SIDE, MAP_SIDE))
    spot = (point[0] * small.shape[1] / picture.shape[1], point[1] * small.shape[0] / picture.shape[0])
    numbers = {
        "row": np.round(row.astype(float), 6).tolist(),
        "grid_hw": list(row.shape),
        "seed": list(divmod(features.layout.patches_at(point, row.shape)[0][1], row.shape[1])),
        "seed_box": [round(float(edge), 2) for edge in patch_box(features.layout, row.shape, point)],
        "lowest": float(row.min()),
        "highest": float(row.max()),
        "models": {"clip": s.clip, "vfm": s.vfm, "device": str(model.device)},
    }
    if stage == "softmax":
        shares = row[row > 0] / row.sum()
        numbers["spread"] = round(float(np.exp(-(shares * np.log(shares)).sum())), 2)
    return attention_map(model, features, small, spot, s, stage, source), numbers
