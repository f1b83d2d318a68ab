"""Several pictures at a time: order, bounds, what stops a run."""

from __future__ import annotations

import threading

import pytest
import torch

from proxyclip_core.folders import map_pictures
from proxyclip_core.folders.runner import Shares
from proxyclip_core.interrupt import checkpoint, interruptible


class Doubling:
    """Work that doubles numbers, and notes which it has begun."""

    device = torch.device("cpu")

    def __init__(self):
        self.begun = []

    def __call__(self, numbers):
        self.begun += numbers
        return [2 * number for number in numbers]


def test_outcomes_come_in_the_order_of_the_pictures():
    assert list(map_pictures(Doubling(), range(50), workers=3)) == [2 * number for number in range(50)]


def test_no_more_than_a_few_outcomes_wait_to_be_taken():
    work = Doubling()
    outcomes = map_pictures(work, range(100), workers=2)
    next(outcomes)
    assert len(work.begun) <= 2 * 2
    outcomes.close()
    assert len(work.begun) <= 2 * 2


def test_what_is_being_computed_ends_when_the_iterator_is_closed():
    begun, finished = threading.Event(), []

    class Long(Doubling):
        def __call__(self, numbers):
            if numbers == [2]:
                begun.set()
                for _ in range(10**7):
                    checkpoint()
                finished.append(2)
            return numbers

    outcomes = map_pictures(Long(), [1, 2, 3], workers=1)
    assert next(outcomes) == 1 and begun.wait(60)
    outcomes.close()
    assert not finished


def test_whoever_takes_the_outcomes_is_asked_at_each_whether_to_go_on():
    taken = []

    def enough() -> None:
        if len(taken) == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError), interruptible(enough):
        for outcome in map_pictures(Doubling(), range(9)):
            taken.append(outcome)
    assert taken == [0, 2]


def test_pictures_are_worked_on_side_by_side():
    both = threading.Barrier(2, timeout=60)  # neither goes on before the other has come

    class Meeting(Doubling):
        def __call__(self, numbers):
            both.wait()
            return numbers

    assert list(map_pictures(Meeting(), [1, 2], workers=2)) == [1, 2]


def test_what_the_work_raises_ends_the_run():
    class Failing(Doubling):
        def __call__(self, numbers):
            raise KeyError("a slip in the program")

    with pytest.raises(KeyError):
        list(map_pictures(Failing(), range(9)))


def test_each_thread_has_its_share_of_the_cores_and_later_threads_have_all():
    seen, before = [], torch.get_num_threads()

    class Asking(Doubling):
        def __call__(self, numbers):
            seen.append(torch.get_num_threads())
            return numbers

    try:
        torch.set_num_threads(4)
        list(map_pictures(Asking(), range(8), workers=2))
        after = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        after.start()
        after.join()
        assert seen == [2] * 8 + [4]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "device, cores, workers, pictures, expected",
    [
        ("cpu", 2, None, 50, (2, 1, 1)),
        ("cpu", 2, None, None, (2, 1, 1)),
        ("cpu", 64, None, 50, (16, 4, 1)),
        ("cpu", 8, None, 1, (1, 8, 1)),
        ("cpu", 4, 1, 50, (1, 4, 1)),
        ("cpu", 2, 8, 50, (8, 1, 1)),
        ("cuda", 16, None, 50, (4, 4, 8)),
    ],
)
def test_shares(device, cores, workers, pictures, expected, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    shares = Shares.of(torch.device(device), workers, pictures)
    assert (shares.workers, shares.threads, shares.at_once) == expected


def test_a_run_needs_a_worker():
    with pytest.raises(ValueError, match="workers is 0; expected 1 or more"):
        list(map_pictures(Doubling(), [1], workers=0))
