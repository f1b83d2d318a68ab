"""`proxyclip words`: which words of a large vocabulary are in a picture."""

from __future__ import annotations

import argparse
import os

from proxyclip_core.cli.options import (
    add_models,
    add_settings,
    given_settings,
    load_models,
    names_file_of_words,
    say,
    show,
)
from proxyclip_core.word_files import read_words
from proxyclip_core.words import Words, as_text, list_called, list_names

NUMBERS = ("beta", "gamma", "side", "windows", "facet", "reach")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    words = commands.add_parser("words", help="find the words of a large vocabulary that are in a picture")
    words.add_argument("picture", help="a picture file")
    words.add_argument(
        "--vocabulary",
        metavar="WORDS",
        help="what is chosen from: a .txt, .csv or .json file, the name of a benchmark such as ade20k, or the words "
        "themselves (default: what the CLIP was trained on where that is known, else the words of all benchmarks)",
    )
    add_settings(words, ["clip", "vfm", *NUMBERS])
    add_models(words)
    words.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the words as `proxyclip segment` takes them."""
    if not os.path.isfile(options.picture):
        raise ValueError(f"There is no picture at {options.picture}.")
    vocabulary = _vocabulary(options.vocabulary) if options.vocabulary else None
    numbers = {name: value for name, value in given_settings(options).items() if name in NUMBERS}
    found = load_models(options).find_words(options.picture, vocabulary, **numbers)
    if found:
        show(as_text(found))
    else:
        say("note: none of the words seems to be in the picture.")
    return 0


def _vocabulary(given: str) -> Words:
    path = given.removeprefix("@")
    is_file = names_file_of_words(given) or os.path.isfile(path)
    return read_words(path) if is_file and given not in list_names() else list_called(given) or given
