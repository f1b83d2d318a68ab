"""What goes in and out of the page beside pictures: saved settings, links, word lists, the download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

import proxyclip_core as pc
from demo import link, menus
from demo.answers import segment as callbacks
from demo.answers.segment import Compute, Look, Provider, UserError
from demo.examples import Example
from demo.models import Say
from demo.session import Settings, Staged, file_digest
from demo.tabs import question
from proxyclip_core import export
from proxyclip_core.settings import Settings as SavedSettings

# The components that `fill` gives values for, in its order.
FILLED = ("picture", "words", "clip", "family", "patch", "beta", "gamma", "side", "windows", "templates")
FILLED += ("background", "threshold")


def fill(settings: Settings) -> list[Any]:
    """The settings as values of the components FILLED. Menus are told their choices as they are now."""
    vfm = pc.find_vfm(settings.vfm)
    side = settings.side or 0
    sides = [*question.SIDES, question.AS_IS]
    if side not in dict(sides).values():
        sides.append((str(side), side))
    return [
        # A person may have been quicker than the page: what is not said here stays as it is.
        settings.picture or gr.skip(),
        settings.words or gr.skip(),
        gr.update(choices=menus.clip_choices(), value=settings.clip),
        gr.update(choices=menus.family_choices(), value=vfm.family),
        gr.update(choices=menus.patch_choices(vfm.family), value=vfm.patch),
        settings.beta,
        settings.gamma,
        gr.update(choices=sides, value=side),
        settings.windows,
        settings.templates,
        settings.background,
        gr.update(value=settings.threshold, interactive=bool(settings.background)),
    ]


def opening(query: Mapping[str, str], default: Settings, examples: Sequence[Example]) -> tuple[Settings, str]:
    """What the page opens with, from its address, and a message where that could not be understood."""
    named = [example for example in examples if example.name == query.get("example")]
    scene = next(iter([*named, *examples]), None)
    picture = scene.picture if scene else ""
    own = replace(default, words=scene.words if scene else default.words)
    try:
        return Settings.of(link.from_query(query, own.savable), picture), ""
    except ValueError as error:
        return Settings.of(own, picture), f"The link could not be used in full. {error}"


def query_of(settings: Settings, default: Settings, examples: Sequence[Example]) -> str:
    """The query of a link to these settings; an example's picture goes by its name, any other stays here."""
    shown = file_digest(settings.picture) if settings.picture else None
    name = next((example.name for example in examples if file_digest(example.picture) == shown), "")
    return link.to_query(settings.savable, default.savable, name)


def read_settings(path: str) -> SavedSettings:
    """The settings in a file. Raises ValueError, in words for the person, where they cannot be used."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("These are no settings: the file is no text.") from None
    settings = SavedSettings.from_json(text)
    link.check(settings)
    return settings


def preset_words(title: str | None) -> str:
    return pc.vocabulary_presets().get(title or "", "")


def save(models: Provider, compute: Compute, staged: Staged | None, look: Look, say: Say, folder: str) -> str:
    """Path of a zip in `folder`. Runs the last stage again where the page could not keep it. Raises UserError."""
    if staged is None:
        raise UserError("There is no result yet. Give a picture and words and press Segment.")
    if staged.result is None:
        staged = callbacks.run(models, compute, staged.settings, staged, say)
    try:
        picture = pc.read_image(staged.settings.picture)
    except (ValueError, OSError):
        raise UserError("The picture is no longer on the server. Upload it again.") from None
    name = Path(staged.settings.picture).name
    overlay = callbacks.draw_labels(picture, staged.result.labels, staged, look)
    path = Path(folder) / f"{Path(name).stem}_segmented.zip"
    try:
        export.write_zip(path, staged.result, overlay, staged.settings.savable, name)
    except (OSError, MemoryError) as error:
        raise UserError(f"The download could not be written ({type(error).__name__}); the server is full.") from None
    return str(path)
