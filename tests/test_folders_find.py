"""Which pictures files, folders and patterns stand for."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from proxyclip_core.export import label_png
from proxyclip_core.folders import find_pictures


@pytest.fixture
def album(tmp_path, monkeypatch):
    """A folder with pictures, a text, hidden files and what an earlier run wrote; it is in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.JPG", "a.png", "sea/gull.webp", "sea/deep/eel.tiff", ".hidden.png", ".cache/x.png", "notes.txt"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"anything")
    for name in ("a.png.proxyclip.png", "a.png.proxyclip.masks/001_sky.png", "results/old.png"):
        path = tmp_path / "album" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"anything")
    return tmp_path / "album"


def names(*found) -> list[str]:
    return [picture.name for picture in find_pictures(*found)]


def test_a_folder_is_its_pictures_by_name_with_their_sub_folders(album):
    assert names("album", "album/results") == ["a.png", "b.JPG", "sea/deep/eel.tiff", "sea/gull.webp"]


def test_label_maps_of_ours_are_passed_over_whatever_they_are_called(album):
    (album / "labels.png").write_bytes(label_png(np.zeros((4, 4), np.uint16)))
    Image.new("P", (4, 4)).save(album / "palette.png")
    assert "labels.png" not in names("album") and "palette.png" in names("album")


def test_a_pattern_keeps_the_folders_below_what_it_begins_with(album):
    assert names("album/**/*.webp") == ["sea/gull.webp"]
    assert names("album/*/*.webp") == ["sea/gull.webp"]
    assert names("album/?.*") == ["a.png", "b.JPG"]
    assert names(str(album.absolute() / "sea" / "**" / "*.*")) == ["deep/eel.tiff", "gull.webp"]


def test_files_are_taken_as_they_are_and_once(album):
    assert names(["album/notes.txt", album / "a.png", "album/a.png", "album/../album/a.png"]) == ["notes.txt", "a.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(album):
    (album / "a[1].png").write_bytes(b"anything")
    assert names("album/a[1].png") == ["a[1].png"]


def test_a_pattern_passes_over_what_lies_in_folders_of_results(album):
    os.mkdir("album/sea/gull.webp.proxyclip.cutouts")
    Image.new("RGB", (4, 4)).save("album/sea/gull.webp.proxyclip.cutouts/000_sky.png")
    assert "000_sky.png" not in "".join(names("album/**/*.png") + names("album"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_a_folder_is_not_waited_for(album):
    os.mkfifo("album/pipe.png")
    assert "pipe.png" in names("album")  # and named as bad when its turn comes


def test_linked_folders_are_not_followed(album):
    os.symlink(album, album / "sea" / "again")
    assert len(names("album", "album/results")) == 4


@pytest.mark.parametrize(
    "given, message",
    [
        ("nothing", "no picture file or folder at 'nothing'"),
        ("album/*.bmp", "No pictures match 'album/\\*.bmp'; looked for files ending in .jpg"),
        ("empty", "The folder 'empty' holds no pictures: it is empty"),
        ("texts", "holds no pictures: found 1 other files, such as b.txt. Looked, in its sub-folders too, for"),
        (
            ["album/sea/gull.webp", "other"],
            "album/sea/gull.webp and other/gull.webp would both be written to gull.webp.proxyclip.png",
        ),
    ],
)
def test_what_cannot_be_is_named(album, given, message):
    for folder in ("empty", "texts", "other"):
        os.mkdir(folder)
    for file in ("texts/b.txt", "other/gull.webp"):
        with open(file, "wb"):
            pass
    with pytest.raises(ValueError, match=message):
        find_pictures(given)
