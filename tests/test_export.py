"""A result as files: every file against the labels, and settings that give the same masks again."""

from __future__ import annotations

import copy
import io
import json
import sys
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from proxyclip_core import ProxyCLIP, Segmentation, cli, evaluation, export
from proxyclip_core.computed_with import SettingsWarning
from proxyclip_core.drawing.colours import colours_of
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


@pytest.fixture(scope="module")
def archive(result, blocks, tmp_path_factory) -> zipfile.ZipFile:
    path = tmp_path_factory.mktemp("saved") / "all.zip"
    result.save(path, blocks, list(export.FORMATS), file_name="blocks.png", logits=None)
    return zipfile.ZipFile(io.BytesIO(path.read_bytes()))


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
    assert (picture_in(archive, "overlay.png") == result.overlay(blocks)).all()
    assert json.loads(archive.read("coco.json")) == export.coco([(result, "blocks.png")])


def test_the_settings_in_the_zip_say_what_computed_them(archive, result):
    text = archive.read("settings.json").decode()
    assert Settings.from_json(text) == result.settings
    assert json.loads(text)["computed_with"] == result.computed_with != {}


def test_settings_repeat_the_result_exactly_and_say_where_they_may_not(archive, model, result, blocks):
    same = Settings.from_json(archive.read("settings.json").decode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = model.run(blocks, same)
    assert (again.labels == result.labels).all() and (again.confidence == result.confidence).all()
    other = Settings.from_json(same.to_json(result.computed_with | {"clip_weights": "1f2e"}))
    with pytest.warns(SettingsWarning, match=r"CLIP's weights 1f2e \(here"):
        model.run(blocks, other)


def test_the_command_line_gives_the_same_masks(archive, model, result, blocks, tmp_path, monkeypatch):
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    archive.extract("settings.json", tmp_path)
    monkeypatch.setattr(cli.options, "load", lambda *names, **options: model)
    where = ["--settings", str(tmp_path / "settings.json"), "--out", str(tmp_path)]
    assert cli.main(["segment", str(tmp_path / "blocks.png"), *where]) == 0
    assert (np.asarray(Image.open(tmp_path / "blocks.png.proxyclip.png")) == result.labels).all()


def test_names_of_files_are_peoples_own_made_safe_and_never_the_same():
    words = ["a b", "a-b", "../x", "CON", "山", "água", "हिन्दी", "a\udcff\u202eb", "x" * 300, "山" * 300]
    names = [export.mask_name(index, name) for index, name in enumerate(words)]
    assert names[:8] == [
        "000_a_b.png",
        "001_a_b.png",
        "002_x.png",
        "003_CON.png",
        "004_山.png",
        "005_água.png",
        "006_हिन्दी.png",
        "007_a_b.png",
    ]
    assert all(len(name.encode()) < 200 for name in names) and len(set(names)) == len(names)


@pytest.mark.parametrize("crop", [False, True])
def test_cut_outs_are_transparent_around_each_word(result, blocks, crop):  # segment-anything 221, FastSAM 195
    files = dict(export.files_of(result, blocks, ["cutouts"], crop=crop))
    found = np.unique(result.labels).tolist()
    assert list(files) == [f"cutouts/{export.mask_name(index, result.names[index])}" for index in found]
    for index, content in zip(found, files.values()):
        cut, mask = np.asarray(Image.open(io.BytesIO(content))), result.labels == index
        if crop:
            rows, columns = np.nonzero(mask)
            box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert (cut[..., 3] == np.where(mask[box], 255, 0)).all()
            assert (cut[mask[box]][:, :3] == blocks[mask]).all()
        else:
            assert (cut[..., 3] == np.where(mask, 255, 0)).all() and (cut[mask][:, :3] == blocks[mask]).all()


def test_the_arrays_hold_the_logits_on_wish(model, blocks):
    features = model.encode(blocks)
    logits = model.classify(model.fuse(features), model.embed("sky, hill; slope"))
    (content,) = dict(export.files_of(logits.segment(), formats=["npz"], logits=logits)).values()
    arrays = np.load(io.BytesIO(content))
    assert (arrays["logits"] == logits.values.numpy()).all() and arrays["query_class"].tolist() == [0, 1, 1]
    assert arrays["queries"].tolist() == ["sky", "hill", "slope"]
    assert [tuple(corner) for corner in arrays["window_corners"]] == features.layout.corners
    refined = model.refine(logits, features, blocks, "pixels")
    arrays = np.load(
        io.BytesIO(dict(export.files_of(refined.segment(), formats=["npz"], logits=refined))["result.npz"])
    )
    assert (arrays["refined"] == refined.values.numpy()).all()


def test_what_a_result_cannot_give_is_said_or_left_out(result, blocks, monkeypatch):
    alone = Segmentation(result.labels, result.names, result.confidence)
    usual = {"labels.png", "names.txt", "names.json", "coco.json"}
    assert {name for name, _ in export.files_of(alone) if "/" not in name} == usual
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert {name for name, _ in export.files_of(alone) if "/" not in name} == usual - {"coco.json"}
    for formats, message in (
        (["overlay"], "needs the picture"),
        (["cutouts"], "needs the picture"),
        (["settings"], "which knows its settings"),
        (["labels", "yolo"], "formats is 'yolo'; expected a list of some of labels, overlay"),
        ("labels", "formats is 'labels'; expected a list"),
        (["coco"], r"pip install 'proxyclip\[export\]'"),
    ):
        with pytest.raises(ValueError, match=message):
            dict(export.files_of(alone, formats=formats))
    with pytest.raises(ValueError, match="has 115 x 150 pixels, but the result 230 x 150"):
        alone.overlay(blocks[:, ::2])


@pytest.mark.parametrize(("name", "own"), [("turned.jpg", "turned_upright.jpg"), ("turned.png", "turned_upright.png")])
def test_a_picture_that_its_file_turns_comes_along_upright(model, blocks, tmp_path, name, own):
    """label-studio 6608, CVAT 1059: labels that were laid over the file as it lies do not fit."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(blocks)).save(tmp_path / name, exif=exif.tobytes())
    result = model(tmp_path / name, "sky, hill", windows="whole", templates="none")
    result.save(tmp_path / "out", tmp_path / name, ["labels", "coco"])
    assert json.loads((tmp_path / "out/coco.json").read_text())["images"][0]["file_name"] == own
    with Image.open(tmp_path / "out" / own) as picture, Image.open(tmp_path / "out/labels.png") as labels:
        assert picture.size == labels.size == (230, 150) and 0x0112 not in picture.getexif()
        assert np.abs(np.asarray(picture).astype(int) - blocks).mean() < 8  # JPEG's loss
    again = model(tmp_path / "out" / own, "sky, hill", windows="whole", templates="none")
    assert (again.labels == result.labels).mean() > 0.95


def test_a_picture_that_lies_as_it_is_seen_does_not_come_along(result, blocks, tmp_path):
    Image.fromarray(blocks).save(tmp_path / "a.png")
    names = [name for name, _ in export.files_of(result, tmp_path / "a.png", ["coco", "settings"])]
    assert names == ["coco.json", "settings.json"]


def test_a_folder_is_written_again_and_holds_no_masks_of_words_from_before(result, blocks, tmp_path):
    few = Segmentation(np.zeros((2, 3), np.uint16), ("sky",), np.ones((2, 3), np.float32))
    result.save(tmp_path / "out", blocks, list(export.FORMATS))
    (tmp_path / "out/masks/mine.png").write_bytes(b"mine")
    few.save(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out/masks").iterdir()) == ["000_sky.png", "mine.png"]
    assert json.loads((tmp_path / "out/names.json").read_text()) == ["sky"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("name", ["labels.png", "overlay.png", "names.txt", "coco.json", "settings.json", "result.npz"])
def test_a_file_of_somebody_else_stays_and_so_does_all_of_the_folder(result, blocks, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b'{"info": {"description": "theirs"}}')
    with pytest.raises(FileExistsError, match=f"{name} is there already"):
        result.save(tmp_path / "out", blocks, list(export.FORMATS))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    result.save(tmp_path / "out", blocks, list(export.FORMATS), force=True)
    result.save(tmp_path / "out", blocks, list(export.FORMATS))  # our own may be replaced


def test_a_zip_of_somebody_else_stays_and_a_file_is_no_folder(result, tmp_path):
    zipfile.ZipFile(tmp_path / "a.zip", "w").close()
    with pytest.raises(FileExistsError, match="was not written by proxyclip"):
        result.save(tmp_path / "a.zip")
    result.save(tmp_path / "a.zip", force=True)
    result.save(tmp_path / "a.zip", formats=["settings"])
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == ["settings.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file; give a folder"):
        result.save(tmp_path / "file")


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_what_cannot_be_finished_leaves_nothing(result, tmp_path, monkeypatch, name):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.files, "npz", full)
    with pytest.raises(OSError, match="No space"):
        result.save(tmp_path / name, formats=["labels", "npz"])
    assert list(tmp_path.iterdir()) == []


def test_a_result_is_met_in_full_by_its_own_label_map(result, blocks, tmp_path):  # labelme 68, 13, 132; detectron2 1760
    result.save(tmp_path / "out", formats=["labels"])
    labels = evaluation.read_label_map(tmp_path / "out/labels.png")
    truth = evaluation.LabelledPicture("blocks", blocks, labels, json.loads((tmp_path / "out/names.json").read_text()))
    score = evaluation.Score(with_borders=False)
    score.add(result.labels, truth, result.names)
    assert score.miou == 1


def test_label_maps_have_the_colours_of_the_legend(result, tmp_path):  # labelme 74, Depth-Anything 107
    result.save(tmp_path / "out", formats=["labels"])
    with Image.open(tmp_path / "out/labels.png") as image:
        shown = np.asarray(image.convert("RGB"))
    assert (shown == colours_of(result)[result.labels]).all()


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
