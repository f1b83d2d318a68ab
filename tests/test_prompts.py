"""Parts of classes prompt SAM: what it is asked, and what becomes of its masks, which are made by hand here."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from segment_anything.utils.transforms import ResizeLongestSide

from proxyclip_core import ClassLogits, RegionLogits, SamViews, readout
from proxyclip_core.refine import prompts, refine
from proxyclip_core.refine.prompts import connected, prompt
from proxyclip_core.windows import plan_windows

SIZE_HW = (112, 168)  # 14 x 21 patches of 8 pixels


class ByHand:
    """In the place of SAM: keeps what it is asked, and answers with the masks it was given, one a prompt."""

    device = torch.device("cpu")

    def __init__(self, *answers: tuple[np.ndarray, float], place=(0, 0, *SIZE_HW)) -> None:
        self.answers, self.place, self.asked = list(answers), place, []
        self.transform, self.input_size = ResizeLongestSide(256), (171, 256)
        self.model = SimpleNamespace(prompt_encoder=SimpleNamespace(mask_input_size=(64, 64)))

    def predictors(self, views: SamViews):
        yield self, self.place

    def predict_torch(self, points, labels, boxes, mask_input, multimask_output, return_logits):
        assert (labels == 1).all() and not multimask_output and return_logits
        some = [self.answers.pop(0) for _ in points]
        for point, box, mask in zip(points[:, 0], boxes, mask_input):
            self.asked.append(SimpleNamespace(point=point.tolist(), box=box.tolist(), mask=mask[0]))
        masks = np.stack([np.where(mask, 4.0, -4.0) * strength for mask, _, strength in self._full(some)])
        return torch.tensor(masks[:, None]).float(), torch.tensor([[guess] for _, guess, *_ in some]), None

    @staticmethod
    def _full(some):
        return [(answer[0], answer[1], answer[2] if len(answer) > 2 else 1.0) for answer in some]


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE_HW, bool)
    mask[top:bottom, left:right] = True
    return mask


NOTHING: Any = (box(0, 0, 0, 0), 1.0)


@pytest.fixture
def logits(tiny_model) -> ClassLogits:
    """Green in patches 4..9 x 3..8, blue in 4..9 x 12..17 with less certainty, red all around."""
    values = torch.zeros(1, 3, 14, 21)
    values[0, 0] = 0.2
    values[0, 1, 4:10, 3:9] = 0.30
    values[0, 1, 6, 5] = 0.32
    values[0, 2, 4:10, 12:18] = 0.25
    layout = plan_windows(SIZE_HW, None, "whole")
    return ClassLogits(layout, values, tiny_model.embed("red, green, blue", templates="none"), "a picture")


@pytest.fixture
def views() -> SamViews:
    return SamViews(torch.zeros(1, 1, 1, 1), SIZE_HW, ((0, 0, *SIZE_HW),), False, "a picture", "SAM", "digest")


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_those_that_touch_by_sides_and_corners(seed):
    labels = np.random.default_rng(seed).integers(-1, 2, (40, 30))
    found = connected(labels)
    assert ((found == -1) == (labels == -1)).all()
    for label in (0, 1):
        expected, count = scipy.ndimage.label(labels == label, np.ones((3, 3)))
        pairs = {(one, other) for one, other in zip(expected[labels == label], found[labels == label])}
        assert len(pairs) == count == len({other for _, other in pairs})


def test_one_long_part_is_one():
    labels = np.full((41, 41), -1)
    labels[::2] = 0
    labels[1::4, -1] = labels[3::4, 0] = 0  # a snake
    assert len(np.unique(connected(labels))) == 2


def test_a_part_asks_by_its_best_point_its_box_and_its_scores(logits, views):
    sam = ByHand(NOTHING, NOTHING, NOTHING)  # red is the largest
    prompt(logits, views, sam)
    scale = 256 / 168
    _, green, blue = sam.asked
    assert green.box == pytest.approx([24 * scale, 32 * scale, 72 * scale, 80 * scale], abs=3 * scale)
    assert green.point == pytest.approx([5.5 * 8 * scale, 6.5 * 8 * scale], abs=3 * scale)
    assert blue.box == pytest.approx([96 * scale, 32 * scale, 144 * scale, 80 * scale], abs=3 * scale)
    scores = logits.scores("green")
    assert green.mask.shape == (64, 64) and not green.mask[43:].any()  # what the picture does not fill
    assert float(green.mask[20, 18]) == pytest.approx(0.005 * scores[52, 47], rel=0.02)
    assert float(green.mask[2, 60]) == pytest.approx(0.005 * scores[5, 157], rel=0.1)


class Elsewhere(ByHand):
    """SAM on another device than the logits, which says what it is given there, and answers with nothing."""

    device = torch.device("meta")

    def predict_torch(self, points, labels, boxes, mask_input, multimask_output, return_logits):
        self.asked += [(part.device.type, part.dtype) for part in (points, labels, boxes, mask_input)]
        return torch.zeros(len(points), 1, *self.place[2:]), torch.zeros(len(points), 1), None


def test_sam_is_asked_on_its_own_device(logits, views):
    sam = Elsewhere()
    found = prompt(logits, views, sam)
    floats = ("meta", torch.float32)
    assert sam.asked == [floats, ("meta", torch.int32), floats, floats]
    assert found.numbers.device.type == found.values.device.type == "cpu"


def test_a_masks_pixels_take_the_class_that_asked_and_the_rest_stays(logits, views):
    mask, before = box(20, 10, 90, 80), logits.segment()
    found = prompt(logits, views, ByHand(NOTHING, (mask, 0.9), NOTHING))
    after = found.segment()
    assert (after.labels[mask] == 1).all() and (before.labels[mask] == 1).mean() < 0.6
    assert np.array_equal(after.labels[~mask], before.labels[~mask])
    assert np.array_equal(after.confidence[~mask], before.confidence[~mask])


def test_a_mask_is_as_sure_as_the_part_that_asked_for_it(logits, views):
    mask = box(20, 10, 90, 80)
    found = prompt(logits, views, ByHand(NOTHING, (mask, 0.9), NOTHING))
    reader = readout.PatchReader(replace(logits.layout, size_hw=(56, 84)), logits.values)
    query, _ = readout.best_query(reader)
    maps = torch.cat([block for _, _, block in reader.blocks()], dim=1)
    expected = maps[:, torch.from_numpy(query == 1)].mean(dim=1)
    confidence = (expected * readout.LOGIT_SCALE).softmax(dim=0)[1]
    assert found.segment().confidence[mask] == pytest.approx(float(confidence), abs=1e-5)
    assert found.scores_at((15, 25))["green"] == pytest.approx(float(confidence), abs=1e-5)


def test_masks_that_sam_does_not_trust_are_dropped(logits, views):
    found = prompt(logits, views, ByHand(NOTHING, (box(20, 10, 90, 80), 0.79), NOTHING))
    assert not found.numbers.any() and np.array_equal(found.segment().labels, logits.segment().labels)


def test_where_masks_overlap_the_stronger_one_has_the_pixel(logits, views):
    green, blue = box(20, 10, 90, 100), box(20, 60, 90, 150)
    for strengths, label in (((1.0, 1.0), 1), ((0.1, 1.0), 2)):  # green's scores are higher; then its mask is fainter
        answers = ByHand(NOTHING, (green, 0.9, strengths[0]), (blue, 0.9, strengths[1]))
        labels = prompt(logits, views, answers).segment().labels
        assert (labels[20:90, 60:100] == label).all() and (labels[20:90, 100:150] == 2).all()


@pytest.mark.parametrize(
    ("settings", "asked"),
    [({}, 3), ({"area": 600}, 1), ({"area": 10**6}, 0), ({"most": 2}, 2), ({"score": 0.9}, 2), ({"score": 1.0}, 0)],
)
def test_small_parts_and_low_scores_do_not_ask(logits, views, settings, asked):
    sam = ByHand(NOTHING, NOTHING, NOTHING)
    found = prompt(logits, views, sam, **settings)
    assert len(sam.asked) == asked and np.array_equal(found.segment().labels, logits.segment().labels)


def test_a_view_is_asked_for_what_lies_in_it_in_its_own_pixels(logits, views):
    """A view of the right half, as a VFM's window would be, that goes on below the picture."""
    place = (32, 84, 112, 84)
    answer = np.zeros((112, 84), bool)
    answer[10:40, 5:50] = True
    sam = ByHand((np.zeros((112, 84), bool), 1.0), (answer, 0.9), place=place)
    sam.transform, sam.input_size = ResizeLongestSide(112), (112, 84)
    found = prompt(logits, replace(views, places=(place,)), sam)
    assert sam.asked[1].box == pytest.approx([96 - 84, 0, 144 - 84, 80 - 32], abs=3)
    assert (found.segment().labels[42:72, 89:134] == 2).all() and found.numbers[:, :84].sum() == 0
    assert not sam.asked[1].mask[47:].any() and sam.asked[1].mask[2:40, 8:30].all()


