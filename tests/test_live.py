"""demo.answers.live: what the browser is told so that it can show the attention of any patch by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import proxyclip_core as pc
from demo import menus
from demo.answers.inside import View
from demo.answers.live import live
from demo.draw import compact
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


def test_in_windows_there_are_their_edges_and_the_patches_of_each(stages):
    made = live(stages, View(windows=True))
    (left, *_), (_, _, right, _) = made.told["windows"]
    assert left == 0 and right == pytest.approx(230)
    for source, file in zip(made.told["sources"], made.files):
        assert source["corners"] == [(0, 0), (0, 7)] and source["window"] == (224, 336)
        assert file.left.shape == (2, source["count"], source["directions"]) and not source["rough"]
    assert len(made.told["sources"][1]["pairs"]) == 2


def test_where_the_bytes_do_not_suffice_there_is_no_file(stages, monkeypatch):
    monkeypatch.setattr(compact, "MOST_BYTES", 60_000)  # some 10 directions of 2 x 1176 patches
    made = live(stages, View(windows=True))
    assert made.files[1] is None and "count" not in made.told["sources"][1]
    assert made.with_files(lambda data: "a file")["sources"][1]["path"] is None


def test_pairs_are_not_counted_again_for_another_beta(stages, monkeypatch):
    """The stages keep them along with the file."""
    first = live(stages, View())
    visit = replace(Visit.of(stages.asked), entries=stages.entries())
    monkeypatch.setattr(compact, "pair_counts", None)
    other = replace(visit, asked=replace(stages.asked, settings=replace(stages.settings, beta=0.7)))
    again = live(Stages(stages.models, other, may_encode=False), View())
    assert again.told["sources"][1]["pairs"] == first.told["sources"][1]["pairs"] and again.told["beta"] == 0.7


def test_regions_that_attention_stays_in_are_told_for_each_patch(stages):
    scoped = Stages(stages.models, Visit.of(replace(stages.asked, settings=replace(stages.settings, scope="regions"))))
    own, vfm = live(scoped, View()).told["sources"]
    assert "scopes" not in own and [len(window) for window in vfm["scopes"]] == [vfm["count"]]
    assert live(stages, View()).told["sources"][1]["scopes"] is None
