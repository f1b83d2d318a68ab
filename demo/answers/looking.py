"""What a link says of how a result is looked at: the tab, seeds, sources, what is compared, classes that are hidden.

Anybody can write anything into an address: what makes no sense there is passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from demo import limits, menus
from demo.answers.alike import BY
from demo.answers.inside import ATTENTION_STAGES, SCALES, Point
from demo.answers.to_word import WAYS
from demo.components import LIKED, MOST_HELD, MOST_IN_A_NAME, MOST_NAMES

FIRST_VIEW, FIRST_LEFT = "segment", next(iter(menus.ALONE))


@dataclass(frozen=True)
class Looking:
    """view: a tab, or a section of one, such as "inside/attention". points: (x, y) in pixels of the picture itself.
    sources, stage, scale, windows, head, by, share, way: as in `inside.View`. hidden: names of classes. second: names
    an example, the second picture. left, right: names of results. opacity: of a result's colours."""

    view: str = FIRST_VIEW
    points: tuple[Point, ...] = ()
    sources: tuple[str, ...] = (menus.OWN_ATTENTION,)
    stage: str = "softmax"
    scale: str = "own"
    windows: bool = False
    hidden: tuple[str, ...] = ()
    head: int | None = None
    by: str = "beta"
    share: float = 0.1
    second: str = ""
    way: str = "proxy"
    left: str = FIRST_LEFT
    right: str = menus.CURRENT
    opacity: float = LIKED["opacity"]

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
            "head": "" if self.head is None else menus.head_name(self.head),
            "alike": self.by,
            "share": f"{self.share:g}",
            "second": self.second,
            "way": self.way,
            "left": self.left,
            "right": self.right,
            "opacity": f"{self.opacity:g}",
        }

    @classmethod
    def from_query(
        cls,
        query: Mapping[str, str],
        views: Collection[str],
        sources: Collection[str],
        results: Collection[str] = (),
        scenes: Collection[str] = (),
    ) -> Looking:
        """What the entries say. views, sources, results, scenes (names of examples): those that there are."""
        usual, said = cls(), {name: query.get(name, text) for name, text in cls()._texts().items()}

        def one(name: str, known: Collection[str], otherwise: str) -> str:
            return said[name] if said[name] in known else otherwise

        return cls(
            view=one("view", views, usual.view),
            points=_points(said["seeds"]),
            sources=tuple(name for name in _names(said["sources"]) if name in sources),
            stage=one("stage", _values(ATTENTION_STAGES), usual.stage),
            scale=one("scale", _values(SCALES), usual.scale),
            windows=said["in"] == "windows",
            hidden=_names(said["hidden"]),
            head=menus.head_of(said["head"]),
            by=one("alike", _values(BY), usual.by),
            share=_number(said["share"], 0.01, usual.share),
            second=one("second", scenes, usual.second),
            way=one("way", _values(WAYS), usual.way),
            left=one("left", results, usual.left),
            right=one("right", results, usual.right),
            opacity=_number(said["opacity"], 0, usual.opacity),
        )


def _values(choices: Sequence[tuple[str, str]]) -> list[str]:
    """Of a radio's choices, each (label, value)."""
    return [value for _, value in choices]


def _number(text: str, least: float, otherwise: float) -> float:
    """A number between `least` and 1."""
    try:
        value = float(text)
    except ValueError:
        return otherwise
    return value if least <= value <= 1 else otherwise


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
