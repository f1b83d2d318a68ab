"""From a seed to its word: where its patch attends, what CLIP's values say there, and the label that follows.

Either by the proxy attention, or by CLIP alone: its own attention, and all of its last block.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from demo.answers.inside import MAP_SIDE, Point, View, as_drawn, at_size, drawn_size, grid_of, shown_points
from demo.draw.heat_map import heat_map, with_seed
from demo.draw.legend import bars_html, percent
from demo.stages import Stages
from proxyclip_core.drawing.overlay import picture_at
from proxyclip_core.readout import nearest

WAYS = [("With the proxy attention", "proxy"), ("CLIP alone", "clip")]  # (label, fusion)


@dataclass(frozen=True, eq=False)
class ToWord:
    """attention: (H, W) shares, over the picture as drawn. spot: the seed there. said: class -> share of the attention
    that goes to patches whose own value says it. scores: class -> softmax score at the seed. Both largest first."""

    attention: np.ndarray
    spot: Point
    said: dict[str, float]
    scores: dict[str, float]


def to_word(stages: Stages, view: View, point: Point) -> ToWord:
    """point: (x, y) in pixels of the picture itself. Raises ValueError for a way that is none of WAYS."""
    fusion = view.way
    if fusion not in (value for _, value in WAYS):
        raise ValueError(f"The way is {fusion!r}; expected one of {', '.join(value for _, value in WAYS)}.")
    s = replace(view.of(stages.settings), fusion=fusion, refine="none")
    source = "vfm" if fusion == "proxy" else "clip"
    features, model = stages.features(s), stages.model()
    how: dict[str, Any] = {"beta": s.beta, "gamma": s.gamma, "source": source, "regions": stages.scope(s)}
    row = model.seed_attention(features, point, on="grid", **how)
    values = stages.logits(replace(s, fusion="values"))
    window = features.layout.patches_at(point, grid_of(features, source))[0][0]
    classes = values.vocabulary.query_class[values.values[window].argmax(dim=0)]  # (h, w) of CLIP's grid
    names, says = values.vocabulary.names, nearest(classes, (row.shape[0], row.shape[1]))
    shares = np.bincount(says.flatten().numpy(), row.ravel(), len(names)) / row.sum()
    size_hw = drawn_size(stages, MAP_SIDE)
    spot, drawn = as_drawn(stages, point, size_hw), at_size(features, size_hw)
    return ToWord(
        attention=model.seed_attention(drawn, spot, **how),
        spot=spot,
        said=dict(sorted(zip(names, shares.tolist()), key=lambda pair: -pair[1])),
        scores=stages.logits(s).scores_at(point),
    )


def shown(stages: Stages, view: View) -> tuple[np.ndarray, str]:
    """Of the last seed: its attention over the picture (H, W, 3), and as HTML what is said there and what follows."""
    points, drawing = shown_points(stages, view), stages.overlay()
    found = to_word(stages, view, points[-1])
    picture = picture_at(stages.canvas(), (found.attention.shape[0], found.attention.shape[1]))
    drawn = with_seed(heat_map(found.attention, picture), found.spot, None, len(points) - 1)
    colours = dict(zip(drawing.coverage, drawing.colours))
    said, label = bars_html(found.said, colours), bars_html(found.scores, colours)
    told = f"<p><strong>CLIP's values there say</strong></p>{said}<p><strong>The patch itself is</strong></p>{label}"
    return drawn, told + _line(stages, view, points[-1], found)


def _line(stages: Stages, view: View, point: Point, found: ToWord) -> str:
    heard, label = next(iter(found.said)), next(iter(found.scores))
    text = f"{percent(found.said[heard])} of its attention goes to patches whose own value says {heard!r}; "
    text += f"{'fused, they say' if view.way == 'proxy' else 'with the rest of its last block CLIP says'} {label!r}."
    result = stages.result()
    final = result.names[result.labels[int(point[1]), int(point[0])]]
    if final != label:
        text += f" The result on the page, by its own settings, has {final!r} there."
    return f'<p class="status">{html.escape(text)}</p>'
