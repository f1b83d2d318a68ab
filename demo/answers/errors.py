"""Errors and what is missing, in words for the person. Nobody sees a traceback; the log has it."""

from __future__ import annotations

import errno
import html
import logging
import os
import re
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

import proxyclip_core as pc
from demo import limits
from demo.request_log import ended
from proxyclip_core.models.weights import ran_out_of_memory

NO_RESULT = "No result yet. Give a picture and words, and press Segment."
GONE = "The result is no longer on the server. Press Segment to make it again."
MOST_SAID = 2_000  # characters of a message
PATH = re.compile(r"(?<![\w/:.~<-])(?:[A-Za-z]:)?[\\/](?:[^\\/\s'\",;:()<>]+[\\/])*([^\\/\s'\",;:()<>]+)")
log = logging.getLogger(__name__)


class UserError(ValueError):
    """Something that the person should read, and nothing else went wrong."""


def in_words(error: BaseException) -> str:
    """What the person reads about an error."""
    if isinstance(error, pc.WeightsError):  # which names files and folders, and no word of a visitor's
        log.warning("%s", error)
    if isinstance(error, (ValueError, pc.WeightsError)):
        return outward(str(error))
    if ran_out_of_memory(error):
        return "The memory was not enough for this. Take a lower resolution, a larger patch, or a smaller model."
    log_error("An event failed", error)
    ended(f"failed ({type(error).__name__})")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "There is no room left on the server's disk. Try again later."
    return f"Something went wrong inside ({type(error).__name__}). The server's log says more."


def log_error(what: str, error: BaseException) -> None:
    """With all that is known of it; of what strangers sent without a text that may hold their words."""
    if not limits.PUBLIC or isinstance(error, RuntimeError):  # torch's, which say what a GPU lacks
        log.error(what, exc_info=error)
    else:
        log.error("%s: %s\n%s", what, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))


def outward(text: str) -> str:
    """A message as strangers may read it: files of the server by their names alone. The log has it in full."""
    if not limits.PUBLIC:
        return text
    said = text[:MOST_SAID]
    for folder in {str(Path.home()), tempfile.gettempdir(), os.getcwd()} - {os.sep}:  # their names may hold blanks
        said = said.replace(folder + os.sep, "")
    return PATH.sub(r"\1", said)


def message(text: str) -> Any:
    """A message box with an error, or gone; what follows its first line is folded. Text is text: what a person typed
    may be part of it."""
    if text:
        ended("refused")
    line, _, more = html.escape(outward(text)).partition("\n")
    folded = f"<details><summary>Details, and what to do</summary>{more}</details>" if more else ""
    return gr.update(value=f'<div role="alert">{line}{folded}</div>' if text else "", visible=bool(text))


def note(text: str) -> Any:
    """A line in the place of a message: nothing went wrong."""
    return gr.update(value=f"<p>{html.escape(text)}</p>", visible=True)


def notice(notes: Sequence[str]) -> Any:
    """What is to be said beside a result, a line each, or gone."""
    lines = "".join(f"<li>{html.escape(text)}</li>" for text in notes)
    return gr.update(value=f"<ul>{lines}</ul>" if notes else "", visible=bool(notes))


def missing(shown: str) -> str:
    """Why there is no result: none was made yet, or the server has let go of the one that the page shows."""
    return GONE if shown else NO_RESULT
