"""proxyclip_core.export.coco and regions: what COCO's own reader makes of them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from proxyclip_core import Segmentation, export
from proxyclip_core.export.regions import ENOUGH_IOU, regions

SIZE = (120, 160)
WAYS = [{"split": split, "polygons": polygons} for split in (False, True) for polygons in (False, True)]


def scene() -> Segmentation:
    """The background, a ring with a disc in its hole, two squares that touch nowhere, and a single pixel."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    labels, away = np.zeros(SIZE, np.uint16), np.hypot(y - 60, x - 50)
    labels[away < 40], labels[away < 25], labels[away < 12] = 1, 0, 2
    labels[10:40, 120:150] = labels[70:110, 110:155] = 3
    labels[2, 3] = 2
    confidence = np.linspace(0, 1, labels.size, dtype=np.float32).reshape(SIZE)
    return Segmentation(labels, ("else", "ring", "disc", "square", "nowhere"), confidence, has_background=True)


def read(record: dict, folder: Path) -> COCO:
    (folder / "coco.json").write_text(json.dumps(record))
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(folder / "coco.json")


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_cocos_own_reader_finds_every_word_where_it_is(tmp_path, way):
    """supervision 1114, cocoapi PR 32, torchvision 9092: KeyErrors, and masks that are empty."""
    result = scene()
    found = read(export.coco([(result, "a.png")], **way), tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        found.info()
        again = found.loadRes(found.dataset["annotations"])
    assert "ProxyCLIP" in said.getvalue() and len(again.anns) == len(found.anns)
    masks = {name: np.zeros(SIZE, bool) for name in result.names[1:]}
    for row in found.anns.values():
        masks[found.cats[row["category_id"]]["name"]] |= found.annToMask(row).astype(bool)
    for name, mask in masks.items():
        true = result.mask(name)
        union = (mask | true).sum()
        assert union == 0 if name == "nowhere" else (mask & true).sum() / union >= (0.97 if way["polygons"] else 1)
    assert [row["supercategory"] for row in found.dataset["categories"]] == [""] * 4


@pytest.mark.parametrize("polygons", [False, True])
def test_each_region_has_its_own_box_and_area(polygons):  # clipseg 32, label-studio 6556, segment-anything 631
    result = scene()
    record = export.coco([(result, "a.png")], split=True, polygons=polygons)
    (number,) = (row["id"] for row in record["categories"] if row["name"] == "square")
    squares = [row for row in record["annotations"] if row["category_id"] == number]
    assert sorted((row["bbox"], row["area"]) for row in squares) == [
        ([110, 70, 45, 40], 1800),
        ([120, 10, 30, 30], 900),
    ]
    one = next(row for row in squares if row["area"] == 900)
    assert one["score"] == pytest.approx(result.confidence[10:40, 120:150].mean(), abs=1e-4)


def test_a_word_is_one_annotation_with_box_area_and_score_where_nothing_else_is_wished():
    result = scene()
    record = export.coco([(result, "a.png")])
    for row in record["annotations"]:
        mask = rle.decode(row["segmentation"]).astype(bool)
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1]
        assert (row["bbox"], row["area"], row["iscrowd"]) == (box, mask.sum(), 0)
        assert row["score"] == pytest.approx(result.confidence[mask].mean(), abs=1e-4)
    assert record["images"] == [{"id": 1, "file_name": "a.png", "width": 160, "height": 120, "license": 0}]


def test_the_background_comes_on_wish_alone():
    names = [
        [row["name"] for row in export.coco([(scene(), "a")], background=on)["categories"]] for on in (False, True)
    ]
    assert names == [["ring", "disc", "square", "nowhere"], ["else", "ring", "disc", "square", "nowhere"]]
    with_it = export.coco([(scene(), "a")], background=True)
    assert sum(row["area"] for row in with_it["annotations"]) == SIZE[0] * SIZE[1]


def test_pictures_with_other_words_share_one_file():
    ones = np.ones((2, 2), np.float32)
    first = Segmentation(np.array([[0, 1], [1, 1]], np.uint16), ("sky", "hill"), ones)
    second = Segmentation(np.array([[0, 0], [0, 1]], np.uint16), ("hill", "cow"), ones)
    record = export.coco([(first, "a.png"), (second, "sub/b.png")])
    names = {row["id"]: row["name"] for row in record["categories"]}
    assert list(names.values()) == ["sky", "hill", "cow"]
    found = [(row["id"], row["image_id"], names[row["category_id"]], row["area"]) for row in record["annotations"]]
    assert found == [(1, 1, "sky", 1), (2, 1, "hill", 3), (3, 2, "hill", 3), (4, 2, "cow", 1)]
    assert [(row["id"], row["file_name"]) for row in record["images"]] == [(1, "a.png"), (2, "sub/b.png")]


def test_the_file_reads_the_same_in_any_code_page(tmp_path):  # labelme 922: a Windows code page
    labels = np.array([[0, 1]], np.uint16)
    result = Segmentation(labels, ("montaña 山", "“hill”"), np.ones((1, 2), np.float32))
    result.save(tmp_path / "out", formats=["coco", "labels"], file_name="montaña.png")
    record = json.loads((tmp_path / "out/coco.json").read_text(encoding="cp1252"))
    assert [row["name"] for row in record["categories"]] == list(result.names)
    assert [row["id"] for row in record["categories"]] == list(range(1, len(result.names) + 1))
    assert record["images"][0]["file_name"] == "montaña.png"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_rings_give_exactly_their_pixels_again(seed, share):
    """Of noise: regions that touch by corners, holes in holes, pixels alone, all at the edges of the picture."""
    mask = np.random.default_rng(seed).random((23, 31)) < share
    found = np.zeros(mask.shape, int)
    for region in regions(mask):
        (packed,) = rle.frPyObjects([region.ring.ravel().tolist()], *mask.shape)
        inside = np.zeros(mask.shape, bool)
        inside[region.box] = region.inside
        assert (rle.decode(packed) == inside).all()
        found += inside
    assert (found == mask).all()


def test_simplified_rings_have_few_points_and_keep_their_pixels():
    mask = scene().mask("ring")
    (exact,), (simple,) = regions(mask), regions(mask, simplified=True)
    (packed,) = rle.frPyObjects([simple.ring.ravel().tolist()], *SIZE)
    decoded = rle.decode(packed).astype(bool)
    assert len(simple.ring) < len(exact.ring) / 2
    assert (decoded & mask).sum() / (decoded | mask).sum() > 0.98
    assert not decoded[60, 50]  # the hole is still one


def test_small_regions_are_never_simplified_away():
    mask = np.random.default_rng(0).random((40, 40)) < 0.3
    for region in regions(mask, simplified=True):
        (packed,) = rle.frPyObjects([region.ring.ravel().tolist()], *mask.shape)
        decoded, inside = rle.decode(packed).astype(bool), np.zeros(mask.shape, bool)
        inside[region.box] = region.inside
        assert (decoded & inside).sum() / (decoded | inside).sum() >= ENOUGH_IOU


def test_nothing_has_no_regions():
    assert list(regions(np.zeros((3, 4), bool))) == []
