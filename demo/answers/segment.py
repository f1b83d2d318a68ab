"""What the page does, one plain function an event. They take values and return values; `ui` wires them."""

from __future__ import annotations

import html
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import gradio as gr
import numpy as np
import torch
from PIL import Image

import proxyclip_core as pc
from demo import menus
from demo.draw import label_placement as regions
from demo.draw import overlay as render
from demo.models import Download, Say
from demo.session import Settings, Staged, file_digest, within_memory
from proxyclip_core.models import weights

Compute = Callable[[Settings, Staged | None], Staged]
STAGE_WORDS = {"vocabulary": "words", "features": "encoders", "dense": "fusion", "logits": "classes"}
WINDOWS_WORDS = {"sliding": "Sliding windows", "whole": "Whole picture"}
LEAST_SHOWN = 1200  # pixels of the longer side of the overlay
GONE = "The result is no longer on the server. Press Segment to make it again."
MOST_CHARACTERS = 20_000  # of the words: several times the longest benchmark's
log = logging.getLogger(__name__)


class Provider(Protocol):
    """Whatever gives models by name: `demo.models.Models`, or a stand-in in tests."""

    def get(self, clip: str, vfm: str, say: Say = ...) -> pc.ProxyCLIP: ...

    def ready(self, clip: str, vfm: str) -> bool: ...

    def fetch(self, clip: str, vfm: str) -> Iterator[Download]: ...


@dataclass(frozen=True)
class Point:
    """Where a person clicked: shares (x, y) of the picture with this key."""

    xy: tuple[float, float]
    picture: tuple

    def on(self, staged: Staged) -> bool:
        """Whether it lies on the staged picture, not on one before."""
        return self.picture == staged.made_from["picture"]


@dataclass(frozen=True)
class Look:
    """How a result is drawn; no stage depends on it.

    hidden: names of classes that are not drawn. point: where the person last clicked.
    """

    opacity: float = 0.6
    outlines: bool = True
    names: bool = True
    hidden: tuple[str, ...] = ()
    point: Point | None = None


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
    except Exception as error:
        if ran_out_of_memory(error):
            raise UserError(
                "The memory was not enough for this. Take a lower resolution, a larger patch, or a smaller model."
            ) from None
        log.exception("A segmentation failed")
        raise UserError(f"Something went wrong inside ({type(error).__name__}). The server's log says more.") from error


def ran_out_of_memory(error: Exception) -> bool:
    """Whether that is what an error means: torch has a class of its own for it on CUDA alone."""
    said = str(error).casefold() if isinstance(error, RuntimeError) else ""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        words in said for words in ("allocate memory", "not enough memory", "out of memory")
    )


def can_be_asked(settings: Settings) -> bool:
    """Whether there are a picture and words to wait for weights with; slips in them are said before any download."""
    try:
        return bool(settings.picture and pc.parse_vocabulary(settings.words))
    except ValueError:
        return False


def segment(
    models: Provider, compute: Compute, settings: Settings, look: Look, before: Staged | None, say: Say
) -> tuple[Any, ...]:
    """Segment button -> message, picture, legend, status, state.

    On an error the message says so and the rest stays as it is; so it does where nothing has changed.
    """
    start = time.perf_counter()
    try:
        staged = run(models, compute, settings, before, say)
    except UserError as error:
        return show_message(str(error)), gr.skip(), gr.skip(), gr.skip(), gr.skip()
    if before is not None and not staged.seconds:
        return show_message(""), gr.skip(), gr.skip(), gr.skip(), gr.skip()
    spent = time.perf_counter() - start
    line = status(staged, settings, spent) + against_other_windows(staged, before) + known_limit(settings)
    return show_message(""), *show(staged, look), line, within_memory(staged)


def refresh(
    models: Provider,
    compute: Compute,
    settings: Settings,
    look: Look,
    before: Staged | None,
    say: Say,
    shown: bool = True,
) -> tuple[Any, ...]:
    """A setting was changed: as `segment`, but only where a result is shown that is to be brought up to date.

    While models that were chosen are still to be downloaded, the present ones go on. A result that is shown but no
    longer held is made anew.
    """
    nothing = tuple(gr.skip() for _ in range(5))
    if not settings.picture or (before is None and not shown):
        return nothing
    if not models.ready(settings.clip, settings.vfm):
        if before is None:
            return show_message(GONE), *nothing[1:]
        settings = replace(settings, clip=before.settings.clip, vfm=before.settings.vfm)
    return segment(models, compute, settings, look, before, say)


def redraw(look: Look, staged: Staged | None, shown: bool = False) -> tuple[Any, Any]:
    """Opacity, outlines, names, or a chip of the legend -> message, the picture drawn again; no stage runs.

    shown: whether the page shows a result; where it is no longer held, the message says so.
    """
    if staged is None:
        return show_message(GONE) if shown else gr.skip(), gr.skip()
    return gr.skip(), draw(staged, look)


def fetch(models: Provider, clip: str, vfm: str) -> Iterator[tuple[Any, Any]]:
    """Downloads the weights of two models -> message, progress; both are gone when it is done."""
    try:
        for part in models.fetch(clip, vfm):
            yield show_message(""), gr.update(value=download_html(part), visible=True)
    except (ValueError, pc.WeightsError) as error:
        yield show_message(str(error)), gr.update(visible=False)
        return
    yield show_message(""), gr.update(visible=False)


def download_html(part: Download) -> str:
    text = f"Downloading {part.name}: {part.done / 1e6:.0f} of {part.total / 1e6:.0f} MB"
    return (
        f'<label class="download">{html.escape(text)}<progress max="{part.total}" value="{part.done}"></progress>'
        "<span>You can go on with the present models.</span></label>"
    )


