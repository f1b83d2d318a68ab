"""demo.computing: who computes, and that callers get what they would have got without it."""

from __future__ import annotations

import contextvars
import math
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from demo import computing
from demo.computing import in_computing_thread, let_pass, turn, waiting
from demo.models import Models

who = in_computing_thread(threading.get_ident)


def test_callers_share_one_thread_that_is_none_of_theirs():
    together = threading.Barrier(4)

    def call(_):
        together.wait()  # or one caller would do all four
        return threading.get_ident(), who()

    with ThreadPoolExecutor(4) as pool:
        callers, threads = zip(*pool.map(call, range(4)))
    assert len(set(callers)) == 4 and len(set(threads)) == 1
    assert not set(callers) & set(threads) and who() == threads[0]


def test_a_call_from_within_runs_at_once():
    assert in_computing_thread(lambda: in_computing_thread(lambda value: value + 1)(1))() == 2


def test_errors_reach_the_caller_and_end_nothing():
    before = who()
    with pytest.raises(ZeroDivisionError):
        in_computing_thread(lambda: 1 / 0)()
    assert who() == before


def test_the_callers_context_comes_along():
    """gradio keeps in it whose progress bar is meant."""
    visitor = contextvars.ContextVar("visitor")
    visitor.set("Ada")
    assert in_computing_thread(visitor.get)() == "Ada"


def test_nothing_of_a_call_is_held_after_it():
    class Picture:
        gone = threading.Event()

        def __del__(self):
            self.gone.set()

    in_computing_thread(lambda picture: None)(Picture())
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

    @in_computing_thread
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
    """In computing threads on a CPU and in one on a GPU; where GPUs are lent, with such a one, or wherever they are
    called."""
    models, plain = Models("cpu"), threading.get_ident
    for kind in ("cpu", "cuda", "mps"):
        models.device = torch.device(kind)
        with turn(0.1):
            assert models.on_device(plain)() == models.on_device(plain, plain)() == who() or kind == "cpu"
            assert models.on_device(threading.current_thread)().name == "computing"
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=lambda duration: lambda function: duration))
    assert models.on_device(plain, plain)() == who()  # installed, but this is no place where they are lent
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert models.on_device(plain, plain) is plain and models.on_device(who) is who


def test_what_is_in_memory_waits_for_nothing_that_is_being_loaded(tiny_clip, tiny_vfm):
    loading, free = threading.Event(), threading.Event()

    def load(name, *given):
        if name == "DINO B/16":
            loading.set()
            assert free.wait(60)
        return tiny_vfm

    models = Models("cpu", find=lambda spec: None, load_clip=lambda *given: tiny_clip, load_vfm=load)
    models._take_both("OpenAI B/16", "DINO B/8", lambda *said: None)
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(models._take_both, "OpenAI B/16", "DINO B/16", lambda *said: None)
        assert loading.wait(60)
        try:
            held = pool.submit(models._take_both, "OpenAI B/16", "DINO B/8", lambda *said: None)
            assert held.result(timeout=60).vfm is tiny_vfm and not other.done()
        finally:
            free.set()


def until(happened) -> None:
    end = time.monotonic() + 60
    while not happened() and time.monotonic() < end:
        let_pass()


def start(pool: ThreadPoolExecutor, seconds: float, function, *given, beside: bool = False):
    """Has somebody call a function in a computing thread that takes so long, by estimate."""

    def call():
        with turn(seconds):
            return in_computing_thread(function, beside)(*given)

    return pool.submit(call)


def let_one_pass(going: threading.Event, ran: list[str]) -> list[str]:
    """What is long: it begins, and ends when something has run."""
    going.set()
    until(lambda: ran)
    return list(ran)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def busy(pool):
    """The first thread, held by a call that lets nothing pass until it is set free."""
    going, free = threading.Event(), threading.Event()
    start(pool, 0, lambda: (going.set(), free.wait(60)))
    assert going.wait(60)
    return free


def test_what_is_short_runs_within_what_is_long_where_that_lets_it_pass(pool):
    going, ran = threading.Event(), list[str]()

    found = start(pool, 1, let_one_pass, going, ran)
    assert going.wait(60)
    start(pool, 0.6, ran.append, "not short enough")
    start(pool, 0.4, ran.append, "short")
    assert found.result() == ["short"]


def test_nothing_passes_while_models_load(pool, tiny_clip, tiny_vfm):
    """It might need them, or the memory that was made free for them."""
    ran = list[str]()

    def load(*given):
        waits = start(pool, 0.0, ran.append, "short")
        end = time.monotonic() + 60
        while not computing._waiting and time.monotonic() < end:
            pass
        let_pass()
        assert not ran and not waits.done()
        return tiny_clip

    models = Models("cpu", find=lambda spec: None, load_clip=load, load_vfm=lambda *given: tiny_vfm)

    def ask():
        models.get("OpenAI B/16", "DINO B/8")
        until(lambda: ran)
        return list(ran)

    assert start(pool, 1, ask).result() == ["short"]


def test_what_passes_lets_pass_what_is_shorter_still(pool):
    going, ran = threading.Event(), list[str]()

    def middle():
        start(pool, 0.1, ran.append, "shortest")
        until(lambda: ran)
        ran.append("middle")

    found = start(pool, math.inf, let_one_pass, going, ran)
    assert going.wait(60)
    start(pool, 1, middle)
    assert found.result() == ["shortest", "middle"]


