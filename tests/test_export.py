"""A result as files: every file against the labels, and settings that give the same masks again."""

from __future__ import annotations

import copy
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from proxyclip_core import ProxyCLIP, Segmentation, cli, export
from proxyclip_core.settings import Settings

AWKWARD = "sky; cloud, CON, ../up \\ down, água, “hill”"


@pytest.fixture(scope="module")
def model(tiny_clip, tiny_vfm) -> ProxyCLIP:
    """The tiny model under names that the registries know."""
    encoders = copy.copy(tiny_clip), copy.copy(tiny_vfm)
    encoders[0].name, encoders[1].name = "OpenAI B/16", "DINO B/8"
    return ProxyCLIP(*encoders)


@pytest.fixture(scope="module")
def result(model, blocks) -> Segmentation:
    return model(blocks, AWKWARD, beta=1.3, gamma=4.0, windows="whole", templates="simple7")


@pytest.fixture
def archive(result, blocks, tmp_path) -> zipfile.ZipFile:
    export.write_zip(tmp_path / "all.zip", result, blocks, result.settings, "blocks.png")
    return zipfile.ZipFile(io.BytesIO((tmp_path / "all.zip").read_bytes()))


def picture_in(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(archive.read(name))))


def test_every_file_of_the_zip_agrees_with_the_labels(archive, result, blocks):
    labels, names = result.labels, list(result.names)
    assert archive.testzip() is None
    assert Image.open(io.BytesIO(archive.read("labels.png"))).mode == "P"
    assert (picture_in(archive, "labels.png") == labels).all()
    assert archive.read("names.txt").decode().splitlines() == names == json.loads(archive.read("names.json"))
    masks = sorted(name for name in archive.namelist() if name.startswith("masks/"))
    assert len(masks) == len(names)
    for index, name in enumerate(masks):
        assert (picture_in(archive, name) == np.where(labels == index, 255, 0)).all()
    arrays = np.load(io.BytesIO(archive.read("result.npz")))
    assert (arrays["labels"] == labels).all() and arrays["names"].tolist() == names
    assert (arrays["confidence"] == result.confidence).all()
    assert (picture_in(archive, "overlay.png") == blocks).all()
    assert json.loads(archive.read("coco.json")) == export.coco(result, "blocks.png")


def test_the_settings_in_the_zip_say_what_computed_them(archive, result, tmp_path, blocks):
    text = archive.read("settings.json").decode()
    assert Settings.from_json(text) == result.settings
    assert json.loads(text)["computed_with"] == result.computed_with != {}
    export.write_zip(tmp_path / "b.zip", result, blocks, result.settings, "blocks.png", {"device": "another"})
    with zipfile.ZipFile(tmp_path / "b.zip") as other:
        assert json.loads(other.read("settings.json"))["computed_with"] == {"device": "another"}


def test_the_command_line_gives_the_same_masks(archive, model, result, blocks, tmp_path, monkeypatch):
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    archive.extract("settings.json", tmp_path)
    monkeypatch.setattr(cli.options, "load", lambda *names, **options: model)
    where = ["--settings", str(tmp_path / "settings.json"), "--out", str(tmp_path)]
    assert cli.main(["segment", str(tmp_path / "blocks.png"), *where]) == 0
    assert (np.asarray(Image.open(tmp_path / "blocks.png.proxyclip.png")) == result.labels).all()


