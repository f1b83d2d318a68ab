"""Write the figures of log.json and scores.json into the model card, between its markers."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROWS = (
    ("CLIP alone (its own attention)", "clip"),
    ("values alone", "values"),
    ("proxy, patch 8", "vfm_patch8"),
    ("proxy, patch 4", "vfm_patch4"),
)


def score_table(scores: dict) -> str:
    """The table of the card, as Markdown."""
    splits = scores["splits"]
    lines = ["| | " + " | ".join(splits) + " |", "|---" * (len(splits) + 1) + "|"]
    here = [row for row in ROWS if all(row[1] in split["scenes"] for split in splits.values())]
    vfms = [row for row in here if row[1].startswith("vfm")]
    for title, key in here:
        cells = [f"{split['scenes'][key]['miou']:.1f}" for split in splits.values()]
        lines.append(f"| {title}, mIoU | " + " | ".join(cells) + " |")
    for title, key in vfms:
        cells = [f"{split['scenes'][key]['miou_by_scene']:.1f}" for split in splits.values()]
        lines.append(f"| {title}, mIoU as the mean over scenes | " + " | ".join(cells) + " |")
    for title, key in here:
        cells = [f"{split['scenes'][key + ' + 40 others']['miou']:.1f}" for split in splits.values()]
        lines.append(f"| {title}, with 40 distractor words, mIoU | " + " | ".join(cells) + " |")
    for title, key in here:
        cells = [f"{split['scenes'][key]['boundary_f']:.1f}" for split in splits.values()]
        lines.append(f"| {title}, boundary F-score (2 px) | " + " | ".join(cells) + " |")
    cells = [f"{split['close-ups, 1 of 5']:.1f}" for split in splits.values()]
    lines.append("| top-1 of 5 words on single close-ups | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curve_table(log: dict) -> str:
    """What CLIP's values alone reached on val while it learnt."""
    rows = [row for row in log["clip"] if "val values" in row]
    lines = ["| minute | values alone on val, mIoU |", "|---|---|"]
    return "\n".join(lines + [f"| {row['minutes']} | {row['val values']} |" for row in rows])


def log_table(log: dict) -> str:
    """A few rows of every tower's log."""
    lines = ["| tower | minute | step | losses |", "|---|---|---|---|"]
    for tower in ("vfm_patch8", "vfm_patch4", "clip"):
        rows = [row for row in log[tower] if "val values" not in row]
        shown = sorted({round(k * (len(rows) - 1) / 7) for k in range(8)}) if rows else []
        for row in (rows[i] for i in shown):
            losses = ", ".join(f"{k} {v}" for k, v in row.items() if k not in ("minutes", "steps"))
            lines.append(f"| {tower} | {row['minutes']} | {row['steps']} | {losses} |")
    return "\n".join(lines)


TABLES = (
    ("scores", "scores.json", score_table),
    ("curve", "log.json", curve_table),
    ("log", "log.json", log_table),
)


def write_card(folder: Path) -> None:
    """Renew the tables of README.md where it and the figures exist."""
    card = folder / "README.md"
    if not card.exists():
        return
    text = card.read_text()
    for name, source, build in TABLES:
        if (folder / source).exists():
            body = build(json.loads((folder / source).read_text()))
            text = re.sub(
                rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", lambda m, b=body: m[1] + b + m[2], text, flags=re.S
            )
    card.write_text(text)
