"""The command `python -m tests.benchmarks`: the table, how cost grows, another checkout beside, the CPU's tricks."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from proxyclip_core.models.loading import choose_device
from proxyclip_core.models.registry import find_clip, find_vfm
from tests.benchmarks import growth, report
from tests.benchmarks.beside import measure_pair
from tests.benchmarks.jobs import Job
from tests.benchmarks.rows import measure_row, rows_for
from tests.benchmarks.runner import MeasurementError, Runner, run_in_child
from tests.benchmarks.tricks import measure_tricks

TIMED_SECONDS = 20.0  # of each task, at least
PAIR_SECONDS = 5.0  # of each task in each round, where two checkouts take turns


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is asked for and prints it; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        device = choose_device(options.device).type
        common = Job(
            task="weights",
            precision=options.precision,
            repeats=options.repeats,
            at_least=TIMED_SECONDS,
            clip=find_clip(options.clip or Job.clip).name,
            vfm=find_vfm(options.vfm or Job.vfm).name,
            device=device,
        )
        _check_rows(options.rows, list(rows_for(device, options.precision)))
        print(f"{common.clip} and {common.vfm} with random weights; {report.machine(device)}", flush=True)
        with tempfile.TemporaryDirectory(prefix="proxyclip-bench-") as folder:
            runner = Runner(common, Path(folder), run_in_child)
            runner("weights")
            if options.beside:
                _run_beside(options, runner.common)
            elif options.tricks:
                _run_tricks(options, runner.common)
            else:
                _run_rows(options, runner)
    except (ValueError, MeasurementError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a whole number from 1 on, such as 3")
    return int(text)


def checkout(text: str) -> Path:
    """The folder of another checkout, for argparse."""
    path = Path(text).expanduser().resolve()
    if not (path / "tests" / "benchmarks" / "child.py").is_file():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no checkout of this project with a tests/benchmarks/child.py; make one with "
            "'git worktree add FOLDER COMMIT'"
        )
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measure time and memory against the plain method."
    )
    parser.add_argument("--clip", help="CLIP of this size, with random weights (default: OpenAI B/16)")
    parser.add_argument("--vfm", help="VFM of this size, with random weights (default: DINO B/8)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--precision", default="auto", help="of the encoders (default: auto)")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows; a wrong name lists them all")
    parser.add_argument(
        "--repeats", type=positive, default=3, help="timed runs at least, of which the best counts (default: 3)"
    )
    parser.add_argument("--growth", action="store_true", help="also how cost grows with picture, classes and windows")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--plot", type=Path, help="file for a plot of how cost grows")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--beside", type=checkout, metavar="FOLDER", help="instead: each row in turn here and in another checkout"
    )
    instead.add_argument(
        "--tricks", action="store_true", help="instead: a picture on a CPU with each fast kernel turned off alone"
    )
    parser.add_argument(
        "--rounds", type=positive, default=3, help="turns that --beside and --tricks take; the best counts (default: 3)"
    )
    return parser


def _check_rows(asked: Sequence[str] | None, known: Sequence[str]) -> None:
    unknown = sorted(set(asked or ()) - set(known))
    if unknown:
        raise ValueError(f"No row is called {', '.join(unknown)}. Known here: {', '.join(known)}.")


def _run_rows(options: argparse.Namespace, runner: Runner) -> None:
    common = runner.common
    print(
        f"Best of {common.repeats} runs, and of more where they fit into {TIMED_SECONDS:g} s, after one that is not "
        "timed; every measurement in a fresh process."
    )
    print(f"Here {report.speeds_in_words(runner.speeds)}\n", flush=True)
    known, lines = rows_for(common.device, options.precision), []
    for name in options.rows or known:
        lines.append(measure_row(known[name], name, runner))
        print(f"  {report.in_short(lines[-1])}", file=sys.stderr, flush=True)
    print(report.rows_table(lines), flush=True)
    curves = growth.measure_growth(runner) if options.growth or options.plot else []
    if curves:
        print(f"\n{report.growth_table(curves)}")
    if options.json:
        results = report.as_json(common.device, _settings(common), runner.speeds, lines, curves)
        _write(options.json, results)
    if options.plot:
        growth.plot(curves, options.plot)


def _run_beside(options: argparse.Namespace, common: Job) -> None:
    common, pairs, failed = replace(common, at_least=PAIR_SECONDS), [], list[str]()
    others = ("first", "ray")  # the sum of two other rows, and what runs in processes of its own
    known = [row for row in rows_for(common.device, options.precision) if row not in others]
    for row in options.rows or known:
        try:
            pairs.append(measure_pair(row, common, options.beside, options.rounds))
            print(f"  {row}: {pairs[-1].ratio:.2f}", file=sys.stderr, flush=True)
        except MeasurementError as error:  # an older checkout may not know the task
            failed.append(f"{row}: {error}")
    print(report.pairs_table(pairs))
    if options.json:
        _write(options.json, [vars(pair) for pair in pairs])
    if failed:
        raise MeasurementError("; ".join(failed))


def _run_tricks(options: argparse.Namespace, common: Job) -> None:
    one_thread = partial(run_in_child, environment={"OMP_NUM_THREADS": "1"})
    found = measure_tricks(common, options.rounds, one_thread)
    print(report.tricks_table(found))
    if options.json:
        _write(options.json, found)


def _settings(common: Job) -> dict[str, object]:
    names = ("clip", "vfm", "device", "precision", "repeats", "size_hw", "classes")
    return {name: getattr(common, name) for name in names}


def _write(path: Path, numbers: object) -> None:
    path.write_text(json.dumps(numbers, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
