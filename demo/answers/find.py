"""'Find words for me': the words of a large vocabulary that are in the picture, and words taken out again."""

from __future__ import annotations

import html
from dataclasses import replace

import proxyclip_core as pc
from demo import limits
from demo.answers.errors import UserError, in_words
from demo.answers.segment import Answer, segment
from demo.models import Say
from demo.runner import Runner
from demo.stages import Stages
from demo.visit import Asked, Visit
from proxyclip_core import presence
from proxyclip_core.words import as_text, list_called, read_vocabulary

EVERY_WORD, MY_WORDS = "All words at hand", "The words in the box"


def choices() -> list[str]:
    """What words can be found among."""
    return [EVERY_WORD, MY_WORDS, *pc.vocabulary_presets()]


def find(
    runner: Runner,
    asked: Asked,
    before: Visit | None,
    say: Say,
    among: str | None = None,
) -> Answer:
    """Words for the picture in the place of those that are asked for, and the result of these; see `segment`.

    among: one of `choices`, or words.
    """
    try:
        words, visit = found(runner, asked, among, before, say)
    except Exception as error:  # noqa: BLE001 every error becomes a line that the person can read
        return Answer(in_words(error))
    if not words:
        return Answer("None of the words seems to be in the picture. Choose another list to find them among, or type.")
    asked = replace(asked, settings=replace(asked.settings, words=words))
    return segment(runner, asked, visit.without_result(), say)  # so that it is drawn, whatever is found


def found(
    runner: Runner,
    asked: Asked,
    among: str | None,
    before: Visit | None = None,
    say: Say = lambda done, text: None,
) -> tuple[str, Visit]:
    """The words alone, as text, "" for none; and what is kept. Raises ValueError."""
    if not asked.picture:
        raise UserError("There is no picture yet in which words could be found. Give one first.")
    settings = _settings(asked.settings, among)
    if not runner.models.ready(settings.clip, settings.vfm):
        raise UserError("The weights of these models are not here yet. Segment on the page downloads them.")
    visit = Visit.of(Asked(settings, asked.picture), before)
    runner.load(settings, say)
    say(0.7, "Finding words …")
    answer, visit, failed = runner(_words_and_reservations, visit)
    if failed:
        raise UserError(failed)
    return answer[0], replace(visit, reservations=answer[1])


def _settings(s: pc.Settings, among: str | None) -> pc.Settings:
    """Those with which words are found: the vocabulary in the place of the words."""
    text = among or EVERY_WORD
    if text == MY_WORDS:
        text = s.words
    elif text == EVERY_WORD:
        text = as_text(presence.candidate_words(pc.find_clip(s.clip).name))
    else:
        text = list_called(text) or text
    limits.check_characters(text)
    pc.find_clip(s.clip), pc.find_vfm(s.vfm)
    return replace(s, words=text, templates=presence.TEMPLATES, background="none", threshold=0.0, refine="none")


def _words_and_reservations(stages: Stages) -> tuple[str, tuple[str, ...]]:
    """The words that were found as text, and what is to be said of how the picture was read."""
    stages.check_time("dense", "words")
    return as_text(stages.words_in()), stages.reservations()


def without(words: str, name: str) -> str:
    """The words without one of their classes; as they are where there is no such class."""
    limits.check_characters(words)
    return as_text(tuple(group for group in read_vocabulary(words)[0] if group[0] != name))


def chips(words: str) -> str:
    """A chip a class, which takes it out when it is pressed. Names are text here, never markup."""
    names = [html.escape(group[0]) for group in read_vocabulary(words)[0]] if words else []
    buttons = "".join(
        f'<li><button type="button" class="chip" data-name="{name}" aria-label="Take out {name}">{name} '
        '<span aria-hidden="true">×</span></button></li>'
        for name in names
    )
    return f'<p class="status">Found in the picture. Press a word to take it out.</p><ul class="words">{buttons}</ul>'
