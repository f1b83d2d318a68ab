"""Measurements in words: tables in Markdown, which also read well in a terminal, and everything as JSON."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from tests.benchmarks.beside import SLOWER, Pair
from tests.benchmarks.growth import Curve
from tests.benchmarks.rows import Line


def machine(device: str) -> str:
    """The machine and torch, in words; nothing that names one computer."""
    words = [f"{torch.get_num_threads()} cores of {_processor()}"]
    words.append(f"{torch.backends.cpu.get_cpu_capability()} as torch sees it")
    if device == "cuda":
        words.insert(0, torch.cuda.get_device_name())
    return ", ".join([*words, f"torch {torch.__version__}", f"Python {platform.python_version()}", platform.system()])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def speeds_in_words(speeds: dict[str, float]) -> str:
    measured = (f"{speed / 1e9:.0f} GFLOP/s in {name}" for name, speed in speeds.items())
    return f"a large matrix product: {', '.join(measured)}"


def rows_table(lines: Sequence[Line]) -> str:
    """The rows, with times in seconds, memory in MB and the floor as a multiple of the arithmetic's least time."""
    head = ("what", "time", "baseline", "ratio", "goal", "about, here", "peak", "baseline's", "x floor", "note")
    body = [
        (
            line.title,
            _seconds(line.seconds),
            _seconds(line.plain_seconds),
            f"{line.ratio:.1f}x" if line.ratio else "",
            _goals(line.goals),
            _goals(line.here),
            _megabytes(line.peak_bytes),
            _megabytes(line.plain_peak_bytes),
            f"{line.times_floor:.1f}" if line.times_floor else "",
            line.note,
        )
        for line in lines
    ]
    short = [line.title for line in lines if not line.met]
    verdict = f"Short of its goal: {'; '.join(short)}." if short else "Every goal is met."
    return f"{_table(head, body)}\n\n{verdict}"


def in_short(line: Line) -> str:
    """One row for somebody who waits for the table."""
    ratio = f"{line.ratio:.1f}x" if line.ratio else ""
    return "  ".join(
        part for part in (line.title, _seconds(line.seconds), ratio, _goals(line.goals), line.note) if part
    )


def growth_table(curves: Sequence[Curve]) -> str:
    """Each curve's points as `x: seconds (peak)`, and its exponent."""
    body = [
        (
            curve.title,
            f"{curve.exponent:.2f}",
            "; ".join(
                f"{x}: {_seconds(seconds)} ({_megabytes(peak)})"
                for x, seconds, peak in zip(curve.xs, curve.seconds, curve.peak_bytes)
            ),
        )
        for curve in curves
    ]
    return _table(("what grows", "exponent of time", "points: time (peak)"), body)


def pairs_table(pairs: Sequence[Pair]) -> str:
    """Rows here and in another checkout."""
    body = []
    for pair in pairs:
        in_words = _megabytes if pair.row == "memory" else _seconds
        body.append((pair.row, in_words(pair.here), in_words(pair.there), f"{pair.ratio:.2f}"))
    slower = [pair.row for pair in pairs if pair.ratio > SLOWER]
    verdict = f"By more than a tenth above: {', '.join(slower)}." if slower else "No row is above by more than a tenth."
    return f"{_table(('row', 'here', 'there', 'here / there'), body)}\n\n{verdict}"


def tricks_table(found: Mapping[str, Mapping[str, float]]) -> str:
    """How much longer a picture takes on one thread without each trick."""
    base = found[""]
    body = [("nothing", *(_seconds(seconds) for seconds in base.values()))]
    for name, seconds in found.items():
        if name:
            body.append((name, *(f"{seconds[precision] / base[precision] - 1:+.1%}" for precision in base)))
    return _table(("turned off", *base), body)


def as_json(device: str, settings: dict, speeds: dict, lines: Sequence[Line], curves: Sequence[Curve]) -> dict:
    """All numbers: times in seconds, memory in bytes, speeds in operations a second."""
    return {
        "machine": machine(device),
        "settings": settings,
        "speeds": speeds,
        "rows": [
            asdict(line) | {"ratio": line.ratio, "times_floor": line.times_floor, "met": line.met} for line in lines
        ],
        "growth": [asdict(curve) | {"exponent": curve.exponent} for curve in curves],
    }


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.0f} ms" if value < 0.1 else f"{value:.2f} s"


def _megabytes(count: float | None) -> str:
    return f"{count / 1e6:.0f} MB" if count else ""


def _goals(goals: Sequence[tuple[str, bool]]) -> str:
    return ", ".join(f"{goal}: {'yes' if met else 'NO'}" for goal, met in goals)


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, body)])
