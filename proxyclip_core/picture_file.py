"""Picture files -> PIL images as they are meant to be seen: whole, upright and in sRGB. See `picture.read_picture`."""

from __future__ import annotations

import contextlib
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from proxyclip_core.file_kinds import HEAD, is_heif, name_of
from proxyclip_core.picture_cost import (
    MOST_PAGES,
    STEPS,
    TIFF,
    Elaborate,
    Metered,
    Source,
    allow,
    allow_pixels,
    check_exif,
    check_scans,
    metered,
    tiff_pages,
)

# What browsers, cameras and scanners write. Pillow also reads EPS, for which it runs a PostScript interpreter.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")
EXPECTED = "Expected a whole JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file."

# How much of a file that is cut short must be there. A progressive JPEG holds several versions of the picture, the
# better ones last, so that all of its last one is needed.
ENOUGH, ENOUGH_OF_PROGRESSIVE = 0.95, 0.99
# How far colours may be off, in levels, before a profile is followed: profiles of sRGB differ by so much.
PROFILE_TOLERANCE = 2
LARGE_PROFILE = 2**16  # bytes of a PNG as they are packed
JPEG_BLOCK = 16  # rows that are decoded together

ORIENTATION, SUBFILE_TYPE, DNG_VERSION = 0x0112, 254, 50706  # tags of TIFF and EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Kinds that are read where Pillow has the reader: a file of them that is refused there is damaged.
READERS = {"a HEIC picture": "HEIF", "an AVIF picture": "AVIF"}


def opened(source: Source, what: str) -> Image.Image:
    """A file whose pixels are not read yet. what: its name, for messages.

    Raises ValueError for what is no picture, naming it for what it is.
    """
    head = beginning(source)
    if is_heif(head):
        _learn_heif()
    try:
        image = _open(source)
    except Elaborate as error:
        raise error.about(what) from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"The picture in {what} is far too large: {error}. Make it smaller first.") from None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001
        kind = name_of(head)
        if head.startswith(TIFF) and "unknown pixel mode" in _of_tiff(source):
            raise ValueError(
                f"Could not read {what}: it is a TIFF whose bands or numbers are of a kind that is not read here. "
                "Export it in grey or RGB, of 8 or 16 bits."
            ) from None
        if kind and READERS.get(kind[0]) not in Image.OPEN:
            raise ValueError(f"Could not read {what}: it is {kind[0]}. {kind[1]}".rstrip()) from None
        raise unreadable(what, error) from None
    tags = getattr(image, "tag_v2", {})
    if DNG_VERSION in tags or tags.get(SUBFILE_TYPE) == 1:  # the first picture is a preview of the size of a stamp
        image.close()
        raise ValueError(f"Could not read {what}: it is a camera's raw picture. Export it as JPEG or TIFF first.")
    return image


def loaded(image: Image.Image, source: Source, what: str, notes: list[str]) -> tuple[Image.Image, bool]:
    """The image with the pixels of its first frame; and whether the file has 16 bits a colour, of which Pillow keeps 8.

    Raises ValueError for a file that is damaged or too short.
    """
    image, frames = _counted(image, source)
    if frames != "1":
        notes.append(f"{what}: of its {frames} frames or pages the first was taken.")
    is_wide = any(";16" in str(tile) for tile in getattr(image, "tile", ()))
    try:
        if image.format in ("JPEG", "MPO"):
            check_scans(source, image.size)
        allow_pixels(image)
        image.load()
    except MemoryError:
        raise
    except Elaborate as error:
        raise error.about(what) from None
    except Exception as error:  # noqa: BLE001
        if is_limit_of_text(error):  # in a chunk behind the pixels
            image.close()
            return loaded(metered(without_text(source), ["PNG"]), source, what, [])
        is_short = any(words in str(error) for words in ("truncated", "broken data stream"))
        rest = _what_is_there(source, image) if is_short else None
        if rest is None:
            raise unreadable(what, error) from None
        partial, share = rest
        if share < (ENOUGH_OF_PROGRESSIVE if image.info.get("progressive") else ENOUGH):
            how = "cut short" if share >= 0.01 else "damaged or cut short"
            raise ValueError(
                f"Could not read {what}: it is {how}, only {share:.0%} of the picture is there. Fetch it again."
            ) from None
        lost = "all of the picture is there" if share == 1 else f"{max(1 - share, 0.001):.1%} of the picture is missing"
        notes.append(f"{what}: the end of the file is missing, but it was read; {lost}.")
        image.close()
        image = partial
    return image, is_wide


