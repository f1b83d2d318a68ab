"""Scores as text: Markdown that also reads well as it is. Percent, two decimals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from proxyclip_core.evaluation.benchmarks import BENCHMARKS, Published, find_benchmark
from proxyclip_core.evaluation.results import Scores

NONE = "–"  # no figure


def class_table(scores: Scores) -> str:
    """Each class with its IoU, in the order of the classes."""
    found = scores.iou
    rows = [(name, _percent(found[name]) if name in found else NONE) for name in scores.names]
    return _table(("class", "IoU"), rows)


def summary_table(scores: Sequence[Scores]) -> str:
    """A row for each set, with the published figure beside it where there is one, and what there is to say of that."""
    rows, notes = [], []
    head = ["data", "models", "pictures", "mIoU", "aAcc", "mAcc"]
    if any(one.published for one in scores):
        head.append("published mIoU")
    for one in scores:
        published = one.published
        rows.append(
            (
                one.title,
                _models(one),
                f"{one.pictures}" if one.whole else f"{one.pictures} of {one.expected}",
                *(_percent(value) for value in (one.miou, one.aacc, one.macc)),
                _percent(published.miou) if published else NONE,
            )
        )
        if published:
            notes.append(_origin(published))
        if not one.whole:
            notes.append(f"{one.title}: {one.pictures} of {one.expected} pictures; published figures are of all.")
    return "\n".join([_table(head, [row[: len(head)] for row in rows]), *dict.fromkeys(notes)])


def paper_table(scores: Mapping[str, Scores]) -> str:
    """The paper's table: a column for each benchmark, mIoU; below it what was published.

    scores: by the names of the benchmarks, of one model. The mean is given where none is missing.
    """
    one = next(iter(scores.values()))
    published = {name: find_benchmark(name).published(one.settings["clip"]) for name in BENCHMARKS}
    first = next(iter(published.values()))
    ours = {name: found.miou for name, found in scores.items()}
    theirs = {name: found.miou for name, found in published.items()}
    partly = [found.title for found in scores.values() if not found.whole]
    rows = [
        (_models(one), *_cells(ours)),
        (f"published: {first.clip}, {first.vfm}", *_cells(theirs)),
    ]
    notes = [_origin(first)]
    if partly:
        notes.append(f"Of {', '.join(partly)} not all pictures were scored; published figures are of all.")
    head = ("mIoU", *(find_benchmark(name).title for name in BENCHMARKS), "mean")
    return "\n".join([_table(head, rows), *notes])


def _cells(miou: Mapping[str, float]) -> list[str]:
    cells = [_percent(miou[name]) if name in miou else NONE for name in BENCHMARKS]
    return [*cells, _percent(sum(miou.values()) / len(miou)) if len(miou) == len(BENCHMARKS) else NONE]


def _models(scores: Scores) -> str:
    settings = scores.settings
    parts = [settings["clip"], settings["vfm"]] if settings["vfm"] else [settings["clip"]]
    usual = {"fusion": "proxy", "facet": "tokens", "reach": "windows", "scope": "all", "refine": "none"}
    usual["words_of"] = "paper"
    parts += [f"{name} {settings[name]}" for name, value in usual.items() if settings[name] not in (value, "own")]
    return ", ".join(parts).replace("words_of official", "official names")


def _origin(published: Published) -> str:
    return f"Published figures were not computed here: {published.source}; with {published.clip} and {published.vfm}."


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of one width; numbers, which stand behind the first column, to the right."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    is_text = [
        not any(row[index][:1].isdigit() or row[index] == NONE for row in cells[1:]) for index in range(len(head))
    ]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if text else cell.rjust(width) for cell, width, text in zip(row, widths, is_text)
        )
        + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if text else ":") for width, text in zip(widths, is_text)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
