"""proxyclip_core.folders.output: the files of a picture, and their record."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from proxyclip_core import Segmentation, export
from proxyclip_core.folders import Found, Output
from proxyclip_core.settings import Settings


@pytest.fixture
def result(tiny_model, four_areas) -> Segmentation:
    return tiny_model(four_areas, "sky; cloud, água", side=None, windows="whole", templates="none")


def write(folder, result: Segmentation, name: str = "a.png", **more) -> dict:
    pixels = np.zeros((*result.labels.shape, 3), np.uint8)
    return Output(folder, **more).write(Found("", name), pixels, result)


def test_a_label_map_and_its_record_say_all_of_the_result(result, tmp_path):
    write(tmp_path, result)
    assert (np.asarray(Image.open(tmp_path / "a.png.proxyclip.png")) == result.labels).all()
    text = (tmp_path / "a.png.proxyclip.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert "água" in text  # for people, not only for programs
    assert (record["picture"], record["labels"]) == ("a.png", "a.png.proxyclip.png")
    assert record["names"] == list(result.names) and record["shares"] == result.coverage()
    assert record["settings"]["computed_with"] == result.computed_with
    assert Settings.from_json(export.settings_in(text)) == result.settings


def test_the_result_of_stages_under_a_name_that_is_no_text_is_written_too(result, tmp_path):
    write(tmp_path, Segmentation(result.labels, result.names, result.confidence), "half \udcff of a character")
    record = json.loads(next(tmp_path.glob("*.json")).read_text(encoding="utf-8"))
    assert record["settings"] is None and record["picture"] == "half \udcff of a character"


@pytest.mark.parametrize("taken", ["a.png.proxyclip.png", "a.png.proxyclip.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b'"text"', b"\x89PNG\r\n\x1a\n", b'["proxyclip_label_map"]', b"\xff"])
def test_files_of_others_are_not_overwritten(result, tmp_path, taken, content):
    (tmp_path / taken).write_bytes(content)
    with pytest.raises(FileExistsError, match=f"{taken} is there already and was not written by proxyclip"):
        write(tmp_path, result)
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_bytes() == content
    write(tmp_path, result, force=True)
    assert export.is_label_png(tmp_path / "a.png.proxyclip.png")
    write(tmp_path, result)  # our own may be replaced


def test_a_write_that_fails_leaves_no_record_and_the_label_map_that_was_there(result, tmp_path, monkeypatch):
    write(tmp_path, result)
    before = (tmp_path / "a.png.proxyclip.png").read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(export.encoding.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, result)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.png.proxyclip.png": before}
