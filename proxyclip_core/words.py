"""Words, as a person types them, to classes and prompts. The grammar, in one place:

    "sky; cloud, hill, horse"   ->   three classes; "sky" has the synonym "cloud"

Commas and new lines separate classes, `;` or `|` the synonyms of one class; the commas and semicolons of other scripts
(，、，؛ and so on) do the same. A class is called by its first wording. Understood as well are
- words in quotes, straight or typographic, which may hold any of these; straight double ones double a quote of their
  own: `"palm tree, tall", sky`; between two of them nothing need stand: `"sky" "hill"`
- full stops and dots with spaces around them, `cat . dog .`, or after each word of a line that ends in one: `cat. dog.`
- bullets, numbers and letters at the beginning of a line, `1. sky`, `b) hill`, and numbers within: `1. sky 2. hill`
- tabs between words, as spreadsheets copy their cells
- lists and tables as JSON, Python or YAML write them: `["sky", ["horse", "pony"]]`, `{"sky": ["cloud"]}`,
  `{"0": "sky"}`, `classes = ("sky", "hill")`, `names: [sky, hill]`
White space is made single; characters without width and control characters are left out.
"""

from __future__ import annotations

import ast
import html
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import ftfy

from proxyclip_core.settings import SETTINGS

# Under which of its entries a file of labels holds them.
HOLDERS = ("names", "categories", "classes", "id2label", "label2id", "labels", "class_names", "thing_classes", "words")
PRESET_FOLDER = Path(__file__).parent / "vocabularies"
BACKGROUND_NAME = "background"

MOST_IN_A_WORD = 5_000  # characters; to put heaps of accents in order takes time with the square of their number
TEMPLATES = SETTINGS["templates"].values  # sets of sentences around a word; the paper averages the 80 of ImageNet

CLASS_MARKS = ",，﹐､、﹑︐︑،՝߸፣᠂᠈꓾⸲⸴⹁။၊꘍。｡।॥།።។᠃۔"  # between classes
WORD_MARKS = ";|；﹔︔؛⁏፤\u037e｜"  # between the synonyms of one; U+037E is the Greek question mark, which looks like ;
STOP = r"(?<=\s)[.•·・‧∙](?=\s|$)"
MARKS = re.escape(CLASS_MARKS + WORD_MARKS)
MARK = rf"(?:[{MARKS}]|{STOP})"
WITHIN = "{0,500}"  # characters between quotes: a text of opening ones alone would be looked through for each of them
QUOTED = (
    rf'"((?:[^"]|""){WITHIN})"|[“”„]([^“”„"]{WITHIN})[“”]|«([^»]{WITHIN})»|「([^」]{WITHIN})」|『([^』]{WITHIN})』'
    rf"|'([^']{WITHIN})'|‘([^‘’]{WITHIN})’|`([^`]{WITHIN})`"
)
OPENING = '["“„«「『]'
# What separators stand between: a quoted word, after which another may follow, or all up to the next separator.
WORDING = re.compile(rf"\s*(?:{QUOTED})\s*(?={MARK}|{OPENING}|$)|(?:(?!{MARK}).)*")
BULLETS = "-*•‣◦·–—▪●○→➢➤►▸✓✔☐☑"
BULLET = re.compile(rf"\s*[{re.escape(BULLETS)}]\s+(?:\[[ xX]?\]\s+)?")
NUMBER = re.compile(
    r"\s*(?:\(?\d{1,4}[.):](?:\s+|(?=[^\W\d_]))|\d{1,4}[．、）]\s*|\(?[a-z]\)\s+|\d{1,4}\t\s*|[①-⓿❶-➓]\s*)"
)
NUMBER_WITHIN = re.compile(r"(?<=[^\s,;])(?:\s+(?=\(?\d{1,4}(?:[.)]\s+|[．）]\s*)[^\W\d_])|(?<!\s)\s*(?=[①-⓿❶-➓]))")
TABS = re.compile(rf"(?<=[^\s{MARKS}])[^\S\t]*\t\s*(?=[^\s{MARKS}])")  # but for those beside another separator
# What a word that is written bare would not be read back with.
SPECIAL = re.compile(
    rf"[{MARKS}\"“”„«»「」『』]|^['‘`]|\.(?=\s|$)|^[\[({{]|^[{re.escape(BULLETS)}①-⓿❶-➓]|^\w+ ?[=:] ?[\[({{\d-]"
    r"|^\(?\d{1,4}[.):．、）]|^\(?[a-z]\)|(?:^|\s)[•·・‧∙](?=\s|$)"
)
# What a list is given as in a program or in YAML: classes = (...), names: [...]
ASSIGNED = re.compile(r"\A\w+[^\S\n]*(?:=|:(?!\S))\s*(?=[\[({].*[\])}]\Z|\d+:|-\s)", re.DOTALL)

