"""Two sets of settings that one click brings: the paper's, and what measures best with the models that are chosen.

The library's own defaults are the paper's; the page opens with the better ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import proxyclip_core as pc

METHOD = (
    "beta",
    "gamma",
    "fusion",
    "facet",
    "reach",
    "scope",
    "refine",
)  # what the presets set; the rest is a person's own
PAPER: dict[str, Any] = {name: pc.SETTINGS[name].default for name in METHOD}
# Chosen on the val scenes of assets/builtin, whose model card has the table.
BUILTIN: dict[str, Any] = PAPER | {"beta": 1.6, "gamma": 12.0, "refine": "quick"}
# Nothing could be measured with the real models here: the paper's attention, refined as NACLIP does it.
OTHERS: dict[str, Any] = PAPER | {"refine": "pixels"}


def sharper(clip: str, vfm: str) -> dict[str, Any]:
    """The values of METHOD that measure best for these models. Raises ValueError for unknown names."""
    return BUILTIN if pc.find_clip(clip).builtin and pc.find_vfm(vfm).builtin else OTHERS


def as_paper(settings: pc.Settings) -> pc.Settings:
    """The same question, answered by the paper's method."""
    return replace(settings, **PAPER)


def refined(settings: pc.Settings) -> pc.Settings:
    """The same question, answered by what measures best."""
    return replace(settings, **sharper(settings.clip, settings.vfm))


def followed(clip: str, vfm: str, values: dict[str, Any]) -> dict[str, Any]:
    """What METHOD becomes as other models are chosen: a preset follows them, what a person has set stays."""
    return sharper(clip, vfm) if values in (BUILTIN, OTHERS) else values
