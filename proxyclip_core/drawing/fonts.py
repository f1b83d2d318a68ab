"""Fonts that names on a picture are written in: those of this machine, as no font is kept in this repository."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Known to more scripts than Pillow's own font: where matplotlib is installed, and where Debian and Fedora put it.
FOLDERS = ("/usr/share/fonts/truetype/dejavu", "/usr/share/fonts/dejavu-sans-fonts")


@lru_cache(maxsize=8)
def default_font(size: int) -> Font:
    """DejaVu Sans where this machine has it, else Pillow's own font."""
    matplotlib = find_spec("matplotlib")  # not imported: to look where it lies takes a millisecond
    around = [Path(matplotlib.origin).parent / "mpl-data/fonts/ttf"] if matplotlib and matplotlib.origin else []
    for folder in (*around, *map(Path, FOLDERS)):
        try:
            return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)
        except OSError:
            continue
    return ImageFont.load_default(size)
