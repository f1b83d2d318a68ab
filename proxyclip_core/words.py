"""Words, as a person types them, to classes and prompts.

    "sky; cloud, hill, horse"   ->   three classes; "sky" has the synonym "cloud"

Commas and new lines separate classes, `;` or `|` the synonyms of one class. A class is called by its first wording.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

PRESET_FOLDER = Path(__file__).parent / "vocabularies"
BACKGROUND_NAME = "background"

# Sets of sentences around a word. The paper averages the 80 of ImageNet.
TEMPLATES = ("none", "simple7", "imagenet80")

Classes = tuple[tuple[str, ...], ...]


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
        for group in line.split(","):
            classes.append(tuple(re.split(r"[;|]", group)))
    return check_classes(classes)


def check_classes(classes: Iterable[Sequence[str]]) -> Classes:
    """The same checks for classes that are already lists of wordings."""
    if not isinstance(classes, Iterable):
        raise ValueError(f"Got {type(classes).__name__}; expected the words as text or as one list a class.")
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


def _wordings(group: Sequence[str]) -> tuple[str, ...]:
    """One class, the white space in its words made single. A bare text would be taken letter by letter: refused."""
    if isinstance(group, str) or not isinstance(group, Iterable):
        raise ValueError(
            f"Got {group!r} for a class; expected a list of its wordings, as in [['sky'], ['cloud', 'hill']], "
            "or all classes as one text."
        )
    words = tuple(group)
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
        raise ValueError(f"templates is {name!r}; expected one of {', '.join(TEMPLATES)}.")
    return tuple(template("{}") for template in sets[name])


def prompts_for(word: str, templates: str) -> list[str]:
    """The word in every sentence of a template set."""
    # str.format would trip over braces that a person typed.
    return [template.replace("{}", word) for template in templates_of(templates)]


def with_background(classes: Classes, background: bool | str) -> tuple[Classes, bool]:
    """Declares class 0 the background.

    background: False for none, True where the first class already is the background, or the name of a preset
    wording, which is put in front as the class 'background' (words that are classes already are left out of it).
    Returns the classes and whether class 0 is the background.
    """
    if isinstance(background, bool):
        return classes, background
    presets = background_presets()
    if background not in presets:
        raise ValueError(f"background is {background!r}; expected True, False or one of {', '.join(presets)}.")
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
    """Name -> wording of the background, beside the word 'background' itself: 'short' and 'long'."""
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
