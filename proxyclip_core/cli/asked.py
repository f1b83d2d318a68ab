"""What `proxyclip segment` is asked for: the pictures and the settings, from all the ways to say them."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxyclip_core.cli.options import given_settings, names_file_of_words, say
from proxyclip_core.export import is_label_png, settings_in
from proxyclip_core.folders import Found, NoSuchPictureError, find_pictures
from proxyclip_core.folders.ray_data import is_remote
from proxyclip_core.models.loading import complete_pair
from proxyclip_core.models.registry import find_vfm
from proxyclip_core.settings import Settings
from proxyclip_core.text_files import decoded
from proxyclip_core.windows import PAPERS_WINDOWS
from proxyclip_core.word_files import read_words
from proxyclip_core.words import as_text, read_vocabulary, whole_characters

STANDARD_INPUT, ITS_NAME = "-", "stdin"
MOST_BYTES = 1_000_000_000  # of a picture from standard input


def separate_words(options: argparse.Namespace) -> None:
    """Makes the words, where they are the last argument or come from a file, an option like any other."""
    if options.words_file and "words" in options:
        raise ValueError("Words are given twice, by --words and by --words-file. Give one of them.")
    if options.words_file:
        options.words = f"@{options.words_file}"
    if not options.settings and not options.preset and "words" not in options:
        options.words = options.inputs.pop()
        if not options.inputs or os.path.exists(options.words):
            kind = "folder" if os.path.isdir(options.words) else "file"
            found = "there is one argument alone"
            if options.inputs:
                found = f"the last argument is a {kind}, {options.words!r}"
            raise ValueError(
                f"There are no words: {found}. Give them after the pictures, such as 'sky; cloud, hill', or with "
                "--words, --words-file, --settings or --preset."
            )
    if names_file_of_words(getattr(options, "words", "")):
        options.words = as_text(read_words(options.words.removeprefix("@")))
    elif "words" in options:
        options.words = whole_characters(options.words)  # as they are to stand in the record


def find_asked(options: argparse.Namespace) -> tuple[list[Found], list[str]]:
    """The pictures of the arguments, and the remote folders, which Ray reads. Own label maps that are named as pictures
    are passed over, and this is said."""
    inputs: list[str] = []
    found: list[Found] = []
    remote: list[str] = []
    for given in options.inputs:
        if given == STANDARD_INPUT:
            found = found or [Found(_from_standard_input(), ITS_NAME)]  # which can be read once
        elif is_remote(given):
            if not options.ray:
                raise ValueError(f"{given} is a remote folder, which is read by Ray. Add --ray local.")
            remote.append(given)
        elif os.path.isfile(given) and is_label_png(Path(given)):
            say(f"note: {given} is a label map that proxyclip wrote; it is passed over.")
        else:
            inputs.append(given)
    if len(remote) > 1 or (remote and (inputs or found)):
        raise ValueError(
            f"{remote[0]} is a remote folder, which is segmented alone: others may hold pictures of the same names. "
            "Segment them one after the other, each into a folder of its own (--out)."
        )
    try:
        found += find_pictures(inputs, options.out)
    except NoSuchPictureError as error:
        if len(inputs) > 1:
            raise ValueError(f"{error} All words are one argument, in quotes, after the pictures.") from None
        raise
    if options.ray:  # whose processes work in another folder
        found = [Found(os.path.abspath(one.source), one.name) if isinstance(one.source, str) else one for one in found]
    return found, remote


def _from_standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError("'-' reads a picture from standard input, which is a keyboard. Put one there: ... < a.jpg")
    content = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"What comes from standard input has more than {MOST_BYTES / 1e9:g} GB; that is no picture.")
    return content


def asked_settings(options: argparse.Namespace) -> tuple[Settings, dict[str, Any]]:
    """From a file, a preset, or the command line, whose options take the place of what either says; and crop,
    stride and resizing of the windows."""
    given, saved, windows = given_settings(options), None, dict(PAPERS_WINDOWS)
    if options.settings:
        saved = _read_settings(options.settings)
        given.setdefault("clip", saved.clip or None)
        if "vfm" not in given and saved.vfm:
            given["vfm"] = saved.vfm if options.patch is None else find_vfm(saved.vfm).family
    if options.preset:
        preset = _preset(options.preset)
        windows = {name: preset.pop(name) for name in windows}
        given = {**preset, **given}
    given["clip"], given["vfm"] = complete_pair(given.get("clip"), given.get("vfm"), options.patch)
    settings = replace(saved, **given) if saved else Settings(**given)
    read_vocabulary(settings.words)  # a slip is found before anything is loaded
    return settings, windows


def _preset(name: str) -> dict[str, Any]:
    """The words and numbers that the paper takes for a benchmark."""
    from proxyclip_core.evaluation.benchmarks import find_benchmark

    benchmark = find_benchmark(name)
    return {"words": as_text(benchmark.wordings("paper")), **benchmark.settings}


def _read_settings(path: Path) -> Settings:
    if not path.is_file():
        raise ValueError(f"There is no settings file at {path}.")
    try:
        text, _ = decoded(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: These are no settings: {error}") from None
    try:
        return Settings.from_json(settings_in(text))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
