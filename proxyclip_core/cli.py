"""The command line: `proxyclip segment | evaluate`, each with --help; `python -m proxyclip_core` is the same."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

import proxyclip_core
from proxyclip_core.cpu import keep_freed_memory
from proxyclip_core.evaluation import classes_of, other_classes, read_scenes, score_rows
from proxyclip_core.export import check_ours, is_label_png, settings_in, write_label_map
from proxyclip_core.loader import load
from proxyclip_core.models.checkpoints import WeightsError, ran_out_of_memory
from proxyclip_core.models.loading import PRECISIONS, complete_pair
from proxyclip_core.models.registry import VFM_MODELS, find_clip, find_vfm
from proxyclip_core.models.weights import is_available
from proxyclip_core.pipeline import ProxyCLIP
from proxyclip_core.settings import SETTINGS, Setting, Settings, check_threshold
from proxyclip_core.types import Segmentation
from proxyclip_core.word_files import read_words
from proxyclip_core.words import Classes, as_text, language_note, parse_vocabulary

SCENES = Path("assets/examples/eval/scenes.json")  # below the current folder, where that is the repository
DISTRACTORS = 40
EVALUATED = [name for name in SETTINGS if name not in ("clip", "vfm", "words", "fusion")]
TEXT_NOTES = {
    "clip": "name of the CLIP, such as 'OpenAI B/16' (default: what is at hand, the paper's first)",
    "vfm": "name of the vision model, such as 'DINO B/8' (default: the one that goes with the CLIP)",
    "words": "the classes, where the arguments are all pictures; @FILE reads them from a .txt, .csv or .json file",
}
INTERRUPTED = 130  # the exit status of what Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status. What the person can mend is said in words, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a word that the console cannot show is no reason to stop
            stream.reconfigure(errors="replace")
    try:
        try:
            options = _options(arguments)
            keep_freed_memory()
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return options.run(options)
        finally:
            if sys.stdout is not None:  # as it is where the shell has closed it
                sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return 0
    except (ValueError, OSError, WeightsError) as error:
        _say(f"error: {error}")
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        said = str(error) if type(error) is MemoryError else ""
        _say(f"error: {said or 'The memory was not enough.'} Try a lower --side, or smaller models.")
    return 1


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """In place of Python's own, which names a line of the source."""
    _say(f"note: {message}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and (options.run is not _segment or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # argparse takes only what stands together: the words may come after an option
        options.inputs += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="proxyclip", description="Open-vocabulary segmentation without training (ProxyCLIP)."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {proxyclip_core.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

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
    _add_settings(segment, list(SETTINGS))
    segment.set_defaults(run=_segment)

    evaluate = commands.add_parser("evaluate", help="score a model where the ground truth is known")
    evaluate.add_argument("data", choices=("scenes",), help="'scenes': pictures, label maps and words in a JSON file")
    evaluate.add_argument(
        "--index",
        type=Path,
        metavar="FILE",
        help='a list of {"file": PICTURE, "labels": PNG, "words": [...]}, paths relative to it, words in the order of '
        "the label map's values; pixels of 255 (65535 in a map of 16 bits) count for nothing (default: "
        f"{SCENES}, where the current folder has it)",
    )
    evaluate.add_argument("--limit", type=_whole(1), metavar="N", help="only the first N scenes")
    evaluate.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="of the distractor words (default: 0)")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="where to write the table, with each class's IoU")
    _add_settings(evaluate, ["clip", "vfm", *EVALUATED])
    evaluate.set_defaults(run=_evaluate)

    for command in (segment, evaluate):
        command.add_argument("--patch", type=_whole(1), metavar="PIXELS", help="patch size, for a --vfm like 'DINO B'")
        command.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
        command.add_argument("--precision", choices=("auto", *PRECISIONS), default="auto", help="(default: auto)")
    return parser


