"""The one door between strangers and the page: what a request may carry, and what an answer may say.

Anybody can send a request to any event, also to those that gradio hides, with whatever values, and to addresses that
the page never uses. So what gradio itself leaves open is closed here, once for all events; a value's own range stands
where the value is defined.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

import gradio as gr
from gradio.route_utils import FnIndexInferError
from gradio.state_holder import StateHolder
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from demo import limits, stopping
from demo.answers.errors import in_words, log_error, outward
from demo.blocks import UNREADABLE, Blocks
from demo.menus import bytes_of
from demo.turns import GROUPS, address_of, in_turn, is_call, is_program, side_by_side
from demo.visit import Visit

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LOOK_SECONDS = 0.005  # between the queue's looks for work; gradio's own 0.001 keep a core busy with nothing else
NO_SUCH_REQUEST = "There is nothing of this name here. Reload the page and try again."
WAITING = "{} of your requests are waiting already. Try again in about {} s."
CROWDED = "Too many requests from your address are waiting already. Try again in about {} s."
CALLED = "Too many calls of programs are waiting already. Try again in about {} s."
FULL_QUEUE = "All {} places in the queue are taken. Try again in about {} s."
UNREAD = "The answers to your earlier requests were not fetched. Reload the page and try again."
TOO_LARGE = "The request is too large: at most {} MB can be taken."
FULL = "There is no room left on the server's disk for an upload. Try again later."
UNKNOWN_SECONDS = 5  # that an event takes which nobody has waited for yet
FULL_OF_YOURS = "Too much from your address lies on the server's disk already. Try again within the hour."
STALLED = "The request broke off: nothing came for {} seconds."
TOO_SLOW = "The request came too slowly: at least {} bytes a second are expected."

# gradio's addresses that the page does not use: to fetch from elsewhere, to write files, to look at what others do.
CLOSED: tuple[str, ...] = (
    "proxy=",
    "file=http",
    "file/http",
    "deep_link",
    "stream/",
    "process_recording",
    "component_server",
    "vibe",
)
CLOSED += ("dev/", "file/", "undo-vibe", "custom_component", "run-history", "profiling")
CLOSED_PAGES = ("/monitoring", "/gradio_api/deep_link", "/dev/")

# gradio's page starts from scripts in its HTML and makes functions out of the text of others.
CONTENT = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    # Hugging Face shows a Space in a frame.
    "frame-ancestors": "'self'" + (" https://huggingface.co https://*.hf.space" if "SPACE_ID" in os.environ else ""),
}
PAGE_POLICY = "; ".join(f"{name} {value}" for name, value in CONTENT.items())
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"  # an uploaded SVG runs nothing


class Door(Blocks):
    """gradio's page, of whose events each answers, or says in a sentence why not."""

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
        """Lets go of what is kept for those who were away longest, where all together keep more than they may, or than
        the models leave."""
        models = getattr(self, "models", None)
        loaded = sum(map(bytes_of, models.loaded())) if models else 0
        most = min(limits.ALL_KEPT_BYTES, limits.MEMORY_BYTES - limits.PROCESS_BYTES - loaded)
        held = [
            (state.state_data, key, value.size)
            for state in list(self.state_holder.session_data.values())  # the least recently used first
            for key, value in list(state.state_data.items())
            if isinstance(value, Visit)
        ]
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
        here those without a result or a request under way leave first, as anybody can make any number of such."""
        held = self._sessions
        with held.lock:
            if session in held.session_data:
                held.session_data.move_to_end(session)
            if len(held.session_data) <= held.capacity:
                return
            going = {event.session_hash for event in list(self._queue.event_ids_to_events.values())}
            names = list(held.session_data)
            leaves = next((name for name in names[:-1] if name not in going and not self._has_visit(name)), names[0])
            del held.session_data[leaves]
            held.time_last_used.pop(leaves, None)

    def _has_visit(self, session: str) -> bool:
        return any(isinstance(value, Visit) for value in list(self._sessions.session_data[session].state_data.values()))

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
        one in all where GPUs are lent: there no one thread computes, in which each waits for its turn."""
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
        """When all that waits now will have been answered, by what their like took so far: they run one by one."""
        return max(1, math.ceil(sum(self._seconds(event) or UNKNOWN_SECONDS for event in self._waiting())))

    def _waiting(self) -> list[Any]:
        return [event for group in self._queue.event_queue_per_concurrency_id.values() for event in group.queue]


