"""Sends jobs to fresh processes and remembers their results, so that rows share a baseline; starts the page too."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tests.benchmarks.jobs import Job, Result

ROOT = Path(__file__).parents[2]
PAGE_SECONDS = 120  # after which a page is given up

Measure = Callable[[Job], Result]
Name = TypeVar("Name")
Value = TypeVar("Value")


class MeasurementError(RuntimeError):
    """A process that was to be measured failed; the message is the last it said."""


def run_in_child(job: Job, root: Path = ROOT, environment: Mapping[str, str] | None = None) -> Result:
    """Measures a job in a process of its own. root: the checkout whose code runs. environment: what is added to it."""
    # Without the defaults: an older checkout does not know every field.
    given = {field.name: getattr(job, field.name) for field in fields(Job)}
    given = {name: value for name, value in given.items() if value != getattr(Job, name, None)}
    command = [sys.executable, "-m", "tests.benchmarks.child", json.dumps(given)]
    variables = os.environ | (environment or {})
    done = subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasurementError(f"{job.task}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def alternate(calls: Mapping[Name, Callable[[], Value]], rounds: int) -> dict[Name, list[Value]]:
    """The values of all calls, which take turns: what slows a machine down for a while then slows all of them."""
    found: dict[Name, list[Value]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(call())
    return found


class Runner:
    """Measures each job once. common: what every job has by default. folder: for weights and kept arrays."""

    def __init__(self, common: Job, folder: Path, measure: Measure) -> None:
        self.common = replace(common, weights=str(folder))
        self.folder = folder
        self._measure = measure
        self._results: dict[Job, Result] = {}

    def __call__(self, task: str, **more: Any) -> Result:
        """The result of a task; `more` are fields of `Job` that differ from the common ones."""
        return self._result(self._job(task, more))

    def arrays(self, task: str, **more: Any) -> dict[str, np.ndarray]:
        """What the task gave: labels and logits, or embeddings."""
        job = self._job(task, more)
        self._result(job)
        with np.load(job.keep) as arrays:
            return dict(arrays)

    def _job(self, task: str, more: dict) -> Job:
        job = replace(self.common, task=task, **more)
        # Many classes on a large picture are not kept: their logits at picture size are what must never exist.
        if job.repeats and job.classes == self.common.classes and task.endswith(("_text", "_picture")):
            name = "-".join([task, *(f"{name}_{value}" for name, value in sorted(more.items()))])
            job = replace(job, keep=str(self.folder / f"{name}.npz"))
        return job

    def _result(self, job: Job) -> Result:
        if job not in self._results:
            changed = {key: value for key, value in vars(job).items() if value != getattr(self.common, key)}
            words = (f"{key} {value}" for key, value in changed.items() if key not in ("task", "keep"))
            print(f"measuring {', '.join((job.task, *words))}", file=sys.stderr, flush=True)
            self._results[job] = self._measure(job)
        return self._results[job]

    @property
    def speeds(self) -> dict[str, float]:
        """Operations a second of a large matrix product here, by precision."""
        return self("speeds").speeds

    def floor_seconds(self, result: Result) -> float | None:
        """The least time that the arithmetic of a result could take here."""
        if not result.flops:
            return None
        return sum(flops / self.speeds.get(name, self.speeds["float32"]) for name, flops in result.flops.items())


def time_import(repeats: int = 3, root: Path = ROOT) -> tuple[Result, list[str]]:
    """All that `proxyclip_core` offers, imported in fresh processes: its best time, and the heavy libraries in it."""
    program = (
        "import json, sys, time; start = time.perf_counter(); from proxyclip_core import *; "
        "seconds = time.perf_counter() - start; "
        "heavy = [name for name in ('gradio', 'matplotlib', 'timm', 'open_clip') if name in sys.modules]; "
        "print(json.dumps([seconds, heavy]))"
    )
    runs = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MeasurementError(f"from proxyclip_core import *: {done.stderr.strip().splitlines()[-1]}")
        runs.append(json.loads(done.stdout))
    seconds, heavy = min(runs)
    return Result(seconds), heavy


def time_page(folder: Path, root: Path = ROOT) -> Result:
    """`python app.py` until its page answers. folder: for its cache and what it says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PROXYCLIP_CACHE": str(folder)}
    command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port)]
    said = folder / "page.txt"
    with said.open("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=output, stderr=output)
        try:
            while not _answers(port):
                waited = time.perf_counter() - start
                if process.poll() is not None or waited > PAGE_SECONDS:
                    last = (said.read_text().strip() or "it said nothing").splitlines()[-1]
                    raise MeasurementError(f"app.py gave no page in {waited:.0f} s: {last}")
                time.sleep(0.02)
            return Result(time.perf_counter() - start)
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PAGE_SECONDS)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
