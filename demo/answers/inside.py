"""What the tab "Look inside" does, one plain function an event. All of it is drawn from the visitor's stages.

Points are (x, y) in pixels of the picture's own size; H x W pixels of a picture as drawn.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import proxyclip_core as pc
from demo import limits, menus
from demo.answers import ground_truth
from demo.draw import figures
from demo.draw.heat_map import heat_map, with_grid, with_seed
from demo.examples import Example
from demo.stages import Stages
from proxyclip_core.drawing.overlay import picture_at, size_within
from proxyclip_core.pca import pca_picture
from proxyclip_core.windows import WindowLayout

ATTENTION_STAGES = [
    ("Before masking (cosine)", "cosine"),
    ("After normalisation", "normalised"),
    ("After softmax", "softmax"),
]
STEPS = {"left": (-1, 0), "up": (0, -1), "down": (0, 1), "right": (1, 0)}
MAP_SIDE, CLICK_SIDE = 400, 900  # pixels of the longer side of a map, and of the picture that is clicked
Point = tuple[float, float]
Captioned = list[tuple[np.ndarray, str]]


@dataclass(frozen=True)
class Seeds:
    """Patches that are looked at. points: for the picture with this digest; without any, its middle stands in."""

    picture: str
    points: tuple[Point, ...] = ()

    @classmethod
    def read(cls, value: Any, picture: str) -> Seeds:
        """What a browser sent, for the picture with this digest: no points where they are another picture's."""
        try:
            listed = value["points"][: limits.MOST_SEEDS] if value["picture"] == picture else []
            points = [(float(x), float(y)) for x, y in listed]
            points = points if np.isfinite(points).all() else []
        except (TypeError, ValueError, KeyError, OverflowError):
            points = []
        return cls(picture, tuple(points))


@dataclass(frozen=True)
class View:
    """What is looked at and how.

    sources: other VFMs and facets than the page's own, and menus.OWN_ATTENTION; unknown names are passed over. seeds:
    what the browser holds. label_map: a file, and mask_word: the object of a mask, see `ground_truth.of`. examples: of
    the gallery, which bring their truth.
    """

    sources: tuple[str, ...] = (menus.OWN_ATTENTION,)
    stage: str = "softmax"
    grid: bool = False
    seeds: Any = None
    label_map: str | None = None
    examples: tuple[Example, ...] = ()
    mask_word: str | None = None

    @property
    def own_attention(self) -> bool:
        return menus.OWN_ATTENTION in self.sources

    def vfms(self, settings: pc.Settings, most: int = limits.MOST_SOURCES) -> list[pc.Settings]:
        """The settings of the page's own VFM, for these of the page, and of the other ticked ones, `most` in all."""
        known = menus.vfm_names(pc.VFM_MODELS, settings.vfm)
        names = dict.fromkeys([menus.vfm_title(settings), *(name for name in self.sources if name in known)])
        return [menus.variant(name, settings) for name in list(names)[:most]]


def size_of(stages: Stages) -> tuple[int, int]:
    """(H, W) of the picture itself."""
    return stages.overlay().size_hw


def drawn_size(stages: Stages, longest: int) -> tuple[int, int]:
    """(H, W) of the picture with its longer side at `longest`, also where it is smaller than that."""
    return size_within(size_of(stages), longest, longest)


def place(stages: Stages, view: View, how: str, index_xy: Sequence[float] | None = None) -> Seeds:
    """The seeds after a click at a pixel of the picture as drawn, or a button of the pad.

    how: "picture", "undo", "clear" or one of STEPS.
    """
    seeds = Seeds.read(view.seeds, stages.digest)
    if how == "picture":
        return _click(stages, seeds, index_xy) if index_xy else seeds
    if how in STEPS:
        return _move(stages, seeds, STEPS[how])
    return replace(seeds, points=seeds.points[:-1] if how == "undo" else ())


def _click(stages: Stages, seeds: Seeds, index_xy: Sequence[float]) -> Seeds:
    """One seed more; past limits.MOST_SEEDS the last one moves."""
    (height, width), (drawn_h, drawn_w) = size_of(stages), drawn_size(stages, CLICK_SIDE)
    x, y = (index_xy[0] + 0.5) * width / drawn_w, (index_xy[1] + 0.5) * height / drawn_h
    point = (min(max(x, 0), width - 1), min(max(y, 0), height - 1))
    return replace(seeds, points=(*seeds.points[: limits.MOST_SEEDS - 1], point))