# What has no width: marks of direction and of joints, tags, and hyphens that may be there; but for the two joiners,
# which scripts and emoji need between two of their characters.
NO_WIDTH = re.compile(
    "[\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
    # A run is looked at from its first one alone: it may be as long as the text.
    "|(?<![\u200c\u200d])(?:(?<![^\x00-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\x7f]))"
)
CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")

Classes = tuple[tuple[str, ...], ...]
Read = tuple[Classes, tuple[str, ...]]  # and what is to be said of how they were read, a sentence each
Words = str | Iterable[str | Iterable[str]] | Mapping[str, str | Iterable[str]]  # what a person may give


class WordsWarning(UserWarning):
    """Words were taken otherwise than they were given, in a way that the message says."""


def parse_vocabulary(text: str) -> Classes:
    """Text -> one tuple of wordings a class, by the grammar above.

    Blank lines and a separator at the end of a line are passed over; a class, or a wording, that is given twice is
    taken once, with a `WordsWarning` (upper and lower case, and spellings that become the same prompt, are the same).
    Raises ValueError, naming the word, where a class or synonym is empty, where a word stands in two different
    classes, or where there is no word.
    """
    if not isinstance(text, str):
        raise ValueError(f"Got {type(text).__name__}; expected the words as text, such as 'sky; cloud, hill, horse'.")
    return warned(read_vocabulary(text))


def read_vocabulary(words: Words) -> Read:
    """As `parse_vocabulary` for text and `check_classes` for a list; what they warn of is given as sentences."""
    if not isinstance(words, str):
        return _checked(words, once=True)
    text = ASSIGNED.sub("", _cleaned(words).strip())
    if text[:1] in ("[", "{", "("):
        listed = _written_list(text)
        if listed is not None:
            return _checked(listed, once=True)
        if text[0] + text[-1] in ("[]", "{}") and not set("[]{}") & set(text[1:-1]):  # [sky, hill]
            text = text[1:-1]
    classes: list[tuple[str, ...]] = []
    for line in text.splitlines():
        line = _without_end(line.strip())
        if line:
            classes.extend(_split(line))
    return _checked(classes, once=True)


def warned(read: Read) -> Classes:
    """The classes alone, with a `WordsWarning` for each of the sentences."""
    for note in read[1]:
        # Always from this line, so that Python says it once however often the words are read.
        warnings.warn(note, WordsWarning, stacklevel=1)
    return read[0]


def _without_end(line: str) -> str:
    """Without the separators at its end, among them a full stop; with commas in place of `cat. dog.`"""
    ends = CLASS_MARKS + WORD_MARKS + " \t"
    line = line.rstrip(ends)
    if not re.search(r"(?<!\.)(?<!\.\w)\.$", line):  # "..." and "D.C." end in none
        return line
    line = line[:-1].rstrip(ends)
    number = NUMBER.match(line)
    rest = line[number.end() :] if number else line
    if re.search(MARK + '|"', rest):
        return line
    return re.sub(r"(?<=\w)\.\s+", ", ", rest)


