"""`proxyclip models`: which models there are, fetching their weights, and checking the files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from proxyclip_core.cli.options import say, show
from proxyclip_core.models.building import build_clip_network, build_vfm_network
from proxyclip_core.models.checkpoints import WeightsError, ran_out_of_memory
from proxyclip_core.models.diffusion import WIDTH
from proxyclip_core.models.loading import load_clip, load_vfm
from proxyclip_core.models.registry import CLIP_MODELS, VFM_MODELS, ClipSpec, find_vfm
from proxyclip_core.models.weights import Spec, find_local, find_weights, local_files, missing_package, problem_with

COLUMNS = ("name", "patch", "width", "licence", "MB", "weights")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = commands.add_parser(
        "models",
        help="list the models, fetch or check their weights",
        description="Lists the models: patch in pixels, channels of a patch, licence, size of the weights, and where "
        "they are on this machine.",
    )
    models.add_argument("--json", action="store_true", help="print the list as JSON")
    models.set_defaults(run=run_list)
    actions = models.add_subparsers(metavar="ACTION")
    fetch = actions.add_parser("fetch", help="download weights from the hub", description="Downloads weights.")
    fetch.add_argument("names", nargs="+", metavar="NAME", help="such as 'OpenAI B/16' or 'DINO B/8'")
    fetch.set_defaults(run=run_fetch)
    check = actions.add_parser(
        "check",
        help="check files of weights",
        description="Reads files of weights and says whether they hold what the model needs.",
    )
    check.add_argument("names", nargs="*", metavar="NAME", help="such as 'DINO B/8' (default: all that are here)")
    check.set_defaults(run=run_check)


def run_list(options: argparse.Namespace) -> int:
    rows = [_row(spec) for spec in _every()]
    if options.json:
        show(json.dumps(rows, indent=1))
        return 0
    cells = [COLUMNS, *(tuple(str(row[column]) for column in COLUMNS) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for number, line in enumerate(cells):
        if number in (1, 1 + len(CLIP_MODELS)):
            show("CLIP" if number == 1 else "vision models")
        numeric = (cell.rjust(width) if cell.isdecimal() else cell.ljust(width) for cell, width in zip(line, widths))
        show("  ".join(numeric).rstrip())
    return 0


def run_fetch(options: argparse.Namespace) -> int:
    for spec in _named(options.names):
        show(f"{spec.name}: {find_weights(spec)}")
    return 0


def run_check(options: argparse.Namespace) -> int:
    chosen = _named(options.names) if options.names else [spec for spec in _every() if local_files(spec)]
    failed = 0
    for spec in chosen:
        files = local_files(spec)
        if not files:
            failed += 1
            say(
                f"error: {spec.name}: its weights are not on this machine. Get them with: proxyclip models fetch "
                f"'{spec.name}'"
            )
        for file in files:
            problem = _problem(spec, file)
            failed += bool(problem)
            if problem:
                say(f"error: {spec.name}: {problem}")
            else:
                show(f"{spec.name}: {file} is whole and fits.")
    return 1 if failed else 0


def _every() -> list[Spec]:
    return [*CLIP_MODELS.values(), *VFM_MODELS.values()]


def _named(names: Sequence[str]) -> list[Spec]:
    """Raises ValueError for a name that neither registry has, listing both."""
    known: list[Spec] = []
    for name in names:
        if name in CLIP_MODELS:
            known.append(CLIP_MODELS[name])
            continue
        try:
            known.append(find_vfm(name))
        except ValueError as error:
            raise ValueError(f"{error} And of CLIPs: {', '.join(CLIP_MODELS)}.") from None
    return known


def _row(spec: Spec) -> dict[str, Any]:
    file = find_local(spec)
    with torch.device("meta"):  # without memory
        if isinstance(spec, ClipSpec):
            tower = build_clip_network(spec, layers=1).visual
            patch, width = tower.patch_size[0], tower.conv1.out_channels
        else:
            patch, width = spec.patch, WIDTH if spec.is_diffusion else build_vfm_network(spec).num_features
    return {
        "kind": "clip" if isinstance(spec, ClipSpec) else "vfm",
        "name": spec.name,
        "patch": patch,
        "width": width,
        "licence": spec.licence,
        "MB": round(file.stat().st_size / 1e6) if file else spec.megabytes,
        "weights": str(file or _where_else(spec)),
    }


def _where_else(spec: Spec) -> str:
    damaged = next((f"{path} {problem_with(spec, path)}" for path in local_files(spec)), "")
    return damaged or missing_package(spec) or f"not here; on the hub: {spec.repo}"


def _problem(spec: Spec, file: Path) -> str:
    """What is wrong with a file, by loading the model from it: every tensor is read."""
    load = load_clip if isinstance(spec, ClipSpec) else load_vfm
    try:
        load(spec.name, torch.device("cpu"), torch.float32, weights=file)
    except WeightsError as error:
        return str(error)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        return f"{file} was not read, as the memory was not enough."
    return ""
