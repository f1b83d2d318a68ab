"""Ctrl-C, which ends a command wherever it comes.

Python raises KeyboardInterrupt between two steps of the main thread, wherever that is: in a `__del__`, where Python
drops it, or in a library that catches everything. So that it was pressed is kept as well, and asked for at each
`checkpoint()` and at the end.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from proxyclip_core.interrupt import interruptible


@contextmanager
def never_lost() -> Iterator[None]:
    """Raises KeyboardInterrupt, at the end at the latest, where Ctrl-C was pressed inside. A second one ends the
    process at once. Does nothing outside the main thread, and where something else is to happen at Ctrl-C."""
    pressed = threading.Event()

    def note(*_: Any) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the system's way, which waits for no step of Python's
        raise KeyboardInterrupt

    def check() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    def drop(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):  # of which Python else prints a traceback
            others(unraisable)

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    others, sys.unraisablehook = sys.unraisablehook, drop
    signal.signal(signal.SIGINT, note)
    try:
        with interruptible(check):
            yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = others
        check()  # also in place of another error, which may be what a library has made of it