def _counted(image: Image.Image, source: Source) -> tuple[Image.Image, str]:
    """The image at its first frame, and how many it has; "1" where that cannot be told, as later ones may be damaged.

    Phones put what they need for themselves behind the first picture of an MPO.
    """
    if image.format == "MPO":
        return image, "1"
    if image.format == "TIFF":  # Pillow compares each page with all before it
        pages = tiff_pages(source)
        return image, str(max(pages, 1)) if pages < MOST_PAGES else "many"
    allow(image, STEPS)
    try:
        return image, str(getattr(image, "n_frames", 1))
    except Exception as error:  # noqa: BLE001  Pillow's readers raise errors of nearly any kind
        image.close()
        return _open(source), "many" if isinstance(error, Elaborate) else "1"


def unreadable(what: str, error: Exception) -> ValueError:
    """Pillow's readers raise errors of nearly any kind for damaged files."""
    return ValueError(f"Could not read {what} as a picture ({type(error).__name__}): damaged or cut short. {EXPECTED}")


def upright(image: Image.Image, what: str, notes: list[str]) -> Image.Image:
    """Turned as its EXIF says."""
    try:
        turn = turn_of(image)
    except Exception:  # noqa: BLE001  Pillow's readers raise errors of nearly any kind
        notes.append(f"{what}: its EXIF data cannot be read, so it was taken as it lies, not turned.")
        return image
    return image if turn is None else image.transpose(turn)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """How it is to be turned, by its EXIF. Raises errors of nearly any kind where that cannot be read."""
    stored = image.info.get("exif", b"")
    check_exif(stored, image.info.get("Raw profile type exif", ""))
    exif = image.getexif()
    if stored and not exif and not stored.endswith(bytes(6)):  # as one without entries ends
        raise ValueError("Pillow has found nothing in it")
    return TURNS.get(exif.get(ORIENTATION, 1))


def in_srgb(image: Image.Image) -> Image.Image:
    """As its colour profile means it, in RGB or RGBA; the same image where that changes next to nothing.

    Profiles that are damaged or of another kind of picture are passed over.
    """
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or image.mode not in ("L", "LA", "P", "RGB", "RGBA", "CMYK"):
        return image
    has_alpha = image.mode in ("LA", "RGBA") or "transparency" in image.info
    mode = {"LA": "L", "P": "RGB", "RGBA": "RGB"}.get(image.mode, image.mode)
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), mode, "RGB"
        )
        sample = _lattice(mode)
        change = np.asarray(transform.apply(sample)).astype(int) - np.asarray(sample.convert("RGB"))
        if abs(change).max() <= PROFILE_TOLERANCE:
            return image
        alpha = image.convert("RGBA").getchannel("A") if has_alpha else None
        converted = transform.apply(image.convert(mode))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  whatever is wrong with the profile, the pixels are sound
        return image
    converted.info.pop("transparency", None)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _lattice(mode: str) -> Image.Image:
    """Colours from all over a mode's space, in one row."""
    bands = Image.getmodebands(mode)
    levels = np.linspace(0, 255, 256 if bands == 1 else 6).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(*[levels] * bands), axis=-1).reshape(-1, bands)
    return Image.frombytes(mode, (len(colours), 1), colours.tobytes())


def beginning(source: Source) -> bytes:
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file.read(HEAD)
    return source.getvalue()[:HEAD]


def _learn_heif() -> None:
    """Makes Pillow read HEIC where the extra `heic` is installed."""
    if "HEIF" not in Image.OPEN:
        with contextlib.suppress(ImportError):
            from pillow_heif import register_heif_opener

            register_heif_opener()


