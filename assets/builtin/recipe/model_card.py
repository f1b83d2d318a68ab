"""Write the figures of log.json and scores.json into README.md and TRAINING.md, between their markers."""

from __future__ import annotations

import json
from pathlib import Path

FIGURES = {"miou": "mIoU", "miou with others": "mIoU with other words", "border f": "borders, F (2 px)"}


def app_table(scores: dict) -> str:
    """What the command line gets on the scenes of the repository, one line a row, as Markdown."""
    lines = ["| | " + " | ".join(FIGURES.values()) + " |", "|---" * (len(FIGURES) + 1) + "|"]
    for settings, scored in scores["app"].items():
        for row, found in scored["rows"].items():
            if settings == "paper" or row.startswith("proxy"):  # beta and gamma are those of proxy attention
                cells = " | ".join(f"{100 * found[key]:.1f}" for key in FIGURES)
                lines.append(f"| {row if settings == 'paper' else f'{row}, {settings}'} | {cells} |")
    return "\n".join(lines)


def refined_table(scores: dict) -> str:
    """What refinements give, one line a split, patch size and method, as Markdown."""
    keys = FIGURES | {"seconds": "ms on one core"}
    lines = ["| | beta, gamma | " + " | ".join(keys.values()) + " |", "|---" * (len(keys) + 2) + "|"]
    for row in scores["refined"]:
        cells = [f"{100 * row[key]:.1f}" if row[key] is not None else "" for key in FIGURES]
        title = f"{row['split']} ({row['scenes']} scenes), patch {row['patch']}, {row['refine']}"
        ways = f"{row['beta']:g}, {row['gamma']:g}"
        lines.append(f"| {title} | {ways} | " + " | ".join([*cells, f"{1000 * row['seconds']:.0f}"]) + " |")
    return "\n".join(lines)


def score_table(scores: dict) -> str:
    """One column a split and settings, one line a row and figure, as Markdown, after a line that says what was done."""
    columns = [(split, settings) for settings in ("paper", "tuned") for split in scores["splits"]]
    titles = [split if settings == "paper" else f"{split}, tuned" for split, settings in columns]
    tuned = ", ".join(f"{name} {value}" for name, value in scores["tuned"].items())
    lines = [f"{scores['scenes a split']} scenes of every split, scored as above; tuned, on val: {tuned}.", ""]
    lines += ["| | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
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


# between which markers, on which page, of which file and which part of it
TABLES = (
    ("app", "README.md", "scores.json", "app", app_table),
    ("refined", "README.md", "scores.json", "refined", refined_table),
    ("scores", "README.md", "scores.json", "splits", score_table),
    ("curve", "TRAINING.md", "log.json", "clip", curve_table),
    ("log", "TRAINING.md", "log.json", "clip", log_table),
)


def write_card(folder: Path) -> None:
    """Renew the tables of the pages in `folder`, where these and their figures exist."""
    for name, page, source, part, build in TABLES:
        path = folder / page
        figures = json.loads((folder / source).read_text()) if (folder / source).exists() else {}
        if path.exists() and part in figures:
            head, rest = path.read_text().split(f"<!-- {name} -->", 1)
            tail = rest.split(f"<!-- /{name} -->", 1)[1]
            path.write_text(f"{head}<!-- {name} -->\n{build(figures)}\n<!-- /{name} -->{tail}")
