"""Everything that a segmentation depends on beside the picture, as one value that can be saved and loaded again."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass, fields
from importlib import metadata

FORMAT = 1
LARGEST = sys.float_info.max
BACKGROUNDS = ("", "first", "short", "long")
WINDOWS = ("sliding", "whole")


@dataclass(frozen=True)
class Settings:
    """Models by name, words as text, and the numbers.

    clip, vfm: full names in the registries. beta, gamma, side (None: as is), windows, templates, threshold: as in
    `ProxyCLIP`. background: "" for none, "first" where the first class is the background, or a preset wording.
    Raises ValueError for values of a wrong kind; whether names are known is said when they are used.
    """

    clip: str
    vfm: str
    words: str
    beta: float = 1.2
    gamma: float = 3.0
    side: int | None = 336
    windows: str = "sliding"
    templates: str = "imagenet80"
    background: str = ""
    threshold: float = 0.0

    def __post_init__(self) -> None:
        for name in ("clip", "vfm", "words", "windows", "templates", "background"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected text.")
        for name in ("beta", "gamma", "threshold"):
            number = getattr(self, name)
            # compared, because math.isfinite fails on whole numbers that no float can hold
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) <= LARGEST:
                raise ValueError(f"{name} is {number!r}; expected a number.")
        if self.side is not None and (isinstance(self.side, bool) or not isinstance(self.side, int)):
            raise ValueError(f"side is {self.side!r}; expected whole pixels, or null for as is.")
        for name, known in (("windows", WINDOWS), ("background", BACKGROUNDS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(map(repr, known))}.")

    @property
    def declared_background(self) -> bool | str:
        """`background` as `ProxyCLIP.embed` takes it."""
        return {"": False, "first": True}.get(self.background, self.background)

    def to_json(self) -> str:
        """The settings, with the versions of what computes them for the record."""
        return json.dumps(
            {"proxyclip_settings": FORMAT, **asdict(self), "versions": versions()}, ensure_ascii=False, indent=2
        )

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """What `to_json` wrote. Raises ValueError for anything else, naming the entry."""
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"These are no settings: the file is not JSON ({error}).") from None
        if not isinstance(entries, dict) or entries.pop("proxyclip_settings", None) != FORMAT:
            raise ValueError(f'These are no settings: expected a JSON object with "proxyclip_settings": {FORMAT}.')
        entries.pop("versions", None)
        known = {entry.name for entry in fields(cls)}
        unknown, missing = set(entries) - known, {"clip", "vfm", "words"} - set(entries)
        if unknown or missing:
            parts = [f"unknown: {', '.join(sorted(unknown))}"] if unknown else []
            parts += [f"missing: {', '.join(sorted(missing))}"] if missing else []
            raise ValueError(f"The settings cannot be read ({'; '.join(parts)}).")
        return cls(**entries)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in ("torch", "open_clip_torch", "timm", "numpy", "pillow"):
        found[package] = metadata.version(package)
    return found
