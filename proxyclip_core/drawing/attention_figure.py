"""What patches attend to as one figure, as in Fig. 2 of the paper: the picture with its seeds, a map for each seed and
source, one scale for all maps, and a caption that says how they were made.
`plate` draws it.

Axes: S seeds, M sources (CLIP's own attention, VFMs), H x W pixels of the picture as it is in the figure.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from proxyclip_core.computed_with import versions
from proxyclip_core.drawing import plate
from proxyclip_core.drawing.overlay import picture_at, size_within
from proxyclip_core.export.encoding import replace as write
from proxyclip_core.picture import ImageLike, picture_digest, read_image
from proxyclip_core.seeds import require_vfm
from proxyclip_core.settings import SETTINGS, default
from proxyclip_core.types import ImageFeatures, Regions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from proxyclip_core.pipeline import Stages

KINDS = ("png", "svg", "pdf", "npz")
SCALES = ("shared", "uniform")
BRIGHTEST = 0.005
MOST_SIDE = 1024  # pixels of a map's longer side: more than a figure shows
STAGE_WORDS = {
    "cosine": "cosine similarity",
    "normalised": "γ (similarity − β · mean)",
    "softmax": "share of the attention",
}
CITATION = (
    "M. Lan, C. Chen, Y. Ke, X. Wang, L. Feng, W. Zhang: ProxyCLIP: Proxy Attention Improves CLIP for Open-Vocabulary "
    "Segmentation. ECCV 2024, arXiv:2408.04883."
)


@dataclass(frozen=True, eq=False)
class AttentionFigure:
    """Made by `attention_figure`. picture: (H, W, 3) uint8. size_hw: of the picture itself.

    seeds: S points (x, y) in pixels of the picture itself; names: what is said of each, "" for nothing.
    maps: (S, M, H, W) float32, as `ProxyCLIP.seed_attention` gives them at this size; NaN where a seed's windows do not
    reach. sources: M names. patches: (M,) how many there are in the grid of each source.
    scale: "shared", or "uniform": as multiples of what each patch got if all got the same.
    """

    picture: np.ndarray
    size_hw: tuple[int, int]
    seeds: tuple[tuple[float, float], ...]
    names: tuple[str, ...]
    maps: np.ndarray
    sources: tuple[str, ...]
    patches: tuple[int, ...]
    stage: str
    scale: str
    beta: float
    gamma: float
    caption: str

    def shown(self) -> np.ndarray:
        """(S, M, H, W) float32: the maps as they are drawn, on the scale."""
        if self.scale == "shared":
            return self.maps
        return self.maps * np.array(self.patches, np.float32)[:, None, None]

    def unit(self) -> str:
        """What the colour bar says."""
        return STAGE_WORDS[self.stage] if self.scale == "shared" else "times an even share (1/N)"

    def limits(self) -> tuple[float, float]:
        """The values at both ends of the colour bar, which all maps share.

        Of softmax the brightest share BRIGHTEST lies past its end: a single patch would leave all others dark.
        """
        shown = self.shown()
        low = float(np.nanmin(shown)) if self.stage == "cosine" else 0.0
        bright = float(np.nanquantile(shown, 1 - BRIGHTEST)) if self.stage == "softmax" else 0.0
        return low, bright if bright > 0 else float(np.nanmax(shown))

    def arrays(self) -> dict[str, np.ndarray]:
        """What the NPZ holds: the fields by name, all of them plain arrays of numbers and text."""
        fields = ("picture", "size_hw", "seeds", "names", "maps", "sources", "patches", "stage", "scale")
        return {name: np.asarray(getattr(self, name)) for name in (*fields, "beta", "gamma", "caption")}

    def figure(self) -> Figure:
        """A figure of matplotlib's, to go on with. Raises ImportError, saying what to do, where that is missing."""
        return plate.drawn(self)

    def to_bytes(self, kind: str) -> bytes:
        """The figure as "png", "svg" or "pdf", or its arrays as "npz". Raises ValueError for any other kind."""
        if check_kind(kind) != "npz":
            return plate.written(self, kind)
        file = io.BytesIO()
        np.savez_compressed(file, **self.arrays())  # type: ignore[arg-type]
        return file.getvalue()

    def save(self, path: str | Path) -> None:
        """Writes a file of the kind that the end of its name says. Raises ValueError where that says none."""
        path = Path(path)
        write(path, self.to_bytes(check_kind(path.suffix.lower().removeprefix("."), str(path))))

    def _repr_png_(self) -> bytes:
        """The figure as Jupyter shows it."""
        return self.to_bytes("png")


