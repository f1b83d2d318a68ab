"""What the page does, one plain function an event. They take values and return values; `ui` wires them."""

from __future__ import annotations

import html
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import gradio as gr
import numpy as np
import torch
from PIL import Image

import proxyclip_core as pc
from demo import menus, render
from demo.models import Say
from demo.session import Settings, Staged, file_digest, within_memory

Compute = Callable[[Settings, Staged | None], Staged]
STAGE_WORDS = {"vocabulary": "words", "features": "encoders", "dense": "fusion", "logits": "classes"}
MOST_CHARACTERS = 20_000  # of the words: several times the longest benchmark's
log = logging.getLogger(__name__)


class Provider(Protocol):
    """Whatever gives models by name: `demo.models.Models`, or a stand-in in tests."""

    def get(self, clip: str, vfm: str, say: Say = ...) -> pc.ProxyCLIP: ...


@dataclass(frozen=True)
class Look:
    """How a result is drawn; no stage depends on it."""

    opacity: float = 0.6
    outlines: bool = True


class UserError(Exception):
    """Something went wrong that the person should read about."""


def run(
    models: Provider, compute: Compute, settings: Settings, before: Staged | None, say: Say = lambda done, text: None
) -> Staged:
    """The stages that `settings` ask for beyond `before`. Raises UserError with a message for the person."""
    try:
        if not settings.picture:
            raise ValueError("There is no picture yet. Upload one, paste one, or take one with the camera.")
        if len(settings.words) > MOST_CHARACTERS:
            raise ValueError(
                f"The words have {len(settings.words)} characters; at most {MOST_CHARACTERS} can be taken."
            )
        pc.parse_vocabulary(settings.words)  # slips are found before models are loaded
        if before is None or before.made_from.get("picture") != (file_digest(settings.picture),):
            pc.read_image(settings.picture)
        models.get(settings.clip, settings.vfm, say=say)
        say(0.8, "Segmenting …")
        return compute(settings, before)
    except (ValueError, pc.WeightsError) as error:
        raise UserError(str(error)) from None
    except (MemoryError, torch.OutOfMemoryError):
        raise UserError(
            "The memory was not enough for this. Take a lower resolution, a larger patch, or a smaller model."
        ) from None
    except Exception as error:
        log.exception("A segmentation failed")
        raise UserError(f"Something went wrong inside ({type(error).__name__}). The server's log says more.") from error


def segment(
    models: Provider, compute: Compute, settings: Settings, look: Look, before: Staged | None, say: Say
) -> tuple[Any, ...]:
    """Segment button, and every setting after it -> message, picture, legend, status, state.

    On an error the message says so and the rest stays as it is.
    """
    start = time.perf_counter()
    try:
        staged = run(models, compute, settings, before, say)
    except UserError as error:
        return show_message(str(error)), gr.skip(), gr.skip(), gr.skip(), gr.skip()
    legend = render.legend_html(legend_rows(staged))
    spent = time.perf_counter() - start
    return show_message(""), draw(staged, look), legend, status(staged, settings, spent), within_memory(staged)


def refresh(
    models: Provider, compute: Compute, settings: Settings, look: Look, before: Staged | None, say: Say
) -> tuple[Any, ...]:
    """A slider or menu was moved: as `segment`, but only where there is a result to bring up to date."""
    if before is None:
        return tuple(gr.skip() for _ in range(5))
    return segment(models, compute, settings, look, before, say)


def redraw(look: Look, staged: Staged | None) -> Any:
    """Opacity or outlines -> the picture drawn again; no stage runs."""
    return gr.skip() if staged is None else draw(staged, look)


def segment_for_api(
    models: Provider, compute: Compute, settings: Settings, patch: int | None, look: Look
) -> tuple[np.ndarray, Image.Image, dict[str, Any]]:
    """/segment -> the drawn picture, the label map (16 bit, the picture's own size), and what is in it."""
    start = time.perf_counter()
    try:
        settings = replace(settings, vfm=pc.find_vfm(settings.vfm, patch).name)
        staged = run(models, compute, settings, None)
    except (UserError, ValueError) as error:
        raise gr.Error(str(error), print_exception=False) from None
    summary = {
        "names": list(staged.result.names),
        "classes": legend_rows(staged),
        "size_hw": list(staged.result.labels.shape),
        "models": {"clip": settings.clip, "vfm": settings.vfm, "device": staged.device},
        "seconds": {"total": round(time.perf_counter() - start, 3)}
        | {name: round(value, 3) for name, value in staged.seconds.items()},
    }
    return draw(staged, look), Image.fromarray(staged.result.labels), summary


def choose_models(clip: str, family: str, patch: int | None) -> tuple[Any, str]:
    """A model was chosen -> the patch sizes of its family, and where the weights come from."""
    vfm = menus.vfm_name(family, patch)
    return gr.update(choices=menus.patch_choices(family), value=pc.find_vfm(vfm).patch), menus.about(clip, vfm)


def choose_background(background: str) -> Any:
    """A background was chosen -> the threshold can be moved, which does nothing without one."""
    return gr.update(interactive=bool(background))


def page_opened(clip: str, family: str, patch: int | None) -> tuple[Any, Any, str]:
    """The menus as they are now: weights may have arrived since the start."""
    about = menus.about(clip, menus.vfm_name(family, patch))
    return gr.update(choices=menus.clip_choices()), gr.update(choices=menus.family_choices()), about


def draw(staged: Staged, look: Look) -> np.ndarray:
    return render.overlay(staged.picture, staged.labels, colours(staged), look.opacity, look.outlines)


def colours(staged: Staged) -> np.ndarray:
    return render.colours_for(staged.vocabulary.names, staged.vocabulary.background)


def legend_rows(staged: Staged) -> list[dict[str, str | float]]:
    return render.legend_rows(staged.result.coverage(), colours(staged))


def status(staged: Staged, settings: Settings, spent: float) -> str:
    """One line: time spent, on what, and with which models."""
    height, width = staged.result.labels.shape
    parts = [f"{word} {staged.seconds[stage]:.2f} s" for stage, word in STAGE_WORDS.items() if stage in staged.seconds]
    detail = f" ({', '.join(parts)})" if parts else ""
    where = f"{width} × {height} pixels · {settings.clip} + {settings.vfm} on {staged.device}"
    return f'<p class="status"><strong>{spent:.2f} s</strong>{html.escape(detail)}<br>{html.escape(where)}</p>'


def show_message(text: str) -> Any:
    """The message box with a text, or gone. Text is text: what a person typed may be part of it."""
    return gr.update(value=f'<div role="alert">{html.escape(text)}</div>' if text else "", visible=bool(text))
