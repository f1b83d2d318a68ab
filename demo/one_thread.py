"""One thread for everything that computes on a CPU.

torch's helper threads belong to the thread that calls it, and those of one that has called it before do not go away.
Where a page's events come in one thread after another, there are soon more of them than cores; each step of a network
then waits for one to be woken, and the built-in pair took 1.6 times as long.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial, wraps
from queue import SimpleQueue
from typing import Any

_calls: SimpleQueue[tuple[Future, Callable[[], Any]]] = SimpleQueue()
_thread: threading.Thread | None = None
_starting = threading.Lock()


def in_one_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run in the one thread wherever it is called from; one call after another, as they come.

    Called in that thread already, it runs at once. What it raises is raised to its caller.
    """

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        if threading.current_thread() is _the_thread():
            return function(*given, **named)
        future: Future = Future()
        # With the caller's context, in which gradio keeps whose progress bar it is.
        _calls.put((future, partial(contextvars.copy_context().run, function, *given, **named)))
        return future.result()

    return call


def _the_thread() -> threading.Thread:
    global _thread
    with _starting:
        if _thread is None:
            # A daemon: whoever stops the server does not wait for a picture. An executor of Python's own would.
            _thread = threading.Thread(target=_work, name="computing", daemon=True)
            _thread.start()
    return _thread


def _work() -> None:
    while True:
        future, run = _calls.get()
        try:
            future.set_result(run())
        except BaseException as error:  # noqa: BLE001 the caller is to see it, and this thread goes on
            future.set_exception(error)
        del future, run  # or the last picture would stay in memory until the next