def _split(line: str) -> list[tuple[str, ...]]:
    """One line -> the wordings of each of its classes."""
    groups: list[list[str]] = [[]]
    number = NUMBER.match(line)
    found = number or BULLET.match(line)
    at = found.end() if found else 0
    line = line[:at] + TABS.sub(", ", line[at:])
    if number and '"' not in line:  # 1. sky 2. hill
        line = line[:at] + NUMBER_WITHIN.sub(", ", line[at:])
    while True:
        wording = WORDING.match(line, at)
        assert wording  # the pattern matches nothing as well
        word = wording.group(wording.lastindex or 0)
        groups[-1].append(word.replace('""', '"') if wording.lastindex == 1 else word)
        at = wording.end()
        if at >= len(line):
            return [tuple(group) for group in groups]
        if line[at] not in WORD_MARKS:
            groups.append([])
        at += not re.match(OPENING, line[at])
        again = NUMBER.match(line, at) if number and not groups[-1] else None  # 1. sky, 2. hill
        at = again.end() if again else at


def _written_list(text: str) -> Words | None:
    """What a list or table in the spelling of JSON or Python holds; None for any other text."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(value, (list, tuple, dict)):
            return names_in(value)
        if isinstance(value, set):  # which forgets its order
            return names_in(ast.literal_eval(f"[{text[1:-1]}]"))
    return None


def names_in(value: Any) -> Words:
    """The classes in a list or table, as label files hold them.

    Lists of names, of lists of wordings, or of objects with a "name", "label" or "title"; tables from number to name,
    from name to number, or from name to an object; objects that hold one of these under one of HOLDERS. Raises
    ValueError for an object in a list that has none of these.
    """
    if isinstance(value, Mapping):
        for key in HOLDERS:
            if isinstance(value.get(key), (list, tuple, Mapping)):
                return names_in(value[key])
        if value and all(isinstance(entry, Mapping) for entry in value.values()):
            return [_name_of(entry) if isinstance(_name_of(entry), str) else name for name, entry in value.items()]
        if value and all(isinstance(number, int) for number in value.values()):
            return sorted(value, key=value.__getitem__)
        if value and all(str(number).isdecimal() for number in value):
            return names_in([value[number] for number in sorted(value, key=lambda number: int(number))])
        return value
    names = [_name_of(entry) for entry in value]
    nameless = next((name for name in names if isinstance(name, Mapping)), None)
    if nameless is not None:
        raise ValueError(f"An entry has {', '.join(map(str, nameless))[:80] or 'nothing'}, but no 'name' or 'label'.")
    return names


def _name_of(entry: Any) -> Any:
    """Of an object in a list its name; anything else as it is."""
    keys = ("name", "label", "title") if isinstance(entry, Mapping) else ()
    return next((entry[key] for key in keys if key in entry), entry)


def as_text(classes: Classes) -> str:
    """Classes as `parse_vocabulary` reads them, in one line."""
    return ", ".join("; ".join(_quoted(word) for word in group) for group in classes)


def _quoted(word: str) -> str:
    return '"{}"'.format(word.replace('"', '""')) if SPECIAL.search(word) else word


def check_classes(classes: Words, once: bool = True) -> Classes:
    """The same checks for classes that are a list already: of words, or of one list of wordings a class.

    once: take what is given twice once; False, where a label map counts the classes, raises ValueError for it.
    """
    return warned(_checked(classes, once))


def _checked(classes: Words, once: bool) -> Read:
    if not isinstance(classes, Iterable):
        raise ValueError(f"Got {type(classes).__name__}; expected the words as text or as a list.")
    if isinstance(classes, Mapping):  # class -> its other wordings
        classes = [(name, *((more,) if isinstance(more, str) else more)) for name, more in classes.items()]
    checked = tuple(_wordings(group) for group in classes)
    if not checked:
        raise ValueError("There are no words. Type what to look for, such as: sky, tree, horse, grass")
    for number, group in enumerate(checked, start=1):
        if not group or not all(group):
            after = f" (after {checked[number - 2][0]!r})" if number > 1 else ""
            raise ValueError(
                f"Class {number}{after} has an empty word. Put a word between the separators, or take one out."
            )
    checked, twice = _each_once(checked) if once else (checked, [])
    home: dict[str, str] = {}  # prompt -> the class it stands in
    for group in checked:
        for word in group:
            if _prompt(word) in home:
                where = f"in {home[_prompt(word)]!r} and in {group[0]!r}"
                raise ValueError(f"{word!r} is given twice ({where}). Take one of them out.")
            home[_prompt(word)] = group[0]
    if not twice:
        return checked, ()
    named = ", ".join(map(repr, dict.fromkeys(twice)))
    return checked, (f"Given more than once, taken once: {named}.",)


def _each_once(classes: Classes) -> tuple[Classes, list[str]]:
    """Without wordings that their class has already, and without classes that are there already; and these."""
    kept: dict[frozenset[str], tuple[str, ...]] = {}
    twice: list[str] = []
    for group in classes:
        wordings: dict[str, str] = {}
        for word in group:
            if _prompt(word) in wordings:
                twice.append(word)
            else:
                wordings[_prompt(word)] = word
        if frozenset(wordings) in kept:
            twice.append(group[0])
        else:
            kept[frozenset(wordings)] = tuple(wordings.values())
    return tuple(kept.values()), twice


@lru_cache(maxsize=20_000)
def _prompt(word: str) -> str:
    """What CLIP's tokenizer makes of a word before it cuts it up: entities of HTML, say, are the same as what they
    stand for. "ß" and "ss" are the same, too."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(word))).split()).casefold()


