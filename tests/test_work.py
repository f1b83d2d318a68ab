"""The estimate of a request's work is near what is counted, and knows what is held already."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import proxyclip_core as pc
from demo import work
from proxyclip_core.models.building import build_clip_network, build_vfm_network
from tests.benchmarks import meters

SIZE_HW = (336, 448)
WORDS = "sky, green hill, house; cottage"
QUERIES = ["sky", "green hill", "house", "cottage"]
SETTINGS = pc.Settings(clip="Built-in", vfm="Built-in/8", words=WORDS)


@pytest.fixture(scope="module")
def model():
    model = pc.load("Built-in", vfm="Built-in/8", device="cpu", precision="float32")
    model.clip.word_cache = None
    return model


@pytest.fixture(scope="module")
def features(model):
    return model.encode(np.zeros((*SIZE_HW, 3), dtype=np.uint8))


def counted(call) -> float:
    return sum(meters.count_flops(call).values())


def test_stages_are_estimated_as_they_are_counted(model, features):
    dense, words = model.fuse(features), model.embed(WORDS)
    picture = np.zeros((*SIZE_HW, 3), dtype=np.uint8)
    found = work.operations(SETTINGS, SIZE_HW, QUERIES)
    assert found["clip"] + found["vfm"] == pytest.approx(counted(lambda: model.encode(picture)), rel=0.1)
    assert found["dense"] == pytest.approx(counted(lambda: model.fuse(features)), rel=0.1)
    assert found["logits"] == pytest.approx(counted(lambda: model.classify(dense, words)), rel=0.1)
    assert 0.5 < found["words"] / counted(lambda: model.embed(WORDS)) < 2


@pytest.mark.parametrize(("fusion", "reach"), [("values", "windows"), ("clip", "windows"), ("proxy", "picture")])
def test_every_fusion_is_estimated(model, features, fusion, reach):
    found = work.operations(replace(SETTINGS, fusion=fusion, reach=reach), SIZE_HW, QUERIES)
    assert found["dense"] == pytest.approx(counted(lambda: model.fuse(features, fusion=fusion, reach=reach)), rel=0.15)
    assert (found["vfm"] == 0) is (fusion != "proxy")


@pytest.mark.parametrize("name", ["DINO S/8", "DINOv2-reg S/14", "DINOv3 S/16", "SAM B/16", "C-RADIOv3 B/16"])
def test_vision_models_of_the_table_are_estimated(name):
    """By timm's own forward of one window, without memory."""
    spec = pc.find_vfm(name)
    side = spec.input_side or 336
    with torch.device("meta"):
        network, window = (
            build_vfm_network(spec, **({} if spec.input_side else {"img_size": side})),
            torch.zeros(1, 3, side, side),
        )
    found = work.operations(replace(SETTINGS, vfm=name), (336, 336), QUERIES)["vfm"]
    assert found == pytest.approx(counted(partial(network.forward_features, window)), rel=0.15)


@pytest.mark.parametrize("name", ["OpenAI B/32", "LAION H/14"])
def test_clips_of_the_table_are_estimated(name):
    spec = pc.find_clip(name)
    with torch.device("meta"):
        network, window = build_clip_network(spec), torch.zeros(1, 3, 224, 224)
    layers = len(network.visual.transformer.resblocks)
    found = work.operations(replace(SETTINGS, clip=name, side=224), (224, 224), QUERIES)["clip"]
    assert found == pytest.approx(counted(partial(network.encode_image, window)) * (layers - 1) / layers, rel=0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"side": 672},
        {"vfm": "Built-in/4"},
        {"refine": "pixels+"},
        {"reach": "picture"},
        {"scope": "regions"},
        {"refine": "sam"},
    ],
)
def test_more_to_do_is_more_work(change):
    usual, more = (sum(work.operations(s, SIZE_HW, QUERIES).values()) for s in (SETTINGS, replace(SETTINGS, **change)))
    assert more > 1.05 * usual


def test_more_words_and_a_larger_picture_are_more_work():
    few = work.operations(SETTINGS, SIZE_HW, QUERIES)
    many = work.operations(SETTINGS, SIZE_HW, QUERIES * 10)
    large = work.operations(SETTINGS, (3360, 4480), QUERIES)
    assert many["words"] == pytest.approx(10 * few["words"]) and many["clip"] == few["clip"]
    assert large["result"] > 50 * few["result"] and large["clip"] == few["clip"]


def test_words_that_were_read_before_are_no_work():
    assert work.operations(SETTINGS, SIZE_HW, QUERIES, new=())["words"] == 0


def test_what_is_held_need_not_run():
    last = {"graph", "logits", "refined", "result"}
    assert work.missing(()) == {"words", "clip", "vfm", "sam", "regions", "dense", *last}
    assert work.missing({"clip", "vfm", "words", "regions"}) == {"dense", *last}
    assert work.missing({"logits", "regions", "graph"}) == {"refined", "result"} and not work.missing({"result"})
