"""The command line: `proxyclip segment | words | evaluate | models`, or `python -m proxyclip_core`; each has --help."""

from __future__ import annotations

import argparse
import io
import os
import select
import sys
import warnings
from collections.abc import Sequence
from typing import Any, TextIO

import proxyclip_core
from proxyclip_core.cli import ctrl_c, evaluate, models, segment, words
from proxyclip_core.cli.options import say
from proxyclip_core.cpu import keep_freed_memory
from proxyclip_core.interrupt import INTERRUPTED
from proxyclip_core.models.checkpoints import WeightsError, ran_out_of_memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status. What the person can mend is said in words, without a traceback."""
    try:
        with ctrl_c.never_lost():
            return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError as error:  # whoever read the output, such as `head`, has seen enough
        if _let_go():
            return 0
        say(f"error: {error}")
    return 1


def _run(arguments: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a word that the console cannot show is no reason to stop
            stream.reconfigure(errors="replace")
    try:
        try:
            options = _options(arguments)
            keep_freed_memory()
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                if getattr(options, "quiet", False):
                    warnings.simplefilter("ignore")
                else:  # what is said of words and pictures is a note, also where PYTHONWARNINGS makes errors of it
                    warnings.simplefilter("default", UserWarning)
                return options.run(options)
        finally:
            if sys.stdout is not None:  # as it is where the shell has closed it
                sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (ValueError, OSError, WeightsError) as error:
        say(f"error: {error}")
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        said = str(error) if type(error) is MemoryError else ""
        say(f"error: {said or 'The memory was not enough.'} Try a lower --side, or smaller models.")
    return 1


def _let_go() -> bool:
    """Whether nobody reads what is printed; then it goes nowhere from now on, as Python flushes when it ends."""
    gone = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and _is_gone(stream)]
    for stream in gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(gone)


def _is_gone(stream: TextIO) -> bool:
    """Whether the reader of a pipe has closed it. To write and to see it fail would not do: a healthy one shows it."""
    if not hasattr(select, "poll"):  # Windows
        return stream is sys.stdout
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)  # what is wrong is told unasked
    except (OSError, ValueError):  # no file of the system's, as in notebooks
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """In place of Python's own, which names a line of the source."""
    say(f"note: {message}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and (options.run is not segment.run or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # argparse takes only what stands together: the words may come after an option
        options.inputs += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="proxyclip", description="Open-vocabulary segmentation without training (ProxyCLIP)."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {proxyclip_core.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (segment, words, evaluate, models):
        command.add_parser(commands)
    return parser
