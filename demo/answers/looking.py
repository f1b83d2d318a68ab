"""What a link says of how a result is looked at: the tab, seeds, sources, stage, and classes that are hidden.

Anybody can write anything into an address: what makes no sense there is passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from demo import limits, menus
from demo.answers.inside import ATTENTION_STAGES, SCALES, Point
from demo.components import MOST_HELD, MOST_IN_A_NAME, MOST_NAMES

FIRST_VIEW = "segment"


@dataclass(frozen=True)
class Looking:
    """view: a tab, or a section of one, such as "inside/attention". points: (x, y) in pixels of the picture itself.
    sources, stage, scale, windows: as in `inside.View`. hidden: names of classes."""

    view: str = FIRST_VIEW
    points: tuple[Point, ...] = ()
    sources: tuple[str, ...] = (menus.OWN_ATTENTION,)
    stage: str = "softmax"
    scale: str = "own"
    windows: bool = False
    hidden: tuple[str, ...] = ()

    def as_query(self) -> dict[str, str]:
        """The entries of a link: what is not as the page opens."""
        usual = Looking()._texts()
        return {name: text for name, text in self._texts().items() if text != usual[name]}

    def _texts(self) -> dict[str, str]:
        return {
            "view": self.view,
            "seeds": ";".join(f"{x:.1f},{y:.1f}" for x, y in self.points),
            "sources": json.dumps(self.sources, ensure_ascii=False),
            "stage": self.stage,
            "scale": self.scale,
            "in": "windows" if self.windows else "whole",
            "hidden": json.dumps(self.hidden, ensure_ascii=False),
        }

    @classmethod
    def from_query(cls, query: Mapping[str, str], views: Collection[str], sources: Collection[str]) -> Looking:
        """What the entries say. views, sources: those that there are."""
        usual = cls()
        view, stage, scale = (query.get(name, getattr(usual, name)) for name in ("view", "stage", "scale"))
        named = _names(query["sources"]) if "sources" in query else usual.sources
        return cls(
            view=view if view in views else usual.view,
            points=_points(query.get("seeds", "")),
            sources=tuple(name for name in named if name in sources),
            scale=scale if scale in (value for _, value in SCALES) else usual.scale,
            windows=query.get("in") == "windows",
            stage=stage if stage in (value for _, value in ATTENTION_STAGES) else usual.stage,
            hidden=_names(query.get("hidden", "")),
        )


def _points(text: str) -> tuple[Point, ...]:
    found = []
    for pair in text.split(";")[: limits.MOST_SEEDS]:
        try:
            x, y = (float(part) for part in pair.split(","))
        except ValueError:
            continue
        if math.isfinite(x) and math.isfinite(y):
            found.append((x, y))
    return tuple(found)


def _names(text: str) -> tuple[str, ...]:
    """Names in a JSON list, each at most once."""
    try:
        listed = json.loads(text) if len(text) <= MOST_HELD else None
    except (ValueError, RecursionError):
        listed = None
    names = listed[:MOST_NAMES] if isinstance(listed, list) else []
    return tuple(dict.fromkeys(name[:MOST_IN_A_NAME] for name in names if isinstance(name, str)))
