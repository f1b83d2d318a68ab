"""What a result was computed with: the record in a settings file that tells whether a result can be repeated."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

LIBRARIES = ("torch", "open_clip_torch", "timm", "numpy", "pillow")


class SettingsWarning(UserWarning):
    """Settings from a file may not give the result that they were saved with, for a reason that the message says."""


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """A sentence on how two records of `ProxyCLIP.computed_with` differ, "" where they do not as far as both say."""
    parts = [
        f"{label} {str(before)[:80]} (here {str(after)[:80]})"
        for label, before, after in _pairs(then, now)
        if before and after and before != after
    ]
    return f"These settings were saved with {', '.join(parts)}: labels may differ from then." if parts else ""


def _pairs(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(what, then, now) of all that decides the numbers of a result."""
    for name in LIBRARIES:
        yield name, _entry(then, "versions", name), _entry(now, "versions", name)
    yield "the device", then.get("device"), now.get("device")
    yield "the precision", then.get("precision"), now.get("precision")
    for name in ("linear", "weights", "attention"):
        yield f"the kernels for {name}", _entry(then, "kernels", name), _entry(now, "kernels", name)
    yield "CLIP's weights", then.get("clip_weights"), now.get("clip_weights")
    yield "the vision model's weights", then.get("vfm_weights"), now.get("vfm_weights")
    yield "SAM's weights", then.get("sam_weights"), now.get("sam_weights")


def _entry(record: Mapping[str, Any], group: str, name: str) -> Any:
    """An entry of a record that anybody may have written."""
    found = record.get(group)
    return found.get(name) if isinstance(found, dict) else None


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the numbers; "unknown" for one that says none of its own."""
    found = {"python": platform.python_version()}
    for package in LIBRARIES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # such as Pillow where pillow-simd stands in for it
            found[package] = "unknown"
    return found
