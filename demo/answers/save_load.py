"""What goes in and out of the page besides pictures: saved settings, links, the download.

A link is an address with the settings as its query, and what `looking` adds. No picture travels in it; an example is
named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import proxyclip_core as pc
from demo import limits, presets, stopping
from demo.answers.errors import NO_RESULT, UserError, in_words
from demo.examples import Example, first_for
from demo.runner import Runner
from demo.stages import Stages
from demo.visit import Asked, Visit, file_digest
from proxyclip_core import export
from proxyclip_core.computed_with import differences
from proxyclip_core.drawing.drawing import Look
from proxyclip_core.interrupt import interruptible
from proxyclip_core.text_files import decoded
from proxyclip_core.word_files import words_in
from proxyclip_core.words import as_text


def opening(query: Mapping[str, str], default: pc.Settings, examples: Sequence[Example]) -> tuple[Asked, str]:
    """What the page opens with, from its address, and a message where that could not be understood."""
    named = [example for example in examples if example.name == query.get("example")]
    scene = next(iter(named), first_for(examples, default.clip))
    picture = scene.picture if scene else ""
    own = replace(default, words=scene.words if scene else default.words)
    try:
        return Asked(from_query(query, own), picture), ""
    except ValueError as error:
        return Asked(own, picture), f"The link could not be used in full. {error}"


def reopening(kept: Any, picture: str | None, default: pc.Settings) -> Asked | None:
    """What a page that is loaded again was about, from what its browser kept; None where that cannot be."""
    if not picture:
        return None
    try:
        return Asked(with_known_models(pc.Settings.from_json(json.dumps(kept), default), default), picture)
    except ValueError:
        return None


def example_of(asked: Asked, examples: Sequence[Example]) -> Example | None:
    """The example whose picture is asked about, where it is one's."""
    shown = file_digest(asked.picture) if asked.picture else None
    return next((example for example in examples if file_digest(example.picture) == shown), None)


def query_of(asked: Asked, default: pc.Settings, examples: Sequence[Example]) -> dict[str, str]:
    """The entries of a link to what is asked; an example's picture goes by its name, any other stays here."""
    example = example_of(asked, examples)
    return to_query(asked.settings, default, example.name if example else "")


def to_query(settings: pc.Settings, default: pc.Settings, example: str = "") -> dict[str, str]:
    """{"words": "sky, hill", "beta": "1.4"}: what differs from `default`, and the words in any case."""
    chosen = {"example": example} if example else {}
    for name, row in pc.SETTINGS.items():
        value = getattr(settings, name)
        if name == "words" or value != getattr(default, name):
            chosen[name] = row.as_text(value)
    return chosen


def from_query(query: Mapping[str, str], default: pc.Settings) -> pc.Settings:
    """`default` with what the query says; other entries are not ours and are passed over.

    Raises ValueError, naming the entry, for a value that cannot be.
    """
    said = {name: row.from_text(query[name]) for name, row in pc.SETTINGS.items() if name in query}
    return with_known_models(replace(default, **said), default)  # type: ignore[arg-type]  # checked by the table


def with_known_models(settings: pc.Settings, default: pc.Settings) -> pc.Settings:
    """The settings with full names of models; those of `default` where they name none.

    Raises ValueError for models that are not known.
    """
    clip, vfm = pc.find_clip(settings.clip or default.clip), pc.find_vfm(settings.vfm or default.vfm)
    return replace(settings, clip=clip.name, vfm=vfm.name)


def read_settings(path: str, default: pc.Settings) -> pc.Settings:
    """The settings in a file; `default` has what it does not say, but for the method, which is the paper's then.

    Raises ValueError, in words for the person.
    """
    file = _small(
        path,
        limits.SETTINGS_FILE_BYTES,
        "These are no settings: the file has more than {:g} kB. Give the settings.json of a download.",
    )
    try:
        text, _ = decoded(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"These are no settings: {error}") from None
    return with_known_models(pc.Settings.from_json(export.settings_in(text), presets.as_paper(default)), default)


def read_words(path: str) -> tuple[str, str]:
    """The words in a file, a class a line, and what is to be said of them. Raises ValueError, in words."""
    file = _small(
        path,
        limits.WORDS_FILE_BYTES,
        "The file of words has more than {:g} kB. Give a shorter list: a .txt with a class a line, a .csv with a "
        "column 'name', or a .json list of names.",
    )
    classes, notes = words_in(file)
    return "\n".join(as_text((group,)) for group in classes), " ".join(notes)


def _small(path: str | None, most: int, too_large: str) -> Path:
    """An upload of so many bytes at most. Raises ValueError for a larger one, and for none."""
    if not path:
        raise UserError("No file has come. Choose one again.")
    if Path(path).stat().st_size > most:
        raise UserError(too_large.format(most / 1e3))
    return Path(path)


def unlike(runner: Runner, visit: Visit | None, path: str, default: pc.Settings) -> str:
    """How the result on the page was computed unlike the one whose settings the file holds; "" for no difference."""
    settings = read_settings(path, default)
    if visit is None or visit.asked.settings != settings:
        return ""
    found, _, failed = runner(_computed_with, visit, may_encode=False, computes=settings.asks_sam)  # SAM may load
    return "" if failed else differences(settings.computed_with, found)


def _computed_with(stages: Stages) -> dict[str, Any]:
    return stages.model().computed_with(stages.settings)


TOO_MUCH = (
    "To pack this takes longer than one request may. Untick the polygons, the regions by themselves, the masks or the "
    "cut-outs, or give a smaller picture or fewer words."
)


@dataclass(frozen=True)
class Chosen:
    """What is to be downloaded: names of `export.FORMATS`, and of `export.WISHES`."""

    formats: tuple[str, ...]
    wishes: tuple[str, ...] = ()


def save(runner: Runner, visit: Visit | None, look: Look, chosen: Chosen, folder: str) -> str:
    """Path of a zip in `folder` with the result at the picture's own size. Raises UserError."""
    if visit is None:
        raise UserError(NO_RESULT)
    if not chosen.formats:
        raise UserError("Nothing is ticked under What is in the download. Tick at least one of its formats.")
    with_logits = "logits" in chosen.wishes
    computes = with_logits or visit.held("result") is None or visit.asked.settings.asks_sam
    gathered, _, failed = runner(_gather, visit, with_logits, may_encode=False, computes=computes)
    if failed:
        raise UserError(failed)
    result, logits = gathered
    picture = Path(visit.asked.picture)
    path = Path(folder) / f"{picture.stem}_segmented.zip"
    wishes: dict[str, Any] = {name: name in chosen.wishes for name in export.WISHES}
    wishes["logits"] = logits
    try:
        each = sum(name in chosen.formats for name in ("masks", "cutouts"))  # for every class
        limits.check_saved(result.labels.shape, max(1, each * len(result.names)))
        with interruptible(stopping.no_longer_than(limits.REQUEST_SECONDS, TOO_MUCH)):  # thousands of regions, say
            result.save(path, picture, chosen.formats, look=look, **wishes)
    except Exception as error:  # noqa: BLE001 such as a disk that is full
        raise UserError(in_words(error)) from None
    return str(path)


def _gather(stages: Stages, with_logits: bool) -> tuple[pc.Segmentation, pc.Refined | None]:
    result = replace(
        stages.result(), settings=stages.settings, computed_with=stages.model().computed_with(stages.settings)
    )
    return result, stages.refined() if with_logits else None
