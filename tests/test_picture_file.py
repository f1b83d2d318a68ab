"""Files as people bring them: what is read with a reservation, what is refused, and what it is called.

The cases stand in bug reports against comparable software; each test names one.
"""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from proxyclip_core import PictureWarning, cli, read_image, read_picture


def scene() -> Image.Image:
    picture = Image.new("RGB", (192, 144), (120, 180, 240))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 90, 192, 144), fill=(70, 150, 60))
    draw.ellipse((30, 40, 90, 140), fill=(200, 120, 60))
    noise = np.random.default_rng(0).integers(0, 30, (144, 192, 3), dtype=np.uint8)
    return Image.fromarray(np.asarray(picture) // 2 + noise)


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def sixteen_bit_colour(levels: np.ndarray) -> bytes:
    """A PNG of (H, W, 3) uint16, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def display_p3() -> bytes:
    """A profile whose red is redder than that of sRGB: sRGB's own with the primaries of Display P3."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = {bytes(profile[at : at + 4]): at + 4 for at in range(132, 132 + 12 * profile[131], 12)}
    primaries = {
        b"rXYZ": (0.5151, 0.2412, -0.0011),
        b"gXYZ": (0.2919, 0.6922, 0.0419),
        b"bXYZ": (0.1572, 0.0666, 0.7841),
    }
    for name, xyz in primaries.items():
        place = int.from_bytes(profile[places[name] : places[name] + 4], "big")
        profile[place + 8 : place + 20] = struct.pack(">3i", *(round(value * 65536) for value in xyz))
    return bytes(profile)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    ("exif", "is_said"),
    [
        (b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 20, True),
        (b"Exif\0\0" + bytes(range(1, 81)), True),
        (Image.Exif().tobytes(), False),
    ],
)
def test_exif_in_which_nothing_can_be_found_is_a_reservation(exif, is_said):
    _, reservations = read_picture(encoded(scene(), "JPEG", exif=exif))
    assert is_said is any("EXIF data cannot be read" in text for text in reservations)


@pytest.mark.parametrize("behind", [False, True])
def test_much_metadata_is_passed_over(behind):  # Pillow 8363, 2445
    info = PngImagePlugin.PngInfo()
    info.add(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 2**21), after_idat=behind)
    picture, reservations = read_picture(encoded(scene(), pnginfo=info))
    assert np.array_equal(picture, np.asarray(scene())) and not reservations


def test_a_colour_profile_larger_than_pillow_unpacks_is_passed_over():
    picture, reservations = read_picture(encoded(scene(), icc_profile=b"x" * 2**21))
    assert np.array_equal(picture, np.asarray(scene())) and not reservations


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", [bytes.fromhex("0008000201120003"), b"Exif\0\0MM\0*\0\0\0", b"no EXIF at all"])
def test_exif_that_does_not_parse_turns_nothing(kind, exif):  # Pillow 5528, 8348
    picture, reservations = read_picture(encoded(scene(), kind, exif=exif))
    assert picture.shape == (144, 192, 3)
    assert all("EXIF data cannot be read" in text for text in reservations)


def test_exif_that_does_not_parse_is_said():
    _, reservations = read_picture(encoded(scene(), exif=bytes.fromhex("0008000201120003")))
    assert reservations == ("the given bytes: its EXIF data cannot be read, so it was taken as it lies, not turned.",)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut", [1, 2, 12])
def test_a_missing_end_mark_is_a_reservation(progressive, cut):  # labelme 335, CVAT 106
    whole = encoded(scene(), "JPEG", quality=92, progressive=progressive)
    picture, reservations = read_picture(whole[:-cut])
    expected = np.asarray(Image.open(io.BytesIO(whole)))
    assert (picture == expected).all(axis=2).mean() > 0.98
    assert len(reservations) == 1 and "the end of the file is missing" in reservations[0]


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {}), ("BMP", {}), ("TIFF", {}), ("PPM", {})],
)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_half_a_file_is_refused_as_cut_short(kind, options, share):  # Pillow 889
    whole = encoded(scene(), kind, **options)
    with pytest.raises(ValueError, match="cut short"):
        read_picture(whole[: int(share * len(whole))])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_the_last_rows_may_be_missing(kind):
    whole = encoded(scene(), kind)
    picture, reservations = read_picture(whole[: int(0.98 * len(whole))])
    assert picture.shape == (144, 192, 3)
    assert "of the picture is missing" in reservations[0]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("levels", [np.arange(4096), np.arange(0, 1024), np.arange(29_000, 30_500), np.arange(16_384)])
