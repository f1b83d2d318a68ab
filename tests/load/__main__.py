"""`python -m tests.load --users 20 --minutes 5`: many visitors at a time, and whether any are mixed up.

It starts `python app.py` with the built-in models, unless `--address` names a page that runs. `--beside FOLDER` lets
the same visitors use an earlier page first, that of a checkout of 360fd2f. Ends with exit status 1 where an answer was
another visitor's, or a request failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from demo.presets import PAPER
from tests.load.crowd import Crowd
from tests.load.earlier import EarlierVisitor
from tests.load.visitor import Program, Visitor
from tests.serving import ROOT, app_and_process


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description="Many visitors at a time.")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--pause", type=float, default=0, help="seconds between a person's actions (default: none)")
    parser.add_argument("--address", help="of a page that runs, with / at its end (default: starts one)")
    parser.add_argument("--process", type=int, help="its number, for its memory and CPU time")
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="of an earlier page, which is visited first")
    parser.add_argument("--paper", action="store_true", help="by the paper's settings, which the earlier page had")
    parser.add_argument("--programs", action="store_true", help="who ask by /segment alone, in place of people")
    given = parser.parse_args()
    if given.beside:
        print(f"{given.beside}:", flush=True)
        earlier = Program if given.programs else EarlierVisitor
        with started(given.beside) as (address, process):
            visited(Crowd(address, given.users, given.pause, earlier), given.minutes, process)
        print("this page:", flush=True)
    visit = Program if given.programs else partial(Visitor, settings=PAPER if given.paper else None)
    with nullcontext((given.address, given.process)) if given.address else started(ROOT) as (address, process):
        crowd = visited(Crowd(address, given.users, given.pause, visit), given.minutes, process)
    return 1 if crowd.wrong or crowd.failed else 0


def visited(crowd: Crowd, minutes: float, process: int | None) -> Crowd:
    for line in crowd.act_for(minutes * 60, process):
        print(line, flush=True)
    print(crowd.report(), flush=True)
    return crowd


@contextmanager
def started(checkout: Path) -> Iterator[tuple[str, int]]:
    """The address of a checkout's page, and the number of its process."""
    with tempfile.TemporaryDirectory() as folder:
        own = {"PROXYCLIP_CACHE": f"{folder}/words", "PROXYCLIP_PUBLIC": "on"}
        arguments = ("--clip", "Built-in", "--vfm", "Built-in")
        with app_and_process(Path(folder), *arguments, checkout=checkout, **own) as (url, process):
            yield url, process.pid


if __name__ == "__main__":
    sys.exit(main())
