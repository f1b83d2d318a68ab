"""What the tab "Look inside" does, one plain function an event. All of it is drawn from the visitor's staged values.

Points are (x, y) in pixels of the picture's own size; W x H pixels of a picture as drawn.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

import proxyclip_core as pc
from demo.answers import ground_truth as truth
from demo.draw import figures
from demo.session import Staged
from demo.variants import Bench, chosen_vfms
from proxyclip_core.pca import pca_picture
from proxyclip_core.windows import WindowLayout

MOST_SEEDS = 4
MOST_SOURCES = 4
OWN_ATTENTION = "CLIP's own attention"
STAGES = [("Before masking (cosine)", "cosine"), ("After normalisation", "normalised"), ("After softmax", "softmax")]
MAP_SIDE, CLICK_SIDE = 400, 900  # pixels of the longer side of a map, and of the picture that is clicked
Point = tuple[float, float]


@dataclass(frozen=True)
class Seeds:
    """points: at most MOST_SEEDS, for the picture with this key. Without any, the picture's middle stands in."""

    picture: tuple = ()
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Look:
    """What is looked at: other VFMs beside the page's own, whether CLIP's own attention too, and how."""

    others: tuple[str, ...] = ()
    own_attention: bool = True
    stage: str = "softmax"
    beta: float = 1.2
    gamma: float = 3.0
    grid: bool = False


def seeds_of(staged: Staged, seeds: Seeds | None) -> Seeds:
    """The seeds of the staged picture: none of another one's."""
    key = staged.made_from["picture"]
    return seeds if seeds and seeds.picture == key else Seeds(key)


def shown_points(staged: Staged, seeds: Seeds) -> tuple[Point, ...]:
    height, width = size_of(staged)
    return seeds.points or ((width / 2, height / 2),)


def size_of(staged: Staged) -> tuple[int, int]:
    """(H, W) of the picture itself."""
    return staged.logits.layout.size_hw


def click(staged: Staged, seeds: Seeds | None, index_xy: Sequence[float]) -> Seeds:
    """A click on the picture as drawn -> one seed more; past MOST_SEEDS the last one moves there."""
    seeds = seeds_of(staged, seeds)
    (height, width), (drawn_h, drawn_w) = size_of(staged), drawn_size(staged, CLICK_SIDE)
    x, y = (index_xy[0] + 0.5) * width / drawn_w, (index_xy[1] + 0.5) * height / drawn_h
    point = (min(max(x, 0), width - 1), min(max(y, 0), height - 1))
    return replace(seeds, points=(*seeds.points[: MOST_SEEDS - 1], point))


def undo(staged: Staged, seeds: Seeds | None) -> Seeds:
    seeds = seeds_of(staged, seeds)
    return replace(seeds, points=seeds.points[:-1])


def move(bench: Bench, seeds: Seeds | None, step_xy: tuple[int, int]) -> Seeds:
    """The last seed goes to a neighbouring patch of the page's VFM."""
    seeds = seeds_of(bench.staged, seeds)
    points = shown_points(bench.staged, seeds)
    features = bench.features()
    x0, y0, x1, y1 = patch_box(features.layout, tuple(features.vfm.shape[-2:]), points[-1])
    height, width = size_of(bench.staged)
    x = (x0 + x1) / 2 + step_xy[0] * (x1 - x0)
    y = (y0 + y1) / 2 + step_xy[1] * (y1 - y0)
    if not (0 <= x < width and 0 <= y < height):
        return seeds
    return replace(seeds, points=(*points[:-1], (x, y)))