def test_levels_that_span_little_of_16_bits_are_stretched(kind, levels):  # napari 6534, plantcv 1804
    levels = levels.astype(np.uint16)[None]
    expected = np.rint(np.linspace(0, 255, levels.size))
    for given in (encoded(Image.fromarray(levels), kind), levels):
        picture, reservations = read_picture(given)
        assert abs(picture[0, :, 0] - expected).max() <= 1
        assert f"from {levels.min()} to {levels.max()} and were stretched" in reservations[0]


@pytest.mark.parametrize("levels", [np.arange(0, 65536, 8), np.arange(0, 16_386), np.full(9, 300)])
def test_other_pictures_of_16_bits_keep_their_levels(levels):
    levels = levels.astype(np.uint16)[None]
    picture, reservations = read_picture(encoded(Image.fromarray(levels)))
    assert abs(picture[0, :, 0] - levels[0] / 257).max() <= 0.51 and not reservations


@pytest.mark.parametrize("missing", [np.nan, -np.inf])
def test_pixels_that_hold_no_number_are_black_and_it_is_said(missing):  # heights and depths without a value
    levels = np.array([[missing, 20, 30, 420]], np.float32)
    picture, reservations = read_picture(encoded(Image.fromarray(levels), "TIFF"))
    assert picture[0, :, 0].tolist() == [0, 0, 6, 255]
    assert "25.0% of its pixels hold no number and are black" in reservations[0] and "stretched" in reservations[1]


def test_colour_of_12_bits_is_stretched_too():
    levels = np.linspace(0, 4095, 300).astype(np.uint16).reshape(10, 10, 3)
    picture, reservations = read_picture(sixteen_bit_colour(levels))
    assert (picture.min(), picture.max()) == (0, 255) and "stretched" in reservations[0]
    picture, reservations = read_picture(sixteen_bit_colour(levels * 16))
    assert abs(picture - levels / 16.06).max() <= 1 and not reservations


@pytest.mark.parametrize("levels", [np.linspace(-3, 900, 64, dtype=np.float32), np.arange(64, dtype=np.int32) * 9999])
def test_measurements_of_32_bits_are_stretched(levels):
    picture, reservations = read_picture(encoded(Image.fromarray(levels.reshape(8, 8)), "TIFF"))
    assert (picture.min(), picture.max()) == (0, 255) and "stretched" in reservations[0]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_wide_colour_profile_is_followed(mode):
    image = Image.new("RGB", (4, 4), (200, 100, 90)).convert(mode)
    plain, wide = read_image(encoded(image)), read_image(encoded(image, icc_profile=display_p3()))
    assert wide[0, 0, 0] > plain[0, 0, 0] + 5 and wide[0, 0, 1] < plain[0, 0, 1]


def test_transparency_stays_where_a_profile_is_followed():
    image = Image.new("RGBA", (4, 4), (200, 100, 90, 0))
    assert (read_image(encoded(image, icc_profile=display_p3())) == 255).all()


@pytest.mark.parametrize("profile", [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"broken"])
def test_a_profile_of_srgb_or_a_broken_one_changes_nothing(profile):
    assert np.array_equal(read_image(encoded(scene(), icc_profile=profile)), np.asarray(scene()))


