"""The legend as HTML. Nothing of gradio in here.

Axes: K classes, H x W pixels. Colours are (K, 3) uint8 RGB in the order of the class names.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from proxyclip_core.drawing.colours import hex_colour
from proxyclip_core.drawing.label_placement import lettering
from proxyclip_core.drawing.patterns import swatch
from proxyclip_core.drawing.sight import text_on
from proxyclip_core.presence import PERHAPS_ABSENT
from proxyclip_core.words import Classes, as_text

MOST_BARS = 5
HINT = "Point at a word: alone. Click: hide. Double click: only this. Drag one onto another: one class. …: change it."


def legend_rows(
    coverage: Mapping[str, float],
    colours: np.ndarray,
    presence: Mapping[str, float] | None = None,
    classes: Classes = (),
    patterns: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """One {index, name, words, colour, pattern, share, presence, perhaps_absent} a class, largest share first.

    coverage: name -> share, in class order. presence: of the classes that have one, as in `pc.Segmentation`. classes:
    as they were given; words is "" for a class that was not, such as a background. patterns: (K,), as in `Drawing`.
    """
    known, words = presence or {}, {group[0]: as_text((group,)) for group in classes}
    hatching = [0] * len(coverage) if patterns is None else patterns.tolist()
    rows = [
        {
            "index": index,
            "name": name,
            "words": words.get(name, ""),
            "colour": hex_colour(colour),
            "pattern": pattern,
            "share": round(float(share), 6),
            "presence": round(known[name], 4) if name in known else None,
            "perhaps_absent": known.get(name, 1.0) < PERHAPS_ABSENT,
        }
        for index, ((name, share), colour, pattern) in enumerate(zip(coverage.items(), colours, hatching, strict=True))
    ]
    return sorted(rows, key=lambda row: -row["share"])


def legend_html(rows: Sequence[Mapping[str, Any]]) -> str:
    """The legend as a list of buttons, which `legend.js` answers. Names are what a person typed: they are text here,
    never markup."""
    chips = "".join(_chip(row) for row in rows if row["share"] > 0)
    absent = ", ".join(_absent(row) for row in rows if row["share"] <= 0)
    rest = f'<p class="missing">Not found: {absent}</p>' if absent else ""
    hint = f'<p class="hint">{HINT} <button type="button" class="all" hidden>Show all</button></p>'
    return f'<ul class="legend" aria-label="Legend">{chips}</ul>{hint}{rest}'


def bars_html(scores: Mapping[str, float], colours: Mapping[str, np.ndarray]) -> str:
    """The best classes at a point, each with a bar in its colour. scores: class -> score in 0..1, the best first."""
    rows = "".join(
        f'<li><span>{html.escape(name)}</span><span class="bar"><span style="width:{score:.2%};'
        f'background:{hex_colour(colours[name])}"></span></span><span>{html.escape(percent(score))}</span></li>'
        for name, score in list(scores.items())[:MOST_BARS]
    )
    return f'<ol class="bars">{rows}</ol>'


def _chip(row: Mapping[str, Any]) -> str:
    colour, name, share = row["colour"], html.escape(str(row["name"])), html.escape(percent(float(row["share"])))
    written = name if lettering(str(row["name"])) else f"{row['index']} · {name}"  # the picture has its number alone
    lines = f"{swatch(colour, row['pattern'])} " if row.get("pattern") else ""
    text = text_on(np.frombuffer(bytes.fromhex(str(colour)[1:]), dtype=np.uint8))
    chip = (
        f'<button type="button" class="chip" style="background:{colour};color:{text}" data-name="{name}" '
        f'data-index="{row["index"]}" aria-pressed="true" title="{HINT}"{_editable(row)}>{lines}{written}</button>'
    )
    if row["words"]:
        chip += f'<button type="button" class="edit" aria-label="Change {name}">…</button>'
    doubt = '<span class="doubt">perhaps not there</span>' if row["perhaps_absent"] else ""
    return f'<li>{chip}<span class="share">{share}</span>{doubt}</li>'


def _absent(row: Mapping[str, Any]) -> str:
    name = html.escape(str(row["name"]))
    words = f' aria-label="Change {name}" data-name="{name}"{_editable(row)}'
    return f'<button type="button"{words}>{name}</button>' if row["words"] else name


def _editable(row: Mapping[str, Any]) -> str:
    """What `edit.js` needs of a class whose words can be changed."""
    return f' data-words="{html.escape(str(row["words"]))}" draggable="true"' if row["words"] else ""


def percent(share: float) -> str:
    """0.4213 -> '42 %', 0.0042 -> '0.4 %', less -> '< 0.1 %', 0 -> '0 %'."""
    if share < 0.001:
        return "< 0.1 %" if share else "0 %"
    return f"{share * 100:.0f} %" if share >= 0.0995 else f"{share * 100:.1f} %"
