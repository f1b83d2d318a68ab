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
from demo.draw.compact import (
    BINS,
    FEWEST,
    FINE,
    MOST_BYTES,
    Compact,
    compact_attention,
    compact_similarity,
    is_too_much,
    most_directions,
    pair_counts,
)
from demo.examples import FOLDER, read_examples
from demo.tabs.parts import script
from proxyclip_core.attention import attention_rows, similarity_mean, unit_patches

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not on the PATH; it runs the page's own script")
RUN = """
const fs = require("fs"), [told, patches, cases] = JSON.parse(fs.readFileSync(0, "utf8"));
const [window] = unpacked(told, Uint8Array.from(fs.readFileSync(process.argv[1])).buffer), out = [];
for (const how of cases) for (const patch of patches) {
  const attended = attend(window, patch, how, told.scopes?.[0]);
  out.push([attended, ...window.values]);
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
        _, count, directions = compact.left.shape
        told = {"count": count, "directions": directions, "symmetric": compact.is_symmetric, "mean": compact.mean}
        given = json.dumps([told | {"corners": [[0, 0]]} | more, patches, cases])
        command = [str(NODE), "-e", script("attend") + RUN, str(tmp_path / "data.bin")]
        found = subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout
        return np.array(json.loads(found)).reshape(len(cases), len(patches), 1 + count)

    return run


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def seeds_of(count: int) -> list[int]:
    return list(range(3, count, count // 12))


def check(browser, patches: torch.Tensor) -> Compact:
    """(N, C) patches of unit length: every stage for a dozen seeds."""
    compact, seeds, mean = compact_similarity(patches[None]), seeds_of(len(patches)), similarity_mean(patches[None])[0]
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
    return compact


@pytest.fixture(scope="module")
def builtin() -> dict[str, pc.ProxyCLIP]:
    return {vfm: pc.load("Built-in", vfm) for vfm in ("Built-in/8", "Built-in/4")}


GALLERY = read_examples(FOLDER)
FARM = next(example.picture for example in GALLERY if example.name == "farm")
CASES = [("Built-in/8", place) for place in range(len(GALLERY))] + [("Built-in/4", 0)]


@pytest.mark.parametrize(("vfm", "place"), CASES)
def test_the_browsers_map_is_the_exact_one_over_the_gallery(browser, builtin, vfm, place):
    features = builtin[vfm].encode(GALLERY[place].picture, windows="whole")
    assert not check(browser, unit_patches(features.vfm)[0]).is_rough


def test_the_browsers_map_is_the_exact_one_for_features_of_768_channels(browser, rng):
    energy = torch.arange(1, 769) ** -1.5  # of the main directions, falling as in a trained network
    features = (
        torch.randn(2646, 768, generator=rng) * energy.sqrt() + 0.03
    )  # alike by 0.2 on average, as the built-in's
    assert not check(browser, F.normalize(features, dim=1)).is_rough


def test_features_without_main_directions_are_rough(rng):
    """Of white noise no code of so few bytes is fine enough; what it takes is told in compact.py."""
    white = F.normalize(torch.randn(2646, 768, generator=rng), dim=1)
    compact = compact_similarity(white[None])
    assert compact.is_rough and compact.left.shape[2] > 3 * FINE
    codes = torch.from_numpy(compact.left[0]).float()
    found = codes * torch.from_numpy(compact.scale[0]) @ codes[5]  # but for the mean, which is next to nothing
    assert 0.7 < correlation((white @ white[5]).numpy(), found.numpy()) < CORRELATION


def test_clips_own_attention_is_the_exact_one(browser, builtin):
    model = builtin["Built-in/8"]
    features = model.encode(GALLERY[0].picture, windows="whole")
    with torch.no_grad():
        exact = model.clip.own_attention(features.clip_tokens, head=None)
    compact, seeds = compact_attention([exact]), seeds_of(len(exact))
    assert compact.nbytes <= MOST_BYTES
    (found,) = browser(compact, seeds, [{"stage": "softmax", **PAPER}])
    for row, seed in zip(found[:, 1:], seeds):
        assert correlation(row, exact[seed].numpy()) >= CORRELATION
        assert row.sum() == pytest.approx(float(exact[seed].sum()), abs=1e-4)  # less what goes to the class token


def test_a_patch_that_is_like_none_attends_to_itself(browser):
    patches = F.normalize(torch.eye(4) + 3, dim=1)  # nearly uniform: 1.6 m is above every similarity
    (found,) = browser(compact_similarity(patches[None]), [2], [{"stage": "softmax", **STRONG}])
    assert found.tolist() == [[1, 0, 0, 1, 0]]


def test_beta_and_stage_act_on_the_similarities_that_a_patch_has_already(browser, rng):
    patches = F.normalize(torch.randn(30, 8, generator=rng) + 0.5, dim=1)
    how = [{"stage": stage, **PAPER} for stage in ("softmax", "cosine", "normalised", "softmax")]
    first, similarity, _, again = browser(compact_similarity(patches[None]), [4], how)[:, 0]
    assert (first == again).all() and np.allclose(similarity[1:], patches @ patches[4], atol=0.02)
    weights = torch.rand(30, 30, generator=rng).softmax(dim=1)
    rows = browser(compact_attention([weights]), [4, 7, 4], how[:2])
    assert (rows[0] == rows[1]).all() and (rows[0, 0] == rows[0, 2]).all() and (rows[0, 0] != rows[0, 1]).any()


def test_a_scope_keeps_attention_within(browser):
    patches = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.2], [1.0, 0.0], [0.0, 1.0]]), dim=1)
    how = {"stage": "softmax", "beta": 1.0, "gamma": 3.0}
    compact = compact_similarity(patches[None])
    (free,), (kept,) = browser(compact, [0], [how]), browser(compact, [0], [how], scopes=[[1, 1, 2, 2]])
    assert (free[0, 1:] > 0).tolist() == [True, True, True, False]
    assert (kept[0, 1:] > 0).tolist() == [True, True, False, False]


def test_the_bytes_of_a_source_have_a_bound_however_many_patches_there_are(rng):
    patches = F.normalize(torch.randn(30_000, 16, generator=rng), dim=1)
    assert compact_similarity(patches[None]).nbytes <= MOST_BYTES
    assert compact_similarity(patches.view(20, 1500, 16)).nbytes <= MOST_BYTES  # of all windows together
    assert compact_similarity(patches[None, :50]).left.shape == (1, 50, 16)


def test_nothing_is_left_to_chance(rng):
    attention = torch.rand(40, 40, generator=rng).softmax(dim=1)
    state = torch.get_rng_state()
    assert compact_attention([attention]).tobytes() == compact_attention([attention]).tobytes()
    assert torch.equal(torch.get_rng_state(), state)


JOIN = """
const fs = require("fs"), [told, held, cases] = JSON.parse(fs.readFileSync(0, "utf8"));
const bytes = Uint8Array.from(fs.readFileSync(process.argv[1])).buffer;
const source = { ...told, ...cellsOf(told), packed: unpacked(told, bytes) };
const out = cases.map((how) => {
  for (const [window, patch] of held) attend(source.packed[window], patch, how);
  join(source, held.map(([window]) => window), how.stage === "softmax");
  return Array.from(source.map, (value) => (Number.isNaN(value) ? null : value));
});
process.stdout.write(JSON.stringify([source.shape, source.split, out]));
"""


@pytest.mark.parametrize(("side", "point"), [(336, (300, 150)), (378, (30, 280)), (300, (420, 100))])
def test_windows_are_laid_together_as_in_the_exact_map(tmp_path, builtin, side, point):
    model, stages = builtin["Built-in/8"], ("cosine", "normalised", "softmax")
    features = model.encode(FARM, side=side, windows="sliding")
    layout, grid_hw = features.layout, (features.vfm.shape[-2], features.vfm.shape[-1])
    compact = compact_similarity(unit_patches(features.vfm))
    assert layout.count > 1 and compact.nbytes <= MOST_BYTES
    (tmp_path / "data.bin").write_bytes(compact.tobytes())
    _, count, directions = compact.left.shape
    told = {"count": count, "directions": directions, "symmetric": True, "mean": compact.mean, "grid": grid_hw}
    told |= {"padded": layout.padded_hw, "before": layout.padding_top_left, "scaled": layout.scaled_hw}
    told |= {"window": layout.window_hw, "corners": layout.corners}
    held = layout.patches_at(point, grid_hw)
    given = json.dumps([told, held, [{"stage": stage, **PAPER} for stage in stages]])
    command = [str(NODE), "-e", script("attend") + JOIN, str(tmp_path / "data.bin")]
    shape, split, maps = json.loads(
        subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout
    )
    rows, columns = (
        ((np.arange(cells) + 0.5) * 8 / split - before) * full / scaled
        for cells, before, full, scaled in zip(shape, layout.padding_top_left, layout.size_hw, layout.scaled_hw)
    )
    on_picture = np.ix_((rows >= 0) & (rows < layout.size_hw[0]), (columns >= 0) & (columns < layout.size_hw[1]))
    at = np.ix_(
        *(places[(places >= 0) & (places < full)].astype(int) for places, full in zip((rows, columns), layout.size_hw))
    )
    for stage, found in zip(stages, maps, strict=True):
        exact = model.seed_attention(features, point, **PAPER, stage=stage)[at]
        shown = np.array(found, dtype=float).reshape(shape)[on_picture]
        both = np.isfinite(exact) & np.isfinite(shown)
        assert np.mean(np.isfinite(exact) == np.isfinite(shown)) > 0.99, stage
        # The exact map is smooth between patches.
        assert correlation(exact[both], shown[both]) > 0.97 and shown[both].mean() == pytest.approx(
            exact[both].mean(), rel=0.03
        )


def test_what_is_rough_is_said_and_what_is_no_map_any_more_is_not_made(rng):
    few = F.normalize(torch.randn(4, 50, 200, generator=rng), dim=2)
    assert not compact_similarity(few).is_rough and not is_too_much(5, (42, 42))
    windows = next(count for count in range(1, 50) if most_directions(count, 1764) < FINE)
    many = F.normalize(torch.randn(windows, 1764, 64, generator=rng), dim=2)
    assert compact_similarity(many).is_rough and not is_too_much(windows, (42, 42))
    assert not compact_similarity(many[..., :8]).is_rough  # all that there is
    assert is_too_much(2 * windows, (42, 42)) and is_too_much(windows, (42, 42), of_clip=True)
    assert most_directions(2 * windows, 1764) < FEWEST


def test_pairs_are_counted_by_their_similarity(rng):
    patches = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), dim=1)
    counts = np.array(pair_counts(patches))
    assert counts[0] == 2 and counts[BINS // 2] == 4 and counts[-1] == 3 and counts.sum() == 9
    many = F.normalize(torch.randn(3000, 4, generator=rng), dim=1)
    assert sum(pair_counts(many)) == 3_000_000  # of every third row
