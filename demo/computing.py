"""The threads in which everything computes: one, and on a CPU a second one for what is short.

torch gives every thread that calls it helper threads of its own, and these stay. gradio answers events in one thread
after another; soon there would be more helpers than cores, each step of a network would wait for one of them to be
woken, and the built-in pair would take 1.6 times as long on a CPU. On a GPU cuDNN would plan its kernels again in each
of gradio's threads, which ends when it has had nothing to do for 10 seconds: 85 ms on an H100.

Two threads that are busy share the cores: what is in one core's way, such as Python, is then not in the other's, and 20
visitors are answered 1.2 times as fast. Results may differ in the last bit of float32 by how many cores add up.

What is short, such as a slider's tick, hardly waits for what takes over twice as long. A long call asks now and then,
by `let_pass`, whether something short waits, and runs that first; while something short runs in the other thread, the
long call rests, so that the short one has all cores. While the first thread is at what takes very long, the second
begins nothing: that has the time that it was given, and memory is needed for one such at a time.
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

import torch

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
    """Something to be run. seconds: what it will take by estimate, infinite where that is not known. beside: whether it
    may run beside another. spent: what it has taken, without those that it let pass meanwhile; these took `away`."""

    run: Callable[[], Any]
    seconds: float
    beside: bool
    came: float = field(default_factory=time.monotonic)
    future: Future[Any] = field(default_factory=Future)
    spent: float = 0.0
    away: float = 0.0
    alone_until: float = 0.0  # until when it lets nothing pass

    @property
    def due(self) -> float:
        return self.came + PATIENCE * min(self.seconds, LONG)

    @property
    def least(self) -> float:
        """Seconds that it takes by estimate, at least SHORT."""
        return max(self.seconds, SHORT)

    @property
    def is_quick(self) -> bool:
        """Whether it may run beside another that is quick."""
        return self.beside and self.seconds <= LONG


@dataclass(eq=False)
class Waited:
    """Seconds for which calls waited for others."""

    seconds: float = 0.0


_waited: ContextVar[Waited | None] = ContextVar("waited", default=None)
_seconds: ContextVar[float] = ContextVar("seconds", default=math.inf)
_waiting: list[Call] = []
_threads: list[Computing] = []
_changed = threading.Condition()  # and the lock of both lists, and of what each thread is at


def in_computing_thread(function: Callable[..., Any], beside: bool = False) -> Callable[..., Any]:
    """The function, run in a computing thread wherever it is called from; calls come one after another.

    Called in such a thread already, it runs at once. What it raises is raised to its caller. beside: whether two calls
    may run side by side where both are quick by what `turn` says of them.
    """

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        if isinstance(threading.current_thread(), Computing):
            return function(*given, **named)
        # With the caller's context, in which gradio keeps whose progress bar it is.
        run = partial(contextvars.copy_context().run, function, *given, **named)
        one = Call(run, _seconds.get(), beside)
        with _changed:
            _start_threads()
            _waiting.append(one)
            _changed.notify_all()
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
    """Runs a call that waits within one that takes over twice as long and asks for it in a computing thread; elsewhere
    nothing. Then the long one has its OWN share of the time, however many wait."""
    here = threading.current_thread()
    if isinstance(here, Computing):
        here.let_pass()


@contextmanager
def alone() -> Iterator[None]:
    """Nothing passes what a computing thread does inside, which holds what others need as well."""
    here = threading.current_thread()
    going = here.going[-1] if isinstance(here, Computing) else None
    before = going.alone_until if going else 0.0
    if going:
        going.alone_until = math.inf
    try:
        yield
    finally:
        if going:
            going.alone_until = before


class Computing(threading.Thread):
    """A thread that computes. going: its calls, each within the one before it. cores: how many it may use. rests:
    whether it leaves them to the other one.

    ThreadPoolExecutor would do some of this, but Python waits for its threads at the end: whoever stops the server
    would wait for the picture that is being computed. A daemon is not waited for.
    """

    def __init__(self, is_first: bool, cores: int) -> None:
        super().__init__(name="computing", daemon=True)
        self.is_first, self.all_cores, self.cores, self.going = is_first, cores, 0, list[Call]()
        self.rests = False

    @property
    def is_busy(self) -> bool:
        return bool(self.going) and not self.rests

    def run(self) -> None:
        while True:
            with _changed:
                self._take(_changed.wait_for(self._ready))
            self._run_last()

    def let_pass(self) -> None:
        """As the function of this name."""
        start, going = time.monotonic(), self.going[-1]
        if start >= going.alone_until:
            with _changed:
                self.rests = True
                _changed.wait_for(lambda: self._may_pass() or not self._is_to_rest())
                self.rests = False
                if short := self._may_pass():
                    self._take(short)
            if short:
                with set_aside():  # or it would be multiplied by other kernels than at another time
                    self._run_last()
            away = time.monotonic() - start
            going.away += away
            going.alone_until = start + away / (1 - OWN)
        self._share_cores()

    def _may_pass(self) -> list[Call]:
        """What waits and may run within what is going on here."""
        return [one for one in _waiting if self._is_short(one)]

    def _is_to_rest(self) -> bool:
        """Whether what is going on in the other thread is to have all cores. Without this the slowest twentieth of 20
        visitors' sliders wait a third longer."""
        return any(thread.is_busy and self._is_short(thread.going[-1]) for thread in _threads if thread is not self)

    def _is_short(self, one: Call) -> bool:
        """Whether it takes less than half as long as what is going on here."""
        return one.least < self.going[-1].seconds / 2

    def _ready(self) -> list[Call]:
        """What may begin here. While the first thread is at a long call, the quick ones pass that, there."""
        if self.is_first:
            return list(_waiting)
        rests = any(not one.is_quick for thread in _threads for one in thread.going)
        return [] if rests else [one for one in _waiting if one.is_quick]

    def _take(self, calls: list[Call]) -> None:
        """Takes the one of these calls that is due first."""
        one = min(calls, key=lambda call: call.due)
        _waiting.remove(one)
        self.going.append(one)

    def _run_last(self) -> None:
        """Runs the call that was taken last."""
        one, start = self.going[-1], time.monotonic()
        self._share_cores()

        def run() -> Any:
            try:
                return one.run()
            finally:  # before the caller goes on, who looks at it
                with _changed:
                    self.going.pop()
                    _changed.notify_all()
                one.spent = time.monotonic() - start - one.away

        run_next(one.future, run)

    def _share_cores(self) -> None:
        """Those that are busy get as many each; asked at every step of a network, as others come and go."""
        cores = max(1, self.all_cores // max(1, sum(thread.is_busy for thread in _threads)))
        if cores != self.cores:
            torch.set_num_threads(cores)
            self.cores = cores


def _start_threads() -> None:
    if not _threads:
        cores = torch.get_num_threads()
        _threads.extend(Computing(is_first, cores) for is_first in (True, False)[:cores])
        for thread in _threads:
            thread.start()


def _forget() -> None:
    """A process that was forked off, as ZeroGPU's are, has no thread but the one that forked it."""
    global _changed
    _changed = threading.Condition()
    _threads.clear()
    _waiting.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, where there are no forks
    os.register_at_fork(after_in_child=_forget)


def run_next(future: Future[Any], run: Callable[[], Any]) -> None:
    """Runs a call and hands its value, or what it raises, to `future`. A function of its own, so that nothing of the
    last call is held while the thread waits for the next one."""
    try:
        future.set_result(run())
    except BaseException as error:  # noqa: BLE001 the caller is to see it, and this thread goes on
        future.set_exception(error)
