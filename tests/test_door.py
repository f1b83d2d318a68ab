"""demo.door and demo.turns: who asks, and how much one may ask for at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import gradio as gr
import httpx
import pytest
from starlette.datastructures import Headers

from demo import limits
from demo.door import CALLED, CROWDED, UNKNOWN_SECONDS, UNREAD, Door
from demo.turns import address_of, in_turn, side_by_side
from tests.serving import free_port


def request_from(host: str, forwarded: str = ""):
    headers = Headers(raw=[(b"x-forwarded-for", line.encode()) for line in forwarded.split("; ")])
    return SimpleNamespace(client=SimpleNamespace(host=host), headers=headers)


@pytest.mark.parametrize(
    ("host", "forwarded", "address"),
    [
        ("93.184.216.34", "", "93.184.216.34"),
        ("93.184.216.34", "8.8.8.8", "93.184.216.34"),  # what a visitor adds is not believed
        ("127.0.0.1", "10.0.0.5, 8.8.8.8", "8.8.8.8"),  # a proxy of ours adds at the end
        ("10.1.2.3", "8.8.8.8, 9.9.9.9", "9.9.9.9"),
        ("2606:2800:220:1::1", "", "2606:2800:220:1::"),
        ("2606:2800:220:1:a:b:c:d%eth0", "", "2606:2800:220:1::"),  # one machine has all of them
        ("::ffff:93.184.216.34", "", "93.184.216.34"),
        ("10.1.2.3", "8.8.8.8, 10.0.0.7", "8.8.8.8"),  # two proxies of ours
        ("10.1.2.3", "8.8.8.8" + ", 10.0.0.7" * 4, "10.0.0.7"),  # and no more are believed to be
        ("192.168.1.5", "", "192.168.1.5"),  # in the same house
        ("172.17.0.2", "192.168.1.5", "192.168.1.5"),
        ("127.0.0.1", "192.168.1.5", "192.168.1.5"),
        ("127.0.0.1", "10.9.9.9, 192.168.1.5", "192.168.1.5"),
        ("10.0.0.7", "1.1.1.1, 203.0.114.9:4711", "203.0.114.9"),  # as some proxies write it
        ("10.0.0.7", "1.1.1.1, [2606:2800:220:1::1]:4711", "2606:2800:220:1::"),
        ("10.0.0.7", "1.1.1.1, unknown", "10.0.0.7"),  # whatever stands before that is anybody's
        ("10.0.0.7", "1.1.1.1; 8.8.8.8", "8.8.8.8"),  # two lines
        ("fe80::1", "", "fe80::"),
        ("::1", "", None),
        ("127.0.0.1", "", None),
        ("127.0.0.1", "nonsense", None),
        ("testclient", "", None),
    ],
)
def test_where_a_request_comes_from(host, forwarded, address):
    assert address_of(request_from(host, forwarded)) == address


@pytest.fixture
def door(monkeypatch) -> Door:
    monkeypatch.setattr(limits, "PUBLIC", True)
    with Door() as made:
        gr.Button().click(lambda: None)
    return made.queue(max_size=limits.WAITING)


class Called(NamedTuple):
    """A function of gradio's."""

    api_visibility: str


PAGE, PROGRAM = Called("private"), Called("public")


def asks(session: str, address: str = "127.0.0.1", fn: Any = PAGE, **more: Any) -> SimpleNamespace:
    """An event of gradio's queue. A call of curl has its own name for a session."""
    named = {
        "_id": session if fn is PROGRAM else f"an event of {session}",
        "concurrency_id": "model",
        "enqueue_time": 0,
    }
    return SimpleNamespace(session_hash=session, request=request_from(address), fn=fn, **named | more)


def wait(door: Door, session: str, address: str, count: int, function: Any = PAGE) -> None:
    event = asks(session, address, function)
    group = SimpleNamespace(queue=[event] * count)
    door._queue.event_queue_per_concurrency_id[session] = group


def test_one_visitor_waits_with_two_requests_at_most(door):
    wait(door, "ann", "127.0.0.1", limits.WAITING_EACH)
    assert "2 of your requests are waiting already" in door.turned_away("ann", None)
    assert not door.turned_away("bob", None) and not door.turned_away(None, None)


def test_programs_that_share_a_session_are_no_one_visitor(door):
    wait(door, "tools", "127.0.0.1", limits.WAITING_EACH, PROGRAM)  # as all who call tools do
    assert not door.turned_away("tools", None, by_program=True)


