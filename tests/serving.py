"""The page, served for tests: as the real process, or in this one around a small model."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # as app.py does, before gradio is imported

from demo.door import Door
from demo.ui import LAUNCH, build_demo

ROOT = Path(__file__).parents[1]
START_LIMIT = 120  # seconds until a process that does not come up is ended, so that no test waits for ever


def as_elsewhere(function):
    """Runs a function as ZeroGPU does, in a process of its own: what comes and goes must survive pickling."""
    return lambda *given: pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps(given)))))


class OneModel:
    """Gives the same model under every name."""

    def __init__(self, model) -> None:
        self.model = model

    def room_for(self, clip, vfm, sam):
        """All there are are small."""

    def on_device(self, function, seconds=None):
        return as_elsewhere(function)

    def get(self, clip, vfm, say=lambda done, text: None):
        return self.model

    def ready(self, clip, vfm):
        return True

    def fetch(self, clip, vfm):
        return iter(())

    def loaded(self):
        return []


class Failing(OneModel):
    """Raises `error`, where there is one."""

    error: Exception | None = None

    def get(self, clip, vfm, say=lambda done, text: None):
        if self.error:
            raise self.error
        return self.model


class TwoModels(OneModel):
    """Gives one model for "DINO B/8", another for "DINO B/16", and has no others."""

    def __init__(self, model, other) -> None:
        super().__init__(model)
        self.other = other

    def get(self, clip, vfm, say=lambda done, text: None):
        return self.other if vfm == "DINO B/16" else self.model

    def ready(self, clip, vfm):
        return vfm in ("DINO B/8", "DINO B/16")


def until(happened: Callable[[], object]) -> None:
    """Waits for what a server does in its own time."""
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def page_around(model, examples: Path | None = None) -> Iterator[str]:
    """The address of the page around a model of the tests, or around a provider of models."""
    with door_around(model, examples) as (_, url):
        yield url


@contextmanager
def door_around(model, examples: Path | None = None) -> Iterator[tuple[Door, str]]:
    """The same, with the page itself."""
    models = model if hasattr(model, "get") else OneModel(model)
    demo = build_demo(models, "OpenAI B/16", "DINO B/8", examples)
    _, url, _ = demo.launch(server_port=free_port(), prevent_thread_lock=True, quiet=True, **LAUNCH)
    try:
        yield demo, url
    finally:
        demo.close(verbose=False)


@contextmanager
def app_process(cache: Path, *arguments: str, **environment: str) -> Iterator[str]:
    """The address of `python app.py`, started without a network and without any weights."""
    with app_and_process(cache, *arguments, **environment) as (url, _):
        yield url


@contextmanager
def app_and_process(
    cache: Path, *arguments: str, checkout: Path = ROOT, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The same, with the process, whose `said` is the lines that it has written. checkout: whose page it is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PROXYCLIP_", "GRADIO_", "HF_"))}
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(free_port()), "--device", "cpu", *arguments],
        cwd=checkout,
        env=kept
        | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "TMPDIR": str(cache), "PYTHONUNBUFFERED": "1"}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watch = threading.Timer(START_LIMIT, process.kill)
    watch.start()
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if "Running on local URL:" in line:
                break
        else:
            raise RuntimeError("app.py did not come up:\n" + "".join(said))
        watch.cancel()
        # Read on, so that the process never waits for room in the pipe.
        threading.Thread(target=said.extend, args=(process.stdout,), daemon=True).start()
        process.said = said
        yield line.split("URL:")[1].strip() + "/", process
    finally:
        watch.cancel()
        process.terminate()
        process.wait(timeout=5)  # whatever it is doing


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
