"""`proxyclip segment`: pictures, or folders of them, to label maps and other files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from proxyclip_core import export
from proxyclip_core.cli.asked import ITS_NAME, asked_settings, find_asked, separate_words
from proxyclip_core.cli.options import add_models, add_settings, load_models, whole_number
from proxyclip_core.cli.report import Report
from proxyclip_core.folders import Found, Output, Segmenter, map_pictures, words_bar
from proxyclip_core.folders.ray_data import map_on_ray
from proxyclip_core.models.clip import Progress
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.settings import SETTINGS, Settings

WISHES = {name: line for name, line in export.WISHES.items() if name != "logits"}  # which `segment` does not keep


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    segment = commands.add_parser(
        "segment",
        usage="%(prog)s [options] PICTURE_OR_FOLDER [...] WORDS",
        help="segment pictures with your own words",
        description="Writes PICTURE.proxyclip.png, a label map in colours (grey, of 16 bits, for more than 255 "
        "classes), and PICTURE.proxyclip.json, which names its classes; of folders, into sub-folders of their names. "
        "Started again after it was stopped, it goes on where it was. What this command wrote with other settings is "
        "replaced; other files of these names are left alone. A picture that cannot be read is named, and the exit "
        "status is then 1.",
    )
    segment.add_argument(
        "inputs",
        nargs="+",
        metavar="PICTURE_OR_FOLDER ... WORDS",
        help="picture files, folders, patterns such as 'photos/**/*.jpg', or - for a picture from standard input; then "
        "the classes in one argument, such as 'sky; cloud, hill, horse', or @FILE, which lists them; with --words, "
        "--words-file, --settings or --preset all of them are pictures",
    )
    base = segment.add_mutually_exclusive_group()
    base.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="settings that the page or this command saved; options that are given take the place of the file's",
    )
    base.add_argument(
        "--preset", metavar="NAME", help="words and numbers of one of the paper's benchmarks, such as voc21; likewise"
    )
    segment.add_argument("--words-file", metavar="FILE", help="the classes, from a .txt, .csv or .json file")
    segment.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="where to write (default: .)")
    segment.add_argument(
        "--save",
        default="labels",
        metavar="FORMATS",
        help=f"what to write, with commas between: {', '.join(export.FORMATS)} (default: labels); COCO is one file for "
        "the whole run",
    )
    segment.add_argument(
        "--wishes",
        default="",
        metavar="WISHES",
        help="on top, with commas between: " + "; ".join(f"{name} ({WISHES[name]})" for name in WISHES),
    )
    segment.add_argument(
        "--force",
        action="store_true",
        help="do again what is done, and overwrite files that this command did not write",
    )
    segment.add_argument("--workers", type=whole_number(1), metavar="N", help="pictures at a time (default: as fits)")
    segment.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run on a Ray cluster: its address, or 'local' for one on this machine; --out is then a folder that all "
        "its machines see, and inputs may be folders at s3://, gs:// or hf://",
    )
    segment.add_argument("--json", action="store_true", help="print a JSON object for each picture")
    segment.add_argument("--quiet", action="store_true", help="print nothing but errors")
    add_settings(segment, list(SETTINGS))
    add_models(segment)
    segment.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    separate_words(options)
    settings, windows = asked_settings(options)
    pictures, remote = find_asked(options)
    formats, wishes = _listed(options.save), _listed(options.wishes)
    if unknown := [name for name in wishes if name not in WISHES]:
        raise ValueError(f"There is no wish {', '.join(map(repr, unknown))}; these are: {', '.join(WISHES)}.")
    folder = options.out.absolute() if options.ray else options.out
    output = Output(folder, formats, dict.fromkeys(wishes, True), windows=windows, force=options.force)
    for picture in pictures:
        output.check_free(picture.name)
    job = SegmentJob(options, settings, windows, output)
    if options.ray:
        outcomes = map_on_ray(job, pictures, options.ray, remote)
    else:
        outcomes = map_pictures(job(), pictures, options.workers)
    options.out.mkdir(parents=True, exist_ok=True)
    output.clean(picture.name for picture in pictures)
    report = Report(options, 0 if remote else len(pictures))
    with closing(outcomes), report.bar:
        names = sorted(report.tell(outcome) for outcome in outcomes)
    if "coco" in formats:
        output.write_coco(names)
    return report.end()


Known = Callable[[Found], "dict[str, Any] | None"]


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


@dataclass(frozen=True)
class SegmentJob:
    """All that a process needs to know to take part in a run."""

    options: argparse.Namespace
    settings: Settings
    windows: dict[str, Any]
    output: Output

    def __call__(self) -> Segmenter[dict[str, Any]]:
        model = self._load()
        made_by = model.computed_with(self.settings)
        done: Known = partial(self.output.record_if_done, settings=self.settings, computed_with=made_by)
        bar: Progress = iter if self.options.quiet else words_bar
        return Segmenter(
            model,
            self.settings,
            self.output.write,
            # What comes from standard input is another picture each time.
            known=lambda picture: None if self.options.force or picture.name == ITS_NAME else done(picture),
            **self.windows,
            progress=bar,
        )

    def _load(self) -> ProxyCLIP:
        options, settings, clip, vfm = self.options, self.settings, None, None
        if options.settings:
            clip, vfm = settings.clip, settings.vfm if settings.fusion == "proxy" or "vfm" in options else None
        return load_models(options, clip, vfm, fusion=settings.fusion, templates=settings.templates)
