"""Refinement: a stage between `classify` and `segment`, past the paper and without training.

`refine` is the door; the methods themselves are functions on tensors, one a file.

- "none": the paper.
- "patches": scores move along a graph of the patches of all windows (`patches`, LPOSS).
- "pixels": scores follow the colours of the picture (`pixels`, PAMR), with NACLIP's settings.
- "quick": the same with settings that measure better on drawn scenes, at a size that takes a tenth of a second.
- "pixels+": "patches", and then along a graph of pixels (`pixel_graph`, LPOSS+). Seconds on a CPU.
- "sam-prompts": parts of classes ask SAM for the things that they lie on (`prompts`, Trident).
- "sam": pixels of one of SAM's regions take the class that most of them have (`regions`, CorrCLIP's map correction).

What "patches" gives is on the patch grid again, so that "pixels" can follow.

Axes: B windows, h x w patches of one window, Q queries, H x W pixels of the working size.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from proxyclip_core import readout
from proxyclip_core.picture import ImageLike, picture_digest, read_image, resized
from proxyclip_core.refine.patches import PatchGraph, graph_of, picture_graph
from proxyclip_core.refine.pixel_graph import pixel_graph
from proxyclip_core.refine.pixels import ColourGraph, colour_graph
from proxyclip_core.refine.regions import vote
from proxyclip_core.refine.solver import propagate
from proxyclip_core.settings import SETTINGS
from proxyclip_core.types import ClassLogits, ImageFeatures, PixelLogits, Refined, RegionLogits, Regions, SamViews

if TYPE_CHECKING:
    from proxyclip_core.models.sam import SamModel

ON = ("scores", "logits")
SMALLEST_SCORE = 1e-30  # whose logarithm is still finite
WITH_SPARSE = ("cpu", "cuda")  # devices for which torch multiplies sparse matrices; for others the CPU does
BY_SAM = ("sam", "sam-prompts")  # the methods that ask SAM
BY_PATCHES = ("patches", "pixels+")  # those that move scores along the graph of patches
BY_COLOURS = ("pixels", "quick")  # and along the graph of colours
BY_GRAPH = BY_PATCHES + BY_COLOURS


@torch.no_grad()
def refine(
    logits: ClassLogits, features: ImageFeatures, image: ImageLike, method: str = "none", **settings: Any
) -> Refined:
    """Logits that the picture itself has sharpened, to be read with `.segment`, `.scores` and `.scores_at` as before.

    logits, features, image: of one picture. method: one of `SETTINGS["refine"]`, see above.
    settings, for "patches": `k`, `gamma`, `sigma`, `power` and `alpha` of LPOSS; `rivals`; `graph`, in place of the
        first four, which `ProxyCLIP.patch_graph` gives: it is the larger part of the work, and no word changes it.
        For "pixels" and "quick": `dilations` and `rounds` of PAMR; `on`, whether softmax "scores" or "logits" are
        refined; `rivals` and `long_side`; `graph`, in place of `dilations`, which `ProxyCLIP.colour_graph` gives.
        For "pixels+": `tau`, `radius` and `alpha` of LPOSS+; `rivals` and `long_side`; `graph` as above.
        For "sam": `regions`, which `ProxyCLIP.regions` gives. For "sam-prompts": `views` and `model`, of
        `ProxyCLIP.sam_views` and `.sam_model`; `score`, `area`, `iou` and `most` as in `prompts.prompt`.
        rivals: only queries that are the best of some patch, or among this many next best, are refined; None refines
        all. long_side: pixels of the size that is worked at, unless the picture is smaller; None: the picture's own.
    Raises ValueError for what is of different pictures, and for a method or a setting that does not exist.
    """
    SETTINGS["refine"].check(method)
    known = _settings_of(method)
    if unknown := set(settings) - set(known):
        raise ValueError(
            f"refine {method!r} has no setting {', '.join(sorted(unknown))}; it has: {', '.join(known) or 'none'}."
        )
    picture = None if method == "none" else read_image(image)  # which "none" does not look at
    if logits.picture != features.picture or (picture is not None and picture_digest(picture) != logits.picture):
        raise ValueError(
            "The logits, the features and the image are not of one picture. Encode this picture and classify that."
        )
    if picture is None:
        return logits
    here = logits if logits.values.device.type in WITH_SPARSE else logits.to("cpu")
    return METHODS[method](here, features, picture, **settings)


def _settings_of(method: str) -> list[str]:
    """The names of a method's settings, as its function has them."""
    if method == "none":
        return []
    parameters = inspect.signature(METHODS[method]).parameters
    return [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]


