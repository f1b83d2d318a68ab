"""The paper's eight benchmarks: what their label values mean, what is asked for, and with which settings.

All of it is data, in benchmarks.json, with its sources; the words are those of `proxyclip_core/vocabularies`.

Axes: K classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from proxyclip_core.evaluation.scenes import UNLABELLED_16
from proxyclip_core.word_files import read_words
from proxyclip_core.words import PRESET_FOLDER, Classes

NAMES = ("paper", "official")  # whose words are asked for
DATA: dict[str, Any] = json.loads(Path(__file__).with_name("benchmarks.json").read_text(encoding="utf-8"))
BENCHMARKS = tuple(DATA["benchmarks"])  # their names, in the order of the paper's table
NO_CLASS = UNLABELLED_16 - 1  # a label that counts, but is none of the classes: what is found there is wrong


@dataclass(frozen=True)
class Layout:
    """Where the files of a data set lie, as patterns with "{id}" for what a picture is called.

    homes: folders below the root in which it may be, the one that is usual first. list: a text file of the ids, one a
    line ("" where the label maps tell them). labels: (pattern, name of the table for its values); where a picture has
    several, the first counts. annotations: a JSON file of Pascal Context that can stand in for the label maps.
    id: a regular expression.
    """

    homes: tuple[str, ...]
    pictures: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    id: str
    list: str = ""
    annotations: str = ""


@dataclass(frozen=True)
class Published:
    """A score that others published. miou: in 0..1. clip, vfm: the models that it is of."""

    miou: float
    clip: str
    vfm: str
    source: str


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One row of the table.

    pictures: how many its validation part has. settings: the paper's, as `evaluate` takes them. official, paper:
    (K) wordings of each class. tables: name -> (256,) uint16, the class of each value in a label map, UNLABELLED_16
    for what does not count, NO_CLASS for what is none of the classes.
    """

    name: str
    title: str
    pictures: int
    layout: Layout
    settings: Mapping[str, Any]
    official: Classes
    paper: Classes
    tables: Mapping[str, np.ndarray]

    @property
    def names(self) -> tuple[str, ...]:
        """(K) what the classes are called in a table of results: officially, whatever was asked for."""
        return tuple(group[0] for group in self.official)

    def wordings(self, names: str) -> Classes:
        """(K) the words of NAMES. Raises ValueError for others."""
        if names not in NAMES:
            raise ValueError(f"names is {names!r}; expected one of {', '.join(NAMES)}.")
        return self.paper if names == "paper" else self.official

    def published(self, clip: str) -> Published:
        """The paper's figure for this CLIP; for one that it has none of, the figure for its first model."""
        rows = DATA["published"]["miou_percent"]
        row = next((row for row in rows if row["clip"] == clip), rows[0])
        return Published(round(row[self.name] / 100, 4), row["clip"], row["vfm"], DATA["published"]["source"])


def label_table(classes: Sequence[Sequence[int]], ignored: Sequence[int], others: int | str = NO_CLASS) -> np.ndarray:
    """(256,) uint16, as in `Benchmark`: `classes` are triples (first value, last value, class of the first)."""
    table = np.full(256, UNLABELLED_16 if others == "ignored" else others, np.uint16)
    for first, last, index in classes:
        table[first : last + 1] = np.arange(index, index + last - first + 1)
    table[list(ignored)] = UNLABELLED_16
    return table


def _paper_words(official: Classes, entry: Mapping[str, Any]) -> Classes:
    """entry: official name -> what is asked for in its place; the other classes go by their first name alone."""
    joined = entry.get("without_spaces", False)
    return tuple(
        tuple(entry[name].split("; ")) if name in entry else (name.replace(" ", "") if joined else name,)
        for name, *_ in official
    )


@lru_cache
def find_benchmark(name: str) -> Benchmark:
    """The row of one of BENCHMARKS. Raises ValueError for another name."""
    if name not in BENCHMARKS:
        raise ValueError(f"No benchmark is called {name!r}; these are: {', '.join(BENCHMARKS)}.")
    row = DATA["benchmarks"][name]
    layout = DATA["layouts"][row["layout"]]
    official = read_words(PRESET_FOLDER / f"{row['vocabulary']}.txt")
    return Benchmark(
        name=name,
        title=row["title"],
        pictures=row["pictures"],
        layout=Layout(**{key: _as_tuples(value) for key, value in layout.items()}),
        settings=row["settings"],
        official=official,
        paper=_paper_words(official, row["paper_names"]),
        tables={key: label_table(**table) for key, table in row["tables"].items()},
    )


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
