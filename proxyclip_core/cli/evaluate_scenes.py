"""`proxyclip evaluate scenes`: ways to a result side by side, on pictures that each have words of their own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from proxyclip_core.cli.options import (
    add_models,
    add_settings,
    check_writable,
    given_settings,
    load_models,
    say,
    whole_number,
)
from proxyclip_core.evaluation import Way, classes_of, other_classes, read_scenes
from proxyclip_core.evaluation.scene_work import Part, SceneJob, SceneWork, joined
from proxyclip_core.evaluation.words_present import WordScore
from proxyclip_core.export.encoding import replace
from proxyclip_core.folders import progress_bar
from proxyclip_core.folders.ray_data import map_on_ray
from proxyclip_core.models.checkpoints import WeightsError
from proxyclip_core.models.registry import VFM_MODELS
from proxyclip_core.models.weights import is_available
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.refine import BY_SAM
from proxyclip_core.settings import SETTINGS, check_threshold

SCENES = Path("assets/examples/eval/scenes.json")  # below the current folder, where that is the repository
DISTRACTORS = 40
EVALUATED = [name for name in SETTINGS if name not in ("clip", "vfm", "words", "fusion")]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--index",
        type=Path,
        metavar="FILE",
        help='a list of {"file": PICTURE, "labels": PNG, "words": [...]}, paths relative to it, words in the order of '
        "the label map's values; pixels of 255 (65535 in a map of 16 bits) count for nothing (default: "
        f"{SCENES}, where the current folder has it)",
    )
    parser.add_argument("--limit", type=whole_number(1), metavar="N", help="only the first N scenes")
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, metavar="N", help="of the distractor words (default: 0)"
    )
    parser.add_argument(
        "--refinements",
        nargs="*",
        choices=SETTINGS["refine"].values,
        metavar="NAME",
        help="a row for each of these, besides the one of --refine; for each that there is, where none is named",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="share the scenes out on a Ray cluster: its address, or 'local' for one on this machine; they must lie in "
        "a folder that all its machines see",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the table, with each class's IoU")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the table and errors")
    add_settings(parser, ["clip", "vfm", *EVALUATED])
    add_models(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    index = options.index or SCENES
    if not index.is_file():
        raise ValueError(f"There are no scenes at {index}; give their JSON file with --index.")
    if options.json:
        check_writable(options.json)
    given = given_settings(options)
    settings = {name: given.get(name, SETTINGS[name].default) for name in EVALUATED}
    check_threshold(float(settings["threshold"] or 0), settings["background"] != "none")
    every_scene = list(read_scenes(index))
    scenes = every_scene[: options.limit]
    known = classes_of(every_scene)
    others = min([DISTRACTORS, *(len(other_classes(scene, known)) for scene in scenes)])
    model = load_models(options)
    assert model.vfm is not None  # "proxy" loads one
    shown = ", ".join(f"{name} {SETTINGS[name].as_text(value)}" for name, value in settings.items())
    print(f"{len(scenes)} scenes, {model.clip.name}, {shown}, seed {options.seed}")
    head = f"{'':28}{'mIoU':>8}{f'+{others} words':>12}{'borders F':>12}{'seconds':>10}"
    print(f"{head}{'words AUC':>12}{'found P':>9}{'R':>7}", flush=True)
    record: dict[str, Any] = {"scenes": len(scenes), "settings": settings, "rows": {}, "iou": {}, "computed_with": {}}

    def add(titles: dict[Way, str], model: ProxyCLIP, vfm: str | None = None) -> None:
        load = partial(load_models, options, model.clip.name, vfm) if vfm else partial(load_models, options)
        job = SceneJob(load, index.absolute(), tuple(titles), others, {**settings, "seed": options.seed})
        places = list(range(len(scenes)))
        parts: Iterable[Part]
        if options.ray:
            parts = map_on_ray(job, places, options.ray)
        else:  # one after the other, as the time that each takes is told
            work = SceneWork(job, model, every_scene)
            parts = (work([place])[0] for place in places)
        scores, words = joined(progress_bar(parts, total=len(places), unit=" scenes", delay=0, disable=options.quiet))
        for way, title in titles.items():
            plain, crowded = scores[way, 0], scores[way, others]
            seconds = float(np.mean(plain.seconds))
            figures = f"{plain.miou:8.1%}{crowded.miou:12.1%}{plain.border_f:12.1%}{seconds:10.2f}"
            row: dict[str, Any] = {"miou": plain.miou, "miou with others": crowded.miou, "border f": plain.border_f}
            row["seconds"] = seconds
            if isinstance(way, str):  # a refinement changes nothing of what words have
                figures += _three(words[way])
                row |= words[way].as_json()
            print(f"{title:28}{figures}", flush=True)
            for part, value in {"rows": row, "iou": plain.iou, "computed_with": model.computed_with()}.items():
                record[part][title] = value

    def proxy(vfm: str) -> dict[Way, str]:
        asked = SETTINGS["refine"].values if options.refinements == [] else options.refinements or ()
        titles: dict[Way, str] = {"proxy": f"proxy, {vfm}"}
        others = [str(name) for name in asked if name != settings["refine"]]
        for method in _at_hand(others, str(settings["sam"]), vfm, options.quiet):
            titles["proxy", method] = f"proxy, {vfm}, {method}"
        return titles

    alone: dict[Way, str] = {"clip": "CLIP alone, own attention", "values": "CLIP alone, values"}
    add(alone | proxy(model.vfm.name), model)
    for vfm in _siblings(model.vfm.name):
        add(proxy(vfm), load_models(options, model.clip.name, vfm), vfm)
    if options.json:
        replace(options.json, json.dumps(record, ensure_ascii=False, indent=1).encode())
    return 0


def _three(words: WordScore) -> str:
    auc = f"{words.auc:.3f}" if words.auc is not None else "-"
    return f"{auc:>12}{words.precision:9.1%}{words.recall:7.1%}"


def _at_hand(refinements: Sequence[str], sam: str, vfm: str, quiet: bool) -> list[str]:
    """Without those that ask SAM, where that is not on this machine; then it is said."""
    from proxyclip_core.models.sam import sam_row, whole_file  # slow to import

    try:
        whole_file(sam_row(sam, vfm))
    except WeightsError as error:
        if not quiet:
            say(f"note: {', '.join(BY_SAM)} are left out. {str(error).splitlines()[0]}")
        return [name for name in refinements if name not in BY_SAM]
    return list(refinements)


def _siblings(vfm: str) -> list[str]:
    """The other patch sizes of a VFM that are at hand: to compare what they cost and give."""
    own = VFM_MODELS[vfm]
    others = [spec for spec in VFM_MODELS.values() if spec.family == own.family and spec != own]
    return [spec.name for spec in others if is_available(spec)]
