"""`python -m tests.load --users 20 --minutes 5`: many visitors at a time, and whether any are mixed up.

It starts `python app.py` with the built-in models, unless `--address` names a page that runs. Ends with exit status 1
where an answer was another visitor's, or a request failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.load.crowd import Crowd
from tests.serving import app_and_process


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description="Many visitors at a time.")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--pause", type=float, default=0, help="seconds between a person's actions (default: none)")
    parser.add_argument("--address", help="of a page that runs, with / at its end (default: starts one)")
    parser.add_argument("--process", type=int, help="its number, for its memory and CPU time")
    given = parser.parse_args()
    with page(given.address, given.process) as (address, process):
        crowd = Crowd(address, given.users, given.pause)
        for line in crowd.act_for(given.minutes * 60, process):
            print(line, flush=True)
    print(crowd.report())
    return 1 if crowd.wrong or crowd.failed else 0


@contextmanager
def page(address: str | None, process: int | None) -> Iterator[tuple[str, int | None]]:
    """The page, and the number of its process where that is known."""
    if address:
        yield address, process
        return
    with tempfile.TemporaryDirectory() as folder:
        own = {"PROXYCLIP_CACHE": f"{folder}/words"}
        with app_and_process(Path(folder), "--clip", "Built-in", "--vfm", "Built-in", **own) as (url, started):
            yield url, started.pid


if __name__ == "__main__":
    sys.exit(main())
