"""What the browser computes attention from while the pointer moves: one description, and a file for each source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import proxyclip_core as pc
from demo import limits
from demo.answers.inside import Source, View, on_picture, size_of, sources, window_boxes
from demo.draw.compact import Compact, is_too_much
from demo.stages import Stages
from proxyclip_core.refine.scope import scopes_of
from proxyclip_core.seeds import require_vfm


@dataclass(frozen=True, eq=False)
class Live:
    """told: what `attention.js` reads; each of its "sources" is to get the address of its file as "path".
    files: what each source is computed from; None where that would take too many bytes."""

    told: dict[str, Any]
    files: list[Compact | None]

    def with_files(self, write: Callable[[bytes], str]) -> dict[str, Any]:
        paths = [write(file.tobytes()) if file else None for file in self.files]
        rows = [source | {"path": path} for source, path in zip(self.told["sources"], paths, strict=True)]
        return self.told | {"sources": rows}


def live(stages: Stages, view: View) -> Live:
    """What the page needs to show the attention of any patch by itself, and the seeds that the browser holds."""
    s, shown = stages.settings, sources(stages, view)
    files = [_compact(stages, source) for source in shown]
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
    """Where its windows and their patches lie, as `WindowLayout` has it."""
    layout = source.features.layout
    sizes = {"grid": source.grid_hw, "padded": layout.padded_hw, "before": layout.padding_top_left}
    return {
        "name": source.name,
        **sizes,
        "scaled": layout.scaled_hw,
        "window": layout.window_hw,
        "corners": layout.corners,
    }


def _compact(stages: Stages, source: Source) -> Compact | None:
    if is_too_much(source.features.layout.count, source.grid_hw, of_clip=source.kind == "clip"):
        return None
    if source.kind == "clip":
        return stages.compact_clip(source.settings, source.head)
    return stages.compact(source.settings)


def _content(source: Source, file: Compact | None, regions: pc.Regions | None) -> dict[str, Any]:
    """What stands in the file, window by window; for a VFM also which patches are of one scope."""
    if file is None:
        return {}
    _, count, directions = file.left.shape
    told = {"count": count, "directions": directions, "symmetric": file.is_symmetric, "mean": file.mean}
    told |= {"rough": file.is_rough}
    if source.kind == "clip":
        return told
    scopes = scopes_of(require_vfm(source.features), source.features.layout, regions).tolist() if regions else None
    return told | {"scopes": scopes, "pairs": file.pairs}
