"""Whose turn it is: requests wait and are answered so that nobody, and no program, keeps everybody else waiting."""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import takewhile
from statistics import fmean
from typing import Any

from demo import limits

# Of events that give a visit back, with their places, see `tabs.parts`.
GROUPS = {"model": limits.AT_ONCE, "result": limits.LOOKS_AT_ONCE}
MOST_PROXIES = 4  # one behind the other


def side_by_side(waiting: Sequence[Any], going: Sequence[Any], seconds: Callable[[Any], float]) -> list[Any]:
    """Of the events that wait, those that may be answered beside the ones that are being answered: one of a visitor,
    and of one visitor's the first, whatever group it is in; in each group calls of programs, each of which is a visitor
    to gradio, in half of the places, or in all but one where only programs ask, and what comes from one address in all
    but one. So whatever a script asks for, there is a place for somebody else. One more place is for what takes less
    than half as long as an average one of them: new words are not to wait until a new picture is done.

    seconds: what an event will take.
    """
    sessions = {event.session_hash for event in going}
    latest_first = sorted(waiting, key=lambda event: event.enqueue_time)[::-1]
    first = {event.session_hash: event.concurrency_id for event in latest_first}  # the group of a visitor's first event
    only_programs = all(map(is_call, (*going, *waiting)))
    found = []
    for group, places in GROUPS.items():
        beside = [event for event in going if event.concurrency_id == group]
        near = Counter(address_of(event.request) for event in beside)
        crowded = {address for address, count in near.items() if address and count >= max(1, places - 1)}
        may_call = sum(map(is_call, beside)) < max(1, places - 1 if only_programs else places // 2)
        most = fmean(map(seconds, beside)) / 2 if len(beside) >= places else math.inf
        found += [
            event
            for event in waiting
            if event.concurrency_id == group == first[event.session_hash]
            and event.session_hash not in sessions
            and (may_call or not is_call(event))
            and address_of(event.request) not in crowded
            and seconds(event) < most
        ]
    return found


def in_turn(events: Sequence[Any], seconds: Callable[[Any], float]) -> list[Any]:
    """Waiting events in the order in which they are answered: who asks for little goes before who asks for much, such
    as a slider's picture before a new one's, unless that one has waited for long, limits.MOST_YIELDS seconds at most.
    One's own keep their order, and each is put off by those before it: who asks for many things waits among others as
    long as who asks for a large one.

    seconds: what an event will take.
    """
    due: dict[str, float] = {}  # who asks -> when the last of theirs is to be answered
    turns = []
    for event in sorted(events, key=lambda event: event.enqueue_time):
        who = (address_of(event.request) or "programs") if is_call(event) else event.session_hash
        put_off = min(limits.YIELDS * seconds(event), limits.MOST_YIELDS)
        due[who] = max(event.enqueue_time, due.get(who, 0.0)) + put_off
        turns.append((due[who], event))
    return [event for _, event in sorted(turns, key=lambda turn: turn[0])]


def is_call(event: Any) -> bool:
    """Whether a program asks, and no page."""
    return is_program(event.session_hash if event.session_hash != event._id else None, event.fn)


def is_program(session: str | None, called: Any) -> bool:
    """Likewise. session: None where none is given, as by curl. called: gradio's function, None for one that is not
    there; the page itself calls none of those that are documented for programs."""
    return session is None or getattr(called, "api_visibility", "") == "public"


def address_of(request: Any) -> str | None:
    """The address that a request comes from, of IPv6 the network, of which one machine has all addresses; None where
    that is not known, as from this machine or behind a proxy on it that does not tell it."""
    if request is None:
        return None
    # A proxy puts the address that it sees at the end. Whoever comes from the internet is none, and not believed.
    told = ",".join(request.headers.getlist("x-forwarded-for")).split(",")[-MOST_PROXIES:][::-1]
    chain = [*takewhile(bool, map(_address, (request.client.host if request.client else "", *told)))]
    # Within a house: whom the nearest has it from.
    found = next((address for address in chain if address and address.is_global), next(iter(chain[:2][::-1]), None))
    return None if found is None or found.is_loopback or found.is_unspecified else str(found)


@lru_cache(maxsize=1024)
def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for what is no address. Some proxies add a port, and brackets then."""
    inner = host.strip().partition("]")[0].lstrip("[").partition("%")[0]
    try:
        address = ipaddress.ip_address(inner.partition(":")[0] if inner.count(":") == 1 else inner)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and not address.is_loopback:
        return address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False).network_address
    return address
