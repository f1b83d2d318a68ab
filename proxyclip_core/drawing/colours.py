"""The colours of classes.

Axes: K classes. Colours are (K, 3) uint8 RGB in the order of the class names.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Collection, Sequence

import numpy as np

from proxyclip_core.types import Segmentation

# Okabe and Ito's seven, then the nine that lie farthest from them and from each other (OKLab, the least of normal
# sight, protanopia, deuteranopia and tritanopia). Sixteen, so that any odd step visits them all.
PALETTE = np.array(
    [
        [0x00, 0x9E, 0x73],  # green
        [0x56, 0xB4, 0xE9],  # sky
        [0xE6, 0x9F, 0x00],  # orange
        [0xD5, 0x5E, 0x00],  # vermilion
        [0x00, 0x72, 0xB2],  # blue
        [0xCC, 0x79, 0xA7],  # rose
        [0xF0, 0xE4, 0x42],  # yellow
        [0x78, 0x00, 0x1E],  # maroon
        [0x4B, 0xFF, 0xF0],  # aqua
        [0x4B, 0x1E, 0x87],  # indigo
        [0x96, 0x3C, 0x69],  # plum
        [0xA5, 0x69, 0xFF],  # violet
        [0xA5, 0xD2, 0x96],  # pale green
        [0x1E, 0x3C, 0xC3],  # cobalt
        [0xC3, 0x00, 0x00],  # red
        [0x87, 0xD2, 0xFF],  # ice
    ],
    dtype=np.uint8,
)
BACKGROUND = np.array([0x80, 0x80, 0x80], dtype=np.uint8)
# Past sixteen classes colours come again, lighter and then darker: (what is mixed in, how much of it).
ROUNDS = ((0, 0.0), (255, 0.5), (0, 0.45))


def colours_of(result: Segmentation) -> np.ndarray:
    """(K, 3) uint8: the colours of a result's classes wherever they are shown: overlay, legend, label map."""
    return colours_for(result.names, result.has_background)


def colours_for(names: Sequence[str], has_background: bool = False) -> np.ndarray:
    """(K, 3) uint8: one colour a class, the same for the same name in any picture and any vocabulary.

    A name's colour follows from the name. Where two names of one vocabulary want the same, the later one steps on, so
    words added at the end leave the others as they are. With a background, class 0 is grey.
    """
    colours = np.empty((len(names), 3), dtype=np.uint8)
    taken: set[tuple[int, int]] = set()
    for index, name in enumerate(names):
        if has_background and index == 0:
            colours[0] = BACKGROUND
            continue
        slot = _free_slot(name, taken)
        taken.add(slot)
        mixed_in, share = ROUNDS[slot[0] % len(ROUNDS)]
        colours[index] = np.rint(PALETTE[slot[1]] * (1 - share) + mixed_in * share)
    return colours


def _free_slot(name: str, taken: Collection[tuple[int, int]]) -> tuple[int, int]:
    """(round, place in the palette) for a name: its own place, or the next free one at a step of its own."""
    code, count = zlib.crc32(name.casefold().encode()), len(PALETTE)
    place, step = code % count, (code >> 8) % (count // 2) * 2 + 1
    slots = ((attempt // count, (place + attempt * step) % count) for attempt in itertools.count())
    return next(slot for slot in slots if slot not in taken)


def text_on(colour: np.ndarray) -> str:
    """'#000000' or '#ffffff', whichever reads better on the colour (WCAG contrast)."""
    channels = np.asarray(colour, dtype=np.float64) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"


def hex_colour(colour: np.ndarray) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(channel) for channel in colour))
