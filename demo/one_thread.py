"""One thread for everything that computes on a CPU.

torch gives every thread that calls it helper threads of its own, and these stay. gradio answers events in one thread
after another; soon there would be more helpers than cores, each step of a network would wait for one of them to be
woken, and the built-in pair would take 1.6 times as long.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial, wraps
from queue import SimpleQueue
from typing import Any

_calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
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
        future: Future[Any] = Future()
        # With the caller's context, in which gradio keeps whose progress bar it is.
        _calls.put((future, partial(contextvars.copy_context().run, function, *given, **named)))
        return future.result()

    return call


def _the_thread() -> threading.Thread:
    global _thread
    with _starting:
        if _thread is None:
            # ThreadPoolExecutor(1) would do all this, but Python waits for its thread at the end: whoever stops the
            # server would wait for the picture that is being computed. A daemon is not waited for.
            _thread = threading.Thread(target=_work, name="computing", daemon=True)
            _thread.start()
    return _thread


def _work() -> None:
    while True:
        run_next(*_calls.get())


def run_next(future: Future[Any], run: Callable[[], Any]) -> None:
    """Runs a call and hands its value, or what it raises, to `future`. A function of its own, so that nothing of the
    last call is held while the thread waits for the next one."""
    try:
        future.set_result(run())
    except BaseException as error:  # noqa: BLE001 the caller is to see it, and this thread goes on
        future.set_exception(error)