def _on_patches(
    logits: ClassLogits,
    features: ImageFeatures,
    picture: np.ndarray,
    *,
    k: int = 400,
    gamma: float | None = None,
    sigma: float = 0.01,
    power: float = 1.0,
    alpha: float = 0.95,
    rivals: int | None = 1,
    graph: PatchGraph | None = None,
) -> ClassLogits:
    layout, values = logits.layout, logits.values
    if features.layout != layout:
        raise ValueError("The features and the logits have different windows. Encode and classify with the same.")
    grid_hw = values.shape[-2], values.shape[-1]
    if graph is None:
        graph = picture_graph(features, grid_hw, k=k, gamma=gamma, sigma=sigma, power=power, device=values.device)
    elif graph.of != graph_of(features, grid_hw):
        raise ValueError("The graph is of another picture, vision model, facet, windows or grid. Make that of these.")
    graph = graph.to(values.device)
    queries = _contenders(values, rivals)
    scores = values[:, queries].float().movedim(1, -1).flatten(0, 2).T  # (q, P), in memory patch by patch
    moved = graph.of_patches(propagate(graph, graph.of_nodes(scores), alpha))
    moved = moved.unflatten(1, (layout.count, *grid_hw)).transpose(0, 1)
    return replace(logits, values=values.float().index_copy(1, queries, moved.contiguous()))


def _on_pixels(
    logits: ClassLogits,
    features: ImageFeatures,
    picture: np.ndarray,
    *,
    dilations: Sequence[int] = (8, 16),
    rounds: int = 10,
    on: str = "logits",
    rivals: int | None = 1,
    long_side: int | None = 640,
    graph: ColourGraph | None = None,
) -> PixelLogits:
    if on not in ON:
        raise ValueError(f"on is {on!r}; expected one of {', '.join(ON)}.")
    if graph is None:
        graph = picture_colours(picture, logits.picture, dilations, long_side, logits.values.device)
    elif graph.of != (logits.picture, _working_size(logits.layout.size_hw, long_side)):
        raise ValueError("The graph is of another picture or working size. Make that of these.")
    queries, maps, total = _at_pixels(logits, rivals, long_side, with_total=on == "scores")
    graph = graph.to(maps.device)
    if on == "logits":
        values = graph(maps, rounds)
    else:
        refined = graph(maps.sub_(total).mul_(readout.LOGIT_SCALE).exp_(), rounds)
        # Back to logits, whose softmax together with the queries that were not refined gives these scores again.
        values = refined.clamp_(min=SMALLEST_SCORE).log_().div_(readout.LOGIT_SCALE).add_(total)
    return PixelLogits(logits.layout, values, queries, logits.values, logits.vocabulary, logits.picture)


def _quick(
    logits: ClassLogits,
    features: ImageFeatures,
    picture: np.ndarray,
    *,
    dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
    rounds: int = 10,
    on: str = "scores",
    rivals: int | None = 1,
    long_side: int | None = 448,
    graph: ColourGraph | None = None,
) -> PixelLogits:
    ways: dict[str, Any] = {"dilations": dilations, "rounds": rounds, "on": on, "rivals": rivals}
    return _on_pixels(logits, features, picture, **ways, long_side=long_side, graph=graph)


def _on_pixel_graph(
    logits: ClassLogits,
    features: ImageFeatures,
    picture: np.ndarray,
    *,
    tau: float = 0.01,
    radius: int = 6,
    alpha: float = 0.95,
    rivals: int | None = 1,
    long_side: int | None = 480,
    graph: PatchGraph | None = None,
) -> PixelLogits:
    logits = _on_patches(logits, features, picture, graph=graph)
    queries, maps, _ = _at_pixels(logits, rivals, long_side)
    image = _colours(picture, long_side, maps.device)
    values = propagate(pixel_graph(image, tau=tau, radius=radius), maps, alpha)
    return PixelLogits(logits.layout, values, queries, logits.values, logits.vocabulary, logits.picture)


