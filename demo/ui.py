"""The page: layout and wiring, no maths. What an event does stands in `callbacks`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

import proxyclip_core as pc
from demo import callbacks, menus
from demo.callbacks import Look, Provider
from demo.session import Settings, Staged, advance


class Picture(gr.Image):
    """A picture as the file that was given. gradio's own reading is left out: the core's `read_image` knows about
    orientation, transparency and depth, and says in plain words when a file is no picture."""

    is_template = True  # for the browser it is a gr.Image

    def preprocess(self, payload: Any) -> str | None:
        if payload is not None and payload.path and not str(payload.url or "").startswith("data:"):
            return payload.path
        return super().preprocess(payload)


class PatchSize(gr.Radio):
    """The patch sizes of the chosen family. They change with the family, and gradio forgets what it was told of them
    when it lets go of an old visit; so its check is left out, and `menus.vfm_name` copes with any number."""

    is_template = True

    def preprocess(self, payload: Any) -> int | None:
        return payload if isinstance(payload, int) else None


TITLE = "ProxyCLIP"
INTRO = (
    "Name what to look for, and the picture is divided among your words. Nothing is trained for it: "
    "CLIP knows the words, and a second vision model knows which parts of the picture belong together."
)
SIDES = [("224", 224), ("336 (the paper's)", 336), ("448", 448), ("560", 560), ("672", 672), ("1024", 1024)]
AS_IS = ("as it is", 0)
WINDOWS = [("sliding, as in the paper", "sliding"), ("whole picture at once", "whole")]
TEMPLATES = [("none", "none"), ("7 sentences", "simple7"), ("80 sentences, the paper's", "imagenet80")]
BACKGROUND = [("none", ""), ("my first word", "first"), ("short list of words", "short"), ("long list", "long")]

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
    "css_paths": [Path(__file__).parent / "style.css"],
    "max_file_size": "20mb",
    "state_session_capacity": 32,
    "footer_links": ["api", "settings"],
    "run_history": False,  # people's pictures are not kept in the browser
    "ssr_mode": False,
}
WAITING = 32  # requests in the queue before the page says that it is full
ON_MODEL = {"concurrency_id": "model", "concurrency_limit": 1}
PRIVATE = {"api_visibility": "private"}
PROGRESS = gr.Progress()  # as an argument's default it asks gradio for the progress of that call


def build_demo(
    models: Provider,
    clip: str,
    vfm: str,
    on_device: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda function: function,
) -> gr.Blocks:
    """The page over a provider of models, opened with the CLIP `clip` and the VFM `vfm` (full names).

    on_device wraps the one function that computes (`spaces.GPU` does). Launch with `**LAUNCH`.
    """
    vfm_spec = pc.find_vfm(vfm)

    @on_device
    def compute(settings: Settings, before: Staged | None) -> Staged:
        return advance(models.get(settings.clip, settings.vfm), settings, before)

    with gr.Blocks(title=TITLE, fill_width=True, delete_cache=(3600, 24 * 3600)) as demo:
        gr.Markdown(f"# {TITLE}\n{INTRO}", elem_id="intro")
        with gr.Row(equal_height=False, elem_id="columns"):
            with gr.Column(min_width=320):
                ask = _question()
                chosen = _model_menus(clip, vfm_spec)
                tuned = _settings()
            with gr.Column(min_width=320, elem_id="answer"):
                shown = _answer()
        parts = SimpleNamespace(**ask, **chosen, **tuned, **shown, state=gr.State(time_to_live=1800))
        _wire_stages(parts, models, compute)
        _wire_menus(parts, demo)
        _wire_api(parts, Settings("", "", clip, vfm_spec.name), models, compute)
    return demo.queue(max_size=WAITING)


def _question() -> dict[str, Any]:
    return {
        "picture": Picture(
            type="filepath",
            image_mode=None,
            sources=["upload", "clipboard", "webcam"],
            label="Picture",
            alt_text="The picture to be divided",
            height=340,
            elem_id="picture",
        ),
        "words": gr.Textbox(
            label="Words",
            placeholder="sky; cloud, hill, tree, horse, grass",
            info="A comma between classes, a semicolon between words for the same class.",
            max_lines=8,
            max_length=callbacks.MOST_CHARACTERS,
            elem_id="words",
        ),
        "button": gr.Button("Segment", variant="primary", size="lg", elem_id="segment"),
        "message": gr.HTML(visible=False, elem_id="message"),
    }


def _model_menus(clip: str, vfm: pc.VfmSpec) -> dict[str, Any]:
    with gr.Accordion("Models", elem_id="models"):
        with gr.Row():
            clip_menu = gr.Dropdown(
                menus.clip_choices(), value=clip, label="CLIP", info="Knows the words.", min_width=200, elem_id="clip"
            )
            family = gr.Dropdown(
                menus.family_choices(),
                value=vfm.family,
                label="Vision model",
                info="Knows which parts belong together.",
                min_width=200,
                elem_id="vfm",
            )
        patch = PatchSize(
            menus.patch_choices(vfm.family),
            value=vfm.patch,
            label="Patch size in pixels",
            info="Smaller gives finer borders and takes longer.",
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
            side = gr.Dropdown(
                [*SIDES, AS_IS], value=336, label="Resolution", info="Short side in pixels. Higher: finer, slower."
            )
            windows = gr.Dropdown(WINDOWS, value="sliding", label="Windows", info="Sliding is finer, whole is faster.")
        with gr.Row():
            templates = gr.Dropdown(
                TEMPLATES, value="simple7", label="Sentences", info="Each word is read in these; more is steadier."
            )
            background = gr.Dropdown(
                BACKGROUND, value="", label="Background", info="What takes the pixels that no word fits."
            )
        threshold = gr.Slider(
            0,
            1,
            0,
            step=0.01,
            label="Threshold",
            info="Higher: more of the picture goes to the background, where there is one.",
            interactive=False,
        )
    names = ("beta", "gamma", "side", "windows", "templates", "background", "threshold")
    return dict(zip(names, (beta, gamma, side, windows, templates, background, threshold)))


def _answer() -> dict[str, Any]:
    overlay = gr.Image(
        # A box of one size, so that nothing jumps when a result comes.
        label="Result",
        height="clamp(340px, 60vh, 660px)",
        format="png",
        interactive=False,
        buttons=["download", "fullscreen"],
        alt_text="The picture with the region of each word in the colour of the legend",
        elem_id="overlay",
    )
    legend = gr.HTML(elem_id="legend")
    status = gr.HTML(elem_id="status")
    with gr.Row():
        opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity", min_width=160, scale=3, elem_id="opacity")
        outlines = gr.Checkbox(True, label="Outlines", min_width=100, elem_id="outlines")
    return {"overlay": overlay, "legend": legend, "status": status, "opacity": opacity, "outlines": outlines}


def _wire_stages(parts: SimpleNamespace, models: Provider, compute: Callable[..., Staged]) -> None:
    """Everything that brings the result up to date. gradio hands over one dict of component -> value."""
    drawing = {parts.opacity, parts.outlines, parts.state}
    asking = {parts.picture, parts.words, parts.clip, parts.family, parts.patch, parts.beta, parts.gamma, parts.side}
    asking |= {parts.windows, parts.templates, parts.background, parts.threshold} | drawing
    outputs = [parts.message, parts.overlay, parts.legend, parts.status, parts.state]

    def read(values: dict[Any, Any]) -> tuple[Settings, Look, Staged | None]:
        background = values[parts.background]
        settings = Settings(
            picture=values[parts.picture] or "",
            words=values[parts.words],
            clip=values[parts.clip],
            vfm=menus.vfm_name(values[parts.family], values[parts.patch]),
            beta=values[parts.beta],
            gamma=values[parts.gamma],
            side=values[parts.side] or None,
            windows=values[parts.windows],
            templates=values[parts.templates],
            background=background,
            # Without a background there is no class for pixels below the threshold to fall to.
            threshold=values[parts.threshold] if background else 0.0,
        )
        return settings, Look(values[parts.opacity], values[parts.outlines]), values[parts.state]

    def on_segment(values: dict[Any, Any], progress: gr.Progress = PROGRESS) -> tuple[Any, ...]:
        return callbacks.segment(models, compute, *read(values), progress)

    def on_change(values: dict[Any, Any], progress: gr.Progress = PROGRESS) -> tuple[Any, ...]:
        return callbacks.refresh(models, compute, *read(values), progress)

    def on_look(values: dict[Any, Any]) -> Any:
        return callbacks.redraw(Look(values[parts.opacity], values[parts.outlines]), values[parts.state])

    busy = {"show_progress_on": parts.overlay, "trigger_mode": "always_last"}
    gr.on([parts.button.click, parts.words.submit], on_segment, asking, outputs, **busy, **ON_MODEL, **PRIVATE)
    changes = [slider.release for slider in (parts.beta, parts.gamma, parts.threshold)]
    changes += [menu.input for menu in (parts.side, parts.windows, parts.templates, parts.background)]
    gr.on(changes, on_change, asking, outputs, **busy, **ON_MODEL, **PRIVATE)
    gr.on(
        [parts.opacity.release, parts.outlines.input],
        on_look,
        drawing,
        parts.overlay,
        show_progress="hidden",
        trigger_mode="always_last",
        **PRIVATE,
    )


def _wire_menus(parts: SimpleNamespace, demo: gr.Blocks) -> None:
    chosen = [parts.clip, parts.family, parts.patch]
    quick = {"show_progress": "hidden", "queue": False, **PRIVATE}
    gr.on(
        [parts.clip.input, parts.family.input, parts.patch.input],
        callbacks.choose_models,
        chosen,
        [parts.patch, parts.about],
        **quick,
    )
    parts.background.input(callbacks.choose_background, parts.background, parts.threshold, **quick)
    demo.load(callbacks.page_opened, chosen, [parts.clip, parts.family, parts.about], **quick)


def _wire_api(parts: SimpleNamespace, default: Settings, models: Provider, compute: Callable[..., Staged]) -> None:
    """The one public endpoint. It holds no state: every call brings all it needs."""
    with gr.Column(visible=False):
        # By name and number, so that a caller may say what the page's menus do not list, or list later.
        clip = gr.Textbox(default.clip, label="CLIP, by name")
        vfm = gr.Textbox(default.vfm, label="VFM, by name ('DINO B/8') or family ('DINO B')")
        patch = gr.Number(None, label="patch size of the family; none for its first", precision=0)
        side = gr.Number(default.side, label="short side, 224 to 1024 pixels; 0 for the picture as it is", precision=0)
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
    ) -> tuple[Any, ...]:
        """Divides a picture among words.

        Returns the overlay; the label map, a 16 bit PNG of the picture's size with indices into names; and a summary:
        names, classes (name, colour, share, largest first), size_hw, models, seconds.

        words: a comma between classes, a semicolon between words for the same class. threshold: score below which a
        pixel goes to class 0. background: "", "first" (class 0 is the background), "short" or "long" (a list of
        words is put in front as class 0).
        """
        settings = Settings(
            picture or "", words, clip, vfm, beta, gamma, side or None, windows, templates, background, threshold
        )
        return callbacks.segment_for_api(models, compute, settings, patch, Look(opacity, outlines))

    asking = [parts.picture, parts.words, clip, vfm, patch, parts.beta, parts.gamma, side, parts.windows]
    asking += [parts.templates, parts.background, parts.threshold, parts.opacity, parts.outlines]
    trigger.click(segment, asking, [parts.overlay, labels, summary], api_name="segment", **ON_MODEL)
