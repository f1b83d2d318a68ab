"""What is to be said of words before their result is trusted: a sentence each, for `Vocabulary.notes`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache

from proxyclip_core.models.registry import BUILTIN_FOLDER, CLIP_MODELS, ClipSpec
from proxyclip_core.words import Classes, as_text

ARTICLES = ("a", "an", "the")
NAMED = 3  # words in a sentence, of however many
SEVERAL = re.compile(r"\w\s*[/\\.:+&]\s*\w|\band\b|\w+\s+\w+\s+\w+")  # in what may be a list without commas


def notes_on(classes: Classes, clip_name: str, count: int, has_background: bool) -> tuple[str, ...]:
    """On words that this CLIP was not taught, and on a class that is alone.

    clip_name: that of a row, or any other. count: of the classes, with a background that was put in front of these.
    """
    spec = CLIP_MODELS.get(clip_name)
    notes = [language_note(spec, classes), unseen_note(spec, classes)] if spec else []
    return tuple(filter(None, [*notes, alone_note(classes[0], has_background) if count == 1 else ""]))


def alone_note(wordings: Sequence[str], is_background: bool) -> str:
    """On the only class there is, and how it becomes several where these may be meant."""
    name, several = wordings[0], ""
    if len(wordings) > 1:
        several = (
            f" ';' joins wordings of one class; if these are several: {as_text(tuple((one,) for one in wordings))}."
        )
    elif SEVERAL.search(name):
        several = " If these are several, put commas between them."
    if is_background:
        return (
            f"{name!r} is the background and the only class, so all is background.{several or ' Name what is there.'}"
        )
    return (
        f"{name!r} is the only class, so all of the picture goes to it.{several} Name what else is there, or let a "
        "background, 'short' or 'long', take the rest."
    )


def language_note(clip: ClipSpec, classes: Classes) -> str:
    """A sentence on words that this CLIP was not taught to read; "" where there are none."""
    foreign = not_latin(word for group in classes for word in group) if clip.reads else ()
    if not foreign:
        return ""
    return f"{clip.name} reads {clip.reads}; it hardly knows {_some(foreign)}. Say it in {clip.reads}."


def unseen_note(clip: ClipSpec, classes: Classes) -> str:
    """A sentence on words that were not among those this CLIP was trained on, where these are known; else ""."""
    if not clip.trained_on:
        return ""
    known, words = _trained_on(clip.trained_on), [word for group in classes for word in group]
    unseen = [word for word in words if not not_latin([word]) and not known.issuperset(word.casefold().split())]
    if not unseen:
        return ""
    near = [f"{word} ({meant}?)" if (meant := _nearest(word, known)) else word for word in unseen[:NAMED]]
    return f"{clip.name} never saw {_some([*near, *unseen[NAMED:]])} when it was trained, so there it guesses."


def _nearest(word: str, known: frozenset[str]) -> str:
    """The word with its slips mended, where what is known has something like them; else ""."""
    mended = []
    for part in word.casefold().split():
        if part not in known:
            found = get_close_matches(part, sorted(known), 1, 0.8)
            if not found:
                return ""
            part = found[0]
        mended.append(part)
    return " ".join(mended)


@lru_cache
def _trained_on(file: str) -> frozenset[str]:
    """The single words that stand in a list in models/builtin/, a name a line."""
    return frozenset((BUILTIN_FOLDER / file).read_text(encoding="utf-8").casefold().split()).union(ARTICLES)


def not_latin(words: Iterable[str]) -> tuple[str, ...]:
    """The words with letters of another script than Latin."""
    return tuple(word for word in words if any(map(_is_foreign, word)))


def _is_foreign(letter: str) -> bool:
    if letter < "\u0250" or not unicodedata.category(letter).startswith("L"):
        return False
    return not unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN", "MODIFIER"))


def _some(words: Iterable[str]) -> str:
    listed = list(words)
    return ", ".join(listed[:NAMED]) + (" and others" if len(listed) > NAMED else "")