def _add_settings(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Options for rows of the table of settings. One that is not given leaves no trace: a file's value holds."""
    for name in names:
        row = SETTINGS[name]
        note = TEXT_NOTES.get(name) or f"{row.tip.rstrip('.')} ({row.expected}; default: {row.as_text(row.default)})"
        parser.add_argument(
            f"--{name}",
            type=_typed(row),
            default=argparse.SUPPRESS,
            metavar={"text": "TEXT", "choice": "NAME", "whole": "PIXELS", "number": "NUMBER"}[row.kind],
            help=note.replace("%", "%%"),
        )


def _typed(row: Setting) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return row.from_text(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"got {text!r}; expected a whole number of {least} or more")
        return int(text)

    return read


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that stand on the command line."""
    return {name: value for name, value in vars(options).items() if name in SETTINGS}


def _settings(options: argparse.Namespace) -> Settings:
    """From a file, from the command line, or from a file with what the command line says in its place."""
    given, saved = _given(options), None
    if options.settings:
        saved = _read_settings(options.settings)
        given.setdefault("clip", saved.clip)
        if "vfm" not in given and saved.vfm:
            given["vfm"] = saved.vfm if options.patch is None else find_vfm(saved.vfm).family
    given["clip"], given["vfm"] = complete_pair(given.get("clip"), given.get("vfm"), options.patch)
    settings = replace(saved, **given) if saved else Settings(**given)
    note = language_note(find_clip(settings.clip), parse_vocabulary(settings.words))
    if note:
        _say(f"note: {note}")
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


def _load(options: argparse.Namespace, clip: str | None = None, vfm: str | None = None, **more: Any) -> ProxyCLIP:
    """The models of these names; without any, those that the options name, and `load` says what it takes for none."""
    if clip is None:
        clip, vfm = getattr(options, "clip", None), getattr(options, "vfm", None)
        more["patch"] = options.patch
    return load(clip, vfm, device=options.device, precision=options.precision, **more)


def _segment(options: argparse.Namespace) -> int:
    pictures = _pictures(options)
    settings = _settings(options)
    _check_pictures(pictures)
    targets = _targets(pictures, options.out, options.force)
    clip = vfm = None
    if options.settings:
        clip, vfm = settings.clip, settings.vfm if settings.fusion == "proxy" or "vfm" in options else None
    model = _load(options, clip, vfm, fusion=settings.fusion, templates=settings.templates)
    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for picture, target in targets.items():
        if is_label_png(picture):
            _say(f"note: {picture} is a label map that proxyclip wrote; it is passed over.")
            continue
        try:
            result = model.run(picture, settings)
            write_label_map(target, result, picture.name, options.force)
        except (ValueError, OSError) as error:  # of this picture: the others may be sound
            _say(f"error: {error}")
            failed += 1
        else:
            _print_result(result, picture, target)
    return 1 if failed else 0


def _print_result(result: Segmentation, picture: Path, target: Path) -> None:
    settings, found = result.settings, result.computed_with
    assert settings is not None  # `run` sets them
    models = settings.clip + (f" and {settings.vfm}" if found["vfm_weights"] else "")
    print(f"{picture}: {models}, {found['precision']} on {found['device']}")
    for name, share in sorted(result.coverage().items(), key=lambda pair: -pair[1]):
        print(f"{share:7.1%}  {name}")
    print(f"labels: {target}  names: {target.with_suffix('.json')}", flush=True)


def _evaluate(options: argparse.Namespace) -> int:
    index = options.index or SCENES
    if not index.is_file():
        raise ValueError(f"There are no scenes at {index}; give their JSON file with --index.")
    if options.json:
        _check_writable(options.json)
    given = _given(options)
    settings = {name: given.get(name, SETTINGS[name].default) for name in EVALUATED}
    check_threshold(float(settings["threshold"] or 0), settings["background"] != "none")
    every_scene = list(read_scenes(index))
    scenes = every_scene[: options.limit]
    known = classes_of(every_scene)
    others = min([DISTRACTORS, *(len(other_classes(scene, known)) for scene in scenes)])
    model = _load(options)
    assert model.vfm is not None  # "proxy" loads one
    shown = ", ".join(f"{name} {SETTINGS[name].as_text(value)}" for name, value in settings.items())
    print(f"{len(scenes)} scenes, {model.clip.name}, {shown}, seed {options.seed}")
    print(f"{'':28}{'mIoU':>8}{f'+{others} words':>12}{'borders F':>12}", flush=True)
    record: dict[str, Any] = {"scenes": len(scenes), "settings": settings, "rows": {}, "iou": {}, "computed_with": {}}

    def add(titles: dict[str, str], model: ProxyCLIP) -> None:
        progress = partial(tqdm, unit=" scenes", leave=False, mininterval=0.5 if sys.stderr.isatty() else 20)
        more: dict[str, Any] = {**settings, "seed": options.seed, "words_of": every_scene, "progress": progress}
        scores = score_rows(model, scenes, list(titles), (0, others), **more)
        for fusion, title in titles.items():
            plain, crowded = scores[fusion, 0], scores[fusion, others]
            print(f"{title:28}{plain.miou:8.1%}{crowded.miou:12.1%}{plain.border_f:12.1%}", flush=True)
            row = {"miou": plain.miou, "miou with others": crowded.miou, "border f": plain.border_f}
            for part, value in {"rows": row, "iou": plain.iou, "computed_with": model.computed_with()}.items():
                record[part][title] = value

    proxy = f"proxy, {model.vfm.name}"
    add({"clip": "CLIP alone, own attention", "values": "CLIP alone, values", "proxy": proxy}, model)
    for vfm in _siblings(model.vfm.name):
        add({"proxy": f"proxy, {vfm}"}, _load(options, model.clip.name, vfm))
    if options.json:
        options.json.write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")
    return 0


def _check_writable(path: Path) -> None:
    """Before the work: an error after it would cost the person an hour."""
    if not path.absolute().parent.is_dir():
        raise ValueError(f"There is no folder {path.absolute().parent} for the table.")
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ValueError(f"The table cannot be written to {path}: it is a folder, or must not be written to.")


def _siblings(vfm: str) -> list[str]:
    """The other patch sizes of a VFM that are at hand: to compare what they cost and give."""
    own = VFM_MODELS[vfm]
    others = [spec for spec in VFM_MODELS.values() if spec.family == own.family and spec != own]
    return [spec.name for spec in others if is_available(spec)]