def test_prompts_are_asked_some_at_a_time(logits, views, monkeypatch):
    answers = [NOTHING, (box(20, 10, 90, 80), 0.9), (box(20, 100, 90, 150), 0.9)]
    together = prompt(logits, views, ByHand(*answers))
    monkeypatch.setattr(prompts, "AT_ONCE", 1)
    assert torch.equal(prompt(logits, views, ByHand(*answers)).numbers, together.numbers)


def test_a_picture_that_sam_has_not_read_is_refused(logits, views):
    with pytest.raises(ValueError, match="SAM has read another picture"):
        prompt(logits, replace(views, picture="other"), ByHand())


def test_a_call_asks_sam(tiny_model, four_areas):
    result = tiny_model(four_areas, "red, green, blue", side=None, refine="sam-prompts")
    features = tiny_model.encode(four_areas, side=None)
    logits = tiny_model.classify(tiny_model.fuse(features), tiny_model.embed("red, green, blue"))
    views = tiny_model.sam_views(four_areas)
    found = refine(logits, features, four_areas, "sam-prompts", views=views, model=tiny_model.sam)
    assert isinstance(found, RegionLogits) and np.isfinite(result.confidence).all()
    assert np.array_equal(result.labels, found.segment().labels) and result.settings.refine == "sam-prompts"
    with pytest.raises(ValueError, match="needs views= and model="):
        refine(logits, features, four_areas, "sam-prompts")


def test_sam_itself_is_asked_of_windows_too(tiny_model, tiny_sam, blocks):
    model = type(tiny_model)(tiny_model.clip, tiny_sam.encoder, templates="none", sam=tiny_sam)
    features = model.encode(blocks, 224, crop=112)
    logits = model.classify(model.fuse(features), model.embed("red, green, blue"))
    found = model.refine(logits, features, blocks, "sam-prompts", iou=-1e9, score=0.0)
    assert found.numbers.shape == (150, 230) and len(np.unique(found.segment().labels)) >= 1
