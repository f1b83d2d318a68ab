"""One thread for everything that computes.

torch gives every thread that calls it helper threads of its own, and these stay. gradio answers events in one thread
after another; soon there would be more helpers than cores, each step of a network would wait for one of them to be
woken, and the built-in pair would take 1.6 times as long on a CPU. On a GPU cuDNN would plan its kernels again in each
of gradio's threads, which ends when it has had nothing to do for 10 seconds: 85 ms on an H100.

What is short does not wait for what is long: it comes first among those that wait, and where a long call asks now and
then, by `let_pass`, in between.
"""

from __future__ import annotations

import contextvars
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any

from proxyclip_core.cpu import set_aside

# Seconds by which a call is put off for each that it takes, while shorter ones come; and the longest that counts.
PATIENCE, LONG = 4.0, 2.0
# What takes less than this by estimate is as short as this: its drawing takes as long, and at first no estimate has it.
SHORT = 0.05
# The share of the time that a long call has for itself, however much is short. With 20 visitors at once a half has the
# slowest twentieth of sliders wait 2.5 times as long, and new pictures no less.
OWN = 0.1


@dataclass(eq=False)
class Call:
    """Something to be run. seconds: what it will take by estimate, infinite where that is not known. spent: what it has
    taken, without those that it let pass meanwhile; these took `away`."""

    run: Callable[[], Any]
    seconds: float
    came: float = field(default_factory=time.monotonic)
    future: Future[Any] = field(default_factory=Future)
    spent: float = 0.0
    away: float = 0.0
    alone_until: float = 0.0  # until when it lets nothing pass

    @property
    def due(self) -> float:
        return self.came + PATIENCE * min(self.seconds, LONG)


@dataclass(eq=False)
class Waited:
    """Seconds for which calls waited for others."""

    seconds: float = 0.0


_waited: ContextVar[Waited | None] = ContextVar("waited", default=None)
_seconds: ContextVar[float] = ContextVar("seconds", default=math.inf)
_waiting: list[Call] = []
_going: list[Call] = []  # each within the one before it
_come = threading.Semaphore(0)  # how many calls there are that nobody has taken
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
        # With the caller's context, in which gradio keeps whose progress bar it is.
        one = Call(partial(contextvars.copy_context().run, function, *given, **named), _seconds.get())
        _waiting.append(one)
        _come.release()
        try:
            return one.future.result()
        finally:
            if waited := _waited.get():
                waited.seconds += time.monotonic() - one.came - one.spent

    return call


@contextmanager
def turn(seconds: float) -> Iterator[None]:
    """What is called inside takes so long, by estimate."""
    before = _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(before)


@contextmanager
def waiting() -> Iterator[Waited]:
    """Counts what is waited for others inside, also in threads that are given the context."""
    waited = Waited()
    before = _waited.set(waited)
    try:
        yield waited
    finally:
        _waited.reset(before)


def let_pass() -> None:
    """Runs a call that waits within one that takes over twice as long and asks for it in the one thread; elsewhere
    nothing. Then the long one has its OWN share of the time, however many wait."""
    if not _waiting or threading.current_thread() is not _thread:
        return
    start, going = time.monotonic(), _going[-1]
    if start < going.alone_until:
        return
    short = [one for one in list(_waiting) if max(one.seconds, SHORT) < going.seconds / 2]
    if short and _come.acquire(blocking=False):
        with set_aside():  # or it would be multiplied by other kernels than at another time
            _run_first(short)
        end = time.monotonic()
        going.away += end - start
        going.alone_until = end + (end - start) * OWN / (1 - OWN)


@contextmanager
def alone() -> Iterator[None]:
    """Nothing passes what the one thread does inside, which holds what others need as well."""
    going = _going[-1] if _going and threading.current_thread() is _thread else None
    before = going.alone_until if going else 0.0
    if going:
        going.alone_until = math.inf
    try:
        yield
    finally:
        if going:
            going.alone_until = before


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
        _run_first(list(_waiting))


def _run_first(calls: list[Call]) -> None:
    """Runs the one of these calls that is due first."""
    one = min(calls, key=lambda call: call.due)
    _waiting.remove(one)
    _going.append(one)
    start = time.monotonic()

    def run() -> Any:
        try:
            return one.run()
        finally:  # before the caller goes on, who looks at it
            _going.pop()
            one.spent = time.monotonic() - start - one.away

    run_next(one.future, run)


def _forget() -> None:
    """A process that was forked off, as ZeroGPU's are, has no thread but the one that forked it."""
    global _thread, _starting, _come
    _thread, _starting, _come = None, threading.Lock(), threading.Semaphore(0)
    _waiting.clear()
    _going.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, where there are no forks
    os.register_at_fork(after_in_child=_forget)


def run_next(future: Future[Any], run: Callable[[], Any]) -> None:
    """Runs a call and hands its value, or what it raises, to `future`. A function of its own, so that nothing of the
    last call is held while the thread waits for the next one."""
    try:
        future.set_result(run())
    except BaseException as error:  # noqa: BLE001 the caller is to see it, and this thread goes on
        future.set_exception(error)