def _open(source: Source) -> Image.Image:
    try:
        return metered(source, FORMATS)
    except ValueError as error:
        if not is_limit_of_text(error):
            raise
        return metered(without_text(source), ["PNG"])


def _of_tiff(source: Source) -> str:
    """What Pillow's reader of TIFF has against a file; `Image.open` keeps it to itself."""
    try:
        with Metered(source) as file:
            TiffImagePlugin.TiffImageFile(file)
    except Exception as error:  # noqa: BLE001  Pillow's readers raise errors of nearly any kind
        return str(error)
    return ""


def is_limit_of_text(error: Exception) -> bool:
    """Whether Pillow stopped at a PNG's metadata, of which it unpacks little, for fear of what grows without end."""
    return isinstance(error, ValueError) and "MAX_TEXT" in str(error)


def without_text(source: Source) -> io.BytesIO:
    """A PNG without its texts, and without a colour profile that is as large as they are."""
    kept = io.BytesIO()
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source.getvalue()) as file:
        kept.write(file.read(8))
        while len(header := file.read(8)) == 8:
            length, kind = int.from_bytes(header[:4], "big"), header[4:]
            if kind in (b"tEXt", b"zTXt", b"iTXt") or (kind == b"iCCP" and length > LARGE_PROFILE):
                file.seek(length + 4, io.SEEK_CUR)
                continue
            rest = file.read(length + 4)
            if kind != b"iCCP" or not _is_too_large(rest):
                kept.write(header + rest)
    kept.seek(0)
    return kept


def _is_too_large(profile: bytes) -> bool:
    """Whether a PNG's colour profile, its name and a byte before it, is more than Pillow unpacks."""
    unpacked = zlib.decompressobj()
    try:
        return len(unpacked.decompress(profile.partition(b"\0")[2][1:], PngImagePlugin.MAX_TEXT_CHUNK + 1)) > (
            PngImagePlugin.MAX_TEXT_CHUNK
        )
    except zlib.error:
        return True


def _what_is_there(source: Source, image: Image.Image) -> tuple[Image.Image, float] | None:
    """What a file that is cut short holds, and the share of the picture that this is; None where it cannot be told.

    It is decoded twice, with something else in place of what is missing: pixels that agree are the file's own.
    """
    content = source.read_bytes() if isinstance(source, Path) else source.getvalue()
    is_jpeg = image.format in ("JPEG", "MPO")
    try:
        if is_jpeg:
            content = content.rstrip(b"\xff")  # the first half of an end mark
            images = [_open(io.BytesIO(content + end)) for end in (b"\xff\xd9", b"\x55" * 2**16 + b"\xff\xd9")]
        else:
            images = [_filled(content, value) for value in (255, 0)]
        differing = np.asarray(images[0]) != np.asarray(images[1])
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001
        return None
    differing = differing.reshape(*differing.shape[:2], -1).any(axis=2)
    return images[0], 1 - (_lost_of_jpeg(differing) if is_jpeg else float(differing.mean()))


def _lost_of_jpeg(differing: np.ndarray) -> float:
    """The share of a JPEG from its first differing block on: the ending may not have been enough to reach the last.

    differing: (H, W) bool.
    """
    height, width = differing.shape
    rows = differing.any(axis=1)
    if not rows.any():
        return 0.0
    top = int(rows.argmax())
    bottom = min(top + JPEG_BLOCK, height)
    left = int(differing[top:bottom].any(axis=0).argmax())
    return ((bottom - top) * (width - left) + (height - bottom) * width) / differing.size


def _filled(content: bytes, value: int) -> Image.Image:
    """Decodes as far as it goes; the other pixels hold `value`."""
    image: Any = _open(io.BytesIO(content))
    image.load_prepare()
    image.im.paste(value if len(image.getbands()) == 1 else (value,) * len(image.getbands()), (0, 0, *image.size))
    with contextlib.suppress(OSError):
        image.load()
    image.tile = []  # so that Pillow does not try again
    return image
