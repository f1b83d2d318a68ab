"""Visitors in a thread each, and what became of their requests."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from tests.load.remote_page import Request
from tests.load.visitor import Visitor

LOOK_SECONDS = 10  # between looks at the memory
RETRY_SECONDS = 2  # after which a person tries again who was turned away
TICKS = ("on_change", "on_look")  # what a slider asks for while it moves


class Crowd:
    """users: how many. pause: seconds between a visitor's actions. visit: makes one, of the address and a number."""

    def __init__(
        self, address: str, users: int, pause: float = 0, visit: Callable[[str, int], Visitor] = Visitor
    ) -> None:
        self.address, self.users, self.pause, self.visit = address, users, pause, visit
        self.visitors: list[Visitor] = []
        self.broken: list[str] = []  # visitors whose program ended with an error
        self.memory: list[tuple[float, float]] = []  # seconds since the beginning, MB
        self.seconds, self.cpu_seconds, self.own_cpu_seconds = 0.0, 0.0, 0.0

    @property
    def wrong(self) -> list[str]:
        """Answers that were another visitor's, or to another question."""
        return [text for visitor in self.visitors for text in visitor.wrong]

    @property
    def failed(self) -> list[str]:
        """What should not have happened to anybody."""
        return self.broken + [f"{one.name}: {one.said}" for one in self.requests() if one.outcome == "failed"]

    def requests(self) -> list[Request]:
        return [request for visitor in list(self.visitors) for request in list(visitor.page.made)]

    def act_once(self) -> None:
        """Everybody does everything once, each in an order of their own."""
        with ThreadPoolExecutor(self.users) as pool:
            list(pool.map(lambda number: self._visit(number, Visitor.act_once), range(self.users)))

    def act_for(self, seconds: float, process: int | None = None) -> Iterator[str]:
        """Lets them act for so long; now and then a line with the requests so far, and the process's memory."""
        start, before, own_before = time.monotonic(), cpu_seconds(process), time.process_time()

        def act(visitor: Visitor) -> None:
            while time.monotonic() < start + seconds:
                visitor.act()
                time.sleep(max(self.pause, RETRY_SECONDS if visitor.is_behind else 0))

        with ThreadPoolExecutor(self.users) as pool:
            running = {pool.submit(self._visit, number, act) for number in range(self.users)}
            while running:
                _, running = wait(running, timeout=LOOK_SECONDS)
                self.seconds, found = time.monotonic() - start, resident_megabytes(process)
                self.memory += [(self.seconds, found)] if found else []
                self.cpu_seconds, self.own_cpu_seconds = cpu_seconds(process) - before, time.process_time() - own_before
                yield f"{self.seconds:5.0f} s {len(self.requests()):6d} requests" + (
                    f" {found:6.0f} MB" if found else ""
                )

    def _visit(self, number: int, act: Callable[[Visitor], None]) -> None:
        try:
            visitor = self.visit(self.address, number)
            self.visitors.append(visitor)
            visitor.arrive()
            act(visitor)
        except Exception as error:  # the others go on
            logging.exception("visitor %d", number)
            self.broken.append(f"visitor {number}: {type(error).__name__}: {error}")

    def report(self) -> str:
        made = self.requests()
        answered = [one for one in made if one.outcome == "answered"]
        by_name = defaultdict(list)
        for one in answered:
            by_name[one.name].append(one.seconds)
        acted = sum(visitor.acted for visitor in self.visitors)
        unknown_place = max((one.unknown_place for one in made), default=0)  # a server that ended has answered nothing
        lines = [
            f"{self.users} visitors, {self.seconds:.0f} s: {len(made)} requests, {len(answered)} answered",
            f"answered requests a second: {len(answered) / self.seconds:.2f}",
            f"actions a second, with all that follows from each: {acted / self.seconds:.2f}",
            _times("all", [one.seconds for one in answered]),
            _times("ticks of a slider", [seconds for name in TICKS for seconds in by_name[name]]),
            *(_times(name, seconds) for name, seconds in sorted(by_name.items())),
            f"longest wait without a word of the place in the queue: {unknown_place:.2f} s",
            _counted("wrong answers", self.wrong),
            _counted("failed", self.failed),
            _counted("turned away", [one.said for one in made if one.outcome == "turned away"]),
            _counted("said on the page", [text for visitor in self.visitors for text in visitor.said]),
        ]
        if self.cpu_seconds:
            a_request = 1000 / max(1, len(answered))
            lines.append(
                f"CPU time a request: {self.cpu_seconds * a_request:.0f} ms of the server, "
                f"{self.own_cpu_seconds * a_request:.0f} ms of the visitors"
            )
        if self.memory:
            lines.append(_over_time(self.memory))
        return "\n".join(lines)


def _times(name: str, seconds: list[float]) -> str:
    half, most = np.percentile(seconds, [50, 95]) if seconds else (0.0, 0.0)
    return f"{name:>20}: {len(seconds):6d}, p50 {half:6.2f} s, p95 {most:6.2f} s"


def _over_time(memory: list[tuple[float, float]]) -> str:
    """Ten looks at it, and from when on all of them are within a tenth of the last: until then it was warming up."""
    warm, last = memory[len(memory) // 4][1], memory[-1][1]
    apart = [place for place, (_, found) in enumerate(memory) if abs(found - last) > last / 10]
    steady = memory[apart[-1] + 1 if apart else 0][0]
    looks = ", ".join(f"{found:.0f} at {second:.0f} s" for second, found in memory[:: max(1, len(memory) // 10)])
    most = max(found for _, found in memory)
    return (
        f"memory: {warm:.0f} MB after a quarter, {most:.0f} MB at most, {last:.0f} MB last ({last / warm - 1:+.1%}); "
        f"within 10 % of the last from {steady:.0f} s on\nmemory over time, MB: {looks}"
    )


def _counted(title: str, texts: list[str]) -> str:
    """How many, and each kind of them, whatever numbers it holds."""
    kinds = Counter(re.sub(r"\d+", "N", text) for text in texts)
    return "\n".join([f"{title}: {len(texts)}", *(f"    {times} × {text}" for text, times in kinds.most_common(8))])


def resident_megabytes(process: int | None) -> float:
    """What a process holds; 0 where that cannot be read."""
    try:
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0.0
    return int(kilobytes) / 1000


def cpu_seconds(process: int | None) -> float:
    """What a process has used of its cores so far; 0 where that cannot be read."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