def test_coco_masks_decode_to_the_labels(result):
    written = json.loads(json.dumps(export.coco(result, "blocks.png")))
    numbers = {row["id"]: row["name"] for row in written["categories"]}
    assert list(numbers.values()) == list(result.names)
    seen = np.zeros(result.labels.shape, dtype=int)
    for row in written["annotations"]:
        mask = rle.decode(row["segmentation"]).astype(bool)
        assert (mask == result.mask(numbers[row["category_id"]])).all()
        assert row["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        left, top, width, height = row["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
        seen += mask
        assert (row["image_id"], row["iscrowd"]) == (written["images"][0]["id"], 0)
    assert (seen == 1).all()
    assert [row["id"] for row in written["annotations"]] == list(range(1, len(written["annotations"]) + 1))
    assert written["images"] == [{"id": 1, "file_name": "blocks.png", "width": 230, "height": 150}]


def test_without_pycocotools_only_coco_is_missing_and_the_remedy_is_said(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ValueError, match=r"pip install 'proxyclip\[export\]'"):
        export.coco(result, "blocks.png")
    export.write_label_map(tmp_path / "a.png", result, "blocks.png")


def test_mask_names_are_safe_and_never_the_same():
    names = [export.mask_name(index, name) for index, name in enumerate(["a b", "a-b", "../x", "CON", "山", "x" * 300])]
    assert names == ["000_a_b.png", "001_a_b.png", "002_x.png", "003_CON.png", "004.png", f"005_{'x' * 60}.png"]


def test_a_label_map_and_its_record_say_all_of_the_result(result, tmp_path):
    export.write_label_map(tmp_path / "a.png", result, "blocks.png")
    assert (np.asarray(Image.open(tmp_path / "a.png")) == result.labels).all()
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert "água" in text  # for people, not only for programs
    assert (record["picture"], record["labels"]) == ("blocks.png", "a.png")
    assert record["names"] == list(result.names) and record["shares"] == result.coverage()
    assert record["settings"]["computed_with"] == result.computed_with
    assert Settings.from_json(export.settings_in(text)) == result.settings


def test_a_label_map_of_stages_is_written_too(result, tmp_path):
    stages = Segmentation(result.labels, result.names, result.confidence)
    export.write_label_map(tmp_path / "a.png", stages, "half \udcff of a character")
    record = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert record["settings"] is None and record["picture"] == "half \udcff of a character"


@pytest.mark.parametrize("taken", ["a.png", "a.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b'"text"', b"\x89PNG\r\n\x1a\n", b'["proxyclip_label_map"]', b"\xff"])
def test_files_of_others_are_not_overwritten(result, tmp_path, taken, content):
    (tmp_path / taken).write_bytes(content)
    with pytest.raises(FileExistsError, match=f"{taken} is there already and was not written by proxyclip"):
        export.write_label_map(tmp_path / "a.png", result, "blocks.png")
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_bytes() == content
    export.write_label_map(tmp_path / "a.png", result, "blocks.png", force=True)
    assert export.is_label_png(tmp_path / "a.png")
    export.write_label_map(tmp_path / "a.png", result, "blocks.png")  # our own may be replaced


def test_up_to_255_classes_are_shown_in_colours_of_their_own():  # labelme 74, Depth-Anything 107
    labels = np.arange(255, dtype=np.uint16).reshape(15, 17)
    image = Image.open(io.BytesIO(export.label_png(labels)))
    assert image.mode == "P" and (np.asarray(image) == labels).all()
    shown = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len({tuple(colour) for colour in shown.tolist()}) == 255 and shown.max(axis=1).min() > 0


def test_a_label_map_takes_a_legends_colours_and_bits_by_the_count_of_all_classes():
    labels = np.array([[0, 1]], np.uint16)
    shown = Image.open(io.BytesIO(export.label_png(labels, 2, np.array([[9, 8, 7], [250, 0, 1]], np.uint8))))
    assert np.asarray(shown.convert("RGB")).tolist() == [[[9, 8, 7], [250, 0, 1]]]
    file = export.label_png(labels)
    assert file[24] == 8 and file[25] == 3  # bits and kind of the PNG: a palette
    assert Image.open(io.BytesIO(export.label_png(labels, 256))).mode == "I;16"


def test_a_picture_without_the_mark_is_not_ours(result, tmp_path):
    Image.fromarray(result.labels).save(tmp_path / "a.png")
    assert not export.is_label_png(tmp_path / "a.png")
    assert not export.is_label_png(tmp_path / "none.png")


def test_a_write_that_fails_leaves_what_was_there(result, tmp_path, monkeypatch):
    export.write_label_map(tmp_path / "a.png", result, "blocks.png")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def half_written(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half_written)
    with pytest.raises(OSError, match="No space"):
        export.write_label_map(tmp_path / "a.png", result, "blocks.png")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
