"""The built-in pair, with the weights of the repository: it works with no network, and no worse than it did."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import proxyclip_core as pc
from proxyclip_core.cli.evaluate_scenes import DISTRACTORS
from proxyclip_core.evaluation import classes_of, read_scenes, score_rows, score_scenes
from proxyclip_core.evaluation.words_present import WordScore
from proxyclip_core.models import loading
from proxyclip_core.models.registry import BUILTIN_FOLDER

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "assets" / "examples"
CPU = torch.device("cpu")
SCENES = 50
TEMPLATES = "simple7"  # a tenth of the time of 80, and the words' directions are nearly the same


@pytest.fixture(scope="module")
def scenes():
    return list(read_scenes(EXAMPLES / "eval" / "scenes.json"))


def pair(dtype: torch.dtype, patch: int = 8) -> pc.ProxyCLIP:
    clip = loading.load_clip("Built-in", CPU, dtype)
    clip.word_cache = None
    return pc.ProxyCLIP(clip, loading.load_vfm("Built-in", CPU, dtype, patch=patch), templates=TEMPLATES)


@pytest.fixture(scope="module")
def model():
    return pair(torch.float32)


@pytest.fixture(scope="module")
def words() -> dict[str, WordScore]:
    """By fusion; filled by `miou`."""
    return {fusion: WordScore() for fusion in ("proxy", "clip", "values")}


@pytest.fixture(scope="module")
def miou(model, scenes, words) -> dict[str, float]:
    known = classes_of(scenes)

    def each(fusion, scene, dense, drawn):
        words[fusion].add(model, dense, scene, drawn[:DISTRACTORS], known)

    scores = score_rows(model, scenes, list(words), each=each)
    return {fusion: score.miou for (fusion, _), score in scores.items()}


def test_it_is_what_opens_without_other_weights(tmp_path, monkeypatch):
    for name in ("PROXYCLIP_CLIP", "PROXYCLIP_VFM", "PROXYCLIP_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("proxyclip_core.models.loading.is_available", lambda spec: bool(spec.builtin))
    assert loading.default_models() == ("Built-in", "Built-in/8")


def test_all_weights_together_are_small():
    files = list(BUILTIN_FOLDER.glob("*.safetensors"))
    assert len(files) == 3 and sum(path.stat().st_size for path in files) <= 25e6


def test_the_score_is_that_of_the_card(miou, scenes):
    """At most two points below what the model card says of these scenes."""
    recorded = json.loads((ROOT / "assets" / "builtin" / "scores.json").read_text(encoding="utf-8"))["app"]["paper"]
    assert len(scenes) == recorded["scenes"] == SCENES
    assert miou["proxy"] >= recorded["rows"]["proxy, Built-in/8"]["miou"] - 0.02


def test_proxy_attention_beats_clip_alone(miou):
    assert miou["proxy"] > max(miou["clip"], miou["values"])


def test_it_knows_which_words_are_there(miou, words):
    """README's figures, less two points."""
    proxy, clip, values = words["proxy"], words["clip"], words["values"]
    assert proxy.auc >= 0.914 and proxy.auc > clip.auc + 0.2
    assert proxy.unmarked >= 0.83 and proxy.marked >= 0.83
    assert proxy.precision >= 0.61 and proxy.recall >= 0.65
    assert proxy.precision > values.precision + 0.1


def test_reduced_precision_keeps_the_score(scenes, miou):
    assert abs(score_scenes(pair(torch.bfloat16), scenes).miou - miou["proxy"]) <= 0.005


def test_smaller_patches_give_sharper_borders(model, scenes):
    few = scenes[:6]
    finer = score_scenes(pair(torch.float32, patch=4), few, windows="whole").border_f
    assert finer > 1.1 * score_scenes(model, few, windows="whole").border_f


@pytest.mark.parametrize("row", json.loads((EXAMPLES / "examples.json").read_text()), ids=lambda row: row["file"])
def test_gallery_scenes_fit_their_words_and_label_maps(row):
    scene = next(scene for scene in read_scenes(EXAMPLES / "examples.json") if scene.name == row["file"])
    assert [group[0] for group in pc.parse_vocabulary(row["text"])] == list(scene.words)
    assert set(range(len(scene.words))) <= set(scene.labels.ravel().tolist())


def test_every_picture_of_the_gallery_says_its_licence():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for row in json.loads((EXAMPLES / "examples.json").read_text()):
        assert re.search(rf"\b{Path(row['file']).stem}\b", listed)