def scores_at(staged: Staged | None, point: Point | None) -> dict[str, float] | None:
    """Class -> score in 0..1 at a point of the picture; None where there is nothing to ask."""
    if staged is None or staged.logits is None or point is None or not point.on(staged):
        return None
    height, width = staged.logits.layout.size_hw
    return pc.ProxyCLIP.scores_at(staged.logits, staged.vocabulary, (point.xy[0] * width, point.xy[1] * height))


def score_picture(staged: Staged | None, name: str | None) -> np.ndarray | None:
    """The score map of the class `name`; None where it is none of the classes."""
    if staged is None or staged.logits is None or name not in staged.vocabulary.names:
        return None
    scores = pc.ProxyCLIP.scores(staged.logits, staged.vocabulary, staged.vocabulary.names.index(name))
    return render.score_map(scores, name)


def segment_for_api(
    models: Provider, compute: Compute, settings: Settings, patch: int | None, look: Look
) -> tuple[np.ndarray, Image.Image, dict[str, Any]]:
    """/segment -> the drawn picture, the label map (16 bit, the picture's own size), and what is in it."""
    start = time.perf_counter()
    try:
        settings = replace(settings, vfm=pc.find_vfm(settings.vfm, patch).name)
        _refuse_to_download(models, settings)
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
    drawn = draw_labels(staged.picture, staged.labels, staged, look)
    return drawn, Image.fromarray(staged.result.labels), summary


def _refuse_to_download(models: Provider, settings: Settings) -> None:
    """While a call is answered nobody else's is: it does not wait for weights. The page downloads them beside."""
    if models.ready(settings.clip, settings.vfm):
        return
    for spec in (pc.find_clip(settings.clip), pc.find_vfm(settings.vfm)):
        if not pc.is_available(spec):
            why = "not asked by a call; Segment on the page downloads them"
            raise ValueError(weights.missing(spec, why))


def choose_models(clip: str, family: str, patch: int | None) -> tuple[Any, str]:
    """A model was chosen -> the patch sizes of its family, and where the weights come from."""
    vfm = menus.vfm_name(family, patch)
    return gr.update(choices=menus.patch_choices(family), value=pc.find_vfm(vfm).patch), menus.about(clip, vfm)


def choose_background(background: str) -> Any:
    """A background was chosen -> the threshold can be moved, which does nothing without one."""
    return gr.update(interactive=bool(background))


def show(staged: Staged, look: Look) -> tuple[np.ndarray, Any]:
    """The picture and the legend, which stays as it is where the result was too large to keep."""
    if staged.result is None:
        return draw(staged, look), gr.skip()
    legend = render.legend_html(legend_rows(staged), look.hidden, render.label_address(staged.labels))
    return draw(staged, look), legend


def drawn_size(staged: Staged) -> tuple[int, int]:
    """(H, W) of the overlay. Small pictures are drawn larger, so that names on them can be read; and gradio finds the
    pixel under a click only in a picture that it does not have to enlarge."""
    height, width = staged.picture.shape[:2]
    scale = max(1.0, LEAST_SHOWN / max(height, width))
    return round(height * scale), round(width * scale)


def draw(staged: Staged, look: Look) -> np.ndarray:
    """(H, W, 3) at `drawn_size`."""
    size_hw = drawn_size(staged)
    picture, labels = render.shown_picture(staged.picture, size_hw), render.shown_labels(staged.labels, size_hw)
    drawn = draw_labels(picture, labels, staged, look)
    if look.point is None or not look.point.on(staged):
        return drawn
    x, y = look.point.xy
    return render.mark(drawn, (x * drawn.shape[1], y * drawn.shape[0]))


def draw_labels(picture: np.ndarray, labels: np.ndarray, staged: Staged, look: Look) -> np.ndarray:
    """Picture (H, W, 3) and labels (H, W) of one size -> the overlay as it is looked at, without the marker."""
    names = staged.vocabulary.names
    hidden = [index for index, name in enumerate(names) if name in look.hidden]
    drawn = render.overlay(picture, labels, colours(staged), look.opacity, look.outlines, hidden)
    return regions.write_names(drawn, labels, names, colours(staged), hidden) if look.names else drawn


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


def against_other_windows(staged: Staged, before: Staged | None) -> str:
    """One line, where only the windows were changed: how much faster or slower that is, and how far the labels differ.

    "" where something else was changed too, or the earlier result is no longer there.
    """
    earlier = before.settings if before else None
    if earlier is None or replace(earlier, windows=staged.settings.windows) != staged.settings or before.result is None:
        return ""
    if earlier.windows == staged.settings.windows:
        return ""
    differ = render.percent(float((before.result.labels != staged.result.labels).mean()))
    text = f"{WINDOWS_WORDS[staged.settings.windows]} instead of {WINDOWS_WORDS[earlier.windows].lower()}: "
    times = before.seconds.get("features"), staged.seconds.get("features")
    if None not in times:
        faster = times[0] > times[1]
        text += f"encoders {max(times) / max(min(times), 1e-3):.1f} × {'faster' if faster else 'slower'}, "
    return f'<p class="status">{html.escape(text + differ)} of the labels differ.</p>'


def known_limit(settings: Settings) -> str:
    """One line on what the built-in CLIP cannot do; "" for the others."""
    note = pc.find_clip(settings.clip).note
    return f'<p class="status">{html.escape(note)}</p>' if note else ""


def show_message(text: str) -> Any:
    """The message box with a text, or gone. Text is text: what a person typed may be part of it."""
    return gr.update(value=f'<div role="alert">{html.escape(text)}</div>' if text else "", visible=bool(text))
