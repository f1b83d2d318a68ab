"""demo.one_thread: who computes, and that callers get what they would have got without it."""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from demo import one_thread
from demo.models import Models
from demo.one_thread import in_one_thread, let_pass, turn

who = in_one_thread(threading.get_ident)


def test_all_callers_share_one_thread_that_is_none_of_theirs():
    together = threading.Barrier(4)

    def call(_):
        together.wait()  # or one caller would do all four
        return threading.get_ident(), who()

    with ThreadPoolExecutor(4) as pool:
        callers, threads = zip(*pool.map(call, range(4)))
    assert len(set(callers)) == 4 and len(set(threads)) == 1
    assert not set(callers) & set(threads) and who() == threads[0]


def test_a_call_from_within_runs_at_once():
    assert in_one_thread(lambda: in_one_thread(lambda value: value + 1)(1))() == 2


def test_errors_reach_the_caller_and_end_nothing():
    before = who()
    with pytest.raises(ZeroDivisionError):
        in_one_thread(lambda: 1 / 0)()
    assert who() == before


def test_the_callers_context_comes_along():
    """gradio keeps in it whose progress bar is meant."""
    visitor = contextvars.ContextVar("visitor")
    visitor.set("Ada")
    assert in_one_thread(visitor.get)() == "Ada"


def test_nothing_of_a_call_is_held_after_it():
    class Picture:
        gone = threading.Event()

        def __del__(self):
            self.gone.set()

    in_one_thread(lambda picture: None)(Picture())
    assert Picture.gone.wait(5)


def test_models_load_there_and_may_be_asked_for_there(tiny_clip, tiny_vfm):
    """Two events at once: one waits for a model, and the one that computes asks for a model as well."""
    computing, threads = threading.Event(), []

    def load(encoder):
        def loading(name, device, dtype):
            threads.append(threading.get_ident())
            return encoder

        return loading

    models = Models("cpu", find=lambda spec: None, load_clip=load(tiny_clip), load_vfm=load(tiny_vfm))

    @in_one_thread
    def compute():
        computing.set()
        return models.get("OpenAI B/16", "DINO B/8")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(compute)
        computing.wait(5)
        second = pool.submit(models.get, "OpenAI B/16", "DINO B/16")
        assert first.result(timeout=20).vfm is tiny_vfm and second.result(timeout=20).clip is tiny_clip
    assert set(threads) == {who()} and len(threads) == 3


def test_models_say_where_functions_compute(monkeypatch):
    """In the one thread on a CPU, with a lent GPU where these are lent, else wherever they are called."""
    models, plain = Models("cpu"), threading.get_ident
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=lambda duration: lambda function: duration))
    assert models.on_device(plain)() == who()
    models.device = torch.device("cuda")
    assert models.on_device(plain, plain) is plain and models.on_device(who) is who
    monkeypatch.delitem(sys.modules, "spaces")
    assert models.on_device(who, plain) is who


def until(happened) -> None:
    end = time.monotonic() + 60
    while not happened() and time.monotonic() < end:
        let_pass()


def test_what_is_quick_runs_within_what_is_slow_where_that_lets_it_pass():
    going, ran = threading.Event(), list[str]()

    def slow():
        going.set()
        until(lambda: ran)
        return list(ran)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(in_one_thread(slow))
        assert going.wait(60)
        with turn(True):
            in_one_thread(ran.append)("quick")
        assert first.result() == ["quick"]


@pytest.mark.parametrize("patience", [float("inf"), 0.0])
def test_of_what_waits_the_quick_comes_first_unless_a_slow_one_has_waited_long(monkeypatch, patience):
    """And what is quick lets nothing pass."""
    monkeypatch.setattr(one_thread, "PATIENCE", patience)
    monkeypatch.setattr(one_thread, "_alone_until", 0.0 if patience else float("inf"))  # the slow one lets none pass
    going, free, ran = threading.Event(), threading.Event(), list[str]()

    def blocking():
        going.set()
        assert free.wait(60)

    def call(name: str) -> None:
        with turn(name.startswith("quick")):
            in_one_thread(lambda: (let_pass(), ran.append(name)))()

    with ThreadPoolExecutor(4) as pool:
        pool.submit(in_one_thread(blocking))
        assert going.wait(60)
        for count, name in enumerate(("slow", "quick 1", "quick 2")):
            pool.submit(call, name)
            until(lambda: len(one_thread._quick) + len(one_thread._slow) > count)  # noqa: B023
        free.set()
    assert ran == (["quick 1", "quick 2", "slow"] if patience else ["slow", "quick 1", "quick 2"])


def test_what_is_slow_has_half_of_the_time_for_itself_however_much_is_quick():
    going, ran = threading.Event(), list[str]()

    def slow():
        going.set()
        until(lambda: ran)
        let_pass()  # at once: the first has only just passed
        return list(ran)

    def quick():
        time.sleep(0.05)
        ran.append("quick")

    def call() -> None:
        with turn(True):
            in_one_thread(quick)()

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(in_one_thread(slow))
        assert going.wait(60)
        both = [pool.submit(call) for _ in range(2)]
        assert first.result() == ["quick"]
        assert [one.result() for one in both] == [None, None]
