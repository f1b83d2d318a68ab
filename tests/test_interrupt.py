"""proxyclip_core.interrupt: a long computation ends where a check says so, and leaves everything as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proxyclip_core import find_vfm
from proxyclip_core.interrupt import checkpoint, interruptible
from proxyclip_core.models.checkpoints import read_weights
from proxyclip_core.models.loading import build_vfm_network, load_clip, load_vfm, vfm_encoder
from proxyclip_core.models.weights import find_local
from tests.replay import golden_sam

METHODS = ("patches", "pixels", "pixels+", "quick", "sam", "sam-prompts")


class Enough(Exception):
    pass


class Count:
    """A check that ends what computes at its call number `most`."""

    def __init__(self, most: float = float("inf")) -> None:
        self.calls, self.most = 0, most

    def __call__(self) -> None:
        self.calls += 1
        if self.calls >= self.most:
            raise Enough


def check_ends_anywhere(compute) -> None:
    """At the first, the middle and the last of the places where it is asked; it begins anew then."""
    count = Count()
    with interruptible(count):
        wanted = compute()
    assert count.calls
    for most in (1, count.calls // 2 + 1, count.calls):
        ended = Count(most)
        with pytest.raises(Enough), interruptible(ended):
            compute()
        assert ended.calls == most
    assert np.array_equal(compute(), wanted)


def test_encoders_are_asked_between_all_their_blocks(tiny_model, blocks):
    count = Count()
    with interruptible(count):
        layout = tiny_model.encode(blocks, side=224).layout
    clip, vfm = tiny_model.clip.network.visual.transformer.resblocks, tiny_model.vfm.network.blocks
    assert count.calls == -(-layout.count // 4) * (len(clip) - 1) + layout.count * len(vfm)


@pytest.mark.parametrize("name", ["DINOv2 S/14", "DINOv3 S/16"])
def test_networks_that_timm_runs_are_asked_too(name):
    spec = find_vfm(name)
    encoder = vfm_encoder(build_vfm_network(spec, depth=2), spec)
    check_ends_anywhere(lambda: encoder.encode_windows(torch.ones(1, 3, 112, 112)).numpy())


def test_sams_encoder_is_asked_too():
    check_ends_anywhere(lambda: golden_sam(256).encode_windows(torch.ones(1, 3, 112, 112)).numpy())


def test_every_stage_can_be_ended_and_begun_anew(tiny_model, blocks):
    m = tiny_model
    check_ends_anywhere(lambda: m.encode(blocks, 224, "whole").vfm.numpy())
    features = m.encode(blocks, 224, "whole")
    check_ends_anywhere(lambda: m.embed("sky, hill").embeddings.numpy())
    words = m.embed("sky, hill")
    for reach in ("windows", "picture", "anchors"):
        check_ends_anywhere(lambda reach=reach: m.fuse(features, reach=reach).tokens.numpy())
    logits = m.classify(m.fuse(features), words)
    check_ends_anywhere(lambda: logits.segment().confidence)
    for method in METHODS:
        check_ends_anywhere(lambda method=method: m.refine(logits, features, blocks, method).segment().confidence)


@pytest.mark.parametrize("load", [load_clip, load_vfm])
def test_loading_can_be_ended_and_begun_anew(load):
    def weights():
        encoder = load("Built-in", torch.device("cpu"), torch.float32)
        return np.concatenate([tensor.detach().numpy().ravel() for tensor in encoder.network.state_dict().values()])

    check_ends_anywhere(weights)


def test_what_ends_the_reading_of_a_file_is_not_taken_for_damage():
    def check():
        raise ValueError("the time is up")

    with pytest.raises(ValueError, match=r"^the time is up$"), interruptible(check):
        read_weights(find_local(find_vfm("Built-in")))


def test_outside_nothing_is_asked():
    count = Count()
    with interruptible(count):
        checkpoint()
    checkpoint()
    assert count.calls == 1
