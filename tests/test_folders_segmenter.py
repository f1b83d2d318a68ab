"""Pictures several at a time give what each gives alone; what is wrong with one stays with it."""

from __future__ import annotations

import gc
import io
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from proxyclip_core import PictureWarning, ProxyCLIP
from proxyclip_core.folders import Found, Output, Segmenter
from proxyclip_core.models import window_batches
from proxyclip_core.segmentation import Segmentation

WORDS = "red, green; lime, blue"
FAST = {"side": None, "templates": "none"}


@pytest.fixture
def album(blocks, tmp_path) -> Path:
    """Pictures of different sizes and numbers of windows, one that is no picture, and one of 16 bits."""
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    for number, part in enumerate(
        (blocks[:56, :112], blocks[40:96, 30:142], blocks[:120, :170], blocks[20:76, 90:202])
    ):
        Image.fromarray(part).save(folder / f"{number}.png")
    (folder / "2b.png").write_bytes(b"no picture")
    Image.fromarray((blocks[:56, :112, 0] * 8).astype(np.uint16)).save(folder / "sub" / "wide.png")
    return folder


@pytest.fixture
def one_core():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same(one: Segmentation, other: Segmentation) -> bool:
    return np.array_equal(one.labels, other.labels) and np.array_equal(one.confidence, other.confidence)


@pytest.mark.filterwarnings("ignore::proxyclip_core.PictureWarning")
def test_a_batch_gives_bit_for_bit_what_each_picture_gives_alone_on_one_core(tiny_model, album, one_core):
    seen = list(tiny_model.batch(album, WORDS, workers=2, **FAST))
    assert [str(path.relative_to(album)) for path, _, _ in seen] == [
        "0.png", "1.png", "2.png", "2b.png", "3.png", "sub/wide.png"
    ]  # fmt: skip
    for path, result, error in seen:
        if path.name == "2b.png":
            assert result is None and isinstance(error, ValueError) and "2b.png" in str(error)
        else:
            assert error is None and same(result, tiny_model(path, WORDS, **FAST))


def test_windows_of_several_pictures_together_give_the_same_labels(tiny_model, blocks, monkeypatch):
    pictures = [blocks[:56, :112], blocks[:150, :230], blocks[40:96, 30:142]]
    settings = tiny_model.settings_of(WORDS, side=None, templates="none")
    alone = [tiny_model.run(picture, settings, crop=112, stride=56) for picture in pictures]
    for table in ("VFM_WINDOWS_AT_ONCE", "CLIP_WINDOWS_AT_ONCE"):
        monkeypatch.setattr(window_batches, table, {"cpu": 5})
    together = tiny_model.run_all(pictures, settings, tiny_model.embed_for(settings), crop=112, stride=56)
    for one, other in zip(alone, together):
        assert np.array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-5)


def test_the_encoders_take_windows_of_one_size_together(tiny_model, blocks, counter, monkeypatch):
    pictures = [blocks[:56, :112], blocks[40:96, 30:142], blocks[:112, :112]]
    for table in ("VFM_WINDOWS_AT_ONCE", "CLIP_WINDOWS_AT_ONCE"):
        monkeypatch.setattr(window_batches, table, {"cpu": 8})
    assert counter.during(lambda: tiny_model.encode_all(pictures, side=None)) == {"clip": 2, "vfm": 2}


def test_words_are_embedded_once_a_run(tiny_model, album, counter):
    def texts(*names: str) -> int:
        return counter.during(lambda: list(tiny_model.batch([album / name for name in names], WORDS, **FAST)))["text"]

    texts("0.png")  # the first time the reference vocabulary of presence is read, too
    assert texts("0.png", "1.png") == texts("0.png")


def test_a_slip_in_words_or_numbers_is_raised_at_once(tiny_model, album):
    for words, numbers, message in (("red,,sky", {}, "empty word"), ("red", {"beta": 9}, "beta is 9")):
        with pytest.raises(ValueError, match=message):
            tiny_model.batch(album, words, **numbers)


def test_how_a_picture_was_read_is_warned_of(tiny_model, album):
    with pytest.warns(PictureWarning, match="stretched to black and white"):
        list(tiny_model.batch(album / "sub", WORDS, **FAST))


def test_one_that_the_model_refuses_leaves_the_others(tiny_model, blocks):
    """As where features of one picture overflow in float16."""
    bad = blocks[:56, :112] // 2

    class Refusing(ProxyCLIP):
        def run_all(self, pictures, *more, **windows):
            if any(np.array_equal(picture, bad) for picture in pictures):
                raise ValueError("features that are no finite numbers")
            return super().run_all(pictures, *more, **windows)

    model = Refusing(tiny_model.clip, tiny_model.vfm)
    segmenter = Segmenter(model, model.settings_of(WORDS, **FAST), lambda picture, pixels, result: result)
    pictures = [Found(_png(pixels), str(number)) for number, pixels in enumerate((blocks[:56, :112], bad, blocks[:56]))]
    good, refused, other = segmenter(pictures)
    assert isinstance(good.value, Segmentation) and isinstance(other.value, Segmentation)
    assert refused.value is None and "no finite numbers" in str(refused.error)


def test_too_little_memory_for_several_is_enough_for_one(tiny_model, blocks):
    class Small(ProxyCLIP):
        def run_all(self, pictures, *more, **windows):
            if len(pictures) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().run_all(pictures, *more, **windows)

    model = Small(tiny_model.clip, tiny_model.vfm)
    segmenter = Segmenter(model, model.settings_of(WORDS, **FAST), lambda picture, pixels, result: result)
    outcomes = segmenter([Found(_png(blocks[:56, :112]), name) for name in "ab"])
    assert all(isinstance(outcome.value, Segmentation) for outcome in outcomes)


def test_an_error_holds_on_to_no_picture(tiny_model, blocks):
    class Failing(ProxyCLIP):
        def run_all(self, pictures, *more, **windows):
            held.append(weakref.ref(pictures[0]))
            raise MemoryError

    held: list = []
    model = Failing(tiny_model.clip, tiny_model.vfm)
    segmenter = Segmenter(model, model.settings_of(WORDS, **FAST), lambda picture, pixels, result: result)
    (outcome,) = segmenter([Found(_png(blocks[:56, :112]), "a")])
    gc.collect()
    assert held[0]() is None and "The memory was not enough" in str(outcome.error)


def test_what_is_written_already_is_left_out(tiny_model, album, tmp_path):
    settings = tiny_model.settings_of(WORDS, **FAST)
    results = Output(tmp_path / "results")
    segmenter = Segmenter(tiny_model, settings, results.write)
    segmenter([Found(str(album / "1.png"), "1.png")])
    seen = tiny_model.batch([album / "0.png", album / "1.png"], WORDS, skip_existing=tmp_path / "results", **FAST)
    assert [path.name for path, _, _ in seen] == ["0.png"]
    seen = tiny_model.batch(album / "1.png", "red, blue", skip_existing=tmp_path / "results", **FAST)
    assert [path.name for path, _, _ in seen] == ["1.png"]  # by other words it is not done


def test_a_bar_is_shown_on_standard_error(tiny_model, album, capsys, monkeypatch):
    monkeypatch.setattr("proxyclip_core.folders.BAR", {"delay": 0, "mininterval": 0})
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    list(tiny_model.batch([album / "0.png", album / "1.png"], "mauve, teal", progress=True, **FAST))
    shown = capsys.readouterr().err
    assert "2/2" in shown and "pictures/s" in shown and "reading the words" in shown


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
