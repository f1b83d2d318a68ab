"""What the browser computes attention from while the pointer moves: one description, and a file for each source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

import proxyclip_core as pc
from demo import limits
from demo.answers.inside import Source, View, on_picture, size_of, sources, window_boxes
from demo.draw.compact import Compact
from demo.stages import Stages
from proxyclip_core.attention import unit_patches
from proxyclip_core.refine.scope import scopes_of
from proxyclip_core.seeds import require_vfm

BINS = 100  # of similarities, over -1..1
MOST_PAIRS = 4_000_000  # that are counted for the histogram: of more, those of every second row, or third


@dataclass(frozen=True, eq=False)
class Live:
    """told: what `attention.js` reads; each of its "sources" is to get the address of its file as "path".
    files: what each source is computed from; None where it is looked at in windows."""

    told: dict[str, Any]
    files: list[Compact | None]

    def with_files(self, write: Callable[[bytes], str]) -> dict[str, Any]:
        paths = [write(file.tobytes()) if file else None for file in self.files]
        rows = [source | {"path": path} for source, path in zip(self.told["sources"], paths, strict=True)]
        return self.told | {"sources": rows}


def live(stages: Stages, view: View) -> Live:
    """What the page needs to show the attention of any patch by itself, and the seeds that the browser holds."""
    s, shown = stages.settings, sources(stages, view)
    files = [None if view.windows else _compact(stages, source) for source in shown]
    regions = stages.scope(replace(view.of(s), fusion="proxy"))
    boxes = window_boxes(shown[0].features.layout) if view.windows else {}
    told = {
        "picture": stages.digest,
        "size": size_of(stages),
        "sources": [_geometry(source) | _content(source, file, regions) for source, file in zip(shown, files)],
        "own": next(place for place, source in enumerate(shown) if source.kind == "vfm"),
        "windows": list(boxes.values()),
        "seeds": on_picture(stages, view),
        "most": limits.MOST_SEEDS,
        "beta": s.beta,
        "gamma": s.gamma,
        "stage": view.stage,
        "scale": view.scale,
    }
    return Live(told, files)


def _geometry(source: Source) -> dict[str, Any]:
    """Where the patches of its first window lie, as `WindowLayout` has it."""
    layout = source.features.layout
    sizes = {"grid": source.grid_hw, "padded": layout.padded_hw, "before": layout.padding_top_left}
    return {"name": source.name, **sizes, "scaled": layout.scaled_hw}


def _compact(stages: Stages, source: Source) -> Compact:
    if source.kind == "clip":
        return stages.compact_clip(source.settings, source.head)
    return stages.compact(source.settings)


def _content(source: Source, file: Compact | None, regions: pc.Regions | None) -> dict[str, Any]:
    """What stands in the file; for a VFM also which patches are of one scope, and the similarities of all pairs."""
    if file is None:
        return {}
    count, directions = file.left.shape
    told = {"count": count, "directions": directions, "symmetric": file.is_symmetric, "mean": file.mean}
    if source.kind == "clip":
        return told
    patches = unit_patches(require_vfm(source.features))[0]
    scopes = scopes_of(require_vfm(source.features), source.features.layout, regions)[0].tolist() if regions else None
    return told | {"scopes": scopes, "pairs": pair_counts(patches)}


def pair_counts(patches: torch.Tensor) -> list[int]:
    """(N, C) patches of unit length -> how many of their pairs are how similar, in BINS from -1 to 1 (Fig. 4)."""
    rows = patches[:: -(-(len(patches) ** 2) // MOST_PAIRS)]
    return torch.histc((rows @ patches.T).clamp_(-1, 1), BINS, -1, 1).int().tolist()