@pytest.mark.parametrize(
    ("head", "kind", "advice"),
    [
        (b"", "empty", "again"),
        (bytes(500), "nothing but zeros", "again"),
        (b"<!doctype html><html><body>404</body></html>", "a web page", "again"),
        (b"\xef\xbb\xbf\n<HTML>", "a web page", "again"),
        ("<html>".encode("utf-16"), "a web page", "again"),
        (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="a"/>', "an SVG drawing", "PNG"),
        (b"%PDF-1.7\n", "a PDF document", "Export the page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript file", "JPEG or PNG"),
        (b"PK\x03\x04\x14\0", "a zip archive", "Unpack"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video", "frame"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video", "frame"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0webm", "a video", "frame"),
        (b"RIFF\0\0\0\0AVI LIST", "a video", "frame"),
        (b"8BPS\0\x01", "a Photoshop file", "JPEG or PNG"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL picture", "JPEG or PNG"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", "JPEG or PNG"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a Canon raw picture", "raw converter"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "a Canon raw picture", "raw converter"),
        (bytes(128) + b"DICM", "a DICOM file", "PNG or TIFF"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(9), "a microscope's", "PNG or TIFF"),
        (b"\xda\xce\xbe\x0a" + bytes(9), "a Nikon ND2 file", "PNG or TIFF"),
        (b"\x5c\x01" + bytes(342) + b"n+1\0", "a NIfTI file", "PNG or TIFF"),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a MATLAB file", "PNG or TIFF"),
        (b"\x01\xda\x01\x01\0\x03", "an SGI picture", "JPEG or PNG"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "macOS keeps beside a file", "'._'"),
        (b"AT&TFORM\0\0DJVU", "a DjVu document", "Export the page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
        (b"data:image/png;base64,iVBORw0", "a data URL", "base64"),
        (b'{"error": "not found"}', "a text", "again"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(tmp_path, head, kind, advice):
    path = tmp_path / "picture.png"
    path.write_bytes(head)
    with pytest.raises(ValueError, match=r"Could not read 'picture\.png': it is ") as caught:
        read_image(path)
    assert kind in str(caught.value) and advice in str(caught.value)


def tiff_of_bands(count: int) -> bytes:
    """Four pixels of 16 bits, as satellites and drones write them, which Pillow does not."""
    entries = [
        (256, 3, 1, 2),
        (257, 3, 1, 2),
        (258, 3, count, 122),
        (262, 3, 1, 1),
        (273, 4, 1, 160),
        (277, 3, 1, count),
    ]
    entries += [(278, 3, 1, 2), (279, 4, 1, 8 * count)]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return head.ljust(122, b"\0") + struct.pack(f"<{count}H", *[16] * count).ljust(38, b"\0") + bytes(8 * count)


def test_a_tiff_of_many_bands_is_not_called_damaged():
    with pytest.raises(
        ValueError, match=r"a TIFF whose bands or numbers are of a kind that is not read here\. Export it"
    ):
        read_image(tiff_of_bands(5))


def test_a_checksum_that_is_wrong_is_not_called_cut_short_alone():
    content = bytearray(encoded(scene(), "PNG"))
    content[60] ^= 255
    with pytest.raises(ValueError, match="damaged or cut short"):
        read_image(bytes(content))


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"hevc", b"heim"])
def test_heic_without_its_reader_says_how_to_read_it(monkeypatch, brand):  # gradio 7482
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"it is a HEIC picture\. Export it as JPEG, .*proxyclip\[heic\]"):
        read_image(b"\0\0\0\x1cftyp" + brand + b"\0\0\0\0mif1heicmiaf" + bytes(400))


def test_heic_is_read_where_its_reader_is_installed():
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 10, 10))).save(file)
    assert abs(read_image(file.getvalue()).astype(int) - (200, 10, 10)).max() <= 3


@pytest.mark.parametrize("tags", [{254: 1}, {50706: b"\1\4\0\0"}])
def test_the_small_preview_in_a_raw_picture_is_not_taken_for_it(tags):
    with pytest.raises(ValueError, match="a camera's raw picture"):
        read_image(encoded(scene(), "TIFF", tiffinfo=tags))


def test_one_warning_a_reservation_in_python(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(scene(), "JPEG")[:-2])
    with pytest.warns(PictureWarning, match=r"'a\.jpg': the end of the file is missing") as caught:
        read_image(tmp_path / "a.jpg")
    assert len(caught) == 1 and Path(caught[0].filename) == Path(__file__)


def test_one_line_a_reservation_on_the_command_line(command, tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(encoded(scene(), "JPEG")[:-2])
    assert command("segment", "a.jpg", "red, green", "--side", "as-is") == 0
    said = capsys.readouterr().err
    assert said.count("note: 'a.jpg': the end of the file is missing") == 1 and len(said.splitlines()) == 1
    assert cli.main(["segment", "a.jpg", "red, green", "--side", "as-is"]) == 0