def _by_regions(
    logits: ClassLogits, features: ImageFeatures, picture: np.ndarray, *, regions: Regions | None = None
) -> RegionLogits:
    if regions is None:
        raise ValueError("The refinement 'sam' needs regions=. ProxyCLIP.regions makes them; ProxyCLIP.refine asks it.")
    if regions.picture != logits.picture:
        raise ValueError("The regions are of another picture. Make those of this one.")
    return vote(logits, regions)


def _by_prompts(
    logits: ClassLogits,
    features: ImageFeatures,
    picture: np.ndarray,
    *,
    views: SamViews | None = None,
    model: SamModel | None = None,
    score: float = 0.05,
    area: int = 225,
    iou: float = 0.8,
    most: int = 200,
) -> RegionLogits:
    from proxyclip_core.refine.prompts import prompt  # here, because SAM is slow to import

    if views is None or model is None:
        raise ValueError("The refinement 'sam-prompts' needs views= and model=; ProxyCLIP.refine asks SAM for them.")
    return prompt(logits, views, model, score=score, area=area, iou=iou, most=most)


METHODS: dict[str, Callable[..., Refined]] = {
    "quick": _quick,
    "pixels": _on_pixels,
    "patches": _on_patches,
    "pixels+": _on_pixel_graph,
    "sam": _by_regions,
    "sam-prompts": _by_prompts,
}


def picture_colours(
    picture: np.ndarray, digest: str, dilations: Sequence[int], long_side: int | None, device: torch.device
) -> ColourGraph:
    """The graph of the colours of a picture (H, W, 3) uint8, with this digest, at a working size. It belongs to the
    picture and that size alone, which `of` holds; models, words, beta and gamma change nothing."""
    image = _colours(picture, long_side, device)
    return colour_graph(image, dilations, (digest, tuple(image.shape[1:])))


def _colours(picture: np.ndarray, long_side: int | None, device: torch.device) -> torch.Tensor:
    """(H, W, 3) uint8 -> (3, H, W) in 0..1, at the working size."""
    size_hw = _working_size((picture.shape[0], picture.shape[1]), long_side)
    pixels = torch.from_numpy(resized(picture, size_hw).copy()).to(device)
    return pixels.permute(2, 0, 1).float().div_(255).contiguous()


def _at_pixels(
    logits: ClassLogits, rivals: int | None, long_side: int | None, with_total: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the methods on pixels begin with, at their working size.

    Returns the queries (q,) that are worked on, their logits (q, H, W), and the logarithm of the sum of the
    exponentials of all queries' logits, on the logits' scale (H, W; zeros unless asked for).
    """
    height, width = _working_size(logits.layout.size_hw, long_side)
    queries = _contenders(logits.values, rivals)
    reader = readout.PatchReader(replace(logits.layout, size_hw=(height, width)), logits.values)
    maps = logits.values.new_empty((len(queries), height, width), dtype=torch.float32)
    for rows, chunk, block in reader.blocks(queries.tolist()):
        maps[chunk, rows] = block
    total = torch.zeros_like(maps[0])
    if with_total:
        for rows, _, block in reader.blocks():
            total[rows] += block.sub_(reader.highest).mul_(readout.LOGIT_SCALE).exp_().sum(dim=0)
        total.log_().div_(readout.LOGIT_SCALE).add_(reader.highest)
    return queries, maps, total


def _working_size(size_hw: tuple[int, int], long_side: int | None) -> tuple[int, int]:
    if long_side is not None and long_side < 1:
        raise ValueError(f"long_side is {long_side}; expected 1 or more pixels, or None for the picture's own size.")
    scale = 1.0 if long_side is None else min(1.0, long_side / max(size_hw))
    height, width = (max(1, round(side * scale)) for side in size_hw)
    return height, width


def _contenders(values: torch.Tensor, rivals: int | None) -> torch.Tensor:
    """(q,) in rising order: the queries of logits (B, Q, h, w) that are among the best 1 + rivals of some patch."""
    count = values.shape[1]
    if rivals is None or rivals >= count - 1:
        return torch.arange(count, device=values.device)
    if rivals < 0:
        raise ValueError(f"rivals is {rivals}; expected 0 or more, or None to refine all.")
    return values.topk(1 + rivals, dim=1).indices.unique()
