"""A result as HTML, for notebooks: the picture with its regions, and the classes with their colours and shares."""

from __future__ import annotations

import html

import numpy as np

from proxyclip_core.drawing.colours import hex_colour
from proxyclip_core.drawing.drawing import Drawing, Look
from proxyclip_core.drawing.overlay import size_within
from proxyclip_core.drawing.patterns import data_address, swatch
from proxyclip_core.segmentation import PREVIEW_SIDE, Segmentation


def as_html(result: Segmentation) -> str:
    """The result as it shows itself in Jupyter. Names are what a person typed: they are text here, never markup.

    Where the result holds no preview of its picture, its regions are drawn alone.
    """
    preview, look = result.preview, Look()
    if preview is None:
        size_hw = size_within(result.labels.shape, most=PREVIEW_SIDE)
        preview, look = np.full((*size_hw, 3), 255, np.uint8), Look(opacity=1.0)
    drawing = Drawing.prepare(preview.shape, result)
    shares = sorted(
        zip(drawing.coverage.items(), drawing.colours, drawing.patterns.tolist()), key=lambda row: -row[0][1]
    )
    rows = "".join(
        '<span style="white-space:nowrap;margin-right:1em">'
        f"{swatch(hex_colour(colour), pattern)} "
        f"{html.escape(name)} {share:.1%}{', perhaps not there' if name in result.perhaps_absent else ''}</span> "
        for (name, share), colour, pattern in shares
        if share
    )
    absent = ", ".join(name for (name, share), *_ in shares if not share)
    said = [f"Not found: {absent}."] * bool(absent) + list(result.notes)
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in said)
    address = data_address(drawing.draw(preview, look))
    return f'<div><img src="{address}" alt="The picture with its regions"><p>{rows}</p>{notes}</div>'
