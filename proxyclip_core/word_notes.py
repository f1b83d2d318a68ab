"""What is to be said of words before their result is trusted: a sentence each, for `Vocabulary.notes`."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from proxyclip_core.models.registry import BUILTIN_FOLDER, CLIP_MODELS, ClipSpec
from proxyclip_core.words import Classes

ARTICLES = ("a", "an", "the")


def notes_on(classes: Classes, clip_name: str, has_background: bool) -> tuple[str, ...]:
    """On words that this CLIP was not taught, and on a class that is alone. clip_name: that of a row, or any other."""
    spec = CLIP_MODELS.get(clip_name)
    notes = [language_note(spec, classes), unseen_note(spec, classes)] if spec else []
    if len(classes) == 1 and not has_background:
        notes.append(
            f"{classes[0][0]!r} is the only class, so all of the picture goes to it. Name what else is there, or let a "
            "background, 'short' or 'long', take the rest."
        )
    return tuple(filter(None, notes))


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
    return f"{clip.name} never saw {_some(unseen)} when it was trained, so there it guesses." if unseen else ""


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
    return ", ".join(listed[:3]) + (" and others" if len(listed) > 3 else "")
