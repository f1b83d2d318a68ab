"""One thread for everything that computes on a CPU.

torch gives every thread that calls it helper threads of its own, and these stay. gradio answers events in one thread
after another; soon there would be more helpers than cores, each step of a network would wait for one of them to be
woken, and the built-in pair would take 1.6 times as long.

What is quick does not wait for what is slow: it comes first among those that wait, and where a slow call asks now and
then, by `let_pass`, in between.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

from proxyclip_core.cpu import set_aside

Call = tuple["Future[Any]", Callable[[], Any], float]  # and when it came

PATIENCE = 2.0  # seconds that a slow call waits for quick ones, as these may never end
_is_quick: ContextVar[bool] = ContextVar("is_quick", default=False)
_quick: deque[Call] = deque()
_slow: deque[Call] = deque()
_come = threading.Semaphore(0)  # how many calls there are that nobody has taken
_thread: threading.Thread | None = None
_starting = threading.Lock()
_alone_until = 0.0  # until when the slow call that runs lets nothing pass


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
        (_quick if _is_quick.get() else _slow).append(
            (future, partial(contextvars.copy_context().run, function, *given, **named), time.monotonic())
        )
        _come.release()
        return future.result()

    return call


@contextmanager
def turn(is_quick: bool) -> Iterator[None]:
    """What is called inside is quick, or not."""
    before = _is_quick.set(is_quick)
    try:
        yield
    finally:
        _is_quick.reset(before)


def let_pass() -> None:
    """Runs a quick call that waits, within a slow one that asks for it in the one thread; elsewhere nothing. Then the
    slow one goes on for as long as it has waited: half of the time is its own, however many wait."""
    global _alone_until
    start = time.monotonic()
    if _is_quick.get() or threading.current_thread() is not _thread or start < _alone_until:
        return
    if _quick and _come.acquire(blocking=False):
        with set_aside():  # or what is quick would be multiplied by other kernels than at another time
            _run_first(_quick)
        end = time.monotonic()
        _alone_until = end + (end - start)


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
        _come.acquire()
        has_waited = bool(_slow) and time.monotonic() - _slow[0][2] > PATIENCE
        _run_first(_slow if has_waited or not _quick else _quick)


def _run_first(calls: deque[Call]) -> None:
    run_next(*calls.popleft()[:2])


def _forget() -> None:
    """A process that was forked off, as ZeroGPU's are, has no thread but the one that forked it."""
    global _thread, _starting, _come
    _thread, _starting, _come = None, threading.Lock(), threading.Semaphore(0)
    _quick.clear()
    _slow.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, where there are no forks
    os.register_at_fork(after_in_child=_forget)


def run_next(future: Future[Any], run: Callable[[], Any]) -> None:
    """Runs a call and hands its value, or what it raises, to `future`. A function of its own, so that nothing of the
    last call is held while the thread waits for the next one."""
    try:
        future.set_result(run())
    except BaseException as error:  # noqa: BLE001 the caller is to see it, and this thread goes on
        future.set_exception(error)
