"""What the page lets go of as time goes by: files, and what gradio keeps of those who do not come back.

gradio deletes the files that it has listed. Others lie there too, such as those of an upload that broke off; its lists
themselves, and what nobody fetches, it keeps for as long as it runs.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gradio import routes

from demo import limits

log = logging.getLogger(__name__)


class Tidy:
    """Looks after a page whose files lie in a folder that nobody else uses."""

    def __init__(self, demo: Any, folder: Path) -> None:
        self.demo, self.folder = demo, folder
        self._unread: dict[str, float] = {}
        self._uploads: dict[str, float] = {}

    def run(self) -> None:
        """For ever, in a thread of its own."""
        while True:
            time.sleep(limits.FILES_LOOK)
            for look in (self.look_at_files, self.look_at_answers, self.look_at_uploads):
                try:
                    look()
                except Exception:  # the next look may do better
                    log.exception("Not everything could be tidied up")

    def look_at_files(self) -> None:
        """Deletes those that are old enough, but for what the page itself is made of, and gradio's notes of them."""
        blocks = list(self.demo.blocks.values())
        delete_old(self.folder, limits.FILES_SECONDS, {file for block in blocks for file in block.keep_in_cache})
        for listed in self.demo.temp_file_sets:
            listed.difference_update([file for file in tuple(listed) if not os.path.exists(file)])

    def look_at_answers(self) -> None:
        """Forgets answers that nobody has fetched for long."""
        queue = self.demo._queue
        messages, events = queue.pending_messages_per_session, queue.pending_event_ids_session
        going = {event.session_hash for event in list(queue.event_ids_to_events.values())}
        waiting = [name for name, unread in list(messages.items()) if unread.qsize() and name not in going]
        self._unread, late = _still_there(self._unread, waiting)
        for name in late(limits.UNREAD_SECONDS):
            messages.pop(name, None)
        for name in [name for name in list(events) if name not in messages and name not in going]:
            events.pop(name, None)

    def look_at_uploads(self) -> None:
        """Forgets how far uploads are that have ended, or of which it was only asked."""
        progress = routes.file_upload_statuses
        tracked, signals = progress._statuses, progress._signals
        self._uploads, late = _still_there(self._uploads, {*list(tracked), *list(signals)})
        going = {name for name, one in list(tracked.items()) if not one.is_done}
        for name in [*late(limits.FILES_SECONDS), *(name for name in late(limits.FILES_LOOK) if name not in going)]:
            tracked.pop(name, None)
            signals.pop(name, None)


def delete_old(folder: Path, seconds: float, kept: Collection[str] = ()) -> None:
    """Deletes all files in a folder, at any depth, that have not changed for so long, and folders that are empty for
    as long. kept: paths of files that stay."""
    now, stay = time.time(), {os.path.realpath(file) for file in kept}
    for where, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = os.path.join(where, name)
            with suppress(OSError):  # gone meanwhile
                if now - os.lstat(path).st_ctime > seconds and os.path.realpath(path) not in stay:
                    os.remove(path)
        with suppress(OSError):  # not empty
            if where != str(folder) and now - os.lstat(where).st_mtime > seconds:
                os.rmdir(where)


def _still_there(before: dict[str, float], names: Iterable[str]) -> tuple[dict[str, float], Any]:
    """When each name was seen first, and a function: those that have been there for so many seconds."""
    now = time.monotonic()
    seen = {name: before.get(name, now) for name in names}
    return seen, lambda seconds: [name for name, since in seen.items() if now - since >= seconds]
