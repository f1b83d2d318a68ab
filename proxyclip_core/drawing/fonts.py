"""Fonts that names on a picture are written in: those of this machine, as none is kept in this repository.

A name is written in DejaVu Sans, or Pillow's own font, as far as that has its characters, and beyond that in the font
that fontconfig suggests or that lies where systems keep theirs.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, features

# Where Linux, macOS and Windows keep fonts, and how the files begin that have other scripts or emoji.
FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    *("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
)
FAMILIES = (
    *("dejavusans.", "notosans", "notoemoji", "notocoloremoji", "wqy", "droidsansfallback", "unifont"),
    *("pingfang", "hiragino sans", "applesdgothicneo", "apple color emoji", "arial unicode", "geezapro", "kohinoor"),
    *("msyh.", "malgun.", "meiryo.", "yugothm", "nirmala", "leelawui.", "seguiemj", "segoeui."),
)
STYLES = ("bold", "italic", "oblique", "thin", "light", "black", "condensed")
MOST_FILES = 200  # of those, that are looked into
BITMAP_SIZES = (109, 136, 160, 128, 96, 64, 32)  # emoji that are pictures come in one size
NOWHERE = "\U0010ffff"  # never a character: every font shows for it what it shows for all that it does not have
SILENT = frozenset(["\u200c", "\u200d", *map(chr, range(0xFE00, 0xFE10))])  # these only tell how others look
FIRST_EMOJI = "\U0001f000"  # older ones are signs in other fonts, too
LIKE = {"CJK": "中", "HANGUL": "가"}  # scripts with very many characters: a font with this one has most of them


@dataclass(frozen=True)
class Face:
    """A font file, or Pillow's own font where path is ""; index: which of the fonts in the file."""

    path: str = ""
    index: int = 0

    def at(self, size: int) -> tuple[ImageFont.FreeTypeFont, float]:
        """The font at a size in pixels, or at the only one that it has, and the scale that remains. Raises OSError."""
        return _sized(self, size)

    def has(self, character: str) -> bool:
        """Whether the font has the character. False where the file is no font."""
        return _has(self, character)


Pieces = tuple[tuple[Face, str], ...]


@lru_cache(maxsize=4096)
def runs(text: str) -> Pieces:
    """The text in pieces from left to right, each with a font for it; () where this machine cannot write it.

    Left out are control characters and halves of characters. Pillow needs Raqm for scripts that join letters, place
    marks, or run from right to left.
    """
    text = " ".join("".join(c for c in unicodedata.normalize("NFC", text) if c.isspace() or not _is_hidden(c)).split())
    from_right = any(unicodedata.bidirectional(c) in ("R", "AL") for c in text)
    if not features.check("raqm"):
        text = "".join(c for c in text if c not in SILENT)
        if from_right or any(unicodedata.category(c) in ("Mn", "Mc") for c in text):
            return ()
    pieces: list[tuple[Face, str]] = []
    face: Face | None
    for character in text:
        last = pieces[-1][0] if pieces else default_face()
        if character == " ":  # in a font of pictures it is as wide as a picture
            face = last if last.at(20)[1] == 1 else default_face()
        else:
            face = last if character in SILENT else _face(character, last)
        if face is None:
            return ()
        if pieces and face == last:
            pieces[-1] = (face, pieces[-1][1] + character)
        else:
            pieces.append((face, character))
    turned = from_right and len(pieces) > 1  # the pieces would have to be put in another order
    return () if turned or SILENT.issuperset(text) else tuple(pieces)


def length(pieces: Pieces, size: int) -> float:
    """Pixels from the left of what `runs` gave to its right."""
    return sum(font.getlength(text) * scale for (font, scale), text in ((face.at(size), text) for face, text in pieces))


def write(image: Image.Image, left_middle: tuple[float, float], pieces: Pieces, size: int, ink: str) -> None:
    """Writes what `runs` gave into the picture, which is in RGB or RGBA."""
    x, y = left_middle
    for face, text in pieces:
        font, scale = face.at(size)
        style: dict[str, Any] = {"font": font, "fill": ink, "anchor": "lm", "embedded_color": True}
        if scale == 1:
            ImageDraw.Draw(image).text((x, y), text, **style)
        else:
            whole = Image.new("RGBA", (math.ceil(font.getlength(text)), round(font.size * 1.3)))
            ImageDraw.Draw(whole).text((0, whole.height / 2), text, **style)
            small = whole.resize((max(1, round(whole.width * scale)), max(1, round(whole.height * scale))))
            image.paste(small.convert("RGB"), (round(x), round(y - small.height / 2)), small)
        x += font.getlength(text) * scale


