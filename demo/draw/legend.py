"""The legend as HTML. Nothing of gradio in here.

Axes: K classes, H x W pixels. Colours are (K, 3) uint8 RGB in the order of the class names.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from proxyclip_core.drawing.colours import hex_colour, text_on
from proxyclip_core.drawing.label_placement import lettering
from proxyclip_core.drawing.overlay import labels_at, size_within
from proxyclip_core.presence import PERHAPS_ABSENT

INDEX_SIDE = 512  # pixels of the longer side of the small label map that the legend brings along


def legend_rows(
    coverage: Mapping[str, float], colours: np.ndarray, presence: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """One {index, name, colour, share, presence, perhaps_absent} a class, largest share first.

    coverage: name -> share, in class order. presence: of the classes that have one, as in `pc.Segmentation`.
    """
    known = presence or {}
    rows = [
        {
            "index": index,
            "name": name,
            "colour": hex_colour(colour),
            "share": round(float(share), 6),
            "presence": round(known[name], 4) if name in known else None,
            "perhaps_absent": known.get(name, 1.0) < PERHAPS_ABSENT,
        }
        for index, ((name, share), colour) in enumerate(zip(coverage.items(), colours, strict=True))
    ]
    return sorted(rows, key=lambda row: -row["share"])


def legend_html(rows: Sequence[Mapping[str, Any]], hidden: Collection[str] = (), label_map: str = "") -> str:
    """The legend as a list of buttons. Names are what a person typed: they are text here, never markup.

    hidden: names of classes that are not drawn. label_map: a data address from `label_address`, by which the page's
    script leaves one class alone in the picture.
    """
    chips = "".join(_chip(row, row["name"] not in hidden) for row in rows if row["share"] > 0)
    absent = [str(row["name"]) for row in rows if row["share"] <= 0]
    rest = f'<p class="missing">Not found: {html.escape(", ".join(absent))}</p>' if absent else ""
    return f'<ul class="legend" aria-label="Legend" data-map="{label_map}">{chips}</ul>{rest}'


def _chip(row: Mapping[str, Any], is_shown: bool) -> str:
    colour, name, share = row["colour"], html.escape(str(row["name"])), html.escape(percent(float(row["share"])))
    written = name if lettering(str(row["name"])) else f"{row['index']} · {name}"  # the picture has its number alone
    text = text_on(np.frombuffer(bytes.fromhex(str(colour)[1:]), dtype=np.uint8))
    chip = (
        f'<button type="button" class="chip" style="background:{colour};color:{text}" data-name="{name}" '
        f'data-index="{row["index"]}" aria-pressed="{str(is_shown).lower()}" title="Hide or show">{written}</button>'
    )
    doubt = '<span class="doubt">perhaps not there</span>' if row["perhaps_absent"] else ""
    return f'<li>{chip}<span class="share">{share}</span>{doubt}</li>'


def label_address(labels: np.ndarray) -> str:
    """(H, W) labels -> data address of a small PNG: red is the low byte of a pixel's class, green the high one."""
    small = labels_at(labels, size_within(labels.shape, most=INDEX_SIDE)).astype(np.uint16)
    pixels = np.stack([small & 255, small >> 8, np.zeros_like(small)], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def percent(share: float) -> str:
    """0.4213 -> '42 %', 0.0042 -> '0.4 %', less -> '< 0.1 %', 0 -> '0 %'."""
    if share < 0.001:
        return "< 0.1 %" if share else "0 %"
    return f"{share * 100:.0f} %" if share >= 0.0995 else f"{share * 100:.1f} %"
