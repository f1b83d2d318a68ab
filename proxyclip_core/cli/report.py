"""What `proxyclip segment` says of a run, as it goes and at its end."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from proxyclip_core.cli.options import say, show
from proxyclip_core.folders import Found, Outcome, progress_bar

DESCRIBED = 10  # in a run of more pictures each has no lines of its own


class Report:
    """count: of the pictures of the run; 0 where Ray finds them as it goes."""

    def __init__(self, options: argparse.Namespace, count: int) -> None:
        self.as_json, self.quiet, self.count, self.folder = options.json, options.quiet, count, options.out
        self.written = self.failed = self.done_before = 0
        self.start = time.monotonic()
        self.bar = progress_bar(None, total=count or None, unit=" pictures", disable=self.quiet or count == 1)

    def tell(self, outcome: Outcome[dict[str, Any]]) -> str:
        """The picture's name."""
        picture, record = outcome.picture, outcome.value
        for note in () if self.quiet else outcome.notes:
            say(f"note: {note}")
        if record is None:
            self._tell_of_error(picture, str(outcome.error))
        else:
            self._show(picture, record, done_before=outcome.done_before, notes=outcome.notes)
        if not outcome.done_before:
            self.written += record is not None
            self.bar.update()
        else:  # which says nothing of how long the others take
            self.done_before += 1
            self.bar.total = self.bar.total and self.bar.total - 1
        return picture.name

    def end(self) -> int:
        """The exit status."""
        self.bar.close()
        if not self.quiet and (self.count != 1 or self.done_before):
            seconds = time.monotonic() - self.start
            parts = [f"{self.written} done in {seconds:.1f} s"]
            parts += [f"{self.done_before} done before, by the same settings"] if self.done_before else []
            parts += [f"{self.failed} failed"] if self.failed else []
            say(f"Pictures: {', '.join(parts)}. Results: {self.folder}")
        return 1 if self.failed else 0

    def _tell_of_error(self, picture: Found, error: str) -> None:
        self.failed += 1
        say(f"error: {error if picture.shown in error else f'{picture.shown}: {error}'}")
        if self.as_json:
            show(json.dumps({"picture": picture.shown, "name": picture.name, "error": error}))

    def _show(self, picture: Found, record: Mapping[str, Any], **more: Any) -> None:
        if self.as_json:
            row = {"picture": picture.shown, "name": picture.name}
            row |= {key: record[key] for key in ("shares", "presence", "perhaps_absent", "files") if key in record}
            show(json.dumps(row | more))
        elif not self.quiet and 0 < self.count <= DESCRIBED:
            for line in self._described(picture, record):
                show(line)

    def _described(self, picture: Found, record: Mapping[str, Any]) -> Iterator[str]:
        settings, made = record["settings"], record["settings"]["computed_with"]
        models = settings["clip"] + (f" and {settings['vfm']}" if made["vfm_weights"] else "")
        yield f"{picture.shown}: {models}, {made['precision']} on {made['device']}"
        for name, share in sorted(record["shares"].items(), key=lambda pair: -pair[1]):
            doubt = ", perhaps not there" if share and name in record.get("perhaps_absent", ()) else ""
            yield f"{share:7.1%}  {name}{doubt}"
        first = [str(self.folder / file) for file in record["files"][:1]]
        more = [f"{len(record['files']) - 1} more files"] if len(record["files"]) > 1 else []
        yield f"written: {', '.join([*first, *more, str(self.folder / f'{picture.name}.proxyclip.json')])}"
