"""Any picture comes in as RGB the way a person sees it."""

import io

import numpy as np
import pytest
from PIL import Image

from proxyclip_core import picture, read_image, read_picture
from proxyclip_core.picture import cut_windows
from proxyclip_core.windows import plan_windows

RED_GREEN = np.array([[[255, 0, 0], [0, 255, 0]]], dtype=np.uint8)  # one row: red, then green


def file_bytes(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_path_bytes_pil_and_array_are_the_same_picture(tmp_path):
    image = Image.fromarray(RED_GREEN)
    image.save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), file_bytes(image), image, RED_GREEN):
        assert np.array_equal(read_image(source), RED_GREEN)


@pytest.mark.parametrize(
    ("orientation", "expected_hw", "red_at"),
    [(1, (1, 2), (0, 0)), (3, (1, 2), (0, 1)), (6, (2, 1), (0, 0)), (8, (2, 1), (1, 0))],
)
def test_exif_orientation_is_applied(orientation, expected_hw, red_at):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_image(file_bytes(Image.fromarray(RED_GREEN), exif=exif))
    assert picture.shape[:2] == expected_hw
    assert tuple(picture[red_at]) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "I", "F"])
def test_every_mode_becomes_rgb(mode):
    image = Image.new("RGB", (3, 2), (250, 250, 250)).convert("L" if mode in ("I", "F") else "RGB").convert(mode)
    picture = read_image(image)
    assert picture.shape == (2, 3, 3) and picture.dtype == np.uint8
    assert (picture > 240).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_white(mode):
    clear = Image.new("RGBA", (2, 2), (10, 20, 30, 0)).convert(mode)
    assert (read_image(clear) == 255).all()


def test_transparent_palette_png_lies_on_white():
    image = Image.new("P", (2, 2), 0)
    image.putpalette([0, 0, 0, 9, 9, 9])
    assert (read_image(file_bytes(image, transparency=0)) == 255).all()


def test_half_transparent_array_is_blended():
    pixel = np.array([[[0, 0, 0, 128]]], dtype=np.uint8)
    assert read_image(pixel)[0, 0] == pytest.approx(127, abs=1)


def test_sixteen_bit_png_keeps_its_levels():
    levels = np.array([[0, 128, 129, 32768, 65535]], dtype=np.uint16)
    expected = np.array([[0, 0, 1, 128, 255]])  # the nearest, as one of 256 is 257 of these
    assert np.array_equal(read_image(file_bytes(Image.fromarray(levels)))[..., 0], expected)
    assert np.array_equal(read_image(levels)[..., 0], expected)


@pytest.mark.parametrize(
    "array",
    [
        np.full((2, 3), 200, np.uint8),
        np.full((2, 3, 1), 200, np.uint8),
        np.full((2, 3, 3), 200 / 255, np.float32),
        np.full((2, 3, 3), 200.0),
        np.full((2, 3), 200, np.int64),
        np.full((2, 3), 200 * 257, np.uint16),
    ],
    ids=["grey", "one channel", "fractions", "float levels", "integers", "16 bits"],
)
def test_arrays_of_many_kinds(array):
    assert np.array_equal(read_image(array), np.full((2, 3, 3), 200, np.uint8))


