"""Classes from a file: a text, a table, or what other tools write their names into."""

from __future__ import annotations

import csv
import io
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from proxyclip_core.text_files import decoded
from proxyclip_core.words import Classes, Read, Words, names_in, read_vocabulary, warned, without_comments

SUFFIXES = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".pbtxt", ".names")  # text otherwise
MOST_BYTES = 5_000_000
MOST_OF_YAML = 100_000  # characters, which take a second
CVAT_LABEL = re.compile(r"^([^:#\n]+):\d+,\d+,\d+:[^:\n]*:[^:\n]*$", re.MULTILINE)  # of its labelmap.txt
# Strangers' files are read by these, so none goes back and forth over a run of blanks or over later items.
PBTXT_ITEM = re.compile(r"\bitem\s*(?::\s*)?\{([^{}]*)(?=[{}])")
PBTXT_NAME = r"""\b%s\s*:\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')"""
NUMBERED = (
    re.compile(r"(?P<number>\d+)[ \t:=]+(?P<name>\S.*)"),
    re.compile(r"(?P<name>.*[^ \t:=])[ \t:=]+(?P<number>\d+)"),
)
LABELMES = {"__ignore__": "", "_background_": "background"}  # lines of its labels.txt
NAME_COLUMNS = ("name", "names", "class", "classes", "class_name", "label", "labels", "word", "words", "category")


def read_words(path: str | Path) -> Classes:
    """The classes in a file of words: .json or .yaml, as `parse_vocabulary` takes lists, YOLO's data.yaml too; .csv or
    .tsv, one class a row, by the column that is called name, class, label or word, else the first that holds no
    numbers; .pbtxt, TensorFlow's label map, by display_name, else by name; else text, lines that begin with # left out,
    CVAT's labelmap.txt too. What is given twice is taken once, with a `WordsWarning`, as is told where the encoding was
    guessed. Raises ValueError, naming the file, for what holds no words or may be in several encodings, OSError where
    it cannot be read.
    """
    return warned(words_in(Path(path)))


def words_in(path: Path) -> Read:
    """As `read_words`; what it warns of is given as sentences."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of words at {path}.")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.name} has more than {MOST_BYTES / 1e6:g} MB; that is no list of words.")
    try:
        text, guessed = decoded(path.read_bytes())
        classes, notes = read_vocabulary(_words_of(text, path.suffix.casefold()))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path.name}: {error}") from None
    return classes, (*notes, f"{path.name}: {guessed}") if guessed else notes


def _words_of(text: str, suffix: str) -> Words:
    if suffix in (".csv", ".tsv"):
        return _of_table(text)
    if suffix == ".json":
        return names_in(_json_list(text))
    if suffix in (".yaml", ".yml"):
        return names_in(_yaml_list(text))
    if suffix == ".pbtxt":
        return _of_pbtxt(text)
    if re.fullmatch(r"\s*<.*>\s*", text, re.DOTALL):
        raise ValueError("it is XML, which may hold anything. Give the names, one a line.")
    if suffix == ".jsonl":
        return names_in([_json_list(line) for line in text.splitlines() if line.strip()])
    return _of_lines(without_comments(CVAT_LABEL.sub(r"\1", text)).splitlines())


def _of_lines(lines: list[str]) -> str:
    """Without what stands beside the names: their numbers, where all have one and they count from 0 or 1 on."""
    lines = [LABELMES.get(line.strip(), line.strip()) for line in lines]
    found = [line for line in lines if line]
    for pattern in NUMBERED:
        matches = [match for match in map(pattern.fullmatch, found) if match]
        numbers = [int(match["number"]) for match in matches]
        if len(found) > 1 and numbers in (list(range(len(found))), list(range(1, len(found) + 1))):
            names = [match["name"] for match in matches]
            return "\n".join(names if len({*names}) == len(names) else found)  # "zone 1", "zone 2" are no numbered list
    return "\n".join(found)


def _json_list(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error}).") from None
    if not isinstance(value, (list, dict)):
        raise ValueError('expected a list of names, such as ["sky", "hill"].')
    return value


def _yaml_list(text: str) -> Any:
    """All scalars as text, "no" and "1" too. Anchors, by which a short text can mean an endless one, are refused."""
    import yaml  # slow to import

    if len(text) > MOST_OF_YAML:
        raise ValueError(f"it has more than {MOST_OF_YAML / 1e3:g} kB. Give a shorter list, or a .txt or .json file.")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.BaseLoader)):
            raise ValueError("it uses anchors. Write every name out.")
        value = yaml.load(text, yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is not YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(value, (list, dict)):
        raise ValueError("expected a list of names under 'names', as YOLO's data.yaml has it.")
    return value


def _of_pbtxt(text: str) -> list[tuple[str, ...]]:
    """One class an item; `;` in its name separates synonyms."""
    found = [
        re.search(PBTXT_NAME % "display_name", item) or re.search(PBTXT_NAME % "name", item)
        for item in PBTXT_ITEM.findall(re.sub(r"^[ \t]*#.*", "", text, flags=re.MULTILINE))
    ]
    names = [re.sub(r"\\(.)", r"\1", match[1] or match[2]) for match in found if match and (match[1] or match[2])]
    if not names:
        raise ValueError("expected a label map of TensorFlow, such as: item { id: 1 name: 'cat' }.")
    return [tuple(name.split(";")) for name in names]


def _of_table(text: str) -> list[tuple[str, ...]]:
    """One class a row; `;` in its name separates synonyms."""
    rows = _rows(text, max(",\t", key=text.partition("\n")[0].count))
    # Excel writes ; where a comma is the decimal point. But it also stands between synonyms.
    others = [found for found in map(partial(_rows, text), ";|") if len({len(row) for row in found}) == 1]
    rows = next((found for found in others if len(found[0]) > 1 and _has_columns(found)), rows)
    heads = [cell.strip().casefold() for cell in rows[0]] if rows else []
    named = [column for column, head in enumerate(heads) if head in NAME_COLUMNS]
    body = rows[1:] if named else rows
    words = [
        column
        for column in range(len(heads))
        if not all(row[column].strip().isdecimal() for row in body if len(row) > column)
    ]
    column = (named or words or [0])[0]
    return [tuple(row[column].split(";")) for row in body if len(row) > column]


def _has_columns(rows: list[list[str]]) -> bool:
    """Whether a column is called as names are, or holds numbers."""
    named = any(cell.strip().casefold() in NAME_COLUMNS for cell in rows[0])
    return named or any(all(cell.strip().isdecimal() for cell in column) for column in zip(*rows))


def _rows(text: str, delimiter: str) -> list[list[str]]:
    text = re.sub(r"\A(?i:sep=.)\s*\n", "", text)  # with which Excel is told the separator
    return [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
