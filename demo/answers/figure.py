"""What "Look inside" shows of attention as one figure to take away, drawn by the core."""

from __future__ import annotations

from dataclasses import replace

import proxyclip_core as pc
from demo import limits
from demo.answers.inside import View, shown_points
from demo.stages import Stages
from proxyclip_core.drawing.attention_figure import check_kind

# What the menu of formats says -> kind of file.
KINDS = {
    "PNG, for slides": "png",
    "SVG, to edit": "svg",
    "PDF, for papers": "pdf",
    "NPZ, the numbers": "npz",
}


def attention_figure(stages: Stages, view: View, kind: str) -> tuple[str, bytes]:
    """(name, content) of the file: the seeds that are looked at, from the sources that are shown, at the stage that is
    chosen, on one scale.

    CLIP's own attention is laid beside them where that stage is one that it has. Raises ValueError for an unknown kind.
    """
    check_kind(kind)
    s = view.of(stages.settings)
    own = view.own_attention and view.stage == "softmax"
    points, result = shown_points(stages, view), stages.result()
    figure = pc.attention_figure(
        stages.model(),
        [stages.features(variant) for variant in view.vfms(s, limits.MOST_SOURCES - own)],
        points,
        stages.picture(),
        s.beta,
        s.gamma,
        stage=view.stage,
        scale="uniform" if view.scale == "uniform" and view.stage == "softmax" else "shared",
        own_attention=own,
        head=view.head,
        names=[result.names[result.labels[int(y), int(x)]] for x, y in points],
        regions=stages.scope(replace(s, fusion="proxy")),
    )
    return f"attention.{kind}", figure.to_bytes(kind)
