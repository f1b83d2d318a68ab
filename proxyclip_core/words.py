"""Words, as a person types them, to classes and prompts.

    "sky; cloud, hill, horse"   ->   three classes; "sky" has the synonym "cloud"

Commas and new lines separate classes, `;` or `|` the synonyms of one class. A word in double quotes may hold any of
them, and doubles a quote of its own: `"palm tree, tall", sky`. A class is called by its first wording.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from proxyclip_core.settings import SETTINGS

PRESET_FOLDER = Path(__file__).parent / "vocabularies"
BACKGROUND_NAME = "background"

TEMPLATES = SETTINGS["templates"].values  # sets of sentences around a word; the paper averages the 80 of ImageNet
# What separators stand between: a quoted word, or all up to the next separator.
WORDING = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?=[,;|]|$)|[^,;|]*')

Classes = tuple[tuple[str, ...], ...]
Words = str | Iterable[str | Iterable[str]] | Mapping[str, str | Iterable[str]]  # what a person may give


def parse_vocabulary(text: str) -> Classes:
    """Text -> one tuple of wordings a class.

    Blank lines and a separator at the end of a line are passed over. Raises ValueError, naming the word, where a
    class or synonym is empty or given twice (upper and lower case count as the same), or where there is no word.
    """
    if not isinstance(text, str):
        raise ValueError(f"Got {type(text).__name__}; expected the words as text, such as 'sky; cloud, hill, horse'.")
    classes: list[tuple[str, ...]] = []
    for line in text.splitlines():
        line = line.strip().rstrip(",;| \t")
        if not line:
            continue
        classes.extend(_split(line))
    return check_classes(classes)


def _split(line: str) -> list[tuple[str, ...]]:
    """One line -> the wordings of each of its classes."""
    groups: list[list[str]] = [[]]
    at = 0
    while True:
        found = WORDING.match(line, at)
        assert found  # the pattern matches nothing as well
        groups[-1].append(found.group(0) if found.group(1) is None else found.group(1).replace('""', '"'))
        at = found.end()
        if at >= len(line):
            return [tuple(group) for group in groups]
        if line[at] == ",":
            groups.append([])
        at += 1


def as_text(classes: Classes) -> str:
    """Classes as `parse_vocabulary` reads them, in one line."""
    return ", ".join("; ".join(_quoted(word) for word in group) for group in classes)


def _quoted(word: str) -> str:
    return '"{}"'.format(word.replace('"', '""')) if re.search(r'[,;|]|^"', word) else word


def check_classes(classes: Words) -> Classes:
    """The same checks for classes that are a list already: of words, or of one list of wordings a class."""
    if not isinstance(classes, Iterable):
        raise ValueError(f"Got {type(classes).__name__}; expected the words as text or as a list.")
    if isinstance(classes, Mapping):  # class -> its other wordings
        classes = [(name, *((more,) if isinstance(more, str) else more)) for name, more in classes.items()]
    checked = tuple(_wordings(group) for group in classes)
    if not checked:
        raise ValueError("There are no words. Type what to look for, such as: sky, tree, horse, grass")
    home: dict[str, str] = {}  # word in lower case -> the class it stands in
    for number, group in enumerate(checked, start=1):
        if not group or not all(group):
            after = f" (after {checked[number - 2][0]!r})" if number > 1 else ""
            raise ValueError(
                f"Class {number}{after} has an empty word. Put a word between the separators, or take one out."
            )
        for word in group:
            if word.casefold() in home:
                where = f"in {home[word.casefold()]!r} and in {group[0]!r}"
                raise ValueError(f"{word!r} is given twice ({where}). Take one of them out.")
            home[word.casefold()] = group[0]
    return checked


def _wordings(group: str | Iterable[str]) -> tuple[str, ...]:
    """One class, the white space in its words made single."""
    if not isinstance(group, Iterable):
        raise ValueError(f"Got {group!r} for a class; expected a word, or a list of its wordings.")
    words = (group,) if isinstance(group, str) else tuple(group)
    for word in words:
        if not isinstance(word, str):
            raise ValueError(f"Got {word!r} for a word; expected text.")
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise ValueError(f"{word!r} holds half of a character. Type the word anew.")
    return tuple(" ".join(word.split()) for word in words)


@lru_cache
def templates_of(name: str) -> tuple[str, ...]:
    """The sentences of a template set, each with one {} for the word."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES  # see models/clip.py

    sets = {"none": [str], "simple7": SIMPLE_IMAGENET_TEMPLATES, "imagenet80": OPENAI_IMAGENET_TEMPLATES}
    if name not in sets:
        raise ValueError(f"templates is {name!r}; expected one of {', '.join(sets)}.")
    return tuple(template("{}") for template in sets[name])


def prompts_for(word: str, templates: str) -> list[str]:
    """The word in every sentence of a template set."""
    # str.format would trip over braces that a person typed.
    return [template.replace("{}", word) for template in templates_of(templates)]


def with_background(classes: Classes, background: str) -> tuple[Classes, bool]:
    """Declares class 0 the background.

    background: "none", "first" where the first class already is the background, or the name of a preset wording,
    "short" or "long", which is put in front as the class 'background' (words that are classes already are left out of
    it). Returns the classes and whether class 0 is the background. Raises ValueError for anything else.
    """
    SETTINGS["background"].check(background)
    if background in ("none", "first"):
        return classes, background == "first"
    presets = background_presets()
    # The benchmarks' own lists begin with a bare "background": the wording then extends that class.
    own, rest = ((), classes) if classes[0][0].casefold() != BACKGROUND_NAME else (classes[0][1:], classes[1:])
    taken = {word.casefold() for group in (own, *rest) for word in group}
    if BACKGROUND_NAME in taken:
        raise ValueError(
            f"{BACKGROUND_NAME!r} is one of the words, but not the first class. Take it out or put it first."
        )
    wording = [word for word in presets[background] if word.casefold() not in taken]
    return ((BACKGROUND_NAME, *own, *wording), *rest), True


def background_presets() -> dict[str, tuple[str, ...]]:
    """Name -> wording of the background, without the word 'background' itself: 'short' and 'long'."""
    return {
        name: tuple(group[0] for group in _read_preset(PRESET_FOLDER / f"background_{name}.txt"))
        for name in ("short", "long")
    }


def vocabulary_presets() -> dict[str, str]:
    """Title -> words of the eight benchmarks, one class a line, ready for `parse_vocabulary`."""
    presets = {}
    for path in sorted(PRESET_FOLDER.glob("*.txt")):
        if not path.name.startswith("background_"):
            title = re.search(r"^#\s*title:\s*(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            presets[title.group(1).strip() if title else path.stem] = "\n".join(
                "; ".join(group) for group in _read_preset(path)
            )
    return presets


def _read_preset(path: Path) -> Classes:
    lines = path.read_text(encoding="utf-8").splitlines()
    return parse_vocabulary("\n".join(line for line in lines if not line.startswith("#")))
