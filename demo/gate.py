"""In front of all addresses: which are open, how much may come, and what a browser may do with an answer."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import tempfile
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gradio.route_utils import FnIndexInferError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from demo import limits
from demo.answers.errors import log_error
from demo.blocks import UNREADABLE
from demo.turns import address_of

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

NO_SUCH_REQUEST = "There is nothing of this name here. Reload the page and try again."
TOO_MANY = "Too many requests from your address are open already. Close a page or two, or try again in a moment."
TOO_LARGE = "The request is too large: at most {} MB can be taken."
FULL = "There is no room left on the server's disk for an upload. Try again later."
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

# What gradio makes its own address from, and how an answer may be packed.
OF_ADDRESS = (b"host", b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server", b"accept-encoding")
ARGUMENT = re.compile(r"(?s)Parameter `(?P<unknown>.*)` is not|No value .* required argument: (?P<missing>.*)")
MOST_PAGES = 16  # that are kept, 70 kB each


class Gate:
    """In front of gradio's addresses: closes those that are not used, bounds what is sent, says what may be shown."""

    def __init__(self, app: Any) -> None:
        self.app, self.uploads = app, Uploads()
        self._open: Counter[str | None] = Counter()  # requests of an address

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        address = address_of(Request(scope))
        self._open[address] += 1
        try:
            await self._look_at(scope, receive, send, address)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    async def _look_at(self, scope: Message, receive: Receive, send: Send, address: str | None) -> None:
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

        async def refuse(status: int, text: str, **headers: str) -> None:
            await JSONResponse({"detail": text}, status, headers)(scope, receive, answer)

        if limits.PUBLIC and address and self._open[address] > limits.MOST_OPEN:
            return await refuse(429, TOO_MANY, **{"Retry-After": "1"})
        if is_closed(path) or ("/gradio_api/" in path and len(scope["query_string"]) > 2 * limits.MOST_IN_AN_ID):
            return await refuse(404, NO_SUCH_REQUEST)
        headers = dict(scope["headers"])
        length, in_parts = headers.get(b"content-length", b""), b"transfer-encoding" in headers
        if length.isdigit() and int(length[:20]) > most:
            return await refuse(413, TOO_LARGE.format(most // 1_000_000))
        if is_upload:
            size = int(length) if length.isdigit() and not in_parts else most
            free = shutil.disk_usage(tempfile.gettempdir()).free
            if free < limits.LEAST_FREE_BYTES:
                return await refuse(507, FULL)
            if not self.uploads.take(address, size, free):
                return await refuse(507, FULL_OF_YOURS)
        try:
            # A stream of answers, asked for without a body, looks twenty times a second whether its client is there.
            await self.app(scope, _bounded(receive, most) if length or in_parts else receive, answer)
        except (KeyError, FnIndexInferError):  # gradio looks an event up by the number or name that was sent
            log.info("A request to %s named what is not there", path.partition("=")[0])
            await refuse(404, NO_SUCH_REQUEST) if not started else None
        except Exception as error:  # noqa: BLE001 whatever was sent, it is answered
            if not started and (wrong := wrong_argument(error)):
                return await refuse(400, wrong)
            log_error(f"A request to {path.partition('=')[0]} failed", error)
            await refuse(400, UNREADABLE) if not started else None


def wrong_argument(error: Exception) -> str:
    """Which argument of a program's call is missing or not there, as gradio found it; "" for other errors."""
    found = ARGUMENT.match(str(error)) if isinstance(error, TypeError) else None
    if not found:
        return ""
    missing = found["missing"]
    said = f"{missing[:40]} is missing" if missing else f"There is no argument {found['unknown'][:40]!r}"
    return f"{said}. See Use via API, or /gradio_api/info, for the arguments that are expected."


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
    """The page itself, which lists all of its parts, is sent compressed; streams of answers and files are not.

    It is made once for all who ask for it by the same address, and one at a time: gradio takes 30 ms for it, and where
    60 came at once, nobody else was answered for five seconds.
    """

    def __init__(self, app: Any) -> None:
        self.app, self.packed = app, GZipMiddleware(app, compresslevel=5)
        self._made: OrderedDict[tuple[Any, ...], list[Message]] = OrderedDict()  # the least recently asked for first
        self._making = asyncio.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        path = str(scope.get("path"))  # that the server starts comes here too, and has none
        is_page = scope.get("method") == "GET" and path.endswith(("/", "/config")) and "/gradio_api/" not in path
        if not is_page:
            return await self.app(scope, receive, send)
        if getattr(scope.get("app"), "auth", None) is not None:  # it depends on who asks
            return await self.packed(scope, receive, send)
        # Without the query and the cookies, so that nothing of one visitor is in the answer to others.
        headers = [each for each in scope["headers"] if each[0] in OF_ADDRESS]
        asked = {**scope, "query_string": b"", "headers": headers}
        key = tuple(str(asked.get(name)) for name in ("scheme", "server", "root_path", "path", "headers"))
        answer = self._made.get(key)
        if answer is None:
            async with self._making:
                answer = self._made.get(key) or await self._make(asked, receive)
            if answer[0]["status"] == 200:
                self._made[key] = answer
        if key in self._made:  # those that are asked for least make room
            self._made.move_to_end(key)
        while len(self._made) > MOST_PAGES:
            self._made.popitem(last=False)
        for message in answer:
            await send(dict(message))

    async def _make(self, scope: Message, receive: Receive) -> list[Message]:
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self.packed(scope, receive, keep)
        return answer


MIDDLEWARE = [Middleware(Gate), Middleware(Packed)]
