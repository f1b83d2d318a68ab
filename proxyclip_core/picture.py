"""Any picture -> (H, W, 3) uint8 RGB, and from there to the windows that go into an encoder."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from proxyclip_core.windows import WindowLayout

# Enough for the largest phone cameras' usual modes; a picture of this size takes 300 MB while it is read.
MAX_PIXELS = 100_000_000
# What browsers, cameras and scanners write. Pillow also reads EPS, for which it runs a PostScript interpreter.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
# How far fractions may lie outside of 0..1 and still be fractions: resampling overshoots a little.
OVERSHOOT = 1e-3


ImageLike = str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray


def read_image(image: ImageLike) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB.

    image: a path, the bytes of a picture file, a PIL image, or an array of shape (H, W), (H, W, 1), (H, W, 3) RGB or
    (H, W, 4) RGBA with values 0..255 (uint8), 0..65535 (uint16), 0..1 or 0..255 (float), or bool.
    EXIF orientation is applied, transparency is laid on white, and of several frames the first is taken.
    Raises ValueError, in words for the person who gave it, for anything that is no picture or too large.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _from_file(io.BytesIO(image), "the given bytes")
    if isinstance(image, (str, os.PathLike)):
        path = Path(image)
        if not os.path.isfile(path):  # Path.is_file raises for names that are too long
            raise ValueError(f"There is no picture file at {str(path)!r}; check the path.")
        return _from_file(path, repr(path.name))
    raise ValueError(
        f"Got {type(image).__name__}; expected a picture as a path, the bytes of a file, a PIL image or a numpy array."
    )


def picture_digest(picture: np.ndarray) -> str:
    """Tells pictures (H, W, 3) uint8 apart by their size and pixels."""
    digest = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def resized(picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 at another size, bicubic; the same array where it has that size."""
    if picture.shape[:2] == size_hw:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size_hw[::-1], Image.Resampling.BICUBIC))


def cut_windows(
    scaled: np.ndarray, layout: WindowLayout, fill_rgb: tuple[float, float, float], chosen: range | None = None
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


def _from_file(source: Path | io.BytesIO, what: str) -> np.ndarray:
    Image.init()
    try:
        opened = Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise ValueError(f"The picture in {what} is far too large: {error}. Make it smaller first.") from None
    except Exception as error:  # noqa: BLE001
        raise _unreadable(what, error) from None
    with opened:
        return _from_pil(opened, what)


def _unreadable(what: str, error: Exception) -> ValueError:
    """Pillow's readers raise errors of nearly any kind for damaged files."""
    return ValueError(
        f"Could not read {what} as a picture ({type(error).__name__}). "
        "Expected a whole JPEG, PNG, WebP, GIF, BMP or TIFF file."
    )


def _from_pil(image: Image.Image, what: str = "the given image") -> np.ndarray:
    _check_size(*image.size)
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001
        raise _unreadable(what, error) from None
    if image.mode.startswith("I;16"):
        return _from_array(np.asarray(image).astype(np.uint16))
    if image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float32)
        # Pillow opens some 16-bit files in the 32-bit mode "I": their levels do not stop at 255.
        wide = image.mode == "I" and 255 < values.max() <= 65535 and values.min() >= 0
        return _from_array(
            values / 65535 if wide else np.rint(values).astype(np.int64) if image.mode == "I" else values
        )
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"Got an array of shape {array.shape}; expected (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA."
        )
    _check_size(array.shape[1], array.shape[0])
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
