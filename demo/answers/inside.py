"""What the tab "Look inside" does, one plain function an event. All of it is drawn from the visitor's stages.

Points are (x, y) in pixels of the picture's own size; H x W pixels of a picture as drawn.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import proxyclip_core as pc
from demo import limits, menus
from demo.answers import ground_truth
from demo.draw import figures
from demo.draw.heat_map import STRIP, Box, extent, heat_map, number_text, with_seed, with_windows
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
SCALES = [
    ("Own: each from its lowest to its highest", "own"),
    ("Shared by all maps", "shared"),
    ("Shared, times uniform (1/N)", "uniform"),
]
MAP_SIDE = 400  # pixels of the longer side of a map
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
    what the browser holds. windows: in those of the result, where the whole picture is one otherwise. head: of CLIP's
    own attention, from 0 on; None for the mean of all. label_map: a file, and mask_word: the object of a mask, see
    `ground_truth.of`. examples: of the gallery, which bring their truth. by, share, other: of what is like the seeds:
    by "beta", or "share" in 0..1; in the second picture `other`, a file, or in this one. way: of `to_word.WAYS`.
    """

    sources: tuple[str, ...] = (menus.OWN_ATTENTION,)
    stage: str = "softmax"
    scale: str = "own"
    windows: bool = False
    head: int | None = None
    seeds: Any = None
    label_map: str | None = None
    examples: tuple[Example, ...] = ()
    mask_word: str | None = None
    by: str = "beta"
    share: float = 0.1
    other: str = ""
    way: str = "proxy"

    @property
    def own_attention(self) -> bool:
        return menus.OWN_ATTENTION in self.sources

    def of(self, settings: pc.Settings) -> pc.Settings:
        """The settings of what is looked at, for these of the page."""
        return settings if self.windows else replace(settings, windows="whole")

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


def shown_points(stages: Stages, view: View) -> tuple[Point, ...]:
    """The seeds that lie on the picture, or its middle."""
    height, width = size_of(stages)
    return on_picture(stages, view) or ((width / 2, height / 2),)


def on_picture(stages: Stages, view: View) -> tuple[Point, ...]:
    """The seeds that lie on the picture."""
    (height, width), seeds = size_of(stages), Seeds.read(view.seeds, stages.digest)
    return tuple((x, y) for x, y in seeds.points if 0 <= x < width and 0 <= y < height)


def grid_of(features: pc.ImageFeatures, source: str = "vfm") -> tuple[int, int]:
    """(h, w) of the patches of one window."""
    if source == "clip" or features.vfm is None:
        return features.clip_grid
    return features.vfm.shape[-2], features.vfm.shape[-1]


def patch_box(layout: WindowLayout, grid_hw: tuple[int, int], point: Point) -> Box:
    """(x0, y0, x1, y1) of the patch under a point, in the first window that holds it; may reach past the picture."""
    window, patch = layout.patches_at(point, grid_hw)[0]
    row, column = divmod(patch, grid_hw[1])
    rows, columns = (_edges(layout, grid_hw, axis)[layout.corners[window][axis]] for axis in (0, 1))
    return columns[column], rows[row], columns[column + 1], rows[row + 1]


def _edges(layout: WindowLayout, grid_hw: tuple[int, int], axis: int) -> dict[int, np.ndarray]:
    """First row (or column) of a window -> borders of its patches along the axis, in picture pixels."""
    pitch = layout.padded_hw[axis] / grid_hw[axis]
    inside = np.arange(grid_hw[axis] + 1) * pitch - layout.padding_top_left[axis]
    scale = layout.size_hw[axis] / layout.scaled_hw[axis]
    return {start: (inside + start) * scale for start in (layout.tops, layout.lefts)[axis]}


@dataclass(frozen=True, eq=False)
class Source:
    """Whose attention is shown. kind: "vfm" or "clip", as in `ProxyCLIP.seed_attention`. head: of CLIP's own."""

    name: str
    kind: str
    settings: pc.Settings
    features: pc.ImageFeatures
    stage: str = "softmax"
    head: int | None = None

    @property
    def grid_hw(self) -> tuple[int, int]:
        """(h, w) of the patches of one window."""
        return grid_of(self.features, self.kind)


def sources(stages: Stages, view: View) -> list[Source]:
    """Up to limits.MOST_SOURCES, each of the whole picture in one window unless the view is of windows."""
    s = view.of(stages.settings)
    found = []
    if view.own_attention:
        name = menus.OWN_ATTENTION + ("" if view.head is None else f", head {view.head + 1}")
        features = stages.features(replace(s, fusion="clip"))
        found.append(Source(name, "clip", s, features, head=view.head))
    variants = view.vfms(s, limits.MOST_SOURCES - view.own_attention)
    return found + [Source(menus.vfm_title(v), "vfm", v, stages.features(v), view.stage) for v in variants]