@pytest.mark.parametrize(("patience", "order"), [(4.0, [0.1, 0.1, 1.0, math.inf]), (0.0, [1.0, math.inf, 0.1, 0.1])])
def test_of_what_waits_the_short_comes_first_unless_what_is_long_has_waited(pool, busy, monkeypatch, patience, order):
    monkeypatch.setattr(computing, "PATIENCE", patience)
    ran = list[float]()
    for count, seconds in enumerate((1.0, math.inf, 0.1, 0.1)):
        start(pool, seconds, ran.append, seconds)
        until(lambda: len(computing._waiting) > count)  # noqa: B023
    busy.set()
    pool.shutdown()
    assert ran == order


@pytest.mark.parametrize(("short", "order"), [(0.05, ["first", "shorter"]), (0.0, ["shorter", "first"])])
def test_short_calls_do_not_overtake_each_other(pool, monkeypatch, short, order):
    monkeypatch.setattr(computing, "SHORT", short)
    going, there, ran = threading.Event(), threading.Event(), list[str]()

    def first():
        going.set()
        assert there.wait(60)
        for _ in range(50):  # what waits is counted a moment after it is there
            let_pass()
            time.sleep(0.01)
        ran.append("first")

    calls = [start(pool, 0.09, first)]
    assert going.wait(60)
    calls.append(start(pool, 0.001, ran.append, "shorter"))
    until(lambda: computing._waiting)
    there.set()
    for call in calls:
        call.result()
    assert ran == order


def test_what_is_long_has_a_share_of_the_time_for_itself_however_much_is_short(pool):
    going, ran = threading.Event(), list[str]()

    def long():
        going.set()
        until(lambda: ran)
        let_pass()  # at once: the first has only just passed
        return list(ran)

    def short():
        until(lambda: computing._waiting)  # the other one
        time.sleep(0.3)  # of which the share of the long one can be told
        ran.append("short")

    found = start(pool, math.inf, long)
    assert going.wait(60)
    start(pool, 0.1, short)
    start(pool, 0.1, ran.append, "another")
    assert found.result() == ["short"]


@pytest.fixture
def several_cores(monkeypatch):
    """Computing threads of their own, of a machine that has four cores for them."""
    cores = torch.get_num_threads()
    torch.set_num_threads(4)
    for name, value in {"_threads": [], "_waiting": [], "_changed": threading.Condition()}.items():
        monkeypatch.setattr(computing, name, value)
    yield
    until(lambda: len(computing._changed._waiters) == 2)  # and none of them takes up the others' work
    torch.set_num_threads(cores)


@pytest.mark.usefixtures("several_cores")
def test_two_quick_calls_run_side_by_side_and_share_the_cores(pool):
    alone = start(pool, 1, torch.get_num_threads, beside=True).result()
    together = threading.Barrier(2)

    def quick():
        together.wait(60)
        let_pass()  # where a network asks
        together.wait(60)
        return threading.get_ident(), torch.get_num_threads()

    threads, cores = zip(*(call.result() for call in [start(pool, 1, quick, beside=True) for _ in range(2)]))
    assert len(set(threads)) == 2 and alone == 4 and cores == (2, 2)
    assert start(pool, 1, torch.get_num_threads, beside=True).result() == alone


@pytest.mark.usefixtures("several_cores")
@pytest.mark.parametrize(("seconds", "beside"), [(1, False), (math.inf, True)])
def test_beside_what_takes_very_long_or_is_on_a_gpu_nothing_begins(pool, seconds, beside):
    going, ran = threading.Event(), list[int]()

    def slow():
        going.set()
        time.sleep(0.2)  # in which the second thread could take it
        assert not ran
        until(lambda: ran)
        return threading.get_ident()

    found = start(pool, seconds, slow, beside=beside)
    assert going.wait(60)
    start(pool, 0.1, lambda: ran.append(threading.get_ident()), beside=beside)
    assert [found.result()] == ran == [who()]


@pytest.mark.usefixtures("several_cores")
def test_what_is_short_has_all_cores_and_what_takes_longer_rests_beside_it(pool):
    going, ticks, ran = threading.Event(), threading.Event(), list[str]()

    def longer():
        going.set()
        assert ticks.wait(60)
        until(lambda: "tick" in ran)
        return list(ran)

    def tick():
        ticks.set()
        until(lambda: any(thread.rests for thread in computing._threads))
        let_pass()  # where a network asks
        assert any(thread.rests for thread in computing._threads)
        assert torch.get_num_threads() == computing._threads[0].all_cores
        start(pool, 0.1, ran.append, "another tick", beside=True).result()  # which passes what rests
        ran.append("tick")

    found = start(pool, 1, longer, beside=True)
    assert going.wait(60)
    start(pool, 0.45, tick, beside=True).result()
    assert found.result() == ["another tick", "tick"]


def test_what_was_waited_for_others_is_counted_where_it_was_waited(pool, busy):
    def call() -> tuple[float, float]:
        begun = time.monotonic()
        with waiting() as waited:
            in_computing_thread(until)(lambda: time.monotonic() > begun + 0.05)
        return waited.seconds, time.monotonic() - begun

    found = pool.submit(call)
    until(lambda: computing._waiting)
    busy.set()
    waited, whole = found.result()
    assert 0 < waited < whole
    with waiting() as nobody:
        time.monotonic()
    assert nobody.seconds == 0
