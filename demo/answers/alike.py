"""What is like the seeds, as the vision models see it: in the picture itself as a mask, in another one as a map.
Axes: H x W pixels of a picture, as drawn or its own. Points are (x, y).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import proxyclip_core as pc
from demo import limits, menus
from demo.answers.inside import MAP_SIDE, Captioned, Point, View, as_drawn, at_size, drawn_size, shown_points, size_of
from demo.draw.heat_map import SEED_COLOURS, heat_map, with_seed
from demo.draw.legend import percent
from demo.stages import Stages
from proxyclip_core.drawing.overlay import borders, picture_at, size_within
from proxyclip_core.export.encoding import png
from proxyclip_core.export.saving import pack

BY = [("beta times the mean, as attention has it", "beta"), ("The most similar share of the picture", "share")]


@dataclass(frozen=True, eq=False)
class Found:
    """Of one seed, number from 0 on, and one source: `likeness` in `picture` (H, W, 3), as drawn. spot: the seed, or in
    a second picture the best match. size_hw: of the picture itself."""

    number: int
    spot: Point
    source: str
    picture: np.ndarray
    likeness: pc.Likeness
    size_hw: tuple[int, ...]


def alike(stages: Stages, view: View) -> tuple[Captioned, int]:
    """(picture, caption) for every seed and vision model; and how many of the latter."""
    found = list(_find(stages, view))
    return [_with_match(one) if view.other else _with_mask(one, stages, view) for one in found], _columns(found)


def masks(stages: Stages, view: View) -> tuple[str, bytes]:
    """(name, content) of the masks at the picture's own size, white on black: a PNG, or a zip of several.

    Those in the second picture, where there is one, are of the pixels that are like the seeds there.
    """
    shown = stages.beside(view.other) if view.other else stages
    points, models = shown_points(stages, view), view.vfms(stages.settings)
    limits.check_saved(shown.picture().shape, len(points) * len(models))
    files = [
        (_file_name(found), png(_mask(found, stages, view) * np.uint8(255)))
        for found in _find(stages, view, longest=None)
    ]
    if len(files) == 1:
        return f"alike_{files[0][0]}", files[0][1]
    packed = io.BytesIO()
    pack(packed, files)
    return "alike.zip", packed.getvalue()


def pick(stages: Stages, index_xy: Point) -> dict[str, object]:
    """The one seed that a click at a pixel of `picked_picture` means, as the browser holds seeds."""
    (height, width), (drawn_h, drawn_w) = size_of(stages), drawn_size(stages, MAP_SIDE)
    x, y = (index_xy[0] + 0.5) * width / drawn_w, (index_xy[1] + 0.5) * height / drawn_h
    point = (min(max(x, 0), width - 1), min(max(y, 0), height - 1))
    return {"picture": stages.digest, "points": [point]}


def picked_picture(stages: Stages, view: View) -> np.ndarray:
    """(H, W, 3) uint8: the picture with its seeds, to choose another one on."""
    size_hw = drawn_size(stages, MAP_SIDE)
    drawn = picture_at(stages.picture(), size_hw)
    for number, point in enumerate(shown_points(stages, view)):
        drawn = with_seed(drawn, as_drawn(stages, point, size_hw), None, number)
    return drawn


def _find(stages: Stages, view: View, longest: int | None = MAP_SIDE) -> Iterator[Found]:
    """longest: pixels of the longer side of a picture as it is drawn; None for its own size."""
    shown = stages.beside(view.other) if view.other else stages
    full = shown.picture()
    size_hw = _drawn_size(full.shape[:2], longest)
    picture = picture_at(full, size_hw)
    for number, point in enumerate(shown_points(stages, view)):
        for variant in view.vfms(view.of(stages.settings)):
            found = pc.likeness(stages.features(variant), point, at_size(shown.features(variant), size_hw))
            spot = found.best_xy if view.other else as_drawn(stages, point, size_hw)
            yield Found(number, spot, menus.vfm_title(variant), picture, found, full.shape[:2])


def _mask(found: Found, stages: Stages, view: View) -> np.ndarray:
    return found.likeness.mask(stages.settings.beta, view.share if view.by == "share" else None)


def _columns(found: list[Found]) -> int:
    return sum(one.number == 0 for one in found)


def _with_mask(found: Found, stages: Stages, view: View) -> tuple[np.ndarray, str]:
    mask = _mask(found, stages, view)
    grey = np.repeat((found.picture @ np.array([0.299, 0.587, 0.114]))[..., None], 3, axis=-1) * 0.3
    drawn = np.where(mask[..., None], found.picture, grey).astype(np.uint8)
    colour = SEED_COLOURS[found.number % len(SEED_COLOURS)]
    drawn[borders(mask)] = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    caption = f"{found.number + 1} · {found.source} · {percent(float(mask.mean()))} of the picture"
    return with_seed(drawn, found.spot, None, found.number), caption


def _with_match(found: Found) -> tuple[np.ndarray, str]:
    drawn = with_seed(heat_map(found.likeness.values, found.picture), found.spot, None, found.number)
    (height, width), (drawn_h, drawn_w) = found.size_hw, found.picture.shape[:2]
    place = f"({int((found.spot[0] + 0.5) * width / drawn_w)}, {int((found.spot[1] + 0.5) * height / drawn_h)})"
    return drawn, f"{found.number + 1} · {found.source} · best match at {place}, similarity {found.likeness.best:.2f}"


def _drawn_size(size_hw: tuple[int, ...], longest: int | None) -> tuple[int, int]:
    return (size_hw[0], size_hw[1]) if longest is None else size_within(size_hw, longest, longest)


def _file_name(found: Found) -> str:
    return f"{found.number + 1}_{re.sub('[^A-Za-z0-9.-]+', '_', found.source)[:60]}.png"
