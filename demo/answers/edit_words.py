"""One class of the words changed by its chip: worded otherwise, made the same class as another, or taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demo import limits
from demo.answers.errors import UserError
from proxyclip_core.words import as_text, read_vocabulary

GONE = "This word is not in the box any more. Press Segment, and try again."
LAST = "One word must stay. Put another one in its place."


def edited(words: str, told: Mapping[str, Any]) -> str:
    """The words with one class changed, as `edit.js` tells it: "name" is the class, and "onto" the class whose synonyms
    its wordings become, or "words" what is to stand in its place, "" for nothing.

    Raises ValueError where that cannot be.
    """
    name, onto, text = (str(told.get(key) or "") for key in ("name", "onto", "words"))
    limits.check_characters(words)
    limits.check_characters(text)
    classes = {group[0]: group for group in read_vocabulary(words)[0]}
    if name not in classes or (onto and onto not in classes):
        raise UserError(GONE)
    if onto and onto != name:
        classes[onto] += classes.pop(name)
        changed = tuple(classes.values())
    else:
        instead = (classes[name],) if onto else read_vocabulary(text)[0] if text.strip() else ()
        changed = tuple(new for key, group in classes.items() for new in (instead if key == name else (group,)))
    if not changed:
        raise UserError(LAST)
    return as_text(read_vocabulary(changed)[0])
