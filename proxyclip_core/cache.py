"""Where this library keeps what it would otherwise compute again: the platform's cache folder, or PROXYCLIP_CACHE."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "PROXYCLIP_CACHE"
OFF = "off"


def cache_folder() -> Path | None:
    """PROXYCLIP_CACHE where it is set, else the user's own cache folder; None for "off", or without a home."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen == OFF:
        return None
    folder = Path(os.path.expanduser(chosen)) if chosen else platformdirs.user_cache_path("proxyclip", appauthor=False)
    return folder if folder.is_absolute() or chosen else None
