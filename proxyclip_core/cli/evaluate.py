"""`proxyclip evaluate`: the score of a model where the ground truth is known."""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from proxyclip_core.cache import cache_folder
from proxyclip_core.cli import evaluate_scenes
from proxyclip_core.cli.options import (
    add_models,
    add_settings,
    check_writable,
    given_settings,
    load_models,
    names_file_of_words,
    say,
    whole_number,
)
from proxyclip_core.evaluation.benchmarks import BENCHMARKS, DATA, NAMES
from proxyclip_core.evaluation.folder import folder_data
from proxyclip_core.evaluation.items import DataSet
from proxyclip_core.evaluation.layouts import MissingDataError, benchmark_data
from proxyclip_core.evaluation.results import Scores
from proxyclip_core.evaluation.run import evaluate
from proxyclip_core.evaluation.tables import class_table, paper_table, summary_table
from proxyclip_core.export.encoding import replace
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.settings import SETTINGS, check_threshold

MODELS = ("clip", "vfm")
ASKED = [name for name in SETTINGS if name not in (*MODELS, "words")]
THE_PAPERS = dict.fromkeys(("side", "background", "threshold"), "the paper's for this set")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("evaluate", help="score a model where the ground truth is known")
    kinds = parser.add_subparsers(required=True, metavar="DATA")
    evaluate_scenes.add_options(
        kinds.add_parser("scenes", help="pictures that each have words of their own, listed in a JSON file")
    )
    _add_folder(kinds.add_parser("folder", help="your own pictures and label maps, in two folders"))
    for name in (*BENCHMARKS, "all"):
        row = DATA["benchmarks"].get(name)
        note = f"{row['title']}, {row['pictures']} pictures" if row else "all of these that are there, in one table"
        _add_benchmark(kinds.add_parser(name, help=note), name)


def _add_benchmark(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="ROOT",
        help="the folder that holds the data sets as they were released or as mmsegmentation has them",
    )
    parser.add_argument(
        "--names",
        choices=NAMES,
        default="paper",
        help="whose words: the paper's, with their wordings of the background, or the data set's own (default: paper)",
    )
    _add_common(parser, THE_PAPERS)
    parser.set_defaults(run=run_all if name == "all" else run_benchmark, benchmark=name)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pictures", type=Path, required=True, metavar="FOLDER", help="the pictures")
    parser.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="their label maps (PNG or TIFF), a/b.png or a/b.jpg.png for a/b.jpg; the values are the words' places, "
        "from 0 on; what 'proxyclip segment' wrote is taken by its names",
    )
    parser.add_argument(
        "--words",
        required=True,
        metavar="FILE",
        help="a .txt, .csv or .json file of the classes, in the order of the values; or the words themselves",
    )
    parser.add_argument(
        "--ignore",
        type=whole_number(0),
        nargs="+",
        metavar="VALUE",
        help="values that do not count (default: 255, in a map of 16 bits 65535)",
    )
    _add_common(parser, {})
    parser.set_defaults(run=run_folder)


def _add_common(parser: argparse.ArgumentParser, usual: dict[str, str]) -> None:
    parser.add_argument("--limit", type=whole_number(1), metavar="N", help="only the first N pictures")
    parser.add_argument("--workers", type=whole_number(1), metavar="N", help="pictures at a time (default: as fits)")
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="share the pictures out on a Ray cluster: its address, or 'local' for one on this machine; the data must "
        "lie in a folder that all its machines see",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all numbers")
    parser.add_argument("--fresh", action="store_true", help="do not go on where the same command was stopped")
    parser.add_argument("--quiet", action="store_true", help="print nothing but tables and errors")
    add_settings(parser, [*MODELS, *ASKED], usual)
    add_models(parser)


def run_benchmark(options: argparse.Namespace) -> int:
    return _run_one(options, benchmark_data(options.benchmark, options.data, options.names))


def run_folder(options: argparse.Namespace) -> int:
    given = options.words.removeprefix("@")
    words = Path(given) if names_file_of_words(options.words) or os.path.isfile(given) else given
    return _run_one(options, folder_data(options.pictures, options.labels, words, ignore=options.ignore))


def run_all(options: argparse.Namespace) -> int:
    """All benchmarks that are below the folder; one that is damaged does not keep the others."""
    sets, failed = [], 0
    for name in BENCHMARKS:
        try:
            sets.append(benchmark_data(name, options.data, options.names))
        except MissingDataError as error:
            if not options.quiet:
                say(f"note: {str(error).splitlines()[0]}")
        except ValueError as error:
            say(f"error: {error}")
            failed += 1
    if not sets:
        found = "none of the benchmarks" if not failed else "none of the benchmarks whole"
        raise ValueError(
            f"There is {found} below {options.data}. 'proxyclip evaluate voc21 --data {options.data}', say, tells what "
            "it looks for."
        )
    scores: dict[str, Scores] = {}
    model = _prepared(options)
    for data in sets:
        try:
            scores[data.name] = _evaluated(options, model, data)
        except BrokenPipeError:  # nobody reads any more
            raise
        except (ValueError, OSError) as error:
            say(f"error: {data.title}: {error}")
            failed += 1
            continue
        try:
            _write(options, {name: found.as_json() for name, found in scores.items()})
        finally:
            print(summary_table([scores[data.name]]), flush=True)
    if scores:
        print(f"\n{paper_table(scores)}", flush=True)
    return 1 if failed else 0


def _run_one(options: argparse.Namespace, data: DataSet) -> int:
    scores = _evaluated(options, _prepared(options), data)
    try:  # one is kept where the other fails: the disk is full, or whoever read the output is gone
        _write(options, scores.as_json())
    finally:
        print(class_table(scores))
        print(f"\n{summary_table([scores])}", flush=True)
    return 0


def _prepared(options: argparse.Namespace) -> ProxyCLIP:
    """The model, after what would spoil the work later was looked at."""
    if options.json:
        check_writable(options.json)
    asked = _asked(options)
    if "threshold" in asked and "background" in asked:
        check_threshold(asked["threshold"], asked["background"] != "none")
    return _load(options)


def _load(options: argparse.Namespace) -> ProxyCLIP:
    return load_models(options, fusion=_asked(options).get("fusion", SETTINGS["fusion"].default))


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in given_settings(options).items() if name in ASKED}


def _evaluated(options: argparse.Namespace, model: ProxyCLIP, data: DataSet) -> Scores:
    kept = cache_folder()
    try:
        return evaluate(
            model,
            data,
            limit=options.limit,
            workers=options.workers,
            partial=kept / "evaluations" if kept else None,
            fresh=options.fresh,
            progress=not options.quiet,
            ray=options.ray,
            load=partial(_load, options),
            **_asked(options),
        )
    except KeyboardInterrupt:
        if kept and not options.quiet:
            say("note: stopped. The same command goes on from here; with --fresh it begins anew.")
        raise


def _write(options: argparse.Namespace, record: dict[str, Any]) -> None:
    if options.json:
        replace(options.json, (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())
