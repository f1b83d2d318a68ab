"""What bad inputs cost the server that they are sent to: little of its time, and no memory once they are answered.

Time is that of its cores, not a clock's: it is the same however busy the machine is with other things.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.load.crowd import cpu_seconds, resident_megabytes
from tests.serving import app_and_process
from tests.strangers.bad_inputs import (
    FILES,
    HELD,
    NARROW,
    NOISE,
    NUMBERS,
    QUICK,
    REFUSED,
    SENT,
    TAKEN,
    WORDS,
    is_fit_for_strangers,
    png,
    segmenting,
)
from tests.strangers.stranger import Stranger

MOST_SECONDS = 3  # of one core, for one input
MOST_MORE, MOST_AT_ONCE = 0.1, 200  # share of the memory that may stay after a round; MB that one input may take
ROUNDS = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[Stranger, int]]:
    """Somebody with a result on a public page, and the page's process."""
    folder, own = tmp_path_factory.mktemp("page"), {"PROXYCLIP_PUBLIC": "on"}
    with app_and_process(folder, "--clip", "Built-in", "--vfm", "Built-in", **own) as (url, process):
        visitor = Stranger(url)
        visitor.set("picture", visitor.upload("noise.png", png(NOISE)))
        visitor.set("words", "sky, tree")
        visitor.ask(segmenting(visitor))
        yield visitor, process.pid


def inputs(visitor: Stranger) -> Iterator[tuple[str, Callable[[], str]]]:
    """What is sent, by a name, and what is said of it."""
    picture = visitor.values[visitor.ids["picture"]]

    def call(**given: Any) -> str:
        served, text = visitor.call(**{"picture": picture, "words": "sky, tree"} | QUICK | given)
        return "served" if served else text

    def look_at(name: str, content: bytes) -> str:
        return call(picture=visitor.upload(name, content))

    def read(control: str, name: str) -> str:
        visitor.set(control, visitor.upload(name, FILES[control][name]))
        said, _ = visitor.ask(visitor.event(control, "upload"))
        return said + visitor.told

    def hold(sent: Any) -> str:
        visitor.set("held-seeds", sent)
        return visitor.ask(visitor.event("inside-stage", "input"))[0] or "served"

    def compare() -> str:
        visitor.set("compare-chosen", ["CLIP alone", *["no such"] * 10_000])
        return visitor.ask(visitor.event("compare-run", "click"))[0] or "served"

    for name, content in (REFUSED | TAKEN | NARROW).items():
        yield name, partial(look_at, name, content)
    calls = [("picture", sent) for sent in SENT] + [("words", words) for words, _ in WORDS]
    for name, sent in [*calls, *(("beta", number) for number in NUMBERS)]:
        yield f"{name} {ascii(sent)[:40]}", partial(call, **{name: sent})
    for model in ("OpenAI B/16", "OpenAI B/99", "/etc/passwd", "open_clip:x/y"):  # not here, not known, not offered
        yield model, partial(call, clip=model)
    yield "sheet without end", compare
    for control, files in FILES.items():
        for name in files:
            yield name, partial(read, control, name)
    for sent in HELD:
        yield f"held {ascii(sent)[:40]}", partial(hold, sent)


def test_every_bad_input_takes_little_time_and_gives_its_memory_back(server):
    visitor, process = server
    held = []
    for _ in range(ROUNDS):
        for name, send in inputs(visitor):
            before = cpu_seconds(process)
            assert is_fit_for_strangers(send()), name
            assert cpu_seconds(process) - before < MOST_SECONDS, name
        held.append(resident_megabytes(process))
    assert held[-1] <= (1 + MOST_MORE) * held[0], held
    assert most_megabytes(process) <= max(held) + MOST_AT_ONCE, held


def most_megabytes(process: int) -> float:
    """What a process has held at any time."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text(encoding="ascii"))
    return int(kilobytes) / 1000
