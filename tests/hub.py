"""A stand-in for the Hugging Face hub on this machine's loopback: one file, and what can go wrong on its way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """Has `content` under every name. breaks: after how many bytes each of the next answers is cut; asked: the first
    byte that each was asked for."""

    def __init__(self, content: bytes) -> None:
        self.content, self.breaks, self.asked = content, list[int](), list[int]()
        self.says_size: int | None = None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._head(200, hub.says_size or len(hub.content))

            def do_GET(self) -> None:
                first = int(self.headers.get("range", "bytes=0-")[6:].partition("-")[0])
                hub.asked.append(first)
                rest = hub.content[first:]
                more = {"content-range": f"bytes {first}-{len(hub.content) - 1}/{len(hub.content)}"} if first else {}
                self._head(206 if first else 200, len(rest), **more)
                self.wfile.write(rest[: hub.breaks.pop(0)] if hub.breaks else rest)
                self.close_connection = True

            def _head(self, status: int, length: int, **more: str) -> None:
                self.send_response(status)
                more |= {"etag": '"digest"', "x-repo-commit": "0" * 40, "accept-ranges": "bytes"}
                for name, value in (more | {"content-length": str(length)}).items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *said: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def hub_of(content: bytes) -> Iterator[Hub]:
    hub = Hub(content)
    threading.Thread(target=hub.server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
