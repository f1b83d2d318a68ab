"""Several pictures at a time through one model, the outcomes in the order of the pictures.

Each thread takes its pictures through everything, from reading the file to writing the result, so that reading,
computing and writing overlap. On a CPU a thread takes one picture, with its share of the cores: cores that share a
network wait for each other after every layer, and those that have a picture each do not; and what a picture gives does
not depend on its neighbours. On a GPU a thread takes several pictures, whose windows go through the encoders together.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Sequence, Sized
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

import torch

from proxyclip_core.interrupt import checkpoint, interruptible

# Each thread holds what a picture needs while it is computed. On a GPU they read and write around one that computes.
MOST_ON_CPU, MOST_ON_GPU = 16, 4
PICTURES_AT_ONCE = {"cuda": 8, "mps": 4}

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Taken = TypeVar("Taken", contravariant=True)
Given = TypeVar("Given", covariant=True)


class Work(Protocol[Taken, Given]):
    """What is done with pictures; may be called in several threads.

    device: where its model is. A call gives an outcome for each picture, in their order; what it raises ends the run.
    """

    device: torch.device

    def __call__(self, pictures: Sequence[Taken], /) -> Sequence[Given]: ...


@dataclass(frozen=True)
class Shares:
    """workers: threads that take pictures. threads: of the CPU, for each worker. at_once: pictures that each takes."""

    workers: int
    threads: int
    at_once: int

    @classmethod
    def of(cls, device: torch.device, workers: int | None = None, pictures: int | None = None) -> Shares:
        """For a model on this device. workers: as given by a person. pictures: how many there are, where it is known.

        A thread alone has all cores; where there are enough pictures each has one core, and a result then does not
        depend on how many cores there are. Raises ValueError for less than 1 worker.
        """
        cores = torch.get_num_threads()
        if workers is not None and workers < 1:
            raise ValueError(f"workers is {workers}; expected 1 or more.")
        most = min(cores, MOST_ON_CPU) if device.type == "cpu" else MOST_ON_GPU
        count = workers or max(1, min(most, most if pictures is None else pictures))
        return cls(count, max(1, cores // count), PICTURES_AT_ONCE.get(device.type, 1))


def map_pictures(
    work: Work[Item, Outcome], pictures: Iterable[Item], workers: int | None = None
) -> Generator[Outcome, None, None]:
    """What `work` makes of the pictures, a few at a time, in several threads: the outcomes, in their order.

    No more than a few outcomes wait to be taken. When the iterator is closed, what is being computed ends at the next
    block of a network, what is being written is finished, and nothing else begun. workers: how many threads; None: as
    fits.
    """
    known = len(pictures) if isinstance(pictures, Sized) else None
    shares, before = Shares.of(work.device, workers, known), torch.get_num_threads()
    waiting: deque[Future[Sequence[Outcome]]] = deque()
    rest, closed = iter(pictures), threading.Event()

    def going_on() -> None:
        if closed.is_set():
            raise CancelledError

    def worked_on(some: Sequence[Item]) -> Sequence[Outcome]:
        with interruptible(going_on):
            return work(some)

    with ThreadPoolExecutor(shares.workers, "pictures", torch.set_num_threads, (shares.threads,)) as pool:
        try:
            while some := list(islice(rest, shares.at_once)):
                waiting.append(pool.submit(worked_on, some))
                if len(waiting) >= 2 * shares.workers:
                    yield from _taken(waiting)
            while waiting:
                yield from _taken(waiting)
        finally:
            closed.set()
            pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(before)  # torch hands the number of one thread on to those that are made later


def _taken(waiting: deque[Future[Sequence[Outcome]]]) -> Sequence[Outcome]:
    outcomes = waiting.popleft().result()
    checkpoint()  # in the caller's thread, as no other is asked whether the caller wants to go on
    return outcomes