def patch_box(layout: WindowLayout, grid_hw: tuple[int, int], point: Point) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) of the patch under a point, in the first window that holds it; may reach past the picture."""
    window, patch = layout.patches_at(point, grid_hw)[0]
    row, column = divmod(patch, grid_hw[1])
    edges = [_edges(layout, grid_hw, axis)[layout.corners[window][axis]] for axis in (0, 1)]
    return edges[1][column], edges[0][row], edges[1][column + 1], edges[0][row + 1]


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


def drawn_size(staged: Staged, longest: int) -> tuple[int, int]:
    """(H, W) of the picture with its longer side at `longest`, also where it is smaller than that."""
    height, width = size_of(staged)
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def drawn_picture(staged: Staged, longest: int) -> np.ndarray:
    height, width = drawn_size(staged, longest)
    return np.asarray(Image.fromarray(staged.picture).resize((width, height), Image.Resampling.BICUBIC))


def picture_with_seeds(bench: Bench, seeds: Seeds, look: Look) -> np.ndarray:
    """What is clicked on: the picture with its seeds, and on demand the page's VFM's patches."""
    features, points = bench.features(), shown_points(bench.staged, seeds)
    picture = drawn_picture(bench.staged, CLICK_SIDE)
    layout, grid_hw = _at_size(features, picture.shape[:2]).layout, tuple(features.vfm.shape[-2:])
    spots = _scaled(bench.staged, points, picture.shape[:2])
    boxes = [patch_box(layout, grid_hw, spot) for spot in spots]
    return figures.seeds_on(picture, spots, boxes, grid_lines(layout, grid_hw) if look.grid else None)


def attention_maps(bench: Bench, seeds: Seeds, look: Look) -> list[tuple[np.ndarray, str]]:
    """(map over the picture, caption) for every seed from every source; Fig. 2 of the paper."""
    vfms = chosen_vfms(bench, look.others, MOST_SOURCES - look.own_attention)
    picture, maps = drawn_picture(bench.staged, MAP_SIDE), []
    spots = _scaled(bench.staged, shown_points(bench.staged, seeds), picture.shape[:2])
    sources = [(name, "vfm", look.stage, bench.features(name)) for name in vfms]
    if look.own_attention:
        sources.insert(0, (OWN_ATTENTION, "clip", "softmax", bench.features()))
    model = bench.model()
    for number, spot in enumerate(spots):
        for name, source, stage, features in sources:
            features = _at_size(features, picture.shape[:2])
            values = model.seed_attention(features, spot, look.beta, look.gamma, stage=stage, source=source)
            grid_hw = features.clip_grid if source == "clip" else tuple(features.vfm.shape[-2:])
            box = patch_box(features.layout, grid_hw, spot)
            maps.append((figures.heat_map(picture, values, spot, box, number), f"{number + 1} · {name}"))
    return maps


def columns(bench: Bench, look: Look) -> int:
    """Maps in a row of the gallery: one a source, so that each seed has a row of its own."""
    return len(chosen_vfms(bench, look.others, MOST_SOURCES - look.own_attention)) + look.own_attention


def _at_size(features: pc.ImageFeatures, size_hw: tuple[int, int]) -> pc.ImageFeatures:
    """The same features, read out for the picture at another size."""
    return replace(features, layout=replace(features.layout, size_hw=tuple(size_hw)))


def _scaled(staged: Staged, points: Sequence[Point], size_hw: tuple[int, int]) -> list[Point]:
    height, width = size_of(staged)
    return [(x * size_hw[1] / width, y * size_hw[0] / height) for x, y in points]


def describe_seeds(staged: Staged, seeds: Seeds) -> str:
    """One line: where the seeds are."""
    if not seeds.points:
        return "Click the picture to choose a patch; until then the one in the middle is shown."
    parts = [f"{number}: ({int(x)}, {int(y)})" for number, (x, y) in enumerate(seeds.points, 1)]
    more = "" if len(seeds.points) < MOST_SEEDS else " The next click moves the last one."
    return f"Seeds at (x, y) {', '.join(parts)}.{more}"


def similarity(bench: Bench, look: Look) -> tuple[str, list[list[str]]]:
    """The figure of all pairwise similarities, and one row of numbers a VFM."""
    found = {
        name: bench.model().similarity_statistics(bench.features(name), look.beta, look.gamma)
        for name in chosen_vfms(bench, look.others, MOST_SOURCES)
    }
    rows = [
        [name, f"{s.mean:.3f}", f"{s.masked_share * 100:.1f} %", f"{s.attended:.0f} of {_patches(bench, name)}"]
        for name, s in found.items()
    ]
    return figures.similarity_figure(found, look.beta), rows


def _patches(bench: Bench, vfm: str) -> int:
    height, width = bench.features(vfm).vfm.shape[-2:]
    return height * width


def feature_pictures(bench: Bench, look: Look) -> list[tuple[np.ndarray, str]]:
    """(picture, caption): the main directions of each VFM's features, and of the fused ones, as red, green, blue."""
    size_hw = drawn_size(bench.staged, MAP_SIDE)
    parts = [(name, bench.features(name).vfm) for name in chosen_vfms(bench, look.others, MOST_SOURCES)]
    dense = bench.dense(bench.current)
    parts.append((f"CLIP's values, fused by {bench.vfm}", dense.tokens))
    layout = replace(dense.layout, size_hw=size_hw)
    return [(np.rint(pca_picture(values, layout) * 255).astype(np.uint8), name) for name, values in parts]


def against_truth(bench: Bench, look: Look, true: truth.Truth) -> tuple[str, str]:
    """The figure of precision and recall, and a line on the mIoU."""
    features, model = bench.features(), bench.model()
    curves = {
        "CLIP's values": truth.curve_of_values(model, features, true),
        OWN_ATTENTION: truth.curve_of_attention(model, features, true),
    }
    for name in chosen_vfms(bench, look.others, MOST_SOURCES):
        curves[name] = truth.curve_of_vfm(bench.features(name), true)
    return figures.precision_recall_figure(curves), miou_line(bench, true)


def miou_line(bench: Bench, true: truth.Truth) -> str:
    """HTML: the mIoU of the staged result."""
    miou, missing = truth.score(bench.labels(bench.current), bench.staged.vocabulary.names, true)
    if miou is None:
        return "<p>None of the true classes is among your words, so there is nothing to score.</p>"
    text = f"<p><strong>mIoU {miou * 100:.1f} %</strong> of the current result.</p>"
    if missing:
        text += f"<p>Not among your words, so not counted: {html.escape(', '.join(missing))}.</p>"
    return text
