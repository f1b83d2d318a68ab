"""The benchmarks' files are read as their releases mean them: every value, raw and converted."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from proxyclip_core.evaluation import BENCHMARKS, MissingDataError, benchmark_data, find_benchmark
from proxyclip_core.evaluation.benchmarks import DATA
from proxyclip_core.evaluation.context import CATEGORIES
from proxyclip_core.evaluation.scenes import UNLABELLED_16
from tests.tiny_sets import CONTEXT, LAYOUTS, write_all, write_context_json, write_set

PICTURE = np.zeros((8, 32, 3), np.uint8)
VALUES = np.arange(256, dtype=np.uint8).reshape(8, 32)  # every value that a label map of 8 bits can hold
COUNTS = {
    "voc21": 21,
    "voc20": 20,
    "context60": 60,
    "context59": 59,
    "coco-object": 81,
    "coco-stuff": 171,
    "cityscapes": 19,
    "ade20k": 150,
}
OFF = -1  # does not count
NONE = -2  # counts, but is none of the classes

THINGS = [value for value in range(90) if value not in (11, 25, 28, 29, 44, 65, 67, 68, 70, 82)]
CITIES = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]

# Set and layout -> the class of a value.
MEANINGS = {
    ("voc21", "voc"): lambda value: value if value <= 20 else NONE,
    ("voc20", "voc"): lambda value: OFF if value == 0 else value - 1 if value <= 20 else NONE,
    ("context60", "context"): lambda value: value if value <= 59 else NONE,
    ("context59", "context"): lambda value: OFF if value == 0 else value - 1 if value <= 59 else NONE,
    ("coco-object", "coco-object converted"): lambda value: value if value <= 80 else NONE,
    ("coco-object", "coco raw"): lambda value: THINGS.index(value) + 1 if value in THINGS else 0,
    ("coco-stuff", "coco-stuff converted"): lambda value: value if value <= 170 else NONE,
    ("coco-stuff", "coco raw"): lambda value: (
        THINGS.index(value) if value in THINGS else value - 11 if 91 <= value <= 181 else NONE
    ),
    ("cityscapes", "cityscapes converted"): lambda value: value if value <= 18 else NONE,
    ("cityscapes", "cityscapes raw"): lambda value: CITIES.index(value) if value in CITIES else OFF,
    ("ade20k", "ade"): lambda value: OFF if value == 0 else value - 1 if value <= 150 else NONE,
}
for other in ("coco raw in mmsegmentation's folders", "coco raw, the zip's name"):
    for name in ("coco-object", "coco-stuff"):
        MEANINGS[name, other] = MEANINGS[name, "coco raw"]


def meaning(labels: np.ndarray, classes: int) -> np.ndarray:
    """Classes as numbers, with OFF and NONE for the others."""
    found = np.where(labels < classes, labels.astype(int), NONE)
    return np.where(labels == UNLABELLED_16, OFF, found)


@pytest.mark.parametrize(("name", "layout"), MEANINGS, ids=" ".join)
def test_every_value_of_a_label_map_means_what_the_release_says(name, layout, tmp_path):
    write_set(tmp_path, layout, PICTURE, [VALUES])
    (item,) = benchmark_data(name, tmp_path).items
    picture, labels = item.read()
    expected = [MEANINGS[name, layout](value) for value in range(255)]
    expected.append(0 if name == "coco-object" and "raw" in layout else OFF)  # 255
    assert picture.shape == (8, 32, 3)
    assert meaning(labels, COUNTS[name]).ravel().tolist() == expected


def test_the_tables_reach_every_class():
    for name, count in COUNTS.items():
        for table in find_benchmark(name).tables.values():
            assert set(range(count)) <= set(table.tolist())


def test_a_half_converted_set_is_whole(tmp_path):
    ids = write_set(tmp_path, "coco raw in mmsegmentation's folders", PICTURE, [VALUES, VALUES])
    write_set(tmp_path, "coco-stuff converted", PICTURE, [np.full_like(VALUES, 170)])
    first, second = benchmark_data("coco-stuff", tmp_path).items
    assert [first.name, second.name] == ids
    assert (first.read()[1] == 170).all() and second.read()[1][0, 12] == 11


def test_context_is_read_from_its_own_annotations(tmp_path):
    pytest.importorskip("pycocotools", reason="the extra 'export' is not installed")
    left, top, all_of_it = (np.zeros((8, 32), bool) for _ in range(3))
    left[:, :16], top[:2], all_of_it[:] = True, True, True
    # aeroplane (2) everywhere, wood (458) on the left, then a category that is none of the 59 at the top
    write_context_json(tmp_path, PICTURE, [(2, all_of_it), (458, left), (1, top)])
    expected = np.full((8, 32), 1)
    expected[:, :16], expected[:2] = 59, 0
    data = benchmark_data("context60", tmp_path)
    assert [item.name for item in data.items] == ["2008_000001", "2008_000002"]
    assert (data.items[0].read()[1] == expected).all()
    labels = benchmark_data("context59", tmp_path).items[0].read()[1]
    assert (meaning(labels, 59) == np.where(expected == 0, OFF, expected - 1)).all()


def test_contexts_list_says_which_pictures_of_its_annotations_count(tmp_path):
    pytest.importorskip("pycocotools", reason="the extra 'export' is not installed")
    write_context_json(tmp_path, PICTURE, [(2, np.ones((8, 32), bool))])
    listed = tmp_path / CONTEXT / "ImageSets" / "SegmentationContext" / "val.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("2008_000003\n")
    assert [item.name for item in benchmark_data("context60", tmp_path).items] == ["2008_000003"]
    listed.write_text("2008_000009\n")
    with pytest.raises(ValueError, match="has no picture '2008_000009'"):
        benchmark_data("context60", tmp_path)


def test_annotations_for_another_size_are_refused(tmp_path):
    pytest.importorskip("pycocotools", reason="the extra 'export' is not installed")
    write_context_json(tmp_path, PICTURE, [(2, np.ones((9, 32), bool))])
    with pytest.raises(ValueError, match="region is for"):
        benchmark_data("context60", tmp_path).items[0].read()


@pytest.mark.parametrize("content", ["{", "[]", '{"images": [{}], "annos_segmentation": []}'])
def test_other_files_than_contexts_annotations_are_named(tmp_path, content):
    (tmp_path / "trainval_merged.json").write_text(content)
    with pytest.raises(ValueError, match="not understood as Pascal Context's"):
        benchmark_data("context60", tmp_path)


@pytest.mark.parametrize(
    ("name", "layout", "own"),
    [
        ("voc21", "voc", "VOCdevkit/VOC2012"),
        ("voc20", "voc", "VOCdevkit"),
        ("context60", "context", "VOCdevkit/VOC2010"),
        ("coco-stuff", "coco-stuff converted", "coco_stuff164k"),
        ("coco-object", "coco-object converted", "coco_object"),
        ("cityscapes", "cityscapes raw", "cityscapes"),
        ("ade20k", "ade", "ade"),
        ("ade20k", "ade", "ade/ADEChallengeData2016"),
    ],
)
def test_the_root_may_be_the_sets_own_folder(name, layout, own, tmp_path):
    write_set(tmp_path, layout, PICTURE, [VALUES])
    assert len(benchmark_data(name, tmp_path / own).items) == len(benchmark_data(name, tmp_path).items) == 1


def test_only_the_pictures_of_the_list_are_taken_in_its_order(tmp_path):
    ids = write_set(tmp_path, "voc", PICTURE, [VALUES, VALUES, VALUES])
    files = "".join(f"/JPEGImages/{id}.jpg /SegmentationClass/{id}.png\n" for id in (ids[2], ids[0]))
    by_windows = f"\ufeff{ids[2]}\r\n{ids[0]}\r\n"
    for content in (f"{ids[2]}\n{ids[0]}\n\n", by_windows, files):
        (tmp_path / LAYOUTS["voc"].list).write_bytes(content.encode())
        assert [item.name for item in benchmark_data("voc21", tmp_path).items] == [ids[2], ids[0]]


def test_a_wrong_folder_is_told_what_was_looked_for_what_is_there_and_how_it_should_be(tmp_path):
    (tmp_path / "VOCdevkit" / "VOC2012" / "Annotations").mkdir(parents=True)
    with pytest.raises(MissingDataError) as said:
        benchmark_data("voc21", tmp_path)
    text = str(said.value)
    assert "There is no VOC21" in text
    assert "looked for: SegmentationClass/ID.png, with ImageSets/Segmentation/val.txt" in text
    assert f"found in {tmp_path}: VOCdevkit/" in text and "VOC2012: Annotations/" in text
    assert f"expected: {tmp_path}/VOCdevkit/VOC2012/JPEGImages/ID.jpg" in text
    with pytest.raises(ValueError, match="There is no folder"):
        benchmark_data("voc21", tmp_path / "none")


def test_a_set_with_holes_is_refused(tmp_path):
    ids = write_set(tmp_path, "voc", PICTURE, [VALUES, VALUES])
    (tmp_path / LAYOUTS["voc"].picture.format(ids[0])).unlink()
    with pytest.raises(ValueError, match=rf"1 of 2 label maps .* have no picture; .*{ids[0]}\.jpg"):
        benchmark_data("voc21", tmp_path)
    (tmp_path / LAYOUTS["voc"].labels.format(ids[1])).unlink()
    with pytest.raises(ValueError, match=rf"lists 2 pictures, but 1 of them have no label map, such as .*{ids[1]}"):
        benchmark_data("voc21", tmp_path)


def test_files_that_do_not_fit_are_named(tmp_path):
    write_set(tmp_path, "ade", PICTURE, [VALUES])
    (item,) = benchmark_data("ade20k", tmp_path).items
    Image.new("L", (5, 5)).save(item.source.path)
    with pytest.raises(ValueError, match=r"has 5 x 5 pixels, but the picture \S+ has 32 x 8"):
        item.read()
    Image.fromarray(np.full((8, 32), 300, np.uint16)).save(item.source.path)
    with pytest.raises(ValueError, match="holds the value 300"):
        item.read()
    item.source.path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"ADE_val_00000001\.png could not be read"):
        item.read()


@pytest.mark.parametrize("names", ["paper", "official"])
@pytest.mark.parametrize("name", BENCHMARKS)
def test_both_lists_have_a_word_for_every_class(name, names, tmp_path):
    write_all(tmp_path, PICTURE)
    data = benchmark_data(name, tmp_path, names)
    assert len(data.classes) == len(data.names) == len(set(data.names)) == COUNTS[name]
    assert all(word and word == word.strip() for group in data.classes for word in group)
    assert names == "paper" or data.classes == find_benchmark(name).official


def test_the_papers_words_are_its_authors():
    words = {name: find_benchmark(name).wordings("paper") for name in BENCHMARKS}
    assert [len(words[name][0]) for name in ("voc21", "coco-object", "context60")] == [26, 17, 1]
    assert words["context60"][0] == ("background",)
    assert words["voc21"][4] == words["voc20"][3] == ("ship",)
    assert words["voc21"][11] == words["voc20"][10] == ("table",)
    assert [words[name][index] for name, index in (("cityscapes", 6), ("ade20k", 136), ("coco-stuff", 9))] == [
        ("trafficlight",)
    ] * 3
    assert words["coco-object"][10] == ("traffic light",)
    assert words["ade20k"][1] == ("building",)  # no synonyms
    assert all(" " not in word for name in ("ade20k", "coco-stuff", "cityscapes") for (word,) in words[name])
    with pytest.raises(ValueError, match="expected one of paper, official"):
        find_benchmark("voc21").wordings("mine")


def test_the_papers_settings_and_figures():
    thresholds = {"voc21": 0.2, "context60": 0.15, "coco-object": 0.25}
    for name in BENCHMARKS:
        benchmark = find_benchmark(name)
        side, crop = {"cityscapes": (448, 224), "ade20k": (448, 336)}.get(name, (336, 336))
        assert benchmark.settings == {
            "side": side,
            "crop": crop,
            "stride": 112,
            "resizing": "bilinear",
            "threshold": thresholds.get(name, 0),
            "background": "first" if name in thresholds else "none",
        }
    pictures = {name: find_benchmark(name).pictures for name in BENCHMARKS}
    assert sum(pictures.values()) == 2 * 1449 + 2 * 5104 + 2 * 5000 + 500 + 2000
    for clip, mean in (("OpenAI B/16", 0.423), ("LAION H/14", 0.444)):
        figures = [find_benchmark(name).published(clip) for name in BENCHMARKS]
        assert {figure.clip for figure in figures} == {clip}
        assert np.mean([figure.miou for figure in figures]) == pytest.approx(mean, abs=5e-4)
    assert find_benchmark("voc21").published("Built-in").clip == "OpenAI B/16"


def test_the_categories_of_context_are_60_in_rising_order():
    assert len(CATEGORIES) == 60 and list(CATEGORIES) == sorted(set(CATEGORIES))
    assert (CATEGORIES[0], CATEGORIES[1], CATEGORIES[-1]) == (0, 2, 458)


def test_an_unknown_benchmark_is_named(tmp_path):
    with pytest.raises(ValueError, match="No benchmark is called 'voc'; these are: voc21"):
        benchmark_data("voc", tmp_path)


def test_each_table_names_its_source():
    assert DATA["sources"] and DATA["published"]["source"] and DATA["context_categories"]["source"]
