"""demo.answers.live: what the browser is told so that it can show the attention of any patch by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import proxyclip_core as pc
from demo import menus
from demo.answers.inside import View
from demo.answers.live import BINS, live, pair_counts
from demo.stages import Stages
from demo.visit import Asked, Visit
from tests.serving import OneModel


@pytest.fixture(scope="module")
def stages(tiny_model, blocks_file) -> Stages:
    """With a result in sliding windows."""
    settings = pc.Settings("OpenAI B/16", "DINO B/8", "red, green", side=224, templates="simple7")
    stages = Stages(OneModel(tiny_model), Visit.of(Asked(settings, blocks_file)))
    stages.overlay()
    return stages


def test_each_source_is_told_with_its_grid_over_the_whole_picture(stages):
    told = live(stages, View()).told
    assert [source["name"] for source in told["sources"]] == [menus.OWN_ATTENTION, "DINO B/8"]
    assert told["own"] == 1 and told["size"] == (150, 230) and told["windows"] == []
    for source, patch in zip(told["sources"], (16, 8)):
        assert source["grid"] == (224 // patch, 392 // patch) and source["count"] == np.prod(source["grid"])
        assert source["padded"] == (224, 392) and source["scaled"] == (224, 343) and source["before"] == (0, 24)


def test_a_source_has_a_file_that_does_not_change_with_beta(stages):
    made = live(stages, View())
    paths = [source["path"] for source in made.with_files(lambda data: f"{len(data)} bytes")["sources"]]
    assert paths == [f"{file.nbytes} bytes" for file in made.files]
    other = Stages(stages.models, replace(Visit.of(replace(stages.asked, settings=replace(stages.settings, beta=0.7)))))
    again = live(other, View())
    assert [file.tobytes() for file in again.files] == [file.tobytes() for file in made.files]
    assert again.told["beta"] == 0.7


def test_seeds_that_are_not_on_the_picture_are_not_told(stages):
    seeds = {"picture": stages.digest, "points": [(-5, 5), (40, 40), (230, 5)]}
    assert live(stages, View(seeds=seeds)).told["seeds"] == ((40, 40),)


def test_in_windows_there_are_their_edges_and_no_files(stages):
    made = live(stages, View(windows=True))
    assert len(made.told["windows"]) == 2 and made.files == [None, None]
    assert [source["path"] for source in made.with_files(lambda data: "a file")["sources"]] == [None, None]
    (left, *_), (_, _, right, _) = made.told["windows"]
    assert left == 0 and right == pytest.approx(230)


def test_regions_that_attention_stays_in_are_told_for_each_patch(stages):
    scoped = Stages(stages.models, Visit.of(replace(stages.asked, settings=replace(stages.settings, scope="regions"))))
    own, vfm = live(scoped, View()).told["sources"]
    assert "scopes" not in own and len(vfm["scopes"]) == vfm["count"]
    assert live(stages, View()).told["sources"][1]["scopes"] is None


def test_pairs_are_counted_by_their_similarity(rng):
    patches = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), dim=1)
    counts = np.array(pair_counts(patches))
    assert counts[0] == 2 and counts[BINS // 2] == 4 and counts[-1] == 3 and counts.sum() == 9
    many = F.normalize(torch.randn(3000, 4, generator=rng), dim=1)
    assert sum(pair_counts(many)) == 3_000_000  # of every third row
