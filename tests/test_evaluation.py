"""Scores on label maps small enough to check by hand."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from proxyclip_core import evaluation
from proxyclip_core.evaluation import LabelledPicture, Score
from proxyclip_core.windows import plan_windows

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 255, 255], [0, 0, 1, 1]], dtype=np.uint8)


def truth(labels=TRUTH, words=("sky", "hill")) -> LabelledPicture:
    return LabelledPicture("scene.png", np.zeros((*labels.shape, 3), np.uint8), labels, words)


def test_perfect_labels_score_one():
    score = Score()
    score.add(np.where(TRUTH == 255, 0, TRUTH), truth())
    assert score.miou == 1


def test_miou_by_hand():
    score = Score()
    predicted = np.zeros((4, 4), int)
    predicted[:2, 3] = 1
    score.add(predicted, truth())
    # sky: 8 of 8 + 4 pixels taken from hill; hill: 2 of 6; the unlabelled two count for nothing
    assert score.miou == pytest.approx((8 / 12 + 2 / 6) / 2)


def test_distractors_cost_but_have_no_iou_of_their_own():
    score = Score()
    predicted = np.where(TRUTH == 255, 0, TRUTH).astype(int)
    predicted[:, 0] = 2
    score.add(predicted, truth(), ("sky", "hill", "boat"))
    assert score.miou == pytest.approx((4 / 8 + 1) / 2)


def test_classes_are_pooled_over_pictures():
    score = Score()
    score.add(np.zeros((1, 2), int), truth(np.array([[0, 0]], np.uint8), ("sky",)))
    score.add(np.zeros((1, 2), int), truth(np.array([[0, 1]], np.uint8)))
    assert score.miou == pytest.approx((3 / 4 + 0) / 2)


def test_border_f_score_allows_two_pixels():
    labels = np.zeros((20, 20), int)
    labels[:, 10:] = 1
    assert evaluation.border_f_score(np.roll(labels, 2, axis=1)[:, 3:], labels[:, 3:]) == 1
    assert evaluation.border_f_score(np.roll(labels, 4, axis=1)[:, 5:], labels[:, 5:]) == 0
    assert evaluation.border_f_score(np.zeros((5, 5)), np.zeros((5, 5))) == 1


def test_nothing_to_score_is_said():
    with pytest.raises(ValueError, match="nothing to score"):
        _ = Score().miou


def test_label_maps_must_fit():
    with pytest.raises(ValueError, match="same height and width"):
        LabelledPicture("a.png", np.zeros((2, 2, 3), np.uint8), TRUTH, ("sky", "hill"))
    with pytest.raises(ValueError, match="holds the index 1, but there are 1 words"):
        truth(words=("sky",))


def test_scenes_are_read_and_scored(tmp_path, tiny_model, blocks):
    labels = np.zeros(blocks.shape[:2], np.uint8)
    labels[75:] = 1
    Image.fromarray(blocks).save(tmp_path / "a.png")
    Image.fromarray(labels).save(tmp_path / "a_labels.png")
    entry = {"file": "a.png", "labels": "a_labels.png", "words": ["sky", "hill"]}
    (tmp_path / "scenes.json").write_text(json.dumps([entry]))
    scenes = list(evaluation.read_scenes(tmp_path / "scenes.json"))
    assert np.array_equal(scenes[0].labels, labels)
    score = evaluation.score_scenes(tiny_model, scenes, side=224)
    expected = Score()
    expected.add(tiny_model(blocks, "sky, hill", side=224).labels, scenes[0])
    assert score.miou == expected.miou


def test_a_colour_picture_is_no_label_map(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="palette or grey"):
        evaluation.read_label_map(tmp_path / "a.png")


def test_only_pngs_of_a_bounded_size_are_label_maps(tmp_path, monkeypatch):
    Image.new("L", (4, 4)).save(tmp_path / "named.png", "bmp")  # any format, PostScript too, can bear the name
    with pytest.raises(OSError):
        evaluation.read_label_map(tmp_path / "named.png")
    Image.new("L", (4, 4)).save(tmp_path / "large.png")
    monkeypatch.setattr(evaluation.scenes, "MAX_PIXELS", 15)
    with pytest.raises(ValueError, match="million pixels"):
        evaluation.read_label_map(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)  # Pillow's own bound, which comes first
    with pytest.raises(ValueError, match="million pixels"):
        evaluation.read_label_map(tmp_path / "large.png")


def test_a_damaged_label_map_is_an_ordinary_error(tmp_path):
    Image.new("L", (40, 40), 3).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    for damaged in (content.replace(b"IDAT", b"\x00DAT"), content[:60]):
        (tmp_path / "damaged.png").write_bytes(damaged)
        with pytest.raises(OSError):
            evaluation.read_label_map(tmp_path / "damaged.png")


def test_correspondence_of_perfect_and_of_useless_features():
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, -1]]])
    perfect = torch.nn.functional.one_hot(labels.clamp(min=0), 2).permute(0, 3, 1, 2).float()
    assert evaluation.correspondence(perfect, labels).average_precision == pytest.approx(1)
    generator = torch.Generator().manual_seed(0)
    big = torch.randint(0, 2, (1, 30, 30), generator=generator)
    random = torch.randn(1, 8, 30, 30, generator=generator)
    assert evaluation.correspondence(random, big, pairs=50_000).average_precision == pytest.approx(0.5, abs=0.02)


def test_correspondence_needs_two_classes():
    with pytest.raises(ValueError, match="two classes"):
        evaluation.correspondence(torch.rand(1, 4, 3, 3), torch.zeros(1, 3, 3, dtype=torch.int64))


def test_labels_on_patches_follow_the_windows():
    labels = np.zeros((112, 280), np.uint8)
    labels[:, 140:] = 1
    layout = plan_windows((112, 280), None, crop=112, stride=56)
    on_patches = evaluation.labels_on_patches(labels, layout, (14, 14))
    assert on_patches.shape == (4, 14, 14)
    assert (on_patches[0] == 0).all() and (on_patches[3] == 1).all()
    assert on_patches[1, 0].tolist() == [0] * 10 + [1] * 4  # centres from pixel 56 + 4 on, every 8


def test_padding_is_unknown_on_patches():
    layout = plan_windows((57, 57), None)
    assert (evaluation.labels_on_patches(np.zeros((57, 57), np.uint8), layout, (14, 14))[0, 0] == -1).all()


def test_borders_of_what_is_not_labelled_do_not_count():
    labels = np.zeros((20, 30), np.uint8)
    labels[:, 15:] = 1
    truth = labels.copy()
    truth[4:12, 2:8] = evaluation.UNLABELLED
    assert evaluation.border_f_score(labels, truth) == 1.0
    labels[6:9, 3:6] = 1  # a slip where nothing is known
    assert evaluation.border_f_score(labels, truth) == 1.0


def test_distractors_can_come_from_scenes_that_are_not_scored(tiny_model, blocks):
    labels = np.zeros(blocks.shape[:2], np.uint8)
    scored, other = (LabelledPicture(name, blocks, labels, (name,)) for name in ("sky", "boat"))
    scores = evaluation.score_rows(tiny_model, [scored], ["values"], [1], words_of=[other], side=224)
    assert set(scores["values", 1].union) == {"sky", "boat"}
    with pytest.raises(ValueError, match="other scenes have 1 words, not 2"):
        evaluation.score_rows(tiny_model, [scored], ["values"], [2], words_of=[other], side=224)


def test_scenes_without_an_entry_are_named(tmp_path):
    (tmp_path / "scenes.json").write_text('[{"file": "a.png", "words": []}]')
    with pytest.raises(ValueError, match="scene 0 has no labels"):
        list(evaluation.read_scenes(tmp_path / "scenes.json"))
