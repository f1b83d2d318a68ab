"""demo.stages: which stages run when a setting changes, what is kept, and what is refused."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import proxyclip_core as pc
from demo import asked_words, limits, menus, stages
from demo.kept import nbytes
from demo.stages import Stages
from demo.visit import Asked, Visit, keys_of
from proxyclip_core.refine import BY_GRAPH
from tests.serving import OneModel

SHOWN = {"result", "overlay"}
FROM_DENSE = {"dense", "logits", *SHOWN}
FROM_FEATURES = {"clip", "vfm", *FROM_DENSE}


@pytest.fixture
def asked(blocks, tmp_path) -> Asked:
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    settings = pc.Settings("OpenAI B/16", "DINO B/8", "sky, tree", windows="whole", templates="simple7")
    return Asked(settings, str(tmp_path / "blocks.png"))


def visit(asked: Asked, before: Stages | None = None) -> Visit:
    found = Visit.of(asked)
    return replace(found, entries=before.entries()) if before else found


@pytest.fixture
def make(tiny_model):
    """(what is asked, before) -> the stages after everything that the page shows was made."""

    def made(asked: Asked, before: Stages | None = None, **more: Any) -> Stages:
        found = Stages(OneModel(tiny_model), visit(asked, before), **more)
        found.overlay()
        return found

    return made


def changed(asked: Asked, **settings: Any) -> Asked:
    return replace(asked, settings=replace(asked.settings, **settings))


def test_the_first_time_everything_runs(make, asked, blocks):
    found = make(asked)
    assert set(found.ran) == {"picture", "words", *FROM_FEATURES}
    assert found.result().labels.shape == blocks.shape[:2]
    assert (found.picture() == blocks).all()


@pytest.mark.parametrize(
    ("change", "ran", "encoders"),
    [
        ({}, set(), {}),
        ({"background": "first", "threshold": 0.3}, {"words", "logits", *SHOWN}, {"text": 1}),
        ({"beta": 1.4}, FROM_DENSE, {}),
        ({"gamma": 2.0}, FROM_DENSE, {}),
        ({"words": "sky, hill"}, {"words", "logits", *SHOWN}, {"text": 1}),
        ({"templates": "none"}, {"words", "logits", *SHOWN}, {"text": 2}),  # presence has sentences of its own
        ({"side": 224}, FROM_FEATURES, {"clip": 1, "vfm": 1}),
        ({"windows": "sliding"}, FROM_FEATURES, {"clip": 1, "vfm": 3}),  # one window of the VFM at a time
        ({"vfm": "DINO S/8"}, {"vfm", *FROM_DENSE}, {"vfm": 1}),
        ({"clip": "OpenAI B/32"}, {"words", *FROM_FEATURES}, {"clip": 1, "vfm": 1, "text": 1}),
        ({"fusion": "clip"}, FROM_DENSE, {}),
        ({"fusion": "values", "beta": 2.0}, FROM_DENSE, {}),
        ({"refine": "pixels"}, {"graph", "refined", *SHOWN}, {}),
        ({"refine": "patches", "beta": 1.4}, {"graph", "refined", *FROM_DENSE}, {}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_change_runs_only_what_depends_on_it(make, counter, asked, change, ran, encoders):
    before, found = make(asked), []
    calls = counter.during(lambda: found.append(make(changed(asked, **change), before)))
    assert (set(found[0].ran), calls) == (ran, encoders)


def test_with_a_threshold_nothing_is_refined_again(make, asked):
    refined = changed(asked, refine="pixels", background="first")
    assert set(make(changed(refined, threshold=0.3), make(refined)).ran) == SHOWN


@pytest.mark.parametrize("refine", BY_GRAPH)
def test_the_graph_is_kept_whatever_words_and_beta_are(make, asked, refine):
    before = make(changed(asked, refine=refine))
    found = make(changed(asked, refine=refine, words="sky, hill", beta=1.4), before)
    assert "graph" in before.ran and "refined" in found.ran and "graph" not in found.ran
    assert np.array_equal(found.result().confidence, make(found.asked).result().confidence)
    assert found.seconds(found.settings) > found.seconds(replace(found.settings, refine="none"))


@pytest.mark.parametrize("fusion", ["clip", "values"])
def test_without_a_vfm_none_runs_and_beta_does_not_matter(make, counter, asked, fusion):
    alone = changed(asked, fusion=fusion)
    found = []
    assert counter.during(lambda: found.append(make(alone))) == {"clip": 1, "text": 1}
    assert not make(changed(alone, beta=2.0), found[0]).ran


def test_another_picture_runs_no_text_tower(make, counter, asked, blocks, tmp_path):
    before = make(asked)
    Image.fromarray(blocks[::-1]).save(tmp_path / "other.png")
    other = replace(asked, picture=str(tmp_path / "other.png"))
    assert counter.during(lambda: make(other, before)) == {"clip": 1, "vfm": 1}


def test_the_same_picture_under_another_name_runs_nothing(make, asked, blocks, tmp_path):
    Image.fromarray(blocks).save(tmp_path / "copy.png")
    assert not make(replace(asked, picture=str(tmp_path / "copy.png")), make(asked)).ran


def test_a_file_that_is_written_anew_is_another_picture(make, asked, blocks):
    before = make(asked)
    Image.fromarray(blocks[::-1]).save(asked.picture)
    assert "vfm" in make(asked, before).ran


def test_stages_give_what_one_call_gives(make, tiny_model, asked):
    before = make(changed(asked, words="dog", beta=1.5))
    for fusion in pc.FUSIONS:
        result = make(changed(asked, fusion=fusion), before).result()
        whole = tiny_model(asked.picture, "sky, tree", windows="whole", fusion=fusion)
        assert (result.labels == whole.labels).all()
        assert np.array_equal(result.confidence, whole.confidence)


def test_clips_tokens_are_kept_once_for_all_vision_models(make, asked):
    found = make(asked)
    for vfm in ("DINO S/8", "DINO B/16"):
        found.result(menus.variant(vfm, asked.settings))
    entries = found.entries()
    assert sorted(stage for stage, _ in entries if stage in ("clip", "vfm")) == ["clip", "vfm", "vfm", "vfm"]


def test_a_picture_is_decoded_once_and_words_are_parsed_once(make, asked, monkeypatch):
    asked_words.words_of_everybody()  # which parses all lists, once in a process
    reads, parses, read, parse = [], [], pc.read_picture, asked_words.read_vocabulary
    monkeypatch.setattr(pc, "read_picture", lambda path: reads.append(path) or read(path))
    monkeypatch.setattr(asked_words, "read_vocabulary", lambda words: parses.append(words) or parse(words))
    asked_words.words_of.cache_clear()
    found = make(asked)
    for change in ({"beta": 1.5}, {"side": 224}, {"background": "first"}):
        found = make(changed(asked, **change), found)
    assert len(reads) == len(parses) == 1


def test_what_a_stage_takes_is_without_the_stages_before_it(make, asked, monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr("demo.kept.time.perf_counter", lambda: next(now))
    ran = make(asked).ran
    assert sum(ran.values()) < next(now) and ran["result"] > 0


def test_a_picture_that_is_gone_is_said_so(make, asked, tmp_path):
    with pytest.raises(ValueError, match="Upload it again"):
        make(replace(asked, picture=str(tmp_path / "gone.png")))


def limited(monkeypatch, found: Stages, without: int) -> dict:
    """What is kept where there is room for all but some bytes."""
    monkeypatch.setattr(limits, "KEPT_BYTES", sum(entry.size for entry in found.entries().values()) - without)
    return found.entries()


def test_what_is_made_again_without_an_encoder_leaves_first(make, asked, monkeypatch):
    found = make(asked)
    kept = {stage for stage, _ in limited(monkeypatch, found, 1)}
    assert "picture" not in kept and {"clip", "vfm", "words", "overlay"} <= kept
    everything = sum(entry.size for entry in found.entries().values())
    own = sum(entry.size for (stage, _), entry in found.entries().items() if stage in ("clip", "vfm", "overlay"))
    assert {stage for stage, _ in limited(monkeypatch, found, everything - own)} == {"clip", "vfm", "overlay"}


def test_what_was_used_longest_ago_leaves_first(make, asked, monkeypatch):
    first = make(changed(asked, beta=1.0))
    second = make(changed(asked, beta=2.0), first)
    old, new = (keys_of(found.digest, found.settings)["dense"] for found in (first, second))
    kept = limited(monkeypatch, second, second.picture().nbytes + 1)
    assert old not in kept and new in kept


def test_what_is_not_on_the_page_any_more_has_less_room_unless_an_encoder_gave_it(make, asked, monkeypatch):
    first = make(changed(asked, beta=1.0))
    first.result()
    second = make(changed(asked, beta=2.0), first)
    second.result()
    monkeypatch.setattr(limits, "SPARE_BYTES", 0)
    kept = second.entries()
    for stage in ("dense", "result"):
        assert first._keys()[stage] not in kept and second._keys()[stage] in kept
    assert {first._keys()[stage] for stage in ("clip", "vfm")} <= set(kept)
    looking = Stages(second.models, visit(second.asked, second))
    looking.features()  # what is on the page stays, though this uses nothing else of it
    assert {second._keys()[stage] for stage in ("picture", "logits", "result")} <= set(looking.entries())


def test_what_is_soon_made_again_is_kept_of_what_is_on_the_page_alone(make, asked):
    first = make(changed(asked, beta=1.0))
    second = make(changed(asked, beta=2.0), first)
    kept, old, new = second.entries(), first._keys(), second._keys()
    assert not {old["dense"], old["overlay"]} & set(kept) and {new["dense"], new["overlay"]} <= set(kept)
    assert {old["result"], old["vfm"]} <= set(kept)
    looking = Stages(second.models, visit(second.asked, second))
    looking.features()  # as Look inside does, which uses nothing else
    assert {new["dense"], new["overlay"]} <= set(looking.entries())


@pytest.mark.parametrize("room", [10_000, 3_000_000, 10_000_000])
@pytest.mark.parametrize("change", [{"beta": 2.0}, {"gamma": 9.0}, {"background": "first", "threshold": 0.4}])
def test_no_slider_runs_an_encoder_however_little_else_can_be_kept(make, asked, counter, monkeypatch, room, change):
    found = make(asked)
    own = sum(entry.size for (stage, _), entry in found.entries().items() if stage in ("clip", "vfm"))
    monkeypatch.setattr(limits, "DRAWN_BYTES", nbytes(found.overlay()) + room)
    monkeypatch.setattr(limits, "KEPT_BYTES", own + limits.DRAWN_BYTES)
    calls = counter.during(lambda: make(changed(asked, **change), found))
    assert "clip" not in calls and "vfm" not in calls


def test_an_event_that_only_follows_another_runs_no_encoder(make, asked, counter, tiny_model):
    follower = Stages(OneModel(tiny_model), visit(asked, make(asked)), may_encode=False)
    other = menus.variant("DINO S/8", asked.settings)

    def asks() -> None:
        with pytest.raises(ValueError, match="DINO S/8 had read of this picture had to make room"):
            follower.result(other)

    assert counter.during(asks) == {}


def test_where_sam_is_missing_it_is_said_what_to_do_also_when_the_encoders_have_run(tiny_model, asked):
    models = OneModel(pc.ProxyCLIP(tiny_model.clip, tiny_model.vfm, templates="simple7"))
    before = Stages(models, visit(asked))
    before.overlay()
    for settings in ({"refine": "sam"}, {"refine": "sam-prompts"}, {"scope": "regions"}):
        with pytest.raises(pc.WeightsError, match=r"its decoder too.*\n.*curl -L -o sam_vit_b_01ec64.pth"):
            Stages(models, visit(changed(asked, **settings), before)).overlay()


def test_features_that_could_not_be_kept_are_refused_before_an_encoder_runs(make, asked, counter, monkeypatch):
    monkeypatch.setattr(limits, "DRAWN_BYTES", limits.KEPT_BYTES - 1000)

    def refused() -> None:
        with pytest.raises(ValueError, match=r"would say \d+ MB about the picture; at most 0 MB can be kept"):
            make(asked)

    assert counter.during(refused) == {"text": 1}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_features_are_kept_in_their_encoders_precision_and_say_the_same(dtype):
    features = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0)).to(dtype).float()
    kept = stages.packed(features, dtype)
    assert kept.dtype == dtype and torch.equal(kept.float(), features)


def test_only_very_large_float32_features_are_rounded(monkeypatch):
    features = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    assert stages.packed(features, torch.float32) is features
    monkeypatch.setattr(limits, "WIDE_BYTES", features.nbytes - 1)
    assert stages.packed(features, torch.float32).dtype == torch.float16


def test_rounded_features_give_nearly_the_same_labels(make, asked, monkeypatch):
    plain = make(asked).result().labels
    monkeypatch.setattr(limits, "WIDE_BYTES", 0)
    found = make(asked)
    assert found.features().vfm.dtype == torch.float16
    assert (found.result().labels == plain).mean() > 0.99


@pytest.mark.parametrize(
    ("size_hw", "side", "windows"),
    [
        ((3000, 4000), None, "sliding"),
        ((3000, 4000), None, "whole"),
        ((336, 28_000), None, "sliding"),
        ((10, 20_000), 224, "whole"),
    ],
)
def test_what_would_keep_the_encoders_busy_for_long_is_refused(asked, size_hw, side, windows):
    settings = replace(asked.settings, side=side, windows=windows)
    if side is None:
        with pytest.raises(ValueError, match="Choose a lower resolution"):
            limits.check_amount(size_hw, settings)
    else:
        limits.check_amount(size_hw, settings)  # the long side is held to 2048 there
    limits.check_amount((1024, 2048), replace(settings, side=1024))


def test_words_and_scores_are_bounded(make, asked, counter, monkeypatch):
    before = make(asked)
    monkeypatch.setattr(limits, "MOST_WORDS", 3)
    with pytest.raises(ValueError, match="There are 4 words with their synonyms; at most 3"):
        make(changed(asked, words="sky; air, tree; bush"), before)
    patches = before.dense().tokens[:, 0].numel()
    monkeypatch.setattr(limits, "MOST_SCORES", 3 * patches - 1)
    with pytest.raises(ValueError, match=f"3 words at {patches} patches .*at most 2 here"):
        make(changed(asked, words="sky, tree, hill"), before)

    def refused() -> None:
        with pytest.raises(ValueError, match="too many scores"):
            make(changed(asked, words="sky, tree, hill", windows="sliding"))

    assert counter.during(refused) == {"text": 1}  # before the encoders begin


def test_a_visit_changes_with_its_result_and_not_with_what_is_kept_along(make, asked):
    found = make(asked)

    assert hash(visit(asked)) == hash(pickle.loads(pickle.dumps(visit(asked, found))))
    assert hash(visit(asked)) != hash(visit(changed(asked, beta=1.3)))


def test_nbytes_counts_what_a_stage_holds(make, asked):
    features = make(asked).features()
    held = features.clip_tokens.nbytes + features.vfm.nbytes
    assert held <= nbytes(features) < held + 1000  # and what it is called
    assert nbytes(json) == 0
