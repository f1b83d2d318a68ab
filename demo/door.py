"""The one door between strangers and the page's events: whose request is taken, and what an answer may say.

Anybody can send a request to any event, also to those that gradio hides, with whatever values. So what gradio itself
leaves open is closed here, once for all events; a value's own range stands where the value is defined. What does not
get as far as an event is `gate`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr
from gradio.state_holder import StateHolder
from starlette.exceptions import HTTPException

from demo import limits, stopping
from demo.answers.errors import in_words, outward
from demo.blocks import UNREADABLE, Blocks
from demo.menus import bytes_of
from demo.turns import GROUPS, address_of, in_turn, is_call, is_program, side_by_side
from demo.visit import Visit

LOOK_SECONDS = 0.005  # between the queue's looks for work; gradio's own 0.001 keep a core busy with nothing else
WAITING = "{} of your requests are waiting already. Try again in about {} s."
CROWDED = "Too many requests from your address are waiting already. Try again in about {} s."
CALLED = "Too many calls of programs are waiting already. Try again in about {} s."
FULL_QUEUE = "All {} places in the queue are taken. Try again in about {} s."
UNREAD = "The answers to your earlier requests were not fetched. Reload the page and try again."
UNKNOWN_SECONDS = 5  # that an event takes which nobody has waited for yet


class Door(Blocks):
    """gradio's page, of whose events each answers, or says in a sentence why not.

    of_programs: in which a program's session keeps what a page keeps in another; it leaves first, as a script can name
    any number of sessions.
    """

    of_programs: gr.State | None = None

    async def process_api(self, block_fn: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        """As gradio's own. Every way into an event ends here: the queue, a direct call, the program interface."""
        told = named.get("event_data")
        if told is not None:  # gradio's own kinds of event fail where one of these is not there
            data = told._data if isinstance(told._data, dict) else {}
            named["event_data"] = gr.EventData(told.target, {"index": None, "value": None, **data})
        session, event = named.get("session_hash"), named.get("event_id")
        going = False
        try:
            with stopping.answering(self._queue.event_ids_to_events.get(event or "")):
                answer = await super().process_api(block_fn, inputs, *given, **named)
            going = answer["is_generating"]
            return answer
        except gr.Error as error:
            error.message, error.print_exception = outward(str(error.message)), False
            raise
        except Exception as error:  # noqa: BLE001 every error becomes a line that the person can read
            raise gr.Error(in_words(error), print_exception=False) from None
        finally:
            if session is not None and session == event and not going:
                # A call of a program, for which gradio makes a visit of its own: it would take the place of a person's.
                self.state_holder.session_data.pop(session, None)
                self.state_holder.time_last_used.pop(session, None)
            self._make_room()

    def _make_room(self) -> None:
        """Lets go of what is kept for programs, and then for those who were away longest, where all together keep more
        than they may, or than the models leave."""
        models = getattr(self, "models", None)
        loaded = sum(map(bytes_of, models.loaded())) if models else 0
        most = min(limits.ALL_KEPT_BYTES, limits.MEMORY_BYTES - limits.PROCESS_BYTES - loaded)
        held = [
            (state.state_data, key, value.size)
            for state in list(self.state_holder.session_data.values())  # the least recently used first
            for key, value in list(state.state_data.items())
            if isinstance(value, Visit)
        ]
        held.sort(key=lambda one: not self._is_of_program(one[1]))
        total = sum(size for _, _, size in held)
        for states, key, size in held[:-1]:
            if total <= most:
                break
            states.pop(key, None)
            total -= size

    @property
    def state_holder(self) -> StateHolder:
        """What the visitors hold. gradio sets it when the page starts."""
        return self._sessions

    @state_holder.setter
    def state_holder(self, sessions: StateHolder) -> None:
        self._sessions = sessions
        vars(sessions)["update"] = self._used

    def _used(self, session: str) -> None:
        """In the place of gradio's own, which lets go of whoever was away longest where there are too many visitors:
        here those without a request under way leave first, of these those without a result, and then programs', as
        anybody can make any number of such."""
        held = self._sessions
        with held.lock:
            if session in held.session_data:
                held.session_data.move_to_end(session)
            if len(held.session_data) <= held.capacity:
                return
            going = {event.session_hash for event in list(self._queue.event_ids_to_events.values())}
            names = list(held.session_data)
            leaves = min((name for name in names[:-1] if name not in going), key=self._worth, default=names[0])
            del held.session_data[leaves]
            held.time_last_used.pop(leaves, None)

    def _worth(self, session: str) -> int:
        """0 for a session without a result, 1 for one of a program's, 2 for one of a person's."""
        held = list(self._sessions.session_data[session].state_data.items())
        kept = [key for key, value in held if isinstance(value, Visit)]
        return 2 if not all(map(self._is_of_program, kept)) else 1 if kept else 0

    def _is_of_program(self, state: int) -> bool:
        return self.of_programs is not None and state == self.of_programs._id

    def queue(self, *given: Any, **named: Any) -> Door:
        """As gradio's own, which calls it as the page is made, with places for everybody, and no way past it."""
        super().queue(*given, **{"max_size": limits.WAITING} | named | {"api_open": False})
        push = self._queue.push

        async def fairly(body: Any, request: Any, username: Any) -> Any:
            if len(body.session_hash or "") > limits.MOST_IN_AN_ID:
                raise HTTPException(422, UNREADABLE)
            by_program = is_program(body.session_hash, self.fns.get(body.fn_index))
            problem = self.turned_away(body.session_hash, address_of(request), by_program)
            if problem:  # by another number gradio's scripts would say a sentence of their own
                raise HTTPException(429, problem, {"Retry-After": str(self.busy_seconds())})
            taken = await push(body, request, username)
            for group in self._queue.event_queue_per_concurrency_id.values():
                group.queue[:] = in_turn(group.queue, self._seconds)
            return taken

        self._queue.push = fairly  # type: ignore[method-assign]  # gradio makes its queue itself
        self._queue.sleep_when_free = LOOK_SECONDS
        self._queue.get_events = partial(self.next_events, self._queue.get_events)  # type: ignore[method-assign]
        return self

    def next_events(self, choose: Callable[[], Any]) -> Any:
        """What is answered next, as gradio chooses: but of those that give a visit back as `side_by_side` says. It is
        one in all where GPUs are lent: there are no computing threads, for which each would wait."""
        groups = [group for name, group in self._queue.event_queue_per_concurrency_id.items() if name in GROUPS]
        held = [(group, group.queue) for group in groups]
        going = [event for job in self._queue.active_jobs for event in job or () if event.concurrency_id in GROUPS]
        is_full = going and limits.gpus_are_lent()
        waiting = [event for _, queue in held for event in queue]
        may_begin = [] if is_full else side_by_side(waiting, going, self._seconds)
        for group, queue in held:
            group.queue = [event for event in queue if event in may_begin]
        found = None
        try:
            found = choose()
            return found
        finally:
            for group, queue in held:
                group.queue = [event for event in queue if not found or event not in found[0]]

    def _seconds(self, event: Any) -> float:
        """What events of this kind took of late, without what they waited for others: a slider is short even where all
        wait for long. 0 before the first."""
        return self.own_seconds.get(event.fn, 0.0)

    def stop(self, session: str | None) -> None:
        """Ends all that a visitor's requests compute, or would when their turn comes: each is answered with a line."""
        going = list(self._queue.event_ids_to_events.values()) if session else []
        stopping.stop(event for event in going if event.session_hash == session)

    def turned_away(self, session: str | None, address: str | None, by_program: bool = False) -> str:
        """Why one more request of a visitor is not taken, and when it would be; "" where it is."""
        waiting, seconds = self._waiting(), self.busy_seconds()
        if len(waiting) >= limits.WAITING:
            return FULL_QUEUE.format(len(waiting), seconds)
        if not limits.PUBLIC:  # whose page it is, is in nobody's way
            return ""
        # All tools of MCP have one session of gradio's; programs are counted by themselves below.
        own = 0 if by_program else sum(event.session_hash == session for event in waiting if session)
        if own >= limits.WAITING_EACH:
            return WAITING.format(own, seconds)
        near = sum(address_of(event.request) == address for event in waiting if address)
        if near >= limits.WAITING // 2:
            return CROWDED.format(seconds)
        if by_program and sum(map(is_call, waiting)) >= limits.WAITING // 2:
            return CALLED.format(seconds)
        unread = self._queue.pending_messages_per_session.get(session or "")
        return UNREAD if unread is not None and unread.qsize() > limits.UNREAD else ""

    def busy_seconds(self) -> int:
        """When all that waits now will have been answered, by what their like took so far, as if one by one."""
        return max(1, math.ceil(sum(self._seconds(event) or UNKNOWN_SECONDS for event in self._waiting())))

    def _waiting(self) -> list[Any]:
        return [event for group in self._queue.event_queue_per_concurrency_id.values() for event in group.queue]
