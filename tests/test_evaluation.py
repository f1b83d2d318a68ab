"""Scores on label maps small enough to check by hand."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from proxyclip_core import evaluation, export
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


def test_a_class_that_is_nowhere_true_has_no_iou_and_no_union_but_what_was_taken_for_it():
    score = Score()
    predicted = np.where(TRUTH == 255, 2, TRUTH).astype(int)  # boat where nothing is labelled
    predicted[0, 0] = 3
    score.add(predicted, truth(), ("sky", "hill", "boat", "car", "crow"))
    assert score.iou == {"hill": 1, "sky": 7 / 8}
    assert score.union == {"sky": 8, "hill": 6, "boat": 0, "car": 1, "crow": 0}


def test_a_class_that_only_other_pictures_hold_is_not_true_here():
    score = Score()
    score.add(np.zeros((1, 2), int), truth(np.array([[0, 0]], np.uint8)))
    assert score.iou == {"sky": 1}
    score.add(np.zeros((1, 2), int), truth(np.array([[1, 1]], np.uint8)))
    assert score.iou == {"hill": 0, "sky": 2 / 4}


@pytest.mark.parametrize("dtype, unlabelled", [(np.uint8, 255), (np.uint16, 65_535)])
def test_what_is_not_labelled_is_no_class_however_many_there_are(dtype, unlabelled):
    labels = np.array([[0, 1, unlabelled, unlabelled]], dtype)
    names = tuple(f"word {number}" for number in range(300))
    score = Score()
    score.add(np.array([[0, 1, 255, 299]], np.uint16), truth(labels, names))
    assert score.miou == 1 and score.union.total() == 2


def test_a_map_of_16_bits_scores_itself_with_more_than_255_classes():
    labels = np.arange(300, dtype=np.uint16).reshape(15, 20)
    score = Score()
    score.add(labels, truth(labels, tuple(f"word {number}" for number in range(300))))
    assert score.miou == 1 and score.border_f == 1 and len(score.iou) == 300


def test_bands_of_a_large_map_count_together(monkeypatch):
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 2, (2, 7, 5)).astype(np.uint8)
    whole, banded = Score(), Score()
    whole.add(predicted, truth(labels))
    monkeypatch.setattr(evaluation.scores, "PIXELS_AT_ONCE", 11)
    banded.add(predicted, truth(labels))
    assert banded.overlap == whole.overlap and banded.union == whole.union


def test_a_prediction_that_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="labels below 2"):
        Score().add(np.full((4, 4), 2), truth())
    with pytest.raises(ValueError, match=r"expected \(4, 4\)"):
        Score().add(np.zeros((2, 2), int), truth())


def test_borders_are_scored_only_where_they_are_wanted(monkeypatch):
    monkeypatch.setattr(evaluation.scores, "border_f_score", None)  # a call would fail
    score = Score(with_borders=False)
    score.add(np.zeros((4, 4), int), truth())
    with pytest.raises(ValueError, match="No borders were scored"):
        _ = score.border_f


def test_borders_are_where_a_known_left_or_upper_neighbour_differs():
    labels = np.array([[0, 0, 1], [0, 2, 1], [3, 3, 1]])
    known = np.array([[1, 1, 1], [1, 1, 1], [1, 0, 1]], bool)
    expected = [[0, 0, 1], [0, 1, 1], [1, 0, 0]]
    assert evaluation.borders(labels, known).astype(int).tolist() == expected


def test_border_f_score_allows_two_pixels():
    labels = np.zeros((20, 20), int)
    labels[:, 10:] = 1
    assert evaluation.border_f_score(np.roll(labels, 2, axis=1)[:, 3:], labels[:, 3:]) == 1
    assert evaluation.border_f_score(np.roll(labels, 3, axis=1)[:, 4:], labels[:, 4:]) == 0
    assert evaluation.border_f_score(np.roll(labels, 3, axis=1)[:, 4:], labels[:, 4:], pixels=3) == 1
    assert evaluation.border_f_score(np.zeros((5, 5)), np.zeros((5, 5))) == 1


def test_nothing_to_score_is_said():
    with pytest.raises(ValueError, match="nothing to score"):
        _ = Score().miou


def test_label_maps_must_fit():
    with pytest.raises(ValueError, match="same height and width"):
        LabelledPicture("a.png", np.zeros((2, 2, 3), np.uint8), TRUTH, ("sky", "hill"))
    with pytest.raises(ValueError, match="holds the index 1, but there are 1 words"):
        truth(words=("sky",))


def test_scenes_are_read_and_scored(tmp_path, tiny_model, four_areas):
    labels = np.zeros(four_areas.shape[:2], np.uint8)
    labels[28:] = 1
    Image.fromarray(four_areas).save(tmp_path / "a.png")
    Image.fromarray(labels).save(tmp_path / "a_labels.png")
    entry = {"file": "a.png", "labels": "a_labels.png", "words": ["sky", "hill"]}
    (tmp_path / "scenes.json").write_text(json.dumps([entry]))
    scenes = list(evaluation.read_scenes(tmp_path / "scenes.json"))
    assert np.array_equal(scenes[0].labels, labels)
    score = evaluation.score_scenes(tiny_model, scenes, side=None)
    expected = Score()
    expected.add(tiny_model(four_areas, "sky, hill", side=None).labels, scenes[0])
    assert score.miou == expected.miou


def test_a_colour_picture_is_no_label_map(tmp_path):
    Image.new("RGB", (2, 2), (1, 1, 2)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="palette or grey"):
        evaluation.read_label_map(tmp_path / "a.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_maps_of_8_and_16_bits_are_read_as_they_are(tmp_path, dtype):
    labels = np.array([[0, 254, np.iinfo(dtype).max]], dtype)
    Image.fromarray(labels).save(tmp_path / "a.png")
    found = evaluation.read_label_map(tmp_path / "a.png")
    assert found.dtype == dtype and np.array_equal(found, labels)
    assert evaluation.is_labelled(found).tolist() == [[True, True, False]]


def test_a_result_scores_100_percent_against_what_was_written_of_it(tmp_path, tiny_model, four_areas):
    result = tiny_model(four_areas, "red, green, blue", side=None)
    (tmp_path / "labels.png").write_bytes(export.label_png(result.labels))
    labels = evaluation.read_label_map(tmp_path / "labels.png")
    score = Score()
    score.add(result.labels, LabelledPicture("a.png", four_areas, labels, result.names))
    assert score.miou == 1 and score.border_f == 1


@pytest.mark.parametrize("count", [3, 255, 256, 300])
def test_our_own_label_maps_read_as_they_were(tmp_path, count):  # labelme 68, 13, 132; detectron2 1760
    labels = (np.arange(600, dtype=np.uint16) % count).reshape(20, 30)
    (tmp_path / "labels.png").write_bytes(export.label_png(labels, count))
    found = evaluation.read_label_map(tmp_path / "labels.png")
    assert np.array_equal(found, labels) and evaluation.is_labelled(found).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_mask_in_place_of_a_label_map_is_said(tmp_path, dtype):  # mmsegmentation 1609
    top = np.iinfo(dtype).max
    Image.fromarray(np.array([[0, top]], dtype)).save(tmp_path / "mask.png")
    with pytest.warns(evaluation.MaskWarning, match=rf"mask\.png holds the values 0 and {top} alone.*which word"):
        evaluation.read_label_map(tmp_path / "mask.png")


@pytest.mark.parametrize("values", [[0, 1], [0, 0], [0, 1, 255], [255, 255], [1, 255]])
def test_a_label_map_is_no_mask(values):
    assert not evaluation.is_mask(np.array([values], np.uint8))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA", "I;16", "P"])
def test_a_label_map_in_another_mode_is_read(tmp_path, name, mode):
    labels = np.array([[0, 1], [7, 254]], np.uint8)
    grey = Image.fromarray(labels)
    (Image.fromarray(labels.astype(np.uint16)) if mode == "I;16" else grey.convert(mode)).save(tmp_path / name)
    assert np.array_equal(evaluation.read_label_map(tmp_path / name), labels)


def test_a_label_map_of_one_bit_is_read(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "a.png")
    assert evaluation.read_label_map(tmp_path / "a.png").tolist() == [[0, 1]]


def test_only_pngs_and_tiffs_of_a_bounded_size_are_label_maps(tmp_path, monkeypatch):
    Image.new("L", (4, 4)).save(tmp_path / "named.png", "bmp")  # any format, PostScript too, can bear the name
    with pytest.raises(OSError):
        evaluation.read_label_map(tmp_path / "named.png")
    Image.new("L", (4, 4)).save(tmp_path / "large.png")
    monkeypatch.setattr(evaluation.scenes, "MAX_PIXELS", 16)
    assert evaluation.read_label_map(tmp_path / "large.png").shape == (4, 4)
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


def test_correspondence_takes_windows_in_which_two_patches_are_known():
    same_and_other = torch.tensor([[[0, 0, -1]], [[0, 1, -1]]])
    assert len(evaluation.correspondence(torch.rand(2, 4, 1, 3), same_and_other).recall) == 4


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


def test_distractors_can_come_from_scenes_that_are_not_scored(tiny_model, four_areas):
    labels = np.zeros(four_areas.shape[:2], np.uint8)
    scored, other = (LabelledPicture(name, four_areas, labels, (name,)) for name in ("sky", "boat"))
    scores = evaluation.score_rows(tiny_model, [scored], ["values"], [1], words_of=[other], side=None)
    assert set(scores["values", 1].union) == {"sky", "boat"}
    with pytest.raises(ValueError, match="other scenes have 1 words, not 2"):
        evaluation.score_rows(tiny_model, [scored], ["values"], [2], words_of=[other], side=None)


def test_scenes_without_an_entry_are_named(tmp_path):
    (tmp_path / "scenes.json").write_text('[{"file": "a.png", "words": []}]')
    with pytest.raises(ValueError, match="scene 0 has no labels"):
        list(evaluation.read_scenes(tmp_path / "scenes.json"))


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "scenes.json is not JSON"),
        ('{"file": "a.png"}', "holds no list"),
        ('["a.png"]', "scene 0 has no file, labels, words"),
        ('[{"file": "a.png", "labels": "b.png", "words": "sky"}]', "words is 'sky'; expected a list"),
        ('[{"file": "a.png", "labels": "b.png", "words": ["sky, hill"]}]', "scene 0: 'sky, hill' is 2 classes"),
        ('[{"file": "no.png", "labels": "b.png", "words": ["sky"]}]', "no picture file at .*no.png"),
    ],
)
def test_an_index_that_is_none_is_named(tmp_path, content, message):
    (tmp_path / "scenes.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        list(evaluation.read_scenes(tmp_path / "scenes.json"))


def scene(name: str, *words) -> LabelledPicture:
    return LabelledPicture(name, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), words)


def test_synonyms_in_scenes_are_wordings_of_one_class(tmp_path, four_areas):
    Image.fromarray(four_areas).save(tmp_path / "a.png")
    Image.fromarray(np.zeros(four_areas.shape[:2], np.uint8)).save(tmp_path / "b.png")
    entry = {"file": "a.png", "labels": "b.png", "words": ["girl; woman", ["hill", "mountain"], '"palm, tall"']}
    (tmp_path / "scenes.json").write_text(json.dumps([entry]), encoding="utf-8-sig")
    (read,) = evaluation.read_scenes(tmp_path / "scenes.json")
    assert read.classes == (("girl", "woman"), ("hill", "mountain"), ("palm, tall",))
    assert read.names == ("girl", "hill", "palm, tall")
    assert read.words == [("girl", "woman"), ["hill", "mountain"], "palm, tall"]


def test_the_wordings_of_a_scene_are_what_the_model_is_asked(tiny_model, four_areas):
    labels = np.zeros(four_areas.shape[:2], np.uint8)
    labels[28:] = 1
    labelled = LabelledPicture("a.png", four_areas, labels, (("girl", "woman"), "hill"))
    expected = Score()
    expected.add(tiny_model(four_areas, "girl; woman, hill", side=None).labels, labelled)
    assert evaluation.score_scenes(tiny_model, [labelled], side=None).iou == expected.iou


def test_other_classes_share_no_wording_with_a_scenes_own():
    a, b = scene("a", ("girl", "woman"), "sky"), scene("b", "Woman", ("hill", "mountain"), "boat")
    classes = evaluation.classes_of([a, b, scene("c", "mountain")])
    assert classes == (("Woman",), ("boat",), ("hill", "mountain"), ("sky",))
    assert evaluation.other_classes(a, classes) == (("boat",), ("hill", "mountain"))


def test_each_scene_is_counted_when_it_is_scored(tiny_model, four_areas):
    labels, seen = np.zeros(four_areas.shape[:2], np.uint8), []
    scenes = [LabelledPicture(name, four_areas, labels, ("sky", "hill")) for name in ("a", "b")]

    def watch(values):
        for value in values:
            seen.append(value.name)
            yield value

    evaluation.score_rows(tiny_model, scenes, ["values"], side=None, progress=watch)
    assert seen == ["a", "b"]


def test_a_threshold_takes_pixels_to_the_background_that_a_scene_declares(tiny_model, four_areas):
    labels = np.zeros(four_areas.shape[:2], np.uint8)
    other, background = (LabelledPicture("a", four_areas, labels, (name, "hill")) for name in ("other", "background"))
    ways = {"side": None, "threshold": 1.0}
    assert evaluation.score_scenes(tiny_model, [other], background="first", **ways).iou == {"other": 1}
    assert evaluation.score_scenes(tiny_model, [background], background="short", **ways).iou == {"background": 1}
    with pytest.raises(ValueError, match="no class is the background"):
        evaluation.score_scenes(tiny_model, [other], **ways)
    with pytest.raises(ValueError, match="background is 'long', but class 0 of the label map is 'other'"):
        evaluation.score_scenes(tiny_model, [other], background="long", **ways)