def _is_hidden(character: str) -> bool:
    is_tag = 0xE0000 <= ord(character) < 0xE1000
    return is_tag or (unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in SILENT)


def _face(character: str, last: Face) -> Face | None:
    """A font that has the character: the last one where that can be; for emoji, one of emoji."""
    if character >= FIRST_EMOJI and (emoji := _system_face(character)):
        return emoji
    known = next((face for face in (last, default_face()) if face.has(character)), None)
    found = known or _system_face(LIKE.get(unicodedata.name(character, "").split(" ")[0], character))
    return found if found and found.has(character) else None


@lru_cache(maxsize=1)
def default_face() -> Face:
    """DejaVu Sans, which knows more scripts than Pillow's own font, where this machine has it."""
    package = find_spec("matplotlib")  # it brings the font along; it is looked for, not imported
    folder = Path(package.origin).parent if package and package.origin else Path("nowhere")
    files = (path for path in _files() if Path(path).name == "DejaVuSans.ttf")
    faces = map(Face, chain([str(folder / "mpl-data/fonts/ttf/DejaVuSans.ttf")], files))
    return next((face for face in faces if face.has("a")), Face())


@lru_cache(maxsize=1024)
def _system_face(character: str) -> Face | None:
    """Another font of this machine that has the character."""
    return next((face for face in chain(_suggested(character), map(Face, _files())) if face.has(character)), None)


def _suggested(character: str) -> Iterator[Face]:
    """What fontconfig, where it is installed, has for a character: without serifs, in Chinese shape where it can be."""
    command, family = shutil.which("fc-match"), "emoji" if character >= FIRST_EMOJI else "sans-serif"
    if command is None:
        return
    pattern = f"{family}:charset={ord(character):x}" + (":lang=zh-cn" if character == LIKE["CJK"] else "")
    try:
        told = subprocess.run(
            [command, "--format=%{index} %{file}", pattern], capture_output=True, timeout=5, check=True
        ).stdout
        index, path = told.decode().split(" ", 1)
        yield Face(path, int(index))
    except (OSError, ValueError, subprocess.SubprocessError):
        return


@lru_cache(maxsize=1)
def _files() -> tuple[str, ...]:
    """Font files of FAMILIES in FOLDERS, in the order of the families."""
    found = (
        os.path.join(folder, name)
        for top in FOLDERS
        for folder, _, names in os.walk(os.path.expanduser(top))
        for name in sorted(names)
        if name.lower().startswith(FAMILIES) and name.lower().endswith((".ttf", ".ttc", ".otf"))
        if not any(style in name.lower() for style in STYLES)
    )
    return tuple(sorted(islice(found, MOST_FILES), key=_rank))


def _rank(path: str) -> int:
    return next(rank for rank, family in enumerate(FAMILIES) if Path(path).name.lower().startswith(family))


@lru_cache(maxsize=64)
def _sized(face: Face, size: int) -> tuple[ImageFont.FreeTypeFont, float]:
    if not face.path:
        font = ImageFont.load_default(size)
        if isinstance(font, ImageFont.FreeTypeFont):
            return font, 1.0
        raise OSError("Pillow was built without FreeType, so it cannot write.")
    if not os.path.isfile(face.path):  # Pillow would look for its name elsewhere
        raise OSError(f"{face.path} is no file.")
    for tried in (size, *BITMAP_SIZES):
        try:
            return ImageFont.truetype(face.path, tried, face.index), size / tried
        except OSError as error:
            failed = error
    raise failed


@lru_cache(maxsize=20_000)
def _has(face: Face, character: str) -> bool:
    try:
        return _drawn(face, character) != _drawn(face, NOWHERE)
    except (OSError, ValueError):  # no font; half of a character
        return False


def _drawn(face: Face, character: str) -> bytes:
    font, _ = face.at(20)
    side = round(font.size * 2)
    image = Image.new("RGBA", (side, side))
    ImageDraw.Draw(image).text((0, 0), character, font=font, embedded_color=True)
    return image.tobytes()
