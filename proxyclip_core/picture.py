"""Any picture -> (H, W, 3) uint8 RGB, and from there to the windows that go into an encoder."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from proxyclip_core.picture_file import in_srgb, loaded, opened, unreadable, upright
from proxyclip_core.windows import WindowLayout

# Enough for the largest phone cameras' usual modes; a picture of this size takes 300 MB while it is read.
MAX_PIXELS = 100_000_000
REMEMBERED = 16  # values of pictures that are `unchanging`
# How far fractions may lie outside of 0..1 and still be fractions: resampling overshoots a little.
OVERSHOOT = 1e-3


Value = TypeVar("Value")
_unchanging: set[int] = set()  # by id, each as long as it is there
_computed: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
ImageLike = str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray


class PictureWarning(UserWarning):
    """A picture was read with a reservation, which the message says."""


def read_image(image: ImageLike) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB; reservations are given as `PictureWarning`. See `read_picture`."""
    picture, reservations = read_picture(image)
    for reservation in reservations:
        warnings.warn(reservation, PictureWarning, stacklevel=2)
    return picture


def read_picture(image: ImageLike) -> tuple[np.ndarray, tuple[str, ...]]:
    """A picture as (H, W, 3) uint8 sRGB, and what is to be said of how it was read, a sentence each.

    image: a path, the bytes of a picture file, a PIL image, or an array of shape (H, W), (H, W, 1), (H, W, 3) RGB or
    (H, W, 4) RGBA with values 0..255 (uint8), 0..65535 (uint16), 0..1 or 0..255 (float), or bool.
    EXIF orientation is applied, an embedded colour profile is followed, and transparency is laid on white.

    Reservations: of several frames the first is taken; EXIF that cannot be read turns nothing; a file whose end is
    missing is read where at least 95 % of its rows are there; levels of 16 bits that span less than a quarter of the
    65,536 (12 bits in a container of 16, say) are stretched so that the lowest is black and the highest white, and so
    are those of 32-bit files outside of 0..255.
    Raises ValueError, in words for the person who gave it, for anything that is no picture, cut short or too large.
    """
    notes: list[str] = []
    return _read(image, notes), tuple(notes)


def _read(image: ImageLike, notes: list[str]) -> np.ndarray:
    if isinstance(image, np.ndarray):
        return _from_array(image, notes=notes)
    if isinstance(image, Image.Image):
        return _from_pil(image, "the given image", notes)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _from_file(io.BytesIO(image), "the given bytes", notes)
    if isinstance(image, (str, os.PathLike)):
        path = Path(image)
        if not os.path.isfile(path):  # Path.is_file raises for names that are too long
            raise ValueError(f"There is no picture file at {str(path)!r}; check the path.")
        return _from_file(path, repr(path.name), notes)
    raise ValueError(
        f"Got {type(image).__name__}; expected a picture as a path, the bytes of a file, a PIL image or a numpy array."
    )


def unchanging(picture: np.ndarray) -> np.ndarray:
    """The same picture, of which its owner says that nobody will ever write to it: what is computed of it again and
    again is remembered then, as long as it is there and among the REMEMBERED latest."""
    picture.flags.writeable = False
    _unchanging.add(id(picture))
    weakref.finalize(picture, _forget, id(picture)).atexit = False
    return picture


def _forget(number: int) -> None:
    _unchanging.discard(number)  # before another picture can have it
    for key in [key for key in list(_computed) if key[0] == number]:
        _computed.pop(key, None)


def once_a_picture(function: Callable[..., Value]) -> Callable[..., Value]:
    """What is computed of a picture that is `unchanging` is computed once."""

    @wraps(function)
    def call(picture: np.ndarray, *given: Any) -> Value:
        if id(picture) not in _unchanging:
            return function(picture, *given)
        key = (id(picture), function, *given)
        found: Value | None = _computed.get(key)
        if found is None:
            found = _computed[key] = function(picture, *given)
            while len(_computed) > REMEMBERED:
                _computed.popitem(last=False)
        return found

    return call


@once_a_picture
def picture_digest(picture: np.ndarray) -> str:
    """Tells pictures (H, W, 3) uint8 apart by their size and pixels."""
    digest = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def resized(picture: np.ndarray, size_hw: tuple[int, int], resizing: str = "bicubic") -> np.ndarray:
    """(H, W, 3) uint8 at another size; the same array where it has that size.

    resizing: "bicubic", which takes the mean of what becomes one pixel, or "bilinear", between the four nearest pixels
    alone, as OpenCV does and the paper's scores were computed.
    """
    return picture if picture.shape[:2] == size_hw else _resized(picture, size_hw, resizing)