def test_numbers_above_1_are_levels_however_small():
    assert (read_image(np.full((2, 3), 1.6)) == 2).all()


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    picture, reservations = read_picture(file_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert reservations == ("the given bytes: of its 2 frames or pages the first was taken.",)
    assert tuple(picture[0, 0]) == (255, 0, 0) or tuple(picture[0, 0]) == (254, 0, 0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/file.jpg", "no picture file at 'no/such/file.jpg'"),
        (b"", "Could not read the given bytes"),
        (b"hello", "Could not read the given bytes"),
        (file_bytes(Image.new("RGB", (64, 64)), "PNG")[:60], "Could not read the given bytes"),
        (None, "Got NoneType"),
        (np.zeros((2, 2, 5)), r"shape \(2, 2, 5\)"),
        (np.zeros((0, 5, 3), np.uint8), "picture is empty"),
        (np.full((2, 2), np.nan), "NaN"),
        (np.full((2, 2), -1.0), "run from -1 to -1"),
        (np.full((2, 2), 300), "run from 300 to 300"),
        (np.array([["a"]]), "expected whole numbers"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(source, message):
    with pytest.raises(ValueError, match=message):
        read_image(source)


def test_too_many_pixels_are_refused_before_they_are_read(monkeypatch):
    monkeypatch.setattr("proxyclip_core.picture.MAX_PIXELS", 100)
    with pytest.raises(ValueError, match="20 x 20"):
        read_image(file_bytes(Image.new("RGB", (20, 20))))
    assert read_image(file_bytes(Image.new("RGB", (10, 10)))).shape == (10, 10, 3)  # as many as can be taken


def test_windows_are_padded_evenly_with_one_colour():
    layout = plan_windows((50, 60), side=None)
    windows = cut_windows(np.full((50, 60, 3), 255, np.uint8), layout, (0.25, 0.5, 0.75))
    assert windows.shape == (1, 3, 56, 112)
    assert (windows[0, :, 3:53, 26:86] == 1).all()
    assert windows[0, :, 0, 0].tolist() == windows[0, :, -1, -1].tolist() == [0.25, 0.5, 0.75]


def test_what_read_image_gives_does_not_share_memory_with_a_pil_image():
    image = Image.new("RGB", (2, 2))
    read_image(image)[:] = 9
    assert image.getpixel((0, 0)) == (0, 0, 0)


def test_postscript_is_no_picture():
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    assert Image.open(io.BytesIO(page)).format == "EPS"  # Pillow would hand it to an interpreter
    with pytest.raises(ValueError, match="Could not read"):
        read_image(page)


@pytest.mark.parametrize("error", [RuntimeError("broken"), NotImplementedError(), ValueError("Truncated IHDR chunk")])
def test_whatever_pillow_raises_is_said_in_words(monkeypatch, error):
    picture = Image.new("RGB", (4, 4))

    def fail() -> None:
        raise error

    monkeypatch.setattr(picture, "load", fail)
    with pytest.raises(ValueError, match="Expected a whole JPEG"):
        read_image(picture)


def test_a_path_that_is_too_long_is_no_file():
    with pytest.raises(ValueError, match="There is no picture file"):
        read_image("a" * 5000)


def test_fractions_may_overshoot_a_little():
    picture = np.full((4, 4, 3), 0.9, np.float32)
    picture[0, 0], picture[1, 1] = 1.0000001, -1e-6
    levels = read_image(picture)
    assert levels[2, 2, 0] == 230 and levels.max() == 255 and levels.min() == 0


def test_an_array_of_a_quarter_transparent_pixels_is_blended():
    dark = np.array([[[100, 0, 200, 64]]], dtype=np.uint8)
    assert read_image(dark).tolist() == [[[216, 191, 241]]]  # a quarter of its colour, three quarters white


def test_an_array_with_too_many_pixels_is_refused():
    with pytest.raises(ValueError, match="pixels"):
        read_image(np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)))  # which takes no memory


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_single_value_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="NaN or infinite"):
        read_image(np.array([[0.5, value]]))


@pytest.mark.parametrize("lowest", [0.0, 0.5])
def test_files_of_32_bits_within_255_keep_their_levels(lowest):
    levels = np.array([[lowest, 100.0, 200.0]], dtype=np.float32)
    picture, notes = read_picture(file_bytes(Image.fromarray(levels), "TIFF"))
    assert picture[0, :, 0].tolist() == [0, 100, 200] and not notes


def test_files_of_32_bits_that_hold_16_are_read_as_16():
    levels = np.array([[0, 25_700, 65_535]], dtype=np.int32)
    picture, notes = read_picture(Image.fromarray(levels))
    assert picture[0, :, 0].tolist() == [0, 100, 255] and not notes


def test_two_neighbouring_levels_are_stretched():
    picture, notes = read_picture(Image.fromarray(np.array([[5, 6]], dtype=np.uint16)))
    assert picture[0, :, 0].tolist() == [0, 255] and len(notes) == 1


@pytest.fixture
def summed():
    """The sum of a picture's pixels, and what it was asked for."""
    asked = []
    yield picture.once_a_picture(lambda pixels, *given: asked.append(given) or int(pixels.sum())), asked


def filled(level: int) -> np.ndarray:
    return np.full((8, 8, 3), level, np.uint8)


def test_what_is_computed_of_a_picture_that_stays_is_computed_once(summed, monkeypatch):
    once, asked = summed
    stays = picture.unchanging(filled(1))
    assert [once(stays), once(stays), once(stays, 1)] == [192] * 3 and asked == [(), (1,)]
    monkeypatch.setattr(picture, "REMEMBERED", 2)
    others = [picture.unchanging(filled(level)) for level in range(1, 4)]
    assert [once(one) for one in others] == [192, 384, 576] and len(picture._computed) == 2
    assert once(stays) == 192 and len(asked) == 6  # only the latest are remembered


def test_any_other_picture_may_be_written_to(summed):
    once, _ = summed
    frame = filled(1)
    for level in (2, 3):  # as a camera's frames in one memory, each shown to nobody who could change it
        frame.flags.writeable = True
        frame[:] = level
        frame.flags.writeable = False
        assert once(frame) == 192 * level and once(frame[:]) == 192 * level


def test_nothing_is_kept_of_a_picture_that_is_gone(summed):
    once, _ = summed
    for level in range(1, 50):  # one after the other in the same memory
        pixels = picture.unchanging(filled(level))
        assert once(pixels) == 192 * level
        number = id(pixels)
        del pixels
        assert number not in picture._unchanging and not any(key[0] == number for key in picture._computed)