def attention_figure(
    model: Stages,
    features: ImageFeatures | Sequence[ImageFeatures],
    seeds: Sequence[tuple[float, float]],
    image: ImageLike,
    beta: float = default("beta"),
    gamma: float = default("gamma"),
    *,
    stage: str = "softmax",
    scale: str = "shared",
    own_attention: bool | None = None,
    head: int | None = None,
    names: Sequence[str] = (),
    regions: Regions | None = None,
) -> AttentionFigure:
    """Fig. 2 of the paper for a picture: what the patches under some pixels attend to, by one source or by several.

    features: of the picture; several of them to lay VFMs, facets or windows beside each other, all with the model's
    CLIP. seeds: points (x, y) in pixels of the picture. image: the picture itself. stage, regions: as in
    `seed_attention`. scale: "shared", or for softmax "uniform", by which grids of different sizes compare.
    own_attention: whether CLIP's own is laid beside, which has a softmax only; None where it can be. head: which
    of its heads, from 0 on; None for the mean of all.
    names: a text for each seed, such as its class, which is drawn as it is; a name of characters that DejaVu Sans does
    not have is in the arrays alone.
    Raises ValueError for what does not fit together, such as another picture's features or a seed outside.
    """
    listed = [features] if isinstance(features, ImageFeatures) else list(features)
    pixels = read_image(image)
    own_attention = stage == "softmax" if own_attention is None else own_attention
    _check(listed, seeds, pixels, stage, scale, names)
    size_hw = size_within(pixels.shape[:2], most=MOST_SIDE)
    height, width = pixels.shape[:2]
    sources = [(one, "vfm") for one in listed if one.vfm is not None]
    if own_attention or not sources:
        sources.insert(0, (listed[0], "clip"))
    how: dict[str, Any] = {"beta": beta, "gamma": gamma, "stage": stage, "regions": regions, "head": head}
    at_size = [(replace(one, layout=replace(one.layout, size_hw=size_hw)), source) for one, source in sources]
    for point in seeds:
        listed[0].layout.scaled_point(point)
    spots = [((int(x) + 0.5) * size_hw[1] / width, (int(y) + 0.5) * size_hw[0] / height) for x, y in seeds]
    maps = [[model.seed_attention(one, spot, source=source, **how) for one, source in at_size] for spot in spots]
    own_title = "CLIP's own attention" + ("" if head is None else f", head {head + 1}")
    return AttentionFigure(
        picture=picture_at(pixels, size_hw),
        size_hw=(height, width),
        seeds=tuple((float(x), float(y)) for x, y in seeds),
        names=tuple(names) or ("",) * len(seeds),
        maps=np.stack([np.stack(row) for row in maps]),
        sources=tuple(own_title if source == "clip" else _title(one) for one, source in sources),
        patches=tuple(
            one.clip_grid[0] * one.clip_grid[1] if source == "clip" else require_vfm(one)[0, 0].numel()
            for one, source in sources
        ),
        stage=stage,
        scale=scale,
        beta=beta,
        gamma=gamma,
        caption=_caption(sources, len(seeds), beta, gamma, stage, regions is not None),
    )


def check_kind(kind: str, what: str = "") -> str:
    """The kind of file. Raises ValueError for one that is none of KINDS."""
    if kind not in KINDS:
        raise ValueError(f"The figure cannot be written as {what or kind!r}; take one of {', '.join(KINDS)}.")
    return kind


def _check(
    listed: Sequence[ImageFeatures],
    seeds: Sequence[tuple[float, float]],
    pixels: np.ndarray,
    stage: str,
    scale: str,
    names: Sequence[str],
) -> None:
    if not listed or not len(seeds):
        raise ValueError("A figure needs the features of a picture, and at least one seed, such as [(120, 80)].")
    digest = picture_digest(pixels)
    if any(one.picture != digest for one in listed):
        raise ValueError("The features are of another picture than the one that is given. Encode this one.")
    if stage not in STAGE_WORDS:
        raise ValueError(f"stage is {stage!r}; expected one of {', '.join(STAGE_WORDS)}.")
    if scale not in SCALES or (scale == "uniform" and stage != "softmax"):
        raise ValueError(f"scale is {scale!r}; expected one of {', '.join(SCALES)}, the latter for softmax alone.")
    if names and len(names) != len(seeds):
        raise ValueError(f"There are {len(names)} names for {len(seeds)} seeds; give one for each, or none.")


def _title(features: ImageFeatures) -> str:
    facets = {value: label for label, value in SETTINGS["facet"].choices}
    facet = "" if features.facet == default("facet") else f", {facets.get(features.facet, features.facet)}"
    return f"{features.vfm_name}{facet}"


def _caption(
    sources: Sequence[tuple[ImageFeatures, str]], seeds: int, beta: float, gamma: float, stage: str, in_regions: bool
) -> str:
    from proxyclip_core import __version__

    first, layout = sources[0][0], sources[0][0].layout
    vfms = dict.fromkeys(f"{_title(one)} @{one.vfm_id}" for one, source in sources if source == "vfm")
    models = ", ".join([f"CLIP {first.clip_name} @{first.clip_id}", *vfms])
    windows = "the whole picture in one window"
    if layout.count > 1:
        windows = f"{layout.count} windows of {layout.window_hw[1]} × {layout.window_hw[0]} pixels, the mean over those"
        windows += " that hold the seed"
    root = f", by the square root; the brightest {BRIGHTEST:.1%} lie past its end" if stage == "softmax" else ""
    numbers = "" if stage == "cosine" or not vfms else f" β = {beta:g}, γ = {gamma:g}."
    scope = " Within regions of Segment Anything." if in_regions else ""
    found = ", ".join(f"{name} {version}" for name, version in {"proxyclip": __version__, **versions()}.items())
    what = "patch at the marked point attends" if seeds == 1 else "patches at the marked points attend"
    sizes = " × ".join(map(str, layout.size_hw[::-1])), " × ".join(map(str, layout.scaled_hw[::-1]))
    return (
        f"What the {what} to: {STAGE_WORDS[stage]}, one scale for all maps{root}. {models}.{numbers}{scope} Picture of "
        f"{sizes[0]} pixels, read at {sizes[1]}, {windows}. {found}. {CITATION}"
    )
