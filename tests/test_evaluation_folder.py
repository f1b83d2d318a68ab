"""Anybody's own pictures and label maps: how they are paired, and what their values mean."""

from __future__ import annotations

import json
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from proxyclip_core.evaluation import folder_data
from proxyclip_core.evaluation.scenes import UNLABELLED_16, MaskWarning
from proxyclip_core.folders import Found, Output
from proxyclip_core.segmentation import Segmentation

LABELS = np.array([[0, 1, 2, 255]], np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Makes files, a/b.jpg a picture and other names label maps, and returns the two folders."""
    for name in ("pictures", "labels"):
        (tmp_path / name).mkdir()

    def make(pictures: str, maps: str, labels: np.ndarray = LABELS) -> tuple[Path, Path]:
        for folder, names, content in (("pictures", pictures, np.zeros((1, 4, 3), np.uint8)), ("labels", maps, labels)):
            for name in names.split():
                (tmp_path / folder / name).parent.mkdir(exist_ok=True)
                Image.fromarray(content).save(tmp_path / folder / name)
        return tmp_path / "pictures", tmp_path / "labels"

    return make


@pytest.mark.parametrize("name", ["b.png", "b.jpg.png", "b.jpg.proxyclip.png", "b.proxyclip.png", "b.PNG"])
def test_a_label_map_is_called_like_its_picture(folders, name):
    (item,) = folder_data(*folders("a/b.jpg", f"a/{name}"), "sky, hill, sea").items
    assert item.name == "a/b.jpg"
    picture, labels = item.read()
    assert picture.shape == (1, 4, 3) and labels.tolist() == [[0, 1, 2, UNLABELLED_16]]


@pytest.mark.parametrize("name", ["b.tif", "b.jpg.tiff"])
def test_a_label_map_may_be_a_tiff(folders, name):
    pictures, labels = folders("b.jpg", name)
    (item,) = folder_data(pictures, labels, "sky, hill, sea").items
    assert item.read()[1].tolist() == [[0, 1, 2, UNLABELLED_16]]
    Image.new("RGB", (4, 1)).save(labels / "c.tif")  # in one folder with label maps, a picture
    Image.fromarray(LABELS).save(labels / "c.png")
    names = [item.name for item in folder_data(labels, labels, "sky, hill, sea").items]
    assert names == ["c.tif"]


@pytest.mark.parametrize("behind", [False, True])
def test_much_metadata_of_a_label_map_is_passed_over(folders, behind):
    pictures, maps = folders("b.jpg", "b.png")
    info = PngImagePlugin.PngInfo()
    info.add(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 2**21), after_idat=behind)
    Image.fromarray(LABELS).save(maps / "b.png", pnginfo=info)
    (item,) = folder_data(pictures, maps, "sky, hill, sea").items
    assert item.read()[1].tolist() == [[0, 1, 2, UNLABELLED_16]]


@pytest.mark.parametrize(("content", "kind"), [(b"", "empty"), (b"<!doctype html><html>", "a web page")])
def test_what_is_no_label_map_is_named(folders, content, kind):
    pictures, maps = folders("b.jpg", "b.png")
    (maps / "b.png").write_bytes(content)
    (item,) = folder_data(pictures, maps, "sky, hill, sea").items
    with pytest.raises(ValueError, match=rf"b.png is {kind}, no PNG or TIFF"):
        item.read()


def test_masks_of_objects_are_told_of_once(folders):
    masks = np.array([[0, 0, 255, 255]], np.uint8)
    items = folder_data(*folders("b.jpg c.jpg", "b.png c.png", masks), "sky, horse").items
    with pytest.warns(MaskWarning, match="hold 0 and 255 .* write the number of its word") as told:
        for item in items:
            item.read()
    assert len({str(note.message) for note in told}) == 1
    (item, _) = folder_data(*folders("", ""), "sky, horse", ignore=[255]).items  # as it is meant
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        item.read()


def test_values_that_are_no_class_numbers_are_refused(folders):
    pictures, labels = folders("b.jpg", "")
    for wrong in (70_000, -1):
        Image.fromarray(np.array([[0, 1, 2, wrong]], np.int32)).save(labels / "b.tif")
        (item,) = folder_data(pictures, labels, "sky, hill, sea").items
        with pytest.raises(ValueError, match=r"b\.tif holds values from .* expected class numbers from 0 to 65535"):
            item.read()


def test_numbers_may_be_stored_high_byte_first(folders):
    pictures, labels = folders("b.jpg", "")
    values = np.array([[0, 1, 2, 65_535]], ">u2")
    Image.frombytes("I;16B", (4, 1), values.tobytes()).save(labels / "b.tif")
    (item,) = folder_data(pictures, labels, "sky, hill, sea").items
    assert item.read()[1].tolist() == [[0, 1, 2, UNLABELLED_16]]


def test_a_picture_that_its_exif_turns_away_from_its_label_map_is_told_as_such(folders):
    pictures, labels = folders("", "b.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 1)).save(pictures / "b.jpg", exif=exif)
    (item,) = folder_data(pictures, labels, "sky, hill, sea").items
    with pytest.raises(ValueError, match=r"4 x 1 pixels, but .* has 1 x 4\. .* pictures are taken as their EXIF data"):
        item.read()


def test_colours_in_place_of_numbers_are_named(folders):
    pictures, labels = folders("b.jpg", "")
    Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255], [0, 0, 0], [0, 0, 0]]], np.uint8)).save(labels / "b.png")
    (item,) = folder_data(pictures, labels, "sky, hill, sea").items
    with pytest.raises(ValueError, match=r"labels.b\.png: b\.png has colours \(mode RGB\); a label map is a palette"):
        item.read()


def test_both_may_lie_in_one_folder(folders):
    _, labels = folders("", "b.png c.png.png")
    for name in ("b.jpg", "c.png"):
        Image.new("RGB", (4, 1)).save(labels / name)
    assert [item.name for item in folder_data(labels, labels, "sky, hill, sea").items] == ["b.jpg", "c.png"]


def test_values_that_do_not_count_are_the_persons_choice(folders):
    (item,) = folder_data(*folders("b.jpg", "b.png"), "sky, hill, sea", ignore=[0, 255]).items
    assert item.read()[1].tolist() == [[UNLABELLED_16, 1, 2, UNLABELLED_16]]
    (item,) = folder_data(*folders("b.jpg", "b.png"), "sky, hill, sea", ignore=[0]).items
    with pytest.raises(ValueError, match=r"b\.png holds the value 255, but the 3 classes .* with --ignore"):
        item.read()
    (item,) = folder_data(*folders("b.jpg", "b.png", LABELS.astype(np.uint16)), "sky, hill, sea").items
    with pytest.raises(ValueError, match="holds the value 255"):  # of 16 bits, it is a class like any other
        item.read()
    with pytest.raises(ValueError, match="from 0 to 65535"):
        folder_data(*folders("b.jpg", "b.png"), "sky", ignore=[-1])


def test_what_segment_wrote_goes_by_its_names(folders):
    pictures, labels = folders("b.jpg", "")
    result = Segmentation(np.array([[0, 1, 2, 2]], np.uint16), ("Sea", "sky", "pony"), np.ones((1, 4), np.float32))
    Output(labels).write(Found("", "b.jpg"), np.zeros((1, 4, 3), np.uint8), result)
    (item,) = folder_data(pictures, labels, "sky, horse; pony, sea").items
    assert item.read()[1].tolist() == [[2, 0, 1, 1]]
    (item,) = folder_data(pictures, labels, "sky, sea, boat").items
    with pytest.raises(ValueError, match="has pixels of 'pony', by the names beside it, which is none of the words"):
        item.read()
    record = json.loads((labels / "b.jpg.proxyclip.json").read_text())
    (labels / "b.jpg.proxyclip.json").write_text(json.dumps(record | {"names": ["sea", "sky", "pony", "boat"]}))
    (item,) = folder_data(pictures, labels, "sky, horse; pony, sea").items  # a boat is nowhere in it
    assert item.read()[1].tolist() == [[2, 0, 1, 1]]


def test_words_come_from_a_file_and_count_each(folders, tmp_path):
    given = folders("b.jpg", "b.png")
    (tmp_path / "words.txt").write_text("sky\nhill; mountain\nsea\n")
    data = folder_data(*given, tmp_path / "words.txt")
    assert data.classes == (("sky",), ("hill", "mountain"), ("sea",)) and data.names == ("sky", "hill", "sea")
    (tmp_path / "words.txt").write_text("sky\nhill\nsky\nsea\n")
    for words in (tmp_path / "words.txt", "sky, hill, sky, sea", ["sky", "hill", "sky"]):
        with pytest.raises(ValueError, match="'sky'"):  # taken once, it would shift those after it
            folder_data(*given, words)


def test_what_cannot_be_paired_is_named(folders, tmp_path):
    with pytest.raises(ValueError, match="There is no folder"):
        folder_data(tmp_path / "none", tmp_path, "sky")
    given = folders("b.jpg", "")
    with pytest.raises(ValueError, match="There is no label map"):
        folder_data(*given, "sky")
    folders("", "b.png c.png")
    with pytest.raises(ValueError, match=r"1 of 2 label maps .* such as c\.png\. In .*: b\.jpg\. A picture"):
        folder_data(*given, "sky")
    folders("c.jpg b.webp", "")
    with pytest.raises(ValueError, match=r"b\.png may belong to b\.jpg or to b\.webp"):
        folder_data(*given, "sky")
    (given[0] / "b.webp").unlink()
    folders("", "b.jpg.png")
    with pytest.raises(ValueError, match=r"b\.jpg has two label maps"):
        folder_data(*given, "sky")


def test_pictures_without_a_label_map_are_counted(folders):
    given = folders("a.jpg b.jpg c.webp", "a.png")
    (given[0] / "notes.txt").write_text("no picture")
    with pytest.warns(
        UserWarning, match=r"^2 of 3 pictures in .* have no label map and do not count, such as b\.jpg\.$"
    ):
        (item,) = folder_data(*given, "sky, hill, sea").items
    assert item.name == "a.jpg"


def test_names_beside_a_map_of_anothers_are_not_asked(folders):
    pictures, labels = folders("b.jpg", "b.png")
    (labels / "b.json").write_text('{"names": ["sea", "hill", "sky"]}')
    (item,) = folder_data(pictures, labels, "sky, hill, sea").items
    assert item.read()[1].tolist() == [[0, 1, 2, UNLABELLED_16]]
