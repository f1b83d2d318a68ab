"""Classes from a file: a text, a table, or what other tools write their names into."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from proxyclip_core.words import Classes, Read, names_in, read_vocabulary, warned, without_comments

MOST_BYTES = 5_000_000
NAME_COLUMNS = ("name", "names", "class", "classes", "class_name", "label", "labels", "word", "words", "category")


def read_words(path: str | Path) -> Classes:
    """The classes in a file of words: .json, as `parse_vocabulary` takes lists; .csv or .tsv, one class a row, by the
    column that is called name, class, label or word, else the first that holds no numbers; else text, lines that begin
    with # left out. What is given twice is taken once, with a `WordsWarning`.
    Raises ValueError, naming the file, for what holds no words, OSError where it cannot be read.
    """
    return warned(words_in(Path(path)))


def words_in(path: Path) -> Read:
    """As `read_words`; what it warns of is given as sentences."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of words at {path}.")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.name} has more than {MOST_BYTES / 1e6:g} MB; that is no list of words.")
    content = path.read_bytes()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            text = content.decode("cp1252")  # Excel's, in the West
        text = text.lstrip("\ufeff")
        if path.suffix.casefold() in (".csv", ".tsv"):
            return read_vocabulary(_of_table(text))
        if path.suffix.casefold() == ".json":
            return read_vocabulary(names_in(_json_list(text)))
        return read_vocabulary(without_comments(text))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path.name}: {error}") from None


def _json_list(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error}).") from None
    if not isinstance(value, (list, dict)):
        raise ValueError('expected a list of names, such as ["sky", "hill"].')
    return value


def _of_table(text: str) -> list[tuple[str, ...]]:
    """One class a row; `;` in its name separates synonyms."""
    delimiter = max(",\t", key=text.partition("\n")[0].count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
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
