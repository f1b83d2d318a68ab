"""What a visitor's page holds of a picture, and what each stage's value depends on."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

import proxyclip_core as pc
from proxyclip_core.models.registry import USUAL_SAM
from proxyclip_core.picture_cost import metered
from proxyclip_core.picture_file import FORMATS
from proxyclip_core.refine import BY_COLOURS, BY_SAM

Key = tuple[str, tuple[Any, ...]]  # (stage, all that its value depends on)
# Of the stages of the result on the page these leave last: no slider should ever run an encoder.
LEAVE_LAST = ("clip", "vfm", "overlay", "canvas")


@dataclass(frozen=True)
class Asked:
    """What a person asks for. picture: a file, "" where there is none yet."""

    settings: pc.Settings
    picture: str = ""


@dataclass(frozen=True, eq=False)
class Entry:
    """One stage's value. seconds: what it took; size: bytes."""

    value: Any
    seconds: float
    size: int


@dataclass(frozen=True, eq=False)
class Visit:
    """What one visitor's page holds, in a `gr.State`. On the CPU, and never changed once made.

    asked: what the result on the page is of. picture: its digest. entries: the least recently used first.
    ran: stage -> seconds, of those that had to run for this result. reservations, notes: what is to be said of how the
    picture was read, and of the words. reader: a name that nobody else has.
    """

    asked: Asked
    picture: str
    entries: Mapping[Key, Entry]
    ran: Mapping[str, float]
    reservations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reader: str = ""

    @classmethod
    def of(cls, asked: Asked, before: Visit | None = None) -> Visit:
        """What is asked, with what is kept of `before`. Raises ValueError where the picture is gone."""
        digest = file_digest(asked.picture)
        reservations = before.reservations if before and before.picture == digest else ()
        reader = before.reader if before else secrets.token_hex(8)
        return cls(asked, digest, before.entries if before else {}, {}, reservations, reader=reader)

    def __hash__(self) -> int:
        # gradio tells by the hash whether a state has changed, and what follows a result asks for that. Another tab's
        # values that are kept along with it are no new result.
        return hash((self.asked.settings, self.picture))

    @property
    def name(self) -> str:
        """Tells results apart."""
        return str(hash(self))

    def held(self, stage: str) -> Any:
        """A stage's value for the result on the page; None where it had to make room."""
        entry = self.entries.get(self.key(stage))
        return entry and entry.value

    @property
    def logits(self) -> pc.Refined | None:
        """What the result on the page was read from; None where it had to make room."""
        return self.held("logits" if self.asked.settings.refine == "none" else "refined")

    def facts(self) -> dict[str, Any]:
        """What the log may say of it: models and sizes."""
        s, drawn, words = self.asked.settings, self.held("overlay"), self.held("words")
        found: dict[str, Any] = {"models": f"{s.clip} + {s.vfm}"}
        if drawn:
            found["pixels"] = "{1} x {0}".format(*drawn.size_hw)
        return found | ({"words": len(words.queries)} if words else {})

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Of the picture itself; None where neither what is held nor the file's beginning says it."""
        read, drawn = self.held("picture"), self.held("overlay")
        if read is not None:
            return read.pixels.shape[:2]
        return drawn.size_hw if drawn else size_of_file(self.asked.picture)

    @cached_property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return sum(entry.size for entry in self.entries.values())

    @property
    def has_result(self) -> bool:
        return bool(self.asked.settings.words)

    def without_result(self) -> Visit:
        """With all that is kept, for a result that is not there: no words have this one."""
        return replace(self, asked=Asked(replace(self.asked.settings, words=""), self.asked.picture))

    def with_values_of(self, failed: Visit) -> Visit:
        """This result, which stays on the page, with what was done for another that failed."""
        own = {key: self.entries[key] for key in map(self.key, LEAVE_LAST) if key in self.entries}
        return replace(self, entries=dict(failed.entries) | own)

    def key(self, stage: str) -> Key:
        return keys_of(self.picture, self.asked.settings)[stage]


def keys_of(picture: str, s: pc.Settings) -> dict[str, Key]:
    """Stage -> the key of its value, for the picture with this digest and some settings."""
    words = (s.clip, s.words, s.background, s.templates)
    clip = (picture, s.clip, s.side, s.windows)
    vfm = (*clip, s.vfm, s.facet)  # CLIP's too: windows are padded with its mean colour
    sam = (*vfm, s.sam) if is_sams_own(s) else (picture, s.sam)
    within = sam if s.scope == "regions" else ()
    dense = (vfm, s.beta, s.gamma, s.reach, within) if s.fusion == "proxy" else (clip, s.fusion)
    logits = (dense, words)
    refined = (logits, s.refine, sam if s.refine in BY_SAM else ())
    result = (refined, s.threshold)
    stages: dict[str, tuple[Any, ...]] = {"picture": (picture,), "canvas": (picture,), "words": words}
    stages |= {"clip": clip, "vfm": vfm, "sam": sam, "regions": sam}
    stages["graph"] = (picture, s.refine) if s.refine in BY_COLOURS else vfm
    stages |= {"dense": dense, "logits": logits, "refined": refined, "result": result}
    stages |= {"overlay": result, "layers": result}
    stages["presence"] = (dense, words)
    return {stage: (stage, key) for stage, key in stages.items()}


def sam_of(s: pc.Settings) -> str:
    """The full name of the SAM that the settings ask, where they ask any."""
    return s.vfm if is_sams_own(s) else USUAL_SAM if s.sam == pc.SETTINGS["sam"].default else s.sam


def is_sams_own(s: pc.Settings) -> bool:
    """Whether SAM, where it is asked for regions, has read the picture as the VFM already."""
    vfm = pc.VFM_MODELS.get(s.vfm)
    return vfm is not None and vfm.is_sam and s.sam in (pc.SETTINGS["sam"].default, s.vfm)


def size_of_file(path: str) -> tuple[int, int] | None:
    """(H, W) of a picture, from the beginning of its file; None where that does not say."""
    try:
        with metered(Path(path), FORMATS) as image:
            return image.height, image.width
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def file_digest(path: str) -> str:
    """Tells pictures apart by their files' content, so that the same picture under another path is still the same.

    Raises ValueError where there is no such file any more.
    """
    try:
        found = os.stat(path)
    except OSError:  # uploads are deleted within the hour
        raise ValueError("The picture is no longer on the server. Upload it again.") from None
    return _digest(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1024)
def _digest(path: str, changed: int, size: int) -> str:
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