def _wordings(group: str | Iterable[str]) -> tuple[str, ...]:
    """One class, its words cleaned."""
    if not isinstance(group, Iterable):
        raise ValueError(f"Got {group!r} for a class; expected a word, or a list of its wordings.")
    words = (group,) if isinstance(group, str) else tuple(group)
    for word in words:
        if not isinstance(word, str):
            raise ValueError(f"Got {word!r} for a word; expected text.")
        if len(word) > MOST_IN_A_WORD:
            raise ValueError(
                f"{word[:20]!r}… is one word of {len(word)} characters; at most {MOST_IN_A_WORD} can be taken. Put a "
                "comma or a new line between words."
            )
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise ValueError(f"{word!r} holds half of a character. Type the word anew.")
    return tuple(" ".join(_cleaned(" ".join(word.split())).split()) for word in words)


def _cleaned(text: str) -> str:
    return CONTROLS.sub(" ", NO_WIDTH.sub("", whole_characters(text)))


def whole_characters(text: str) -> str:
    """Text in which Python has kept bytes of a command line, as it does where the locale is ASCII, read as UTF-8."""
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        with suppress(UnicodeError):
            return text.encode("utf-8", "surrogateescape").decode("utf-8")
    return text


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
    for path in _lists():
        title = re.search(r"^#\s*title:\s*(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        presets[title.group(1).strip() if title else path.stem] = "\n".join(
            "; ".join(group) for group in _read_preset(path)
        )
    return presets


def list_names() -> list[str]:
    """Short names of the lists of `vocabulary_presets`, in its order: those of the benchmarks, such as "ade20k"."""
    return [path.stem.replace("_", "-") for path in _lists()]


def list_called(name: str) -> str | None:
    """The words of the list with this title or short name, in capitals or not; None where there is none."""
    presets = vocabulary_presets()
    by_name = dict(zip(list_names(), presets.values())) | {title.casefold(): text for title, text in presets.items()}
    return by_name.get(name.strip().casefold().replace("_", "-"))


def _lists() -> list[Path]:
    return [path for path in sorted(PRESET_FOLDER.glob("*.txt")) if not path.name.startswith("background_")]


def _read_preset(path: Path) -> Classes:
    return parse_vocabulary(without_comments(path.read_text(encoding="utf-8")))


def without_comments(text: str) -> str:
    """Without the lines that begin with #, which say something else than words."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))