def attention_maps(stages: Stages, view: View) -> tuple[Captioned, int]:
    """(map over the picture, caption) for every seed from every source, Fig. 2 of the paper; and how many sources."""
    size_hw, s = drawn_size(stages, MAP_SIDE), view.of(stages.settings)
    picture, model, shown = picture_at(stages.canvas(), size_hw), stages.model(), sources(stages, view)
    regions = stages.scope(replace(s, fusion="proxy"))
    found = []
    for number, spot in enumerate(as_drawn(stages, point, size_hw) for point in shown_points(stages, view)):
        for source in shown:
            values = _values(model, source, spot, size_hw, s, regions)
            found.append((number, spot, source, times_uniform(values, source) if view.scale == "uniform" else values))
    common = {
        stage: extent(*(values for *_, one, values in found if one.stage == stage))
        for stage in {one.stage for one in shown}
    }
    maps = []
    for number, spot, source, values in found:
        low, high = extent(values) if view.scale == "own" else common[source.stage]
        drawn = _with_spot(heat_map(values, picture, low, high), source.features, source.grid_hw, spot, number)
        ends = f"{number_text(low)} to {number_text(high)}"  # on the bar there may be no room for them
        maps.append((drawn, f"{number + 1} · {source.name} · {ends}"))
    return maps, len(shown)


def _values(
    model: pc.ProxyCLIP,
    source: Source,
    spot: Point,
    size_hw: tuple[int, int],
    s: pc.Settings,
    regions: pc.Regions | None,
) -> np.ndarray:
    """(H, W) as drawn: what one source's patch under a point of the picture as drawn attends to."""
    how: dict[str, Any] = {"stage": source.stage, "source": source.kind, "regions": regions, "head": source.head}
    return model.seed_attention(at_size(source.features, size_hw), spot, s.beta, s.gamma, **how)


def times_uniform(values: np.ndarray, source: Source) -> np.ndarray:
    """Shares of attention in multiples of what each patch would have if all had the same; other stages as they are."""
    return values * (source.grid_hw[0] * source.grid_hw[1]) if source.stage == "softmax" else values


def attention_map(
    model: pc.ProxyCLIP,
    features: pc.ImageFeatures,
    picture: np.ndarray,
    spot: Point,
    s: pc.Settings,
    stage: str,
    source: str,
) -> np.ndarray:
    """What one seed attends to, as colours over the picture (H, W, 3), whichever size it is drawn at.

    spot: (x, y) on the picture as drawn. stage, source: as in `ProxyCLIP.seed_attention`.
    """
    size_hw = (picture.shape[0], picture.shape[1])
    values = model.seed_attention(at_size(features, size_hw), spot, s.beta, s.gamma, stage=stage, source=source)
    return _with_spot(heat_map(values, picture), features, grid_of(features, source), spot)


def _with_spot(
    drawn: np.ndarray, features: pc.ImageFeatures, grid_hw: tuple[int, int], spot: Point, number: int = 0
) -> np.ndarray:
    """A map with its seed, the seed's patch, and the windows that hold it where there are several."""
    layout = at_size(features, (drawn.shape[0] - STRIP, drawn.shape[1])).layout
    boxes = window_boxes(layout)
    if len(boxes) > 1:
        holding = [f"window {window + 1} of {layout.count}" for window, _ in layout.patches_at(spot, grid_hw)]
        drawn = with_windows(drawn, {name: boxes[name] for name in holding})
    return with_seed(drawn, spot, patch_box(layout, grid_hw, spot), number)


def window_boxes(layout: WindowLayout) -> dict[str, Box]:
    """Name -> (x0, y0, x1, y1) of each window, in picture pixels."""
    down, across = (full / scaled for full, scaled in zip(layout.size_hw, layout.scaled_hw))
    height, width = layout.window_hw
    return {
        f"window {place} of {layout.count}": (left * across, top * down, (left + width) * across, (top + height) * down)
        for place, (top, left) in enumerate(layout.corners, 1)
    }


def at_size(features: pc.ImageFeatures, size_hw: tuple[int, int]) -> pc.ImageFeatures:
    """The same for the picture as drawn."""
    return replace(features, layout=replace(features.layout, size_hw=size_hw))


def as_drawn(stages: Stages, point: Point, size_hw: tuple[int, int]) -> Point:
    """A point of the picture itself, on the picture as it is drawn at a size."""
    height, width = size_of(stages)
    return point[0] * size_hw[1] / width, point[1] * size_hw[0] / height


def similarity(stages: Stages, view: View) -> tuple[str, list[list[str]]]:
    """The figure of all pairwise similarities, and one row of numbers a VFM."""
    s, model, found, rows, of_seed = stages.settings, stages.model(), {}, [], {}
    seed = shown_points(stages, view)[-1]
    for variant in view.vfms(s):
        features = stages.features(variant)
        name = menus.vfm_title(variant)
        numbers = found[name] = model.similarity_statistics(features, s.beta, s.gamma)
        of_seed[name] = model.seed_attention(features, seed, stage="cosine", on="grid")
        height, width = grid_of(features)
        masked, attended = f"{numbers.masked_share * 100:.1f} %", f"{numbers.attended:.0f} of {height * width}"
        rows.append([name, f"{numbers.mean:.3f}", masked, attended])
    return figures.similarity_figure(found, s.beta, of_seed), rows


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
