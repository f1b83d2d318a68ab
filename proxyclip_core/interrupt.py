"""A long computation that can be ended from outside.

    with interruptible(check):  # which raises what is to end it: the time is up, say
        features = model.encode(image)

The check is called in the thread that computes, between the blocks of networks, between windows and pieces of large
products, and at each step of a solver: many times a second on a CPU. Nothing is kept on a model, so what stages have
returned before stays good, and the next call is as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

INTERRUPTED = 130  # the exit status of what Ctrl-C ended

_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Has `check` called all along in what is computed inside; what it raises ends the computation. Within another
    such context the inner check alone is called."""
    before = _check.set(check)
    try:
        yield
    finally:
        _check.reset(before)


def checkpoint(*given: Any) -> None:
    """Calls the check, where there is one. Whatever a network's hook is told is not looked at."""
    check = _check.get()
    if check is not None:
        check()
