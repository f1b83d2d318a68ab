"""The command `python -m proxyclip_core bench`: rows against the plain baseline, growth, and where to write them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from proxyclip_core.models.loading import choose_device
from proxyclip_core.models.registry import find_clip, find_vfm
from tests.benchmarks import growth, report
from tests.benchmarks.child import Job
from tests.benchmarks.rows import measure_row, rows_for
from tests.benchmarks.runner import Runner

TIMED_SECONDS = 20.0  # of each task, at least


def run(options: argparse.Namespace) -> int:
    """Measures what the options ask for and prints it. Raises ValueError for a name that is not known."""
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
    known = rows_for(device, options.precision)
    unknown = sorted(set(options.rows or ()) - set(known))
    if unknown:
        raise ValueError(f"No row is called {', '.join(unknown)}. Known here: {', '.join(known)}.")
    print(f"{common.clip} and {common.vfm} with random weights; {report.machine(device)}", flush=True)
    print(
        f"Best of {common.repeats} runs, and of more where they fit into {TIMED_SECONDS:g} s, after one that is not "
        "timed; every measurement in a fresh process."
    )
    with tempfile.TemporaryDirectory(prefix="proxyclip-bench-") as folder:
        runner = Runner(common, Path(folder))
        runner("weights")
        print(f"Here {report.speeds_in_words(runner.speeds)}\n", flush=True)
        lines = []
        for name in options.rows or known:
            lines.append(measure_row(known[name], name, runner))
            print(f"  {report.in_short(lines[-1])}", file=sys.stderr, flush=True)
        print(report.rows_table(lines), flush=True)
        curves = growth.measure_growth(runner) if options.growth or options.plot else []
        if curves:
            print(f"\n{report.growth_table(curves)}")
        results = report.as_json(device, _settings(common), runner.speeds, lines, curves)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.plot:
        growth.plot(curves, options.plot)
    return 0


def _settings(common: Job) -> dict[str, object]:
    names = ("clip", "vfm", "device", "precision", "repeats", "size_hw", "classes")
    return {name: getattr(common, name) for name in names}