def _move(stages: Stages, seeds: Seeds, step_xy: tuple[int, int]) -> Seeds:
    """The last seed goes to the middle of a neighbouring patch of the page's VFM, unless it would leave the picture."""
    points, (height, width) = shown_points(stages, seeds), size_of(stages)
    layout, grid_hw = own_grid(stages)
    x0, y0, x1, y1 = patch_box(layout, grid_hw, points[-1])
    x = (x0 + x1) / 2 + step_xy[0] * (x1 - x0)
    y = (y0 + y1) / 2 + step_xy[1] * (y1 - y0)
    if not (0 <= x < width and 0 <= y < height):
        return seeds
    return replace(seeds, points=(*points[:-1], (x, y)))


def shown_points(stages: Stages, seeds: Seeds) -> tuple[Point, ...]:
    """The points that lie on the picture, or its middle."""
    height, width = size_of(stages)
    inside = tuple((x, y) for x, y in seeds.points if 0 <= x < width and 0 <= y < height)
    return inside or ((width / 2, height / 2),)


def own_grid(stages: Stages) -> tuple[WindowLayout, tuple[int, int]]:
    """The windows, and the page's VFM's patches (h, w) in each."""
    features = stages.features(replace(stages.settings, fusion="proxy"))
    return features.layout, grid_of(features)


def grid_of(features: pc.ImageFeatures, source: str = "vfm") -> tuple[int, int]:
    """(h, w) of the patches of one window."""
    if source == "clip" or features.vfm is None:
        return features.clip_grid
    return features.vfm.shape[-2], features.vfm.shape[-1]


def patch_box(layout: WindowLayout, grid_hw: tuple[int, int], point: Point) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) of the patch under a point, in the first window that holds it; may reach past the picture."""
    window, patch = layout.patches_at(point, grid_hw)[0]
    row, column = divmod(patch, grid_hw[1])
    rows, columns = (_edges(layout, grid_hw, axis)[layout.corners[window][axis]] for axis in (0, 1))
    return columns[column], rows[row], columns[column + 1], rows[row + 1]


def grid_lines(layout: WindowLayout, grid_hw: tuple[int, int]) -> tuple[list[float], list[float]]:
    """(rows, columns) at which patches end, in picture pixels. Where windows overlap, those of the first one."""
    lines = []
    for axis in (0, 1):
        found: list[float] = []
        for edges in _edges(layout, grid_hw, axis).values():
            reached = found[-1] if found else 0
            found += [float(edge) for edge in edges if reached < edge < layout.size_hw[axis]]
        lines.append(found)
    return lines[0], lines[1]


def _edges(layout: WindowLayout, grid_hw: tuple[int, int], axis: int) -> dict[int, np.ndarray]:
    """First row (or column) of a window -> borders of its patches along the axis, in picture pixels."""
    pitch = layout.padded_hw[axis] / grid_hw[axis]
    inside = np.arange(grid_hw[axis] + 1) * pitch - layout.padding_top_left[axis]
    scale = layout.size_hw[axis] / layout.scaled_hw[axis]
    return {start: (inside + start) * scale for start in (layout.tops, layout.lefts)[axis]}


def clickable(stages: Stages, view: View) -> tuple[np.ndarray, str]:
    """What is clicked on: the picture with its seeds and, on demand, the patches; and a line on where the seeds are."""
    seeds = Seeds.read(view.seeds, stages.digest)
    layout, grid_hw = own_grid(stages)
    size_hw = drawn_size(stages, CLICK_SIDE)
    drawn, layout = picture_at(stages.overlay().picture, size_hw), replace(layout, size_hw=size_hw)
    if view.grid:
        drawn = with_grid(drawn, *grid_lines(layout, grid_hw))
    for number, spot in enumerate(_scaled(stages, seeds, size_hw)):
        drawn = with_seed(drawn, spot, patch_box(layout, grid_hw, spot), number)
    return drawn, f"<p>{describe_seeds(seeds)}</p>"


def attention_maps(stages: Stages, view: View) -> tuple[Captioned, int]:
    """(map over the picture, caption) for every seed from every source, Fig. 2 of the paper; and how many sources."""
    seeds = Seeds.read(view.seeds, stages.digest)
    size_hw, s = drawn_size(stages, MAP_SIDE), stages.settings
    picture, model, maps = picture_at(stages.overlay().picture, size_hw), stages.model(), []
    variants = view.vfms(s, limits.MOST_SOURCES - view.own_attention)
    sources = [(menus.vfm_title(v), "vfm", view.stage, stages.features(v)) for v in variants]
    if view.own_attention:
        sources.insert(0, (menus.OWN_ATTENTION, "clip", "softmax", stages.features()))
    regions = stages.scope(replace(s, fusion="proxy"))
    for number, spot in enumerate(_scaled(stages, seeds, size_hw)):
        for name, source, stage, features in sources:
            drawn = attention_map(model, features, picture, spot, s, stage, source, number, regions)
            maps.append((drawn, f"{number + 1} · {name}"))
    return maps, len(sources)


def attention_map(
    model: pc.ProxyCLIP,
    features: pc.ImageFeatures,
    picture: np.ndarray,
    spot: Point,
    s: pc.Settings,
    stage: str,
    source: str,
    number: int = 0,
    regions: pc.Regions | None = None,
) -> np.ndarray:
    """What one seed attends to, as colours over the picture (H, W, 3), whichever size it is drawn at.

    spot: (x, y) on the picture as drawn. stage, source, regions: as in `ProxyCLIP.seed_attention`. number: of the seed.
    """
    features = replace(features, layout=replace(features.layout, size_hw=(picture.shape[0], picture.shape[1])))
    how: dict[str, Any] = {"stage": stage, "source": source, "regions": regions}
    values = model.seed_attention(features, spot, s.beta, s.gamma, **how)
    box = patch_box(features.layout, grid_of(features, source), spot)
    return with_seed(heat_map(values, picture), spot, box, number)


def _scaled(stages: Stages, seeds: Seeds, size_hw: tuple[int, int]) -> list[Point]:
    height, width = size_of(stages)
    return [(x * size_hw[1] / width, y * size_hw[0] / height) for x, y in shown_points(stages, seeds)]


def describe_seeds(seeds: Seeds) -> str:
    """One line: where the seeds are."""
    if not seeds.points:
        return "Click the picture to choose a patch; until then the one in the middle is shown."
    parts = [f"{number}: ({int(x)}, {int(y)})" for number, (x, y) in enumerate(seeds.points, 1)]
    more = "" if len(seeds.points) < limits.MOST_SEEDS else " The next click moves the last one."
    return f"Seeds at (x, y) {', '.join(parts)}.{more}"


def similarity(stages: Stages, view: View) -> tuple[str, list[list[str]]]:
    """The figure of all pairwise similarities, and one row of numbers a VFM."""
    s, found, rows = stages.settings, {}, []
    for variant in view.vfms(s):
        features = stages.features(variant)
        name = menus.vfm_title(variant)
        numbers = found[name] = stages.model().similarity_statistics(features, s.beta, s.gamma)
        height, width = grid_of(features)
        masked, attended = f"{numbers.masked_share * 100:.1f} %", f"{numbers.attended:.0f} of {height * width}"
        rows.append([name, f"{numbers.mean:.3f}", masked, attended])
    return figures.similarity_figure(found, s.beta), rows


def feature_pictures(stages: Stages, view: View) -> Captioned:
    """(picture, caption): the main directions of each VFM's features, and of the fused ones, as red, green, blue."""
    size_hw, own = drawn_size(stages, MAP_SIDE), replace(stages.settings, fusion="proxy")
    parts: list[Any] = [(menus.vfm_title(v), stages.features(v).vfm) for v in view.vfms(stages.settings)]
    dense = stages.dense(own)
    parts.append((f"CLIP's values, fused by {menus.vfm_title(own)}", dense.tokens))
    layout = replace(dense.layout, size_hw=size_hw)
    return [(np.rint(pca_picture(values, layout) * 255).astype(np.uint8), name) for name, values in parts]


