"""The words that are asked for, as the core reads them, and which of them are nobody's secret."""

from __future__ import annotations

from functools import lru_cache

import proxyclip_core as pc
from demo import limits
from demo.examples import FOLDER, read_examples
from proxyclip_core.words import BACKGROUND_NAME, Read, background_presets, read_vocabulary, with_background


@lru_cache(maxsize=1)
def words_of_everybody() -> frozenset[str]:
    """The words of the gallery and of the lists that the page offers: nobody's secret."""
    texts = [*pc.vocabulary_presets().values(), *(example.words for example in read_examples(FOLDER))]
    groups = [*background_presets().values(), *(group for text in texts for group in words_of(text)[0])]
    return frozenset({BACKGROUND_NAME}.union(*groups))


@lru_cache(maxsize=64)
def words_of(words: str) -> Read:
    """Text -> classes, and what is to be said of them; the same text is parsed once. Raises ValueError."""
    return read_vocabulary(words)


def queries_of(s: pc.Settings) -> list[str]:
    """All words and synonyms that are asked for, the background's too. Raises ValueError."""
    limits.check_characters(s.words)
    return [word for group in with_background(words_of(s.words)[0], s.background)[0] for word in group]
