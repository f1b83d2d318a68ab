"""What the commands' options have in common: the table of settings, models, and how they are loaded."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from proxyclip_core.loader import load
from proxyclip_core.models.loading import PRECISIONS
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.settings import SETTINGS, Setting

TEXT_NOTES = {
    "clip": "name of the CLIP, such as 'OpenAI B/16', a file of weights, NAME=FILE, or open_clip:MODEL/TAG (default: "
    "what is at hand, the paper's first)",
    "vfm": "name of the vision model, such as 'DINO B/8', a file of weights, NAME=FILE, or timm:MODEL.TAG (default: "
    "the one that goes with the CLIP)",
    "words": "the classes, where the arguments are all pictures; @FILE reads them from a .txt, .csv or .json file",
}
FILES_OF_WORDS = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".pbtxt", ".names")


def say(text: str) -> None:
    """A line on standard error."""
    _line(text, sys.stderr)


def show(text: str) -> None:
    """A line of the answer, on standard output, at once."""
    _line(text, sys.stdout)


def _line(text: str, stream: TextIO | None) -> None:
    if stream is None:  # the shell has closed it
        return
    if sys.stderr is not None and (stream is sys.stderr or sys.stderr.isatty()):
        tqdm.write(text, stream)  # above the progress bar, which in a file would stand in the same line
    else:
        print(text, file=stream)
    stream.flush()


def names_file_of_words(given: str) -> bool:
    """Whether what was given in the place of words is the name of a file, there or not: @FILE, or classes.txt."""
    return given.startswith("@") or (given.casefold().endswith(FILES_OF_WORDS) and not set(given) & set(",;\n"))


def add_settings(parser: argparse.ArgumentParser, names: Sequence[str], usual: Mapping[str, str] | None = None) -> None:
    """Options for rows of the table of settings. One that is not given leaves no trace: a file's value holds.

    usual: what the help says of the default, where it is not the table's.
    """
    for name in names:
        row = SETTINGS[name]
        default = (usual or {}).get(name, row.as_text(row.default))
        note = TEXT_NOTES.get(name) or f"{row.tip.rstrip('.')} ({row.expected}; default: {default})"
        parser.add_argument(
            f"--{name}",
            type=_typed(row),
            default=argparse.SUPPRESS,
            metavar={"text": "TEXT", "choice": "NAME", "whole": "PIXELS", "number": "NUMBER"}[row.kind],
            help=note.replace("%", "%%"),
        )


def add_models(parser: argparse.ArgumentParser) -> None:
    """Options that say which models are loaded, and where they run."""
    parser.add_argument("--patch", type=whole_number(1), metavar="PIXELS", help="patch size, for a --vfm like 'DINO B'")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--precision", choices=("auto", *PRECISIONS), default="auto", help="(default: auto)")


def _typed(row: Setting) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return row.from_text(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def whole_number(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"got {text!r}; expected a whole number of {least} or more")
        return int(text)

    return read


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that stand on the command line."""
    return {name: value for name, value in vars(options).items() if name in SETTINGS}


def load_models(options: argparse.Namespace, clip: str | None = None, vfm: str | None = None, **more: Any) -> ProxyCLIP:
    """The models of these names; without any, those that the options name, and `load` says what it takes for none."""
    if clip is None:
        clip, vfm = getattr(options, "clip", None), getattr(options, "vfm", None)
        more["patch"] = options.patch
    return load(clip, vfm, device=options.device, precision=options.precision, **more)


def check_writable(path: Path) -> None:
    """Before the work: an error after it would cost the person an hour."""
    if not path.absolute().parent.is_dir():
        raise ValueError(f"There is no folder {path.absolute().parent} for the table.")
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ValueError(f"The table cannot be written to {path}: it is a folder, or must not be written to.")