def against_truth(stages: Stages, view: View) -> tuple[str, str, list[str]]:
    """A line on the mIoU, the figure of precision and recall, and the words of which one is the object of a mask.

    There are none where no mask was given. What the other pixels of a mask show is not known, and so neither is whether
    two of them belong together: there is no figure of it.
    """
    names = list(stages.words().names)
    try:
        true = ground_truth.of(stages, view.label_map, view.examples, view.mask_word)
    except ground_truth.WhichWord as error:
        return f"<p>{html.escape(str(error))}</p>", "", names
    if true is None:
        return "<p>This picture has no true label map yet. Give one above.</p>", "", []
    if true.of_mask:
        return miou_line(stages, true), "", names
    features, model = stages.features(), stages.model()
    curves = {
        "CLIP's values": ground_truth.curve_of_values(model, features, true),
        menus.OWN_ATTENTION: ground_truth.curve_of_attention(model, features, true),
    }
    for variant in view.vfms(stages.settings):
        curves[menus.vfm_title(variant)] = ground_truth.curve_of_vfm(stages.features(variant), true)
    return miou_line(stages, true), figures.precision_recall_figure(curves), []


def miou_line(stages: Stages, true: ground_truth.GroundTruth) -> str:
    """HTML: the mIoU of the current result."""
    miou, missing = ground_truth.score(stages.result().labels, stages.words().names, true)
    if miou is None:
        return "<p>None of the true classes is among your words, so there is nothing to score.</p>"
    what = f": {html.escape(true.words[0])} against all else" if true.of_mask else ""
    text = f"<p><strong>mIoU {miou * 100:.1f} %</strong> of the current result{what}.</p>"
    if missing:
        text += f"<p>Not among your words, so not counted: {html.escape(', '.join(missing))}.</p>"
    return text
