"""Write the figures of log.json and scores.json into README.md and TRAINING.md, between their markers."""

from __future__ import annotations

import json
from pathlib import Path

FIGURES = {"miou": "mIoU", "miou with others": "mIoU with other words", "border f": "borders, F (2 px)"}


def app_table(scores: dict) -> str:
    """What the command line gets on the scenes of the repository, one line a row, as Markdown."""
    if "app" not in scores:
        return "Not scored: the command line reads the weights of the repository only."
    lines = ["| | " + " | ".join(FIGURES.values()) + " |", "|---" * (len(FIGURES) + 1) + "|"]
    for row, found in scores["app"]["rows"].items():
        lines.append(f"| {row} | " + " | ".join(f"{100 * found[key]:.1f}" for key in FIGURES) + " |")
    return "\n".join(lines)


def score_table(scores: dict) -> str:
    """One column a split and settings, one line a row and figure, as Markdown."""
    columns = [(split, settings) for settings in ("paper", "tuned") for split in scores["splits"]]
    titles = [split if settings == "paper" else f"{split}, tuned" for split, settings in columns]
    lines = ["| | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for key, figure in FIGURES.items():
        for row in scores["splits"][columns[0][0]]["paper"]:
            cells = [f"{100 * scores['splits'][split][settings][row][key]:.1f}" for split, settings in columns]
            lines.append(f"| {row}, {figure} | " + " | ".join(cells) + " |")
    cells = [f"{100 * scores['splits'][split]['close-ups, 1 of 5']:.1f}" for split, _ in columns]
    return "\n".join([*lines, "| top-1 of 5 words on single close-ups | " + " | ".join(cells) + " |"])


def curve_table(log: dict) -> str:
    """What CLIP's values alone reached on val while it was trained."""
    rows = [row for row in log["clip"] if "val values" in row]
    lines = ["| minute | values alone on val, mIoU |", "|---|---|"]
    return "\n".join(lines + [f"| {row['minutes']} | {row['val values']} |" for row in rows])


def log_table(log: dict) -> str:
    """A few rows of every network's log."""
    lines = ["| network | minute | step | losses |", "|---|---|---|---|"]
    for network in ("vfm_patch8", "vfm_patch4", "clip"):
        rows = [row for row in log[network] if "val values" not in row]
        shown = sorted({round(k * (len(rows) - 1) / 7) for k in range(8)}) if rows else []
        for row in (rows[i] for i in shown):
            losses = ", ".join(f"{k} {v}" for k, v in row.items() if k not in ("minutes", "steps"))
            lines.append(f"| {network} | {row['minutes']} | {row['steps']} | {losses} |")
    return "\n".join(lines)


TABLES = (
    ("app", "README.md", "scores.json", app_table),
    ("scores", "README.md", "scores.json", score_table),
    ("curve", "TRAINING.md", "log.json", curve_table),
    ("log", "TRAINING.md", "log.json", log_table),
)


def write_card(folder: Path) -> None:
    """Renew the tables of the pages in `folder`, where these and their figures exist."""
    for name, page, source, build in TABLES:
        path, figures = folder / page, folder / source
        if path.exists() and figures.exists():
            before, after = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
            head, _, rest = path.read_text().partition(before)
            tail = rest.partition(after)[2]
            path.write_text(head + before + build(json.loads(figures.read_text())) + after + tail)
