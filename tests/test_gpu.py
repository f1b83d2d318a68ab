"""On a CUDA GPU: it agrees with the CPU, and is not waited for inside loops."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

from proxyclip_core import load
from proxyclip_core.models import clip as clip_module
from proxyclip_core.models import window_batches
from tests.test_pipeline import WORDS, at_precision
from tests.test_word_cache import merge_lora

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
PICTURE = np.random.default_rng(0).integers(0, 256, (400, 800, 3), np.uint8)


@pytest.fixture(scope="module")
def on_gpu(tiny_model):
    return at_precision(tiny_model, "cuda", torch.float16)


def waits(call: Callable[[], object]) -> int:
    """How often the CPU waits for the GPU."""
    call()  # kernels are loaded
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(one.message) for one in said)  # it also says once that it is new


@pytest.mark.parametrize("dtype, least", [(torch.float32, 0.9999), (torch.float16, 0.99), (torch.bfloat16, 0.98)])
@pytest.mark.parametrize("refine", ["none", "quick", "patches", "pixels+"])
def test_labels_agree_with_the_cpu(tiny_model, blocks, dtype, least, refine):
    there, here = (
        model(blocks, WORDS, refine=refine) for model in (at_precision(tiny_model, "cuda", dtype), tiny_model)
    )
    assert (there.labels == here.labels).mean() >= least


def test_a_model_moves_there_and_back(tiny_model, blocks):
    model, expected = copy.deepcopy(tiny_model), tiny_model(blocks, WORDS)
    digest = model.clip.digest
    moved = model.to("cuda")
    assert moved.device.type == moved.encode(blocks, 224).vfm.device.type == "cuda"
    assert (moved(blocks, WORDS).labels == expected.labels).mean() >= 0.9999
    assert moved.clip.digest == digest  # a device is no change of the weights
    assert (model.to("cpu")(blocks, WORDS).labels == expected.labels).all()


def test_a_tower_that_is_tuned_in_place_embeds_its_words_anew(tiny_model):
    model = copy.deepcopy(tiny_model).to("cuda")
    before, digest = model.embed(WORDS).embeddings, model.clip.digest
    merge_lora(model.clip)
    assert not torch.allclose(model.embed(WORDS).embeddings, before, atol=0.05) and model.clip.digest != digest
    assert waits(model.clip.notice_changes) == 1


def test_the_built_in_pair_agrees_in_its_own_precision(blocks):
    there, here = load(device="cuda"), load(device="cpu", precision="float32")
    assert there.clip.dtype == torch.float16
    assert (there(blocks, WORDS).labels == here(blocks, WORDS).labels).mean() >= 0.99


def test_more_windows_wait_no_more_often(on_gpu, monkeypatch):
    monkeypatch.setattr(window_batches, "VFM_WINDOWS_AT_ONCE", {"cuda": 1})
    monkeypatch.setattr(window_batches, "CLIP_WINDOWS_AT_ONCE", {"cuda": 1})
    words, found = on_gpu.embed(WORDS), on_gpu.encode(PICTURE, 448)
    dense = on_gpu.fuse(found)
    assert waits(lambda: on_gpu.encode(PICTURE, 448)) < found.layout.count  # each goes through the encoders alone
    assert waits(lambda: on_gpu.fuse(found)) == waits(lambda: on_gpu.classify(dense, words)) == 0


def test_more_batches_of_words_wait_no_more_often(on_gpu, monkeypatch):
    monkeypatch.setattr(clip_module, "PROMPTS_AT_ONCE", 4)
    few, many = ([f"a word numbered {number}" for number in range(count)] for count in (4, 40))
    assert waits(lambda: on_gpu.clip.encode_text(many)) <= waits(lambda: on_gpu.clip.encode_text(few))