@once_a_picture
def _resized(picture: np.ndarray, size_hw: tuple[int, int], resizing: str) -> np.ndarray:
    if resizing == "bicubic":
        return np.asarray(Image.fromarray(picture).resize(size_hw[::-1], Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    scaled = F.interpolate(pixels, size=size_hw, mode="bilinear", align_corners=False, antialias=False)
    return scaled[0].permute(1, 2, 0).round_().clamp_(0, 255).byte().numpy()


def cut_windows(
    scaled: np.ndarray, layout: WindowLayout, fill_rgb: tuple[float, float, float], chosen: Sequence[int] | None = None
) -> torch.Tensor:
    """Some windows of the resized picture, padded on all sides with one colour.

    scaled (*layout.scaled_hw, 3) uint8, fill_rgb in 0..1, chosen: indices of the windows, all by default
    -> (B, 3, *layout.padded_hw) float32 in 0..1 on the CPU.
    """
    chosen = range(layout.count) if chosen is None else chosen
    before_y, before_x = layout.padding_top_left
    window_h, window_w = layout.window_hw
    fill = torch.tensor(fill_rgb, dtype=torch.float32, device="cpu").view(1, 3, 1, 1)
    windows = fill.repeat(len(chosen), 1, *layout.padded_hw)
    for place, index in enumerate(chosen):
        top, left = layout.corners[index]
        pixels = torch.from_numpy(scaled[top : top + window_h, left : left + window_w].copy()).permute(2, 0, 1)
        inner = windows[place, :, before_y : before_y + window_h, before_x : before_x + window_w]
        inner.copy_(pixels.float().div_(255))
    return windows


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"The picture is empty: {width} x {height} pixels.")
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"The picture has {width} x {height} = {width * height / 1e6:.0f} million pixels; "
            f"at most {MAX_PIXELS / 1e6:.0f} million can be taken. Make it smaller first."
        )


def _from_file(source: Path | io.BytesIO, what: str, notes: list[str]) -> np.ndarray:
    image = opened(source, what)
    try:
        _check_size(*image.size)
        image, is_wide = loaded(image, source, what, notes)
        return _from_pil(image, what, notes, is_wide)
    finally:
        image.close()


def _from_pil(image: Image.Image, what: str, notes: list[str], is_wide: bool = False) -> np.ndarray:
    """is_wide: the file holds 16 bits a colour, of which Pillow keeps the upper 8."""
    _check_size(*image.size)
    try:
        image.load()
        image = upright(image, what, notes)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001
        raise unreadable(what, error) from None
    if image.mode.startswith("I;16"):
        return _from_array(np.asarray(image).astype(np.uint16), what, notes)
    if image.mode in ("I", "F"):
        return _from_levels(np.asarray(image), what, notes)
    image = in_srgb(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    picture = np.array(image.convert("RGB"))
    if is_wide and _uses_little(picture, 256):
        return _stretched(picture, what, notes)
    return picture


def _from_levels(values: np.ndarray, what: str, notes: list[str]) -> np.ndarray:
    """The modes "I" and "F", 32 bits a pixel, which measuring instruments write with ranges of their own."""
    known = np.isfinite(values)
    if not known.all() and known.any():
        notes.append(f"{what}: {1 - known.mean():.1%} of its pixels hold no number and are black.")
        values = np.where(known, values, values[known].min())
    low, high = values.min(), values.max()
    if values.dtype.kind != "f" and low >= 0 and 255 < high <= 65535:  # some files of 16 bits are opened as "I"
        return _from_array(values.astype(np.uint16), what, notes)
    if np.isfinite(low) and np.isfinite(high) and (low < 0 or high > 255):
        return _from_array(_stretched(values, what, notes))
    return _from_array(values)


def _uses_little(levels: np.ndarray, count: int) -> bool:
    """Whether the levels lie within a quarter of the `count` that there are; a plain picture is left as it is."""
    return 0 < int(levels.max()) - int(levels.min()) < count // 4


def _stretched(levels: np.ndarray, what: str, notes: list[str]) -> np.ndarray:
    """The lowest level becomes black, the highest white."""
    low, high = float(levels.min()), float(levels.max())
    notes.append(f"{what}: its levels run from {low:g} to {high:g} and were stretched to black and white.")
    scaled: np.ndarray[Any, np.dtype[np.floating]] = levels.astype(np.float32 if high - low < 2**24 else np.float64)
    scaled -= low
    scaled *= 255 / (high - low)
    return np.rint(scaled, out=scaled).clip(0, 255).astype(np.uint8)


def _from_array(array: np.ndarray, what: str = "the given array", notes: list[str] | None = None) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"Got an array of shape {array.shape}; expected (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA."
        )
    _check_size(array.shape[1], array.shape[0])
    if array.dtype == np.uint16 and array.shape[2] < 4 and notes is not None and _uses_little(array, 65536):
        array = _stretched(array, what, notes)
    levels = _to_uint8(array)
    if levels.shape[2] == 1:
        levels = levels.repeat(3, axis=2)
    if levels.shape[2] == 4:
        alpha = levels[..., 3:].astype(np.float32) / 255
        levels = np.rint(levels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(levels)


def _to_uint8(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"Got an array of {array.dtype}; expected whole numbers in 0..255 or fractions in 0..1.")
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("The picture's array holds NaN or infinite values; replace them first.")
    if array.dtype.kind == "f" and low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return np.rint(array.clip(0, 1) * 255).astype(np.uint8)
    if low < 0 or high > 255:
        raise ValueError(f"The picture's values run from {low:g} to {high:g}; expected 0..1 or 0..255.")
    return np.rint(array).astype(np.uint8)
