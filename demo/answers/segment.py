"""What the Segment tab answers, one plain function an event: values in, values out. `tabs` wires them."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import proxyclip_core as pc
from demo import limits
from demo.answers.errors import GONE, UserError, in_words
from demo.asked_words import words_of
from demo.components import as_webp
from demo.draw.heat_map import heat_map
from demo.draw.layers import Layers
from demo.draw.legend import bars_html, legend_html, legend_rows, percent
from demo.examples import Example
from demo.models import Say
from demo.runner import Runner
from demo.stages import Stages
from demo.time_limit import rounded
from demo.visit import Asked, Visit, file_digest
from proxyclip_core.drawing.overlay import size_within

STAGE_WORDS = {
    "words": ("words",),
    "encoders": ("clip", "vfm"),
    "SAM": ("sam", "regions"),
    "fusion": ("dense",),
    "classes": ("logits",),
    "refinement": ("graph", "refined"),
}
WINDOWS_WORDS = {"sliding": "Sliding windows", "whole": "Whole picture"}
# A picture is made ready for the browser while it is segmented, as nothing of that depends on the result.
DRAWING = ThreadPoolExecutor(max_workers=2, thread_name_prefix="drawing")
MAP_SIDE = 720  # pixels of the longer side of a score map, at most


@dataclass(frozen=True)
class Point:
    """Where a person clicked: shares (x, y), in 0..1, of the picture with this digest."""

    x: float
    y: float
    picture: str

    @classmethod
    def read(cls, value: Any) -> Point | None:
        """What a browser sent; None where it makes no sense."""
        try:
            point = cls(float(value["x"]), float(value["y"]), str(value["picture"]))
        except (TypeError, ValueError, KeyError, OverflowError):
            return None
        return point if 0 <= point.x < 1 and 0 <= point.y < 1 else None


@dataclass(frozen=True, eq=False)
class Answer:
    """What a new result changes on the page; None for what stays. error: for the person, "" for none; the visit is what
    was done until then.

    picture: a WebP, on which the browser draws; layers: what it draws on that.
    """

    error: str | None = None
    picture: bytes | None = None
    layers: str | None = None
    legend: str | None = None
    status: str | None = None
    visit: Visit | None = None

    @property
    def is_alone(self) -> bool:
        """Whether all of the picture went to the only class there is."""
        return self.visit is not None and len(self.visit.held("overlay").coverage) == 1


def check(asked: Asked) -> None:
    """Raises ValueError, in words for the person, for what cannot be segmented whichever models do it."""
    if not asked.picture:
        raise UserError("There is no picture yet. Upload one, paste one, or take one with the camera.")
    limits.check_characters(asked.settings.words)
    words_of(asked.settings.words)
    pc.find_clip(asked.settings.clip), pc.find_vfm(asked.settings.vfm)


def segment(
    runner: Runner,
    asked: Asked,
    before: Visit | None,
    say: Say = lambda done, text: None,
) -> Answer:
    """The Segment button. On an error the answer says so and the rest stays; so it does where nothing has changed."""
    start, canvas = time.perf_counter(), None
    try:
        check(asked)
        visit = runner.opening.given(Visit.of(asked, before))
        if before is None or not before.has_result or before.picture != visit.picture:
            visit, canvas = Stages.opened(runner.models, visit)  # what is no picture is found before models load
        runner.load(asked.settings, say)
        seconds = runner.estimate(visit) or 0.0
    except Exception as error:  # noqa: BLE001 every error becomes a line that the person can read
        return Answer(in_words(error))
    say(0.8, "Segmenting …" + (f" about {rounded(seconds)} s" if seconds > limits.TYPING_SECONDS else ""))
    picture = None if canvas is None else DRAWING.submit(as_webp, canvas)
    with runner.opening.made_once(visit) as begun:
        found, visit, failed = runner(_prepare, begun)
        if failed:
            if picture is not None:
                picture.cancel()
            return Answer(failed, visit=visit)
        runner.opening.take(visit)
    if before is not None and before.key("overlay") == visit.key("overlay"):
        same = before.asked.settings == asked.settings
        return Answer("", visit=None if same else replace(visit, ran=before.ran, notes=before.notes))
    ran, notes, device, layers = found
    visit, spent = replace(visit, ran=ran, notes=notes), time.perf_counter() - start
    line = status(visit, device, spent) + against_other_windows(visit, before) + known_limit(asked.settings)
    drawing = visit.held("overlay")
    classes = words_of(asked.settings.words)[0]
    presence = visit.held("presence") or {}
    rows = legend_rows(drawing.coverage, drawing.colours, presence, classes, drawing.patterns)
    try:
        shown = None if picture is None else picture.result()
    except Exception as error:  # noqa: BLE001 likewise
        return Answer(in_words(error), visit=visit)
    return Answer("", shown, layers.as_json(visit.picture, visit.name), legend_html(rows), line, visit)


def _prepare(stages: Stages) -> tuple[dict[str, float], tuple[str, ...], str, Layers]:
    stages.check_time("result")
    stages.words()  # first: a slip is found before the slow encoders have run
    stages.overlay()
    stages.canvas()  # on which other views draw, perhaps when the picture's file is gone
    stages.presence()
    return stages.ran, stages.notes(), str(stages.model().device), stages.layers()


def refresh(runner: Runner, asked: Asked, before: Visit | None, say: Say, shown: str) -> Answer:
    """A setting was changed: as `segment`, but only where a result is shown that is to be brought up to date.

    While models that were chosen are still to be downloaded, the present ones go on. A result that is shown but no
    longer held is made anew.
    """
    if not asked.picture or not (shown or (before and before.has_result)):
        return Answer()
    if not runner.models.ready(asked.settings.clip, asked.settings.vfm):
        if before is None:
            return Answer(GONE)
        present = {name: getattr(before.asked.settings, name) for name in ("clip", "vfm")}
        asked = replace(asked, settings=replace(asked.settings, **present))
    return segment(runner, asked, before, say)


def logits_of(runner: Runner, visit: Visit) -> pc.Refined | None:
    """The logits of the result on the page, made again where they had to make room; None where that fails."""
    return visit.logits or runner(Stages.refined, visit, may_encode=False)[0]


def scores_at(logits: pc.Refined, point: Point | None, visit: Visit) -> str:
    """The best classes at a point, as bars; "" where it is of another picture: a click may be answered late."""
    if point is None or point.picture != visit.picture:
        return ""
    height, width = logits.layout.size_hw
    drawing = visit.held("overlay")
    scores = logits.scores_at((point.x * width, point.y * height))
    return bars_html(scores, dict(zip(drawing.coverage, drawing.colours)))


def score_map(logits: pc.Refined, name: str | None) -> np.ndarray | None:
    """The score map of a class, with its colour bar; None where there is no such class."""
    if name not in logits.vocabulary.names:
        return None
    small = replace(logits.layout, size_hw=size_within(logits.layout.size_hw, most=MAP_SIDE))
    return heat_map(replace(logits, layout=small).scores(name), low=0.0, ramp="viridis")


def status(visit: Visit, device: str, spent: float) -> str:
    """One line: time spent, on what, and with which models."""
    height, width = visit.held("overlay").size_hw
    times = {word: [visit.ran[stage] for stage in stages if stage in visit.ran] for word, stages in STAGE_WORDS.items()}
    parts = [f"{word} {sum(seconds):.2f} s" for word, seconds in times.items() if seconds]
    detail = f" ({', '.join(parts)})" if parts else ", computed before"
    settings = visit.asked.settings
    where = f"{width} × {height} pixels · {settings.clip} + {settings.vfm} on {device}"
    return f'<p class="status"><strong>{spent:.2f} s</strong>{html.escape(detail)}<br>{html.escape(where)}</p>'


def against_other_windows(visit: Visit, before: Visit | None) -> str:
    """One line, where only the windows were changed: how much faster or slower that is, and how far the labels differ.

    "" where something else was changed too, or one of the results had to make room.
    """
    now, then = visit.asked.settings, before.asked.settings if before else None
    if before is None or then is None or now.windows == then.windows or replace(then, windows=now.windows) != now:
        return ""
    results = [found.held("result") for found in (before, visit)]
    if None in results or before.picture != visit.picture:
        return ""
    differ = percent(float((results[0].labels != results[1].labels).mean()))
    text = f"{WINDOWS_WORDS[now.windows]} instead of {WINDOWS_WORDS[then.windows].lower()}: "
    earlier, later = (sum(found.ran.get(stage, 0) for stage in ("clip", "vfm")) for found in (before, visit))
    if earlier and later:
        ratio = max(earlier, later) / max(min(earlier, later), 1e-3)
        text += f"encoders {ratio:.1f} × {'faster' if earlier > later else 'slower'}, "
    return f'<p class="status">{html.escape(text + differ)} of the labels differ.</p>'


def is_beyond(visit: Visit, examples: Sequence[Example]) -> bool:
    """Whether a picture that is none of the drawn examples was given to the built-in CLIP, which knows only such."""
    if not pc.find_clip(visit.asked.settings.clip).builtin:
        return False
    return all(file_digest(example.picture) != visit.picture for example in examples if not example.is_photograph)


def known_limit(settings: pc.Settings) -> str:
    """One line on what the built-in CLIP cannot do; "" for the others."""
    note = pc.find_clip(settings.clip).note
    return f'<p class="status">{html.escape(note)}</p>' if note else ""
