"""The files of a benchmark, as its release or mmsegmentation's converters lay them out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from proxyclip_core.evaluation.benchmarks import Benchmark, find_benchmark
from proxyclip_core.evaluation.context import read_annotations
from proxyclip_core.evaluation.items import DataSet, GroundTruthSource, Item, LabelFile

SHOWN = 8  # entries of a folder that an error names


class MissingDataError(ValueError):
    """Nothing of a benchmark lies below a folder."""


def benchmark_data(name: str, root: str | Path, names: str = "paper") -> DataSet:
    """One of BENCHMARKS below a folder, in its released layout, raw or converted.

    root: the folder that holds the data sets, or the data set's own. names: whose words are asked for, "paper" or
    "official". Raises MissingDataError where there is nothing of it, ValueError where a part is missing.
    """
    benchmark, root = find_benchmark(name), Path(root)
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}. Give the one that holds the data sets.")
    for home in (root / home for home in benchmark.layout.homes):
        sources = _sources(benchmark, home)
        if sources:
            return DataSet(
                name=benchmark.name,
                title=benchmark.title,
                folder=home,
                items=tuple(_with_pictures(benchmark, home, sources)),
                names=benchmark.names,
                classes=benchmark.wordings(names),
                settings=benchmark.settings,
                expected=benchmark.pictures,
                words_of=names,
            )
    raise MissingDataError(_what_is_missing(benchmark, root))


def _sources(benchmark: Benchmark, home: Path) -> dict[str, GroundTruthSource]:
    """Id -> ground truth, in the order of the set's list or of the ids; empty where there is none at all."""
    layout, found = benchmark.layout, dict[str, GroundTruthSource]()
    list_file, annotations = home / layout.list, home / layout.annotations
    listed = list_file.read_text(encoding="utf-8-sig").split("\n") if layout.list and list_file.is_file() else None
    # A line is an id, or the files of one, as lists for training have them: JPEGImages/ID.jpg SegmentationClass/ID.png
    ids = [PurePosixPath(line.split()[0]).stem for line in listed if line.strip()] if listed else None
    if layout.list and not ids:
        if not (layout.annotations and annotations.is_file()):
            return {}
        return dict(read_annotations(annotations, None, benchmark.tables["raw"]))
    for pattern, table in layout.labels:
        files = _listed_files(home, pattern, ids) if ids else _files(home, pattern, layout.id)
        for id, path in files:
            found.setdefault(id, LabelFile(path, benchmark.tables[table]))
    if ids and len(found) < len(ids) and layout.annotations and annotations.is_file():
        return dict(read_annotations(annotations, ids, benchmark.tables["raw"]))
    if ids and 0 < len(found) < len(ids):
        missing = next(id for id in ids if id not in found)
        raise ValueError(
            f"{benchmark.title}: {list_file} lists {len(ids)} pictures, but {len(ids) - len(found)} of them have no "
            f"label map, such as {home / layout.labels[0][0].format(id=missing)}."
        )
    return found if ids else dict(sorted(found.items()))


def _listed_files(home: Path, pattern: str, ids: list[str]) -> Iterator[tuple[str, Path]]:
    for id in ids:
        path = home / pattern.replace("{id}", id)
        if path.is_file():
            yield id, path


def _files(home: Path, pattern: str, id: str) -> Iterator[tuple[str, Path]]:
    """The files of a pattern, each with its id."""
    prefix, suffix = pattern.split("{id}")
    folder = home / prefix
    for path in folder.rglob(f"*{suffix}"):
        found = path.relative_to(folder).as_posix().removesuffix(suffix)
        if re.fullmatch(id, found):
            yield found, path


def _with_pictures(benchmark: Benchmark, home: Path, sources: dict[str, GroundTruthSource]) -> Iterator[Item]:
    patterns, missing = benchmark.layout.pictures, []
    for id, source in sources.items():
        places = [home / pattern.replace("{id}", id) for pattern in patterns]
        picture = next((place for place in places if place.is_file()), None)
        if picture:
            yield Item(id, picture, source)
        else:
            missing.append(places)
    if missing:
        looked_for = " or ".join(map(str, missing[0]))
        raise ValueError(
            f"{benchmark.title}: {len(missing)} of {len(sources)} label maps in {home} have no picture; the first was "
            f"looked for at {looked_for}."
        )


def _what_is_missing(benchmark: Benchmark, root: Path) -> str:
    layout, first = benchmark.layout, benchmark.layout.homes[0]
    wanted = [pattern.replace("{id}", "ID") for pattern, _ in layout.labels]
    wanted += [layout.annotations] if layout.annotations else []
    homes = [home if home != "." else "the folder itself" for home in layout.homes]
    found = [root, *(root / home for home in layout.homes if home != "." and (root / home).is_dir())]
    expected = [*layout.pictures[:1], wanted[0], *([layout.list] if layout.list else [])]
    return "\n".join(
        [
            f"There is no {benchmark.title} below {root}.",
            f"  looked for: {' or '.join(wanted)}{f', with {layout.list}' if layout.list else ''}",
            f"  in: {', '.join(homes)}",
            *(f"  found in {folder}: {_entries(folder)}" for folder in found),
            "  expected: " + "\n            ".join(f"{root / first / name.replace('{id}', 'ID')}" for name in expected),
        ]
    )


def _entries(folder: Path) -> str:
    entries = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if not path.name.startswith("."))
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return ", ".join(entries[:SHOWN]) + more if entries else "nothing"
