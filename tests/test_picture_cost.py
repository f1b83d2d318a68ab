"""Small files that mean endless work or memory are refused before it is done; their sound likes are read."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image

from demo.visit import size_of_file
from proxyclip_core import read_picture
from proxyclip_core.evaluation import read_label_map
from proxyclip_core.export.upright import upright
from proxyclip_core.picture_cost import MOST_EXIF, MOST_STRIPS, STEPS

GIF, FRAME, END = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff", b",\0\0\0\0\1\0\1\0\0\2\2D\1\0", b";"
TIFF_TAGS = 9  # of what Pillow writes, from byte 10 on; then the place of the next page


def written(kind: str, size: tuple[int, int] = (1, 1), **options) -> bytes:
    file = io.BytesIO()
    Image.new("L", size).save(file, kind, **options)
    return file.getvalue()


def comment(pieces: int) -> bytes:
    return b"!\xfe" + b"\1a" * pieces + b"\0"


def tagged(count: int, content: int) -> bytes:
    """A directory as TIFF and EXIF have it, with tags that all stand for the same bytes."""
    own = written("TIFF")[10 : 10 + 12 * TIFF_TAGS]
    place = 8 + 2 + len(own) + 12 * count + 4
    more = b"".join(struct.pack("<HHII", 40_000 + number, 7, content, place) for number in range(count))
    first = b"II*\0" + struct.pack("<IH", 8, TIFF_TAGS + count)
    return first + own + more + bytes(4) + bytes(content)


def in_strips(count: int) -> bytes:
    """A TIFF of two rows in far more strips."""
    file = bytearray(written("TIFF"))
    new = {273: (4, count, len(file)), 257: (3, 1, 2), 278: (3, 1, 1)}  # their places, the height, rows of each
    for at in range(10, 10 + 12 * TIFF_TAGS, 12):
        tag = struct.unpack_from("<H", file, at)[0]
        if tag in new:
            struct.pack_into("<HII", file, at + 2, *new[tag])
    return bytes(file) + struct.pack("<I", 8) * count


def with_exif(kind: str, exif: bytes) -> bytes:
    return written(kind, exif=b"Exif\0\0" + exif)


def jpeg_with_exif(exif: bytes) -> bytes:
    """In as many pieces as it takes, which are joined."""
    pieces = [exif[at : at + 65_000] for at in range(0, len(exif), 65_000)]
    stored = b"".join(b"\xff\xe1" + struct.pack(">H", len(piece) + 8) + b"Exif\0\0" + piece for piece in pieces)
    file = written("JPEG")
    return file[:2] + stored + file[2:]


def in_versions(count: int) -> bytes:
    """A progressive JPEG of 4 million pixels, its last scan repeated."""
    file = written("JPEG", (2000, 2000), progressive=True)
    last = file.rfind(b"\xff\xda")
    return file[:last] + file[last:-2] * count + file[-2:]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (GIF + comment(STEPS) + FRAME + END, "takes too long to read"),
        (b"P6\n#" + b"a" * STEPS + b"\n1 1\n255\nrgb", "takes too long to read"),
        (b"\xff\xd8" + b"\xff" * STEPS, "takes too long to read"),
        (tagged(30, 1_000_000), "takes too long to read"),
        (jpeg_with_exif(tagged(3, MOST_EXIF)), "takes too long to read"),
        (in_strips(MOST_STRIPS + 1), f"cut into {MOST_STRIPS + 1} pieces"),
        (in_versions(1000), "versions"),
    ],
    ids=["comment", "header", "padding", "tags", "exif", "strips", "scans"],
)
def test_a_small_file_that_means_far_more_is_refused(file, reason):
    with pytest.raises(ValueError, match=rf"Could not read the given bytes: .*{reason}.* Save the picture anew"):
        read_picture(file)


@pytest.mark.parametrize(
    "file",
    [
        GIF + comment(100) + FRAME + END,
        b"P6\n#" + b"a" * 100 + b"\n1 1\n255\nrgb",
        tagged(2, 1_000_000),
        jpeg_with_exif(tagged(3, 1000)),
        in_strips(2),
        in_versions(1),
    ],
    ids=["comment", "header", "tags", "exif", "strips", "scans"],
)
def test_the_same_within_bounds_is_read(file):
    assert read_picture(file)[1] == ()


def test_frames_that_cannot_be_counted_soon_are_many():
    picture, (said,) = read_picture(GIF + FRAME + comment(STEPS) + FRAME + END)
    assert picture.shape == (1, 1, 3) and "of its many frames" in said
    assert "of its 3 frames" in read_picture(GIF + FRAME * 3 + END)[1][0]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_that_may_mean_far_more_turns_nothing(tmp_path, kind):
    file = with_exif(kind, tagged(3, MOST_EXIF))
    assert "EXIF data cannot be read" in read_picture(file)[1][0]
    assert upright(file, "a.png") is None


def test_label_maps_are_bounded_too(tmp_path):
    path = tmp_path / "labels.tif"
    path.write_bytes(in_strips(MOST_STRIPS + 1))
    with pytest.raises(ValueError, match=r"labels.tif: it is cut into"):
        read_label_map(path)


@pytest.mark.parametrize(
    ("file", "size"), [(written("PNG", (3, 2)), (2, 3)), (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", None)]
)
def test_the_size_of_a_file_is_looked_up_in_pictures_alone(tmp_path, file, size):
    path = Path(tmp_path, "picture.png")
    path.write_bytes(file)
    assert size_of_file(str(path)) == size
