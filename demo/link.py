"""Settings as the query of an address, and back. No picture travels in a link; an example is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from urllib.parse import urlencode

import proxyclip_core as pc
from proxyclip_core.settings import Settings

NUMBERS = ("beta", "gamma", "threshold")
RANGES = {"beta": (0.5, 2.5), "gamma": (0.5, 10.0), "threshold": (0.0, 1.0), "side": (224, 1024)}
AS_IS = "as-is"


def to_query(settings: Settings, default: Settings, example: str = "") -> str:
    """'words=sky%2C+hill&beta=1.4': what differs from `default`, and the words in any case."""
    chosen = {"example": example} if example else {}
    for entry in fields(Settings):
        value = getattr(settings, entry.name)
        if entry.name == "words" or value != getattr(default, entry.name):
            chosen[entry.name] = AS_IS if value is None else value
    return urlencode(chosen)


def from_query(query: Mapping[str, str], default: Settings) -> Settings:
    """`default` with what the query says; other entries are not ours and are passed over.

    Raises ValueError, naming the entry, for a value that cannot be.
    """
    known = {entry.name for entry in fields(Settings)}
    said = {name: _parsed(name, text) for name, text in query.items() if name in known}
    settings = replace(default, **said)
    check(settings)
    return settings


def check(settings: Settings) -> None:
    """Raises ValueError for settings that the page cannot show: unknown models, numbers beyond the sliders."""
    pc.find_clip(settings.clip)
    pc.find_vfm(settings.vfm)
    if settings.templates not in pc.TEMPLATES:
        raise ValueError(f"templates is {settings.templates!r}; expected one of {', '.join(pc.TEMPLATES)}.")
    for name, (least, most) in RANGES.items():
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            raise ValueError(f"{name} is {value}; expected {least}..{most}.")


def _parsed(name: str, text: str) -> str | float | int | None:
    try:
        if name in NUMBERS:
            return float(text)
        if name == "side":
            return None if text == AS_IS else int(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r} in the link; expected a number.") from None
    return text
