"""What each stage may cost, counted and never timed.

Axes: B windows, N patches of the VFM, M of CLIP, D CLIP width, C VFM width, E embedding, P prompts, L tokens.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

from proxyclip_core import attention, readout
from proxyclip_core.types import ClassLogits
from proxyclip_core.windows import plan_windows
from tests.benchmarks import meters, tasks
from tests.conftest import TINY_CLIP

ROOT = Path(__file__).parent.parent
CLIP_WIDTH, CLIP_LAYERS = TINY_CLIP["clip_vision"]["width"], TINY_CLIP["clip_vision"]["layers"]
EMBEDDING = TINY_CLIP["embed_dim"]
VFM_WIDTH, VFM_LAYERS = 48, 2
SLACK = 1.02  # resampling of positions and the like


def flops(action) -> float:
    """Operations of an action, in all precisions."""
    return sum(meters.count_flops(action).values())


def block_flops(tokens: int, width: int, mlp_ratio: float) -> float:
    """One transformer block: queries, keys, values and output (4 D x D), MLP (2 of D x ratio D), two N x N products."""
    return 2 * tokens * width**2 * (4 + 2 * mlp_ratio) + 4 * tokens**2 * width


@pytest.fixture(scope="module")
def features(tiny_model):
    """Two windows of 112 x 112: B = 2, N = 14 * 14, M = 7 * 7."""
    picture = np.random.default_rng(0).integers(0, 256, (112, 168, 3), dtype=np.uint8)
    return tiny_model.encode(picture, side=None, crop=112, stride=56)


@pytest.fixture(scope="module")
def model_without_cache(tiny_clip, tiny_vfm):
    from proxyclip_core import ProxyCLIP

    return ProxyCLIP(tiny_clip, tiny_vfm)


def test_encoding_leaves_out_clips_last_block(tiny_model):
    picture = np.zeros((224, 224, 3), dtype=np.uint8)
    clip_patches, vfm_patches = 14 * 14, 28 * 28
    clip = (CLIP_LAYERS - 1) * block_flops(1 + clip_patches, CLIP_WIDTH, 2) + 2 * clip_patches * 3 * 16**2 * CLIP_WIDTH
    vfm = VFM_LAYERS * block_flops(1 + vfm_patches, VFM_WIDTH, 4) + 2 * vfm_patches * 3 * 8**2 * VFM_WIDTH
    assert clip + vfm <= flops(lambda: tiny_model.encode(picture, side=None)) * SLACK
    assert flops(lambda: tiny_model.encode(picture, side=None)) <= (clip + vfm) * SLACK


def test_encoding_costs_the_same_for_every_window(tiny_model):
    one, three = (np.zeros((112, width, 3), dtype=np.uint8) for width in (112, 224))
    cost = [flops(lambda: tiny_model.encode(picture, side=None, crop=112, stride=56)) for picture in (one, three)]  # noqa: B023
    assert 0.99 * 3 * cost[0] < cost[1] <= 3 * cost[0]  # CLIP's positions are resampled once for all of them


def test_one_attention_matrix_serves_all_heads(tiny_model, features):
    windows, patches, clip_patches = 2, 14 * 14, 7 * 7
    attending = 2 * patches**2 * (VFM_WIDTH + CLIP_WIDTH)  # S = F F^T, then W V, once and not once a head
    values = 2 * clip_patches * CLIP_WIDTH**2  # on CLIP's own grid, and no queries or keys
    projecting = 2 * patches * CLIP_WIDTH * (CLIP_WIDTH + EMBEDDING)
    assert flops(lambda: tiny_model.fuse(features)) <= windows * (attending + values + projecting) * SLACK


def test_attention_is_made_in_rows(features, monkeypatch):
    made = []
    whole = attention.attention_rows

    def spy(*arguments, **more):
        made.append(whole(*arguments, **more))
        return made[-1]

    monkeypatch.setattr(attention, "ENTRIES_AT_ONCE", 50 * 196)
    monkeypatch.setattr(attention, "attention_rows", spy)
    attention.proxy_attention(features.vfm, torch.zeros(2, 196, CLIP_WIDTH), 1.2, 3.0)
    assert max(rows.numel() for rows in made) <= 50 * 196
    assert sum(rows.shape[0] for rows in made) == 2 * 196


def test_other_settings_and_a_click_run_no_encoder(tiny_model, features, counter):
    words = tiny_model.embed("sky, hill")
    dense = tiny_model.fuse(features)
    assert counter.during(lambda: tiny_model.classify(dense, words).segment()) == {}
    click = flops(lambda: tiny_model.seed_attention(features, (20, 20)))
    assert click <= 2 * 196 * VFM_WIDTH * SLACK + 4 * 112 * 14 * 112  # one row of S, and one map to pixels


def text_flops(nodes: int, prompts: int) -> int:
    """Of the last block, here the only one: keys and values of every node, the rest for the end tokens alone."""
    width = TINY_CLIP["clip_text"]["width"]
    at_the_end = 2 * width**2 * (2 + 2 * 4) + 4 * nodes * width + 2 * width * EMBEDDING
    return 2 * nodes * 2 * width**2 + prompts * at_the_end


@pytest.mark.parametrize(("words", "tokens"), [("sky", 3), ("sky " * 75, 77)])
def test_a_prompt_costs_its_own_length(tiny_clip, words, tokens):
    """tokens: with the start and the end."""
    cost = flops(lambda: tiny_clip.encode_text([words]))
    assert text_flops(tokens, 1) / SLACK <= cost <= text_flops(tokens, 1) * SLACK


def test_what_prompts_begin_with_is_read_once(tiny_clip):
    words = ["sky", "hill", "horse", "cloud"]
    cost = flops(lambda: tiny_clip.encode_text([f"a photo of a {word}." for word in words]))
    nodes = 5 + len(words) * 3  # the start and four words; then each its word, the full stop and the end
    assert cost <= text_flops(nodes, len(words)) * SLACK


def test_a_long_prompt_does_not_make_all_others_long(tiny_clip):
    cost = flops(lambda: tiny_clip.encode_text(["hill", "sky " * 75]))
    assert cost <= text_flops(3 + 76, 2) * SLACK


def test_words_of_all_classes_go_through_the_text_tower_at_once(model_without_cache, monkeypatch):
    seen = []
    whole = model_without_cache.clip.encode_text
    monkeypatch.setattr(
        model_without_cache.clip, "encode_text", lambda prompts, *more: (seen.append(len(prompts)), whole(prompts))[1]
    )
    model_without_cache.embed("sky; cloud, hill, horse", templates="simple7")
    assert seen == [4 * 7]


def test_no_array_of_all_classes_at_picture_size(monkeypatch):
    count, size_hw = 100, (300, 400)
    monkeypatch.setattr(readout, "ENTRIES_AT_ONCE", 100_000)
    read_out = readout.PatchReader(plan_windows(size_hw, side=None), torch.rand(2, count, 8, 8)).blocks()
    blocks = [(rows, chunk, block.shape) for rows, chunk, block in read_out]
    assert max(np.prod(shape) for _, _, shape in blocks) <= 100_000
    seen = sum((rows.stop - rows.start) * (chunk.stop - chunk.start) for rows, chunk, _ in blocks)
    assert seen == count * size_hw[0]  # and every class at every row once


@pytest.mark.parametrize("what", ["segment", "scores", "scores_at"])
def test_reading_out_allocates_nothing_of_classes_times_pixels(tiny_model, what):
    count, size_hw = 100, (600, 800)
    layout = plan_windows(size_hw, side=None)
    logits = ClassLogits(layout, torch.rand(layout.count, count, 8, 8), tasks.vocabulary(tiny_model, count))
    calls = {
        "segment": logits.segment,
        "scores": lambda: logits.scores(3),
        "scores_at": lambda: logits.scores_at((5, 5)),
    }
    with LargestTensor() as largest:
        calls[what]()
    assert 0 < largest.entries <= max(readout.ENTRIES_AT_ONCE, logits.values.numel(), np.prod(size_hw))
    assert largest.entries < count * np.prod(size_hw) / 10


class LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes how many entries the largest new tensor has."""

    entries = 0

    def __torch_dispatch__(self, function, types, arguments=(), more=None):
        made = function(*arguments, **(more or {}))
        given = {one.untyped_storage().data_ptr() for one in tree_leaves(arguments) if isinstance(one, torch.Tensor)}
        for tensor in made if isinstance(made, tuple) else (made,):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.entries = max(self.entries, tensor.untyped_storage().nbytes() // tensor.element_size())
        return made


def test_importing_the_core_brings_in_no_heavy_library():
    program = "import sys, proxyclip_core; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ("gradio", "matplotlib", "timm", "open_clip")
    done = subprocess.run([sys.executable, "-c", program, *heavy], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
