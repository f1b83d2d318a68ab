"""`proxyclip segment`: pictures to label maps."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from proxyclip_core.cli.options import add_models, add_settings, given_settings, load_models, say
from proxyclip_core.export import check_ours, is_label_png, settings_in, write_label_map
from proxyclip_core.models.loading import complete_pair
from proxyclip_core.models.registry import find_vfm
from proxyclip_core.settings import SETTINGS, Settings
from proxyclip_core.types import Segmentation
from proxyclip_core.word_files import read_words
from proxyclip_core.words import Classes, as_text, read_vocabulary


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    segment = commands.add_parser(
        "segment",
        usage="%(prog)s [options] PICTURE [PICTURE ...] WORDS",
        help="segment pictures with your own words",
        description="Writes PICTURE.proxyclip.png, a label map in colours (grey, of 16 bits, for more than 255 "
        "classes), and PICTURE.proxyclip.json, which names its classes. What this command wrote before is replaced; "
        "other files of these names are left alone.",
    )
    segment.add_argument(
        "inputs",
        nargs="+",
        metavar="PICTURE ... WORDS",
        help="picture files, then the classes in one argument, such as 'sky; cloud, hill, horse', or @FILE, which "
        "lists them; with --words or --settings all of them are pictures",
    )
    segment.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="settings that the page or this command saved; options that are given take the place of the file's",
    )
    segment.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="where to write (default: .)")
    segment.add_argument("--force", action="store_true", help="overwrite files that this command did not write")
    add_settings(segment, list(SETTINGS))
    add_models(segment)
    segment.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    pictures = _pictures(options)
    settings = _settings(options)
    _check_pictures(pictures)
    targets = _targets(pictures, options.out, options.force)
    clip = vfm = None
    if options.settings:
        clip, vfm = settings.clip, settings.vfm if settings.fusion == "proxy" or "vfm" in options else None
    model = load_models(options, clip, vfm, fusion=settings.fusion, templates=settings.templates)
    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for picture, target in targets.items():
        if is_label_png(picture):
            say(f"note: {picture} is a label map that proxyclip wrote; it is passed over.")
            continue
        try:
            result = model.run(picture, settings)
            write_label_map(target, result, picture.name, options.force)
        except (ValueError, OSError) as error:  # of this picture: the others may be sound
            say(f"error: {error}")
            failed += 1
        else:
            _print_result(result, picture, target)
    return 1 if failed else 0


def _pictures(options: argparse.Namespace) -> list[Path]:
    """The pictures among the arguments. The words, where they are the last one, become an option like any other."""
    pictures = list(options.inputs)
    if not options.settings and "words" not in options:
        options.words = pictures.pop()
        if not pictures or os.path.isfile(options.words):
            found = f"the last argument is a file, {options.words!r}" if pictures else "there is one argument alone"
            raise ValueError(
                f"There are no words: {found}. Give them after the pictures, such as 'sky; cloud, hill', or with "
                "--words or --settings."
            )
    if getattr(options, "words", "").startswith("@"):
        options.words = as_text(_read_words(Path(options.words[1:])))
    return [Path(picture) for picture in pictures]


def _read_words(path: Path) -> Classes:
    if not path.is_file():
        raise ValueError(f"There is no file of words at {path}.")
    return read_words(path)


def _settings(options: argparse.Namespace) -> Settings:
    """From a file, from the command line, or from a file with what the command line says in its place."""
    given, saved = given_settings(options), None
    if options.settings:
        saved = _read_settings(options.settings)
        given.setdefault("clip", saved.clip or None)
        if "vfm" not in given and saved.vfm:
            given["vfm"] = saved.vfm if options.patch is None else find_vfm(saved.vfm).family
    given["clip"], given["vfm"] = complete_pair(given.get("clip"), given.get("vfm"), options.patch)
    settings = replace(saved, **given) if saved else Settings(**given)
    read_vocabulary(settings.words)  # a slip is found before anything is loaded
    return settings


def _read_settings(path: Path) -> Settings:
    if not path.is_file():
        raise ValueError(f"There is no settings file at {path}.")
    try:
        return Settings.from_json(settings_in(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: These are no settings: the file is no text.") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_pictures(pictures: Sequence[Path]) -> None:
    for picture in pictures:
        if picture.is_dir():
            raise ValueError(f"{str(picture)!r} is a folder; give the pictures in it, such as {picture / '*.png'}.")
        if not os.path.isfile(picture):
            hint = " All words are one argument, in quotes, after the pictures." if len(pictures) > 1 else ""
            raise ValueError(f"There is no picture file at {str(picture)!r}; check the path.{hint}")


def _targets(pictures: Sequence[Path], folder: Path, force: bool) -> dict[Path, Path]:
    """Where the label map of each picture goes. Raises before any work is done for what cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out is {folder}, which is a file; give a folder.")
    targets: dict[Path, Path] = {}  # label map -> picture
    for picture in pictures:
        target = folder / f"{picture.name}.proxyclip.png"  # with the suffix, as a.png and a.webp are two pictures
        if target in targets:
            raise ValueError(
                f"{targets[target]} and {picture} would both be written to {target}. Segment them one after the other, "
                "each into a folder of its own (--out)."
            )
        if not force:
            check_ours(target)
        targets[target] = picture
    return {picture: target for target, picture in targets.items()}


def _print_result(result: Segmentation, picture: Path, target: Path) -> None:
    settings, found = result.settings, result.computed_with
    assert settings is not None  # `run` sets them
    models = settings.clip + (f" and {settings.vfm}" if found["vfm_weights"] else "")
    print(f"{picture}: {models}, {found['precision']} on {found['device']}")
    for name, share in sorted(result.coverage().items(), key=lambda pair: -pair[1]):
        print(f"{share:7.1%}  {name}")
    print(f"labels: {target}  names: {target.with_suffix('.json')}", flush=True)
