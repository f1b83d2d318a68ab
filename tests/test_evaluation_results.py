"""The scores are those of the field: by hand, and against another library's."""

from __future__ import annotations

import numpy as np
import pytest

from proxyclip_core.evaluation import BENCHMARKS, Scores, count_areas, find_benchmark
from proxyclip_core.evaluation.scenes import UNLABELLED_16
from proxyclip_core.evaluation.tables import class_table, paper_table, summary_table

TRUTH = np.array([[0, 0, 0, 1], [1, 1, 65_535, 65_535]], np.uint16)
PREDICTED = np.array([[0, 0, 1, 1], [1, 2, 2, 0]], np.uint16)
NAMES = ("sky", "hill", "boat", "horse")
SETTINGS = {
    "clip": "OpenAI B/16",
    "vfm": "DINO B/8",
    "fusion": "proxy",
    "facet": "tokens",
    "reach": "windows",
    "scope": "all",
    "refine": "none",
    "words_of": "paper",
}


def scores(predicted=PREDICTED, truth=TRUTH, names=NAMES, **more) -> Scores:
    return Scores("Set", names, count_areas(predicted, truth, len(names)), 1, settings=SETTINGS, **more)


def test_scores_by_hand():
    # sky: 2 of 3; hill: 2 of 3 + 1 pixel of the sky; boat: predicted on a pixel that counts, nowhere true; no horse
    found = scores()
    assert found.iou == {"sky": 2 / 3, "hill": 2 / 4, "boat": 0}
    assert found.miou == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    assert found.aacc == pytest.approx(4 / 6)
    assert found.macc == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_a_label_past_the_classes_is_none_of_them_but_what_is_predicted_there_counts():
    truth = np.where(TRUTH == UNLABELLED_16, 7, TRUTH)  # under a boat and a sky
    found = scores(truth=truth)
    assert found.iou == {"sky": 2 / 4, "hill": 2 / 4, "boat": 0}
    assert found.aacc == pytest.approx(4 / 6)


def test_areas_of_pictures_add_up():
    rng = np.random.default_rng(0)
    predicted, truth = rng.integers(0, 4, (2, 6, 10, 12)).astype(np.uint16)
    each = sum(count_areas(ours, theirs, 4) for ours, theirs in zip(predicted, truth))
    assert (each == count_areas(predicted.reshape(60, 12), truth.reshape(60, 12), 4)).all()


@pytest.mark.parametrize("classes", [2, 19, 171])
def test_scores_are_torchmetrics(classes):
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("torchmetrics.functional.classification", reason="torchmetrics is not installed")
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, (90, 110)).astype(np.uint16)
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, classes, truth.shape)).astype(np.uint16)
    truth[rng.random(truth.shape) < 0.2] = UNLABELLED_16
    found = scores(predicted, truth, tuple(f"class {number}" for number in range(classes)))
    pair = torch.from_numpy(predicted.astype(int)), torch.from_numpy(truth.astype(int))
    more = {"num_classes": classes, "ignore_index": UNLABELLED_16}
    assert list(found.iou.values()) == pytest.approx(metrics.multiclass_jaccard_index(*pair, average=None, **more))
    assert found.miou == pytest.approx(float(metrics.multiclass_jaccard_index(*pair, average="macro", **more)))
    assert found.aacc == pytest.approx(float(metrics.multiclass_accuracy(*pair, average="micro", **more)))
    assert found.macc == pytest.approx(float(metrics.multiclass_accuracy(*pair, average="macro", **more)))


def test_nothing_to_score_is_said():
    with pytest.raises(ValueError, match="nothing to score in 1 pictures"):
        scores(truth=np.full_like(TRUTH, UNLABELLED_16))
    with pytest.raises(ValueError, match=r"expected \(3, 2\)"):
        Scores("Set", NAMES[:2], np.ones((3, 4), int), 1)


def test_tables_show_percent_with_two_decimals_and_what_has_no_score():
    rows = class_table(scores()).splitlines()
    assert rows[0].split() == ["|", "class", "|", "IoU", "|"]
    assert [row.strip("| ").split() for row in rows[2:]] == [
        ["sky", "|", "66.67"],
        ["hill", "|", "50.00"],
        ["boat", "|", "0.00"],
        ["horse", "|", "–"],
    ]
    assert len({len(row) for row in rows}) == 1


def test_a_published_figure_is_marked_as_such_with_its_source_and_its_models():
    figure = find_benchmark("voc21").published("OpenAI B/16")
    head, _, row, *notes = summary_table([scores(published=figure, expected=1449)]).splitlines()
    assert head.rstrip("| ").endswith("published mIoU") and row.rstrip("| ").endswith("61.30")
    assert "1 of 1449" in row and "38.89" in row
    assert "not computed here: Lan et al., ECCV 2024" in notes[0] and "OpenAI B/16 and DINO B/8" in notes[0]
    assert "1 of 1449 pictures" in notes[1]
    assert "published" not in summary_table([scores()])


def test_the_papers_table_has_a_mean_only_where_nothing_is_missing():
    one = scores(expected=1)
    head, _, ours, published, *notes = paper_table({"voc21": one, "ade20k": one}).splitlines()
    titles = [cell.strip() for cell in head.strip("|").split("|")]
    cells = [cell.strip() for cell in ours.strip("|").split("|")]
    assert titles == ["mIoU", *(find_benchmark(name).title for name in BENCHMARKS), "mean"]
    assert dict(zip(titles, cells)) == dict.fromkeys(titles, "–") | {
        "mIoU": "OpenAI B/16, DINO B/8",
        "VOC21": "38.89",
        "ADE20K": "38.89",
    }
    assert published.startswith("| published: ") and published.rstrip("| ").endswith("42.29")
    assert len(notes) == 1 and "not computed here" in notes[0]


def test_other_ways_than_the_papers_stand_in_the_row():
    other = SETTINGS | {"vfm": "", "fusion": "values", "refine": "pixels", "words_of": "official"}
    row = summary_table([Scores("Set", NAMES, count_areas(PREDICTED, TRUTH, 4), 1, settings=other)])
    assert "| OpenAI B/16, fusion values, refine pixels, official names |" in row


def test_everything_is_ready_for_json():
    import json

    record = json.loads(json.dumps(scores(published=find_benchmark("voc21").published("OpenAI B/16")).as_json()))
    assert record["miou"] == scores().miou and record["iou"]["hill"] == 0.5
    assert record["pixels"]["boat"] == {"predicted": 1, "true": 0, "right": 0}
    assert record["published, not computed here"]["miou"] == 0.613
