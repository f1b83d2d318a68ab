"""Settings as the query of an address, and back. No picture travels in a link; an example is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

import proxyclip_core as pc


def to_query(settings: pc.Settings, default: pc.Settings, example: str = "") -> str:
    """'words=sky%2C+hill&beta=1.4': what differs from `default`, and the words in any case."""
    chosen = {"example": example} if example else {}
    for name, row in pc.SETTINGS.items():
        value = getattr(settings, name)
        if name == "words" or value != getattr(default, name):
            chosen[name] = row.as_text(value)
    return urlencode(chosen)


def from_query(query: Mapping[str, str], default: pc.Settings) -> pc.Settings:
    """`default` with what the query says; other entries are not ours and are passed over.

    Raises ValueError, naming the entry, for a value that cannot be.
    """
    said = {name: row.from_text(query[name]) for name, row in pc.SETTINGS.items() if name in query}
    return with_known_models(replace(default, **said))  # type: ignore[arg-type]  # checked by the table


def with_known_models(settings: pc.Settings, vfm: str = "") -> pc.Settings:
    """The settings with full names of models. vfm: the one to take where they name none, as without a fusion.

    Raises ValueError for models that are not known.
    """
    return replace(settings, clip=pc.find_clip(settings.clip).name, vfm=pc.find_vfm(settings.vfm or vfm).name)
