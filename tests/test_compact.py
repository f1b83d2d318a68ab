"""demo.draw.compact and attend.js: the browser computes what the model says. Node runs the page's own script."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import proxyclip_core as pc
from demo.draw.compact import MOST_BYTES, Compact, compact_attention, compact_similarity
from demo.examples import FOLDER, read_examples
from demo.tabs.parts import script
from proxyclip_core.attention import attention_rows, similarity_mean, unit_patches

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not on the PATH; it runs the page's own script")
RUN = """
const fs = require("fs"), [told, patches, cases] = JSON.parse(fs.readFileSync(0, "utf8"));
const source = unpacked(told, Uint8Array.from(fs.readFileSync(process.argv[1])).buffer), out = [];
for (const how of cases) for (const patch of patches) {
  const attended = attend(source, patch, how);
  out.push([attended, ...source.values]);
}
process.stdout.write(JSON.stringify(out));
"""
PAPER, STRONG = {"beta": 1.2, "gamma": 3.0}, {"beta": 1.6, "gamma": 12.0}  # the paper's, and the built-in models'
CORRELATION, EQUAL = 0.995, 0.98  # between the browser's map and the exact one; the share of patches masked in both


@pytest.fixture
def browser(tmp_path):
    """Runs attend.js: (cases, patches, 1 + N), how many patches are attended to and the values."""

    def run(compact: Compact, patches: list[int], cases: list[dict], **more) -> np.ndarray:
        (tmp_path / "data.bin").write_bytes(compact.tobytes())
        count, directions = compact.left.shape
        told = {"count": count, "directions": directions, "symmetric": compact.is_symmetric, "mean": compact.mean}
        given = json.dumps([told | more, patches, cases])
        command = [str(NODE), "-e", script("attend") + RUN, str(tmp_path / "data.bin")]
        found = subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout
        return np.array(json.loads(found)).reshape(len(cases), len(patches), 1 + count)

    return run


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def seeds_of(count: int) -> list[int]:
    return list(range(3, count, count // 12))


def check(browser, patches: torch.Tensor) -> None:
    """(N, C) patches of unit length: every stage for a dozen seeds."""
    compact, seeds, mean = compact_similarity(patches), seeds_of(len(patches)), similarity_mean(patches[None])[0]
    assert compact.nbytes <= MOST_BYTES
    cases = [{"stage": stage, **how} for how in (PAPER, STRONG) for stage in ("cosine", "normalised", "softmax")]
    for case, found in zip(cases, browser(compact, seeds, cases), strict=True):
        exact = attention_rows(patches, torch.tensor(seeds), mean, **case)
        shown = exact.clamp(min=0) if case["stage"] == "normalised" else exact
        alike = [correlation(one, other[1:]) for one, other in zip(shown.numpy(), found)]
        assert np.mean(alike) >= CORRELATION and min(alike) >= 0.98, case
        if case["stage"] == "softmax":
            assert ((exact.numpy() > 0) == (found[:, 1:] > 0)).mean(axis=1).min() >= EQUAL
            assert np.allclose(found[:, 1:].sum(axis=1), 1, atol=1e-4)
            assert (found[:, 0] == (found[:, 1:] > 0).sum(axis=1)).all()  # attended


@pytest.fixture(scope="module")
def builtin() -> dict[str, pc.ProxyCLIP]:
    return {vfm: pc.load("Built-in", vfm) for vfm in ("Built-in/8", "Built-in/4")}


GALLERY = read_examples(FOLDER)
CASES = [("Built-in/8", place) for place in range(len(GALLERY))] + [("Built-in/4", 0)]


@pytest.mark.parametrize(("vfm", "place"), CASES)
def test_the_browsers_map_is_the_exact_one_over_the_gallery(browser, builtin, vfm, place):
    features = builtin[vfm].encode(GALLERY[place].picture, windows="whole")
    check(browser, unit_patches(features.vfm)[0])


def test_the_browsers_map_is_the_exact_one_for_features_of_768_channels(browser, rng):
    energy = torch.arange(1, 769) ** -1.5  # of the main directions, falling as in a trained network
    features = (
        torch.randn(2646, 768, generator=rng) * energy.sqrt() + 0.03
    )  # alike by 0.2 on average, as the built-in's
    check(browser, F.normalize(features, dim=1))


def test_clips_own_attention_is_the_exact_one(browser, builtin):
    model = builtin["Built-in/8"]
    features = model.encode(GALLERY[0].picture, windows="whole")
    with torch.no_grad():
        exact = model.clip.own_attention(features.clip_tokens, head=None)
    compact, seeds = compact_attention(exact), seeds_of(len(exact))
    assert compact.nbytes <= MOST_BYTES
    (found,) = browser(compact, seeds, [{"stage": "softmax", **PAPER}])
    for row, seed in zip(found[:, 1:], seeds):
        assert correlation(row, exact[seed].numpy()) >= CORRELATION
        assert row.sum() == pytest.approx(float(exact[seed].sum()), abs=1e-4)  # less what goes to the class token


def test_a_patch_that_is_like_none_attends_to_itself(browser):
    patches = F.normalize(torch.eye(4) + 3, dim=1)  # nearly uniform: 1.6 m is above every similarity
    (found,) = browser(compact_similarity(patches), [2], [{"stage": "softmax", **STRONG}])
    assert found.tolist() == [[1, 0, 0, 1, 0]]


def test_a_scope_keeps_attention_within(browser):
    patches = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.2], [1.0, 0.0], [0.0, 1.0]]), dim=1)
    how = {"stage": "softmax", "beta": 1.0, "gamma": 3.0}
    compact = compact_similarity(patches)
    (free,), (kept,) = browser(compact, [0], [how]), browser(compact, [0], [how], scopes=[1, 1, 2, 2])
    assert (free[0, 1:] > 0).tolist() == [True, True, True, False]
    assert (kept[0, 1:] > 0).tolist() == [True, True, False, False]


def test_the_bytes_of_a_source_have_a_bound_however_many_patches_there_are(rng):
    patches = F.normalize(torch.randn(30_000, 16, generator=rng), dim=1)
    assert compact_similarity(patches).nbytes <= MOST_BYTES
    assert compact_similarity(patches[:50]).left.shape == (50, 16)


def test_nothing_is_left_to_chance(rng):
    attention = torch.rand(40, 40, generator=rng).softmax(dim=1)
    state = torch.get_rng_state()
    assert compact_attention(attention).tobytes() == compact_attention(attention).tobytes()
    assert torch.equal(torch.get_rng_state(), state)