class Gate:
    """In front of gradio's addresses: closes those that are not used, bounds what is sent, says what may be shown."""

    def __init__(self, app: Any) -> None:
        self.app, self.uploads = app, Uploads()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path, started = str(scope["path"]), False
        is_upload = path.rstrip("/").endswith("/gradio_api/upload")
        most = 1_000_000 * limits.UPLOAD_MEGABYTES + 100_000 if is_upload else limits.REQUEST_BYTES
        policy = FILE_POLICY if "/file=" in path else PAGE_POLICY

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                more = {"content-security-policy": policy, "x-content-type-options": "nosniff"}
                more |= {"referrer-policy": "same-origin"}
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in more.items())]
            await send(message)

        async def refuse(status: int, text: str) -> None:
            await JSONResponse({"detail": text}, status)(scope, receive, answer)

        if is_closed(path) or ("/gradio_api/" in path and len(scope["query_string"]) > 2 * limits.MOST_IN_AN_ID):
            return await refuse(404, NO_SUCH_REQUEST)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > most:
            return await refuse(413, TOO_LARGE.format(most // 1_000_000))
        if is_upload:
            size = int(length) if length.isdigit() and b"transfer-encoding" not in headers else most
            free = shutil.disk_usage(tempfile.gettempdir()).free
            if free < limits.LEAST_FREE_BYTES:
                return await refuse(507, FULL)
            if not self.uploads.take(address_of(Request(scope)), size, free):
                return await refuse(507, FULL_OF_YOURS)
        try:
            await self.app(scope, _bounded(receive, most), answer)
        except (KeyError, FnIndexInferError):  # gradio looks an event up by the number or name that was sent
            log.info("A request to %s named what is not there", path.partition("=")[0])
            await refuse(404, NO_SUCH_REQUEST) if not started else None
        except Exception as error:  # noqa: BLE001 whatever was sent, it is answered
            log_error(f"A request to {path.partition('=')[0]} failed", error)
            await refuse(400, UNREADABLE) if not started else None


class Uploads:
    """How much of what came from each address may still lie on the disk."""

    def __init__(self) -> None:
        self._came: deque[tuple[float, str, int]] = deque()  # when, from where, bytes
        self._lie: Counter[str] = Counter()

    def take(self, address: str | None, size: int, free: int) -> bool:
        """Whether so many bytes more may come: one address may fill half of the disk. free: bytes on it."""
        while self._came and self._came[0][0] < time.monotonic() - limits.FILES_SECONDS - limits.FILES_LOOK:
            _, gone, bytes_gone = self._came.popleft()
            self._lie[gone] -= bytes_gone
        if address is None:  # from this machine, say
            return True
        if self._lie[address] + size > (self._lie[address] + free) / 2:
            return False
        self._came.append((time.monotonic(), address, size))
        self._lie[address] += size
        self._lie = +self._lie  # without those of whom nothing lies there
        return True


def is_closed(path: str) -> bool:
    """Whether an address is one that gradio offers and the page does not use."""
    inner = path.partition("/gradio_api/")[2].lower()
    return inner.startswith(CLOSED) or path.startswith(CLOSED_PAGES)


def _bounded(receive: Receive, most: int) -> Receive:
    """`receive` for a body that may neither be too large nor stop coming, nor come in crumbs."""
    came, ended, start = 0, False, time.monotonic()

    async def bounded() -> Message:
        nonlocal came, ended
        if ended:  # what is waited for then is that the client leaves
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), limits.STALLED_SECONDS)
        except asyncio.TimeoutError:
            raise HTTPException(408, STALLED.format(limits.STALLED_SECONDS)) from None
        came += len(message.get("body", b""))
        if came > most:
            raise HTTPException(413, TOO_LARGE.format(most // 1_000_000))
        ended = not message.get("more_body", False)
        seconds = time.monotonic() - start
        if not ended and seconds > limits.STALLED_SECONDS + came / limits.LEAST_BYTES_A_SECOND:
            raise HTTPException(408, TOO_SLOW.format(limits.LEAST_BYTES_A_SECOND))
        return message

    return bounded


class Packed:
    """The page itself, which lists all of its parts, is sent compressed; streams of answers and files are not."""

    def __init__(self, app: Any) -> None:
        self.app, self.packed = app, GZipMiddleware(app, compresslevel=5)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and str(scope["path"]).endswith(("/", "/config"))
        await (self.packed if is_page else self.app)(scope, receive, send)


MIDDLEWARE = [Middleware(Gate), Middleware(Packed)]
