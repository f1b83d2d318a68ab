"""Anything at all as arguments of /segment, and as a file of settings: an answer or a sentence, and nothing else.

`python -m tests.fuzz --minutes 20` goes on for so long, and ends with exit status 1 where something else came.
tests/test_fuzz.py is the short form.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import gradio as gr
import numpy as np
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as how
from hypothesis import strategies as some
from PIL import Image

import proxyclip_core as pc
from demo.answers import save_load
from demo.ui import build_demo
from tests.page import Page, file
from tests.serving import ROOT, OneModel

MOST_SAID = 3_000  # characters of a sentence
NUMBERS = [0, 1, -1, 0.5, 336, 2**31, 2**64, 10**30, -(10**400), 1e308, float("nan"), float("inf"), True]
SPECIAL = [
    "",
    " ",
    "\0",
    ",",
    ";",
    "|",
    '"',
    "“",
    "，",
    "[",
    "{",
    "[[",
    '{"0": "sky"}',
    "1. ",
    "<b>",
    "\u200b",
    "🧩",
    "\ud800",
]
NAMES = [
    "sky",
    "hill",
    "horse",
    "as-is",
    "sliding",
    "whole",
    "none",
    "Built-in",
    "OpenAI B/16",
    "DINO B/8",
    "../../etc/passwd",
]

junk = some.one_of(
    some.none(), some.booleans(), some.sampled_from(NUMBERS), some.floats(), some.integers(), some.text()
)
anything = some.recursive(
    junk, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4)
)
words = some.lists(some.sampled_from(NAMES + SPECIAL) | some.text(max_size=6), max_size=12).map(", ".join)
words |= some.lists(some.sampled_from(NAMES + SPECIAL), max_size=12).map("".join)


def _values(row: Any) -> some.SearchStrategy[Any]:
    """Of a setting: often one that it takes."""
    if row.kind == "choice":
        taken: some.SearchStrategy[Any] = some.sampled_from(list(row.values))
    elif row.name == "words":
        taken = words
    elif row.kind == "text":
        taken = some.sampled_from(NAMES)
    else:
        taken = (
            some.floats(row.low, row.high) if row.kind == "number" else some.sampled_from([224, 225, "224", "as-is"])
        )
    return some.one_of(taken, taken, taken, some.sampled_from(NAMES + SPECIAL), junk)


entries = some.fixed_dictionaries({}, optional={name: _values(row) for name, row in pc.SETTINGS.items()})
calls = some.fixed_dictionaries(
    {"words": _values(pc.SETTINGS["words"])},
    optional={name: _values(row) for name, row in pc.SETTINGS.items() if name not in ("words", "refine")}
    | {"patch": junk, "opacity": junk, "outlines": junk, "names": junk, "picture": anything},
)
files = some.one_of(
    some.binary(max_size=200),
    some.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    anything.map(lambda value: json.dumps(value).encode()),
    some.tuples(
        entries,
        some.dictionaries(some.sampled_from(["proxyclip_settings", "computed_with", "versions", "x"]), anything),
    ).map(lambda parts: json.dumps({"words": "sky"} | parts[0] | parts[1]).encode()),
)


class Fuzz:
    """What is tried, around a model of the tests. folder: for its files."""

    def __init__(self, model: pc.ProxyCLIP, folder: Path) -> None:
        self.page = Page(build_demo(OneModel(model), "OpenAI B/16", "DINO B/8"))
        self.default = pc.Settings("OpenAI B/16", "DINO B/8", "sky")
        self.picture, self.settings_file = folder / "picture.png", folder / "settings.json"
        Image.fromarray(np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)).save(self.picture)

    def call(self, arguments: dict[str, Any]) -> None:
        """/segment answers with what was asked for, or says why not."""
        usual = {"picture": file(self.picture), "windows": "whole", "templates": "none"}
        try:
            summary = self.page.call("segment", **usual | arguments)[2].root
        except gr.Error as error:
            self._check_said(str(error.message))
        else:
            assert summary["names"] and abs(sum(row["share"] for row in summary["classes"]) - 1) < 1e-3

    def read(self, content: bytes) -> None:
        """A file of settings is read, and the same again once it is written, or it is said why not."""
        self.settings_file.write_bytes(content)
        try:
            found = save_load.read_settings(str(self.settings_file), self.default)
        except ValueError as error:
            self._check_said(str(error))
        else:
            assert pc.Settings.from_json(found.to_json()) == found
            query = dict(parse_qsl(urlencode(save_load.to_query(found, self.default)), keep_blank_values=True))
            assert save_load.from_query(query, self.default) == found

    def _check_said(self, text: str) -> None:
        assert text.strip() and len(text) <= MOST_SAID and "wrong inside" not in text, text
        assert "Traceback" not in text and str(ROOT) not in text and str(self.picture.parent) not in text, text


def trial(
    check: Callable[[Any], None], strategy: some.SearchStrategy[Any], examples: int, **more: Any
) -> Callable[[], None]:
    """`check` on so many examples. On a failure it raises with the smallest that was found."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    wanted = how(max_examples=examples, deadline=None, database=None, suppress_health_check=slow, **more)

    @wanted
    @given(strategy)
    def tried(value: Any) -> None:
        check(value)

    return tried


def main() -> int:
    from tests.conftest import TINY_CLIP
    from tests.replay import golden_clip, golden_vfm

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=20)
    end, tried, failures = time.monotonic() + 60 * parser.parse_args().minutes, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(pc.ProxyCLIP(golden_clip(TINY_CLIP), golden_vfm("dino8"), templates="none"), Path(folder))
        while time.monotonic() < end:
            for check, strategy, examples in ((fuzz.call, calls, 50), (fuzz.read, files, 500)):
                try:
                    trial(check, strategy, examples, phases=[Phase.generate, Phase.shrink])()
                except Exception:
                    logging.exception("This is what was looked for")
                    failures += 1
                tried += examples
            print(f"{tried} examples, {failures} failures", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