def test_one_address_takes_half_of_the_queue_at_most(door):
    for number in range(limits.WAITING // 4):
        wait(door, f"visitor {number}", "8.8.8.8", 2)
    assert door.turned_away("another", "8.8.8.8").startswith(CROWDED.partition("{")[0])
    assert not door.turned_away("another", "9.9.9.9") and not door.turned_away("another", None)


def test_who_fetches_no_answers_asks_no_more(door):
    unread = SimpleNamespace(qsize=lambda: limits.UNREAD + 1)
    door._queue.pending_messages_per_session["ann"] = unread
    assert door.turned_away("ann", None) == UNREAD and not door.turned_away("bob", None)


def test_programs_together_wait_in_half_of_the_places(door):
    for number in range(limits.WAITING // 2):
        wait(door, f"call {number}", "127.0.0.1", 1, PROGRAM)
    assert door.turned_away("another", None, by_program=True).startswith(CALLED.partition("{")[0])
    assert not door.turned_away("ann", None)


def waiting(visitor: str, since: float, takes: float) -> SimpleNamespace:
    fn = PROGRAM if visitor.startswith("call") else PAGE
    return asks(visitor, fn=fn, enqueue_time=since, takes=takes)


@pytest.mark.parametrize(
    ("events", "order"),
    [
        ([("ann", 0, 1), ("bob", 1, 1), ("eve", 2, 1)], "012"),  # of equal length: as they came
        ([("ann", 0, 1), ("bob", 5, 0.1)], "10"),
        ([("ann", 0, 1), ("bob", 25, 0.1)], "01"),  # ann has waited for long enough
        ([("ann", 0, 60), ("bob", limits.MOST_YIELDS - 3, 0.1)], "10"),
        ([("ann", 0, 60), ("bob", limits.MOST_YIELDS, 0.1)], "01"),  # however long it takes what ann asks for
        ([("ann", 0, 1), ("ann", 1, 0.1), ("bob", 5, 0.1)], "201"),  # what ann asks for next is of her first
        ([("call 1", 0, 1), ("call 2", 1, 1), ("call 3", 2, 1), ("bob", 15, 1)], "0312"),  # one script's calls
    ],
)
def test_who_asks_for_little_goes_first_for_a_while(events, order):
    events = [waiting(*event) for event in events]
    turns = in_turn(events, lambda event: event.takes)
    assert "".join(str(events.index(event)) for event in turns) == order


def test_who_is_turned_away_hears_when_to_come_again(door):
    """By what the like of those that wait took so far."""
    (known,) = door.fns.values()
    door.own_seconds[known] = 12.0
    wait(door, "ann", "127.0.0.1", 2, known)
    assert "Try again in about 24 s" in door.turned_away("ann", None)
    wait(door, "bob", "127.0.0.1", limits.WAITING)  # of which nothing is known
    assert f"Try again in about {24 + limits.WAITING * UNKNOWN_SECONDS} s" in door.turned_away("carol", None)


@pytest.mark.parametrize("is_public", [True, False])
def test_who_is_turned_away_is_told_by_the_number_of_http_too(monkeypatch, is_public):
    monkeypatch.setattr(limits, "PUBLIC", is_public)
    with Door() as door:
        gr.Button().click(lambda: None, api_name="press")
    _, url, _ = door.queue().launch(prevent_thread_lock=True, quiet=True, server_port=free_port())
    try:
        assert httpx.post(f"{url}gradio_api/call/v2/press", json={}).status_code == 200
        others = [asks("others")] * limits.WAITING
        monkeypatch.setattr(door, "_waiting", lambda: others)
        answer = httpx.post(f"{url}gradio_api/call/v2/press", json={})
    finally:
        door.close(verbose=False)
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
    assert f"Try again in about {answer.headers['retry-after']} s" in answer.json()["detail"]


def test_on_a_page_for_this_machine_nobody_is_turned_away(door, monkeypatch):
    monkeypatch.setattr(limits, "PUBLIC", False)
    wait(door, "ann", "127.0.0.1", 10)
    assert not door.turned_away("ann", None)


def test_of_one_visitor_one_event_that_gives_the_visit_back_is_answered_at_a_time(door, monkeypatch):
    ann, bob, again = (asks(name) for name in ("ann", "bob", "ann"))
    group = SimpleNamespace(queue=[again, bob])
    door._queue.event_queue_per_concurrency_id["model"] = group
    door._queue.active_jobs = [[ann], None]

    def choose():
        return ([group.queue.pop(0)], False, "model") if group.queue else None

    assert door.next_events(choose) == ([bob], False, "model") and group.queue == [again]
    assert door.next_events(choose) is None and group.queue == [again]
    door._queue.active_jobs = [None, None]
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert door.next_events(choose) == ([again], False, "model")
    group.queue, door._queue.active_jobs = [ann], [[bob]]
    assert door.next_events(choose) is None and group.queue == [ann]  # there nothing runs beside another


@pytest.mark.parametrize("is_first", [True, False])
def test_who_moves_a_slider_waits_for_nobodys_new_picture_but_their_own(door, is_first):
    pictures = [asks(f"picture {number}") for number in range(limits.AT_ONCE + 2)]
    own, slider = (asks("ann", concurrency_id=name, enqueue_time=1) for name in ("model", "result"))
    slider.enqueue_time += -1 if is_first else 1
    queues = {"model": [own, pictures.pop()], "result": [slider]}
    groups = {name: SimpleNamespace(queue=queue) for name, queue in queues.items()}
    door._queue.event_queue_per_concurrency_id.update(groups)
    door._queue.active_jobs = [[picture] for picture in pictures]

    def choose():
        return next((([group.queue.pop(0)], False, name) for name, group in groups.items() if group.queue), None)

    assert door.next_events(choose) == (([slider], False, "result") if is_first else None)
    assert groups["model"].queue == queues["model"] and groups["result"].queue == ([] if is_first else [slider])


@pytest.mark.parametrize(
    ("script", "going", "begins"),
    [
        (("", PROGRAM), limits.AT_ONCE // 2, False),  # calls whose address is not known
        (("8.8.8.8", PROGRAM), limits.AT_ONCE // 2, False),
        (("8.8.8.8", PROGRAM), limits.AT_ONCE // 2 - 1, True),
        (("8.8.8.8", PAGE), limits.AT_ONCE - 1, False),  # calls that say that they are visitors
        (("8.8.8.8", PAGE), limits.AT_ONCE - 2, True),
    ],
)
def test_a_script_never_takes_all_places_from_a_person(script, going, begins):
    under_way = [asks(f"call {number}", *script) for number in range(going)]
    more, person = asks("call more", *script), asks("ann", "9.9.9.9")
    assert side_by_side([more, person], under_way, lambda event: 1.0) == ([more] if begins else []) + [person]


@pytest.mark.parametrize(("going", "begins"), [(limits.AT_ONCE - 2, True), (limits.AT_ONCE - 1, False)])
def test_while_there_are_no_people_programs_have_all_places_but_one(going, begins):
    under_way, more = [asks(f"call {number}", "", PROGRAM) for number in range(going)], asks("call more", "", PROGRAM)
    assert side_by_side([more], under_way, lambda event: 1.0) == ([more] if begins else [])


def test_a_slider_does_not_wait_until_one_of_many_new_pictures_is_done():
    took = {"picture": 3.0, "words": 2.0, "slider": 0.5}
    going = [asks(f"picture {number}") for number in range(limits.AT_ONCE)]
    waiting = [asks("words"), asks("slider"), asks("picture")]
    assert side_by_side(waiting, going, lambda event: took[event.session_hash.split()[0]]) == [waiting[1]]


def test_the_place_of_sliders_is_not_taken_by_new_words_where_one_request_is_longer_still():
    took = {"call": 9.0, "picture": 3.0, "words": 2.0, "slider": 0.5}
    going = [asks("call"), *(asks(f"words {number}") for number in range(1, limits.AT_ONCE))]
    waiting = [asks("words"), asks("slider")]
    assert side_by_side(waiting, going, lambda event: took[event.session_hash.split()[0]]) == [waiting[1]]


def test_a_person_at_the_page_is_answered_beside_a_script_that_calls_without_end(door):
    calls, person = [asks(f"call {number}", fn=PROGRAM) for number in range(8)], asks("ann")
    group = SimpleNamespace(queue=[*calls, person])
    door._queue.event_queue_per_concurrency_id["model"] = group
    under_way: list[Any] = []
    while found := door.next_events(lambda: ([group.queue.pop(0)], False, "model") if group.queue else None):
        under_way += found[0]
        door._queue.active_jobs = [[event] for event in under_way]
    assert person in under_way and len(under_way) == limits.AT_ONCE // 2 + 1
