"""The recipe of the built-in models: a package on top of the library, with no method and no score of its own."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import proxyclip_core as pc
from proxyclip_core.attention import unit_patches
from proxyclip_core.evaluation import UNLABELLED, read_scenes, score_rows, score_scenes
from proxyclip_core.models.registry import BUILTIN_FOLDER, IMAGENET_MEAN, IMAGENET_STD, OPENAI_MEAN, OPENAI_STD
from proxyclip_core.models.vit import normalise

ROOT = Path(__file__).parents[1]
BUILTIN = ROOT / "assets" / "builtin"
RECIPE = BUILTIN / "recipe"
REQUIREMENTS = re.findall(r"^[\w-]+", (RECIPE / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
MODULES = sorted(module.name for module in pkgutil.iter_modules([str(RECIPE)]))


def recipe(module: str):
    """A module of the recipe; the test is skipped where something that only the recipe needs is not installed."""
    try:
        return importlib.import_module(f"assets.builtin.recipe.{module}")
    except ModuleNotFoundError as error:
        if error.name not in REQUIREMENTS:
            raise
        pytest.skip(f"the recipe needs {error.name}: pip install -r assets/builtin/recipe/requirements.txt")


@pytest.fixture(scope="module")
def networks():
    return recipe("weights").read_networks(BUILTIN_FOLDER)


@pytest.fixture(scope="module")
def scenes():
    return list(read_scenes(ROOT / "assets" / "examples" / "eval" / "scenes.json"))[:2]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_imported_under_the_package_s_name(module):
    assert recipe(module).__name__ == f"assets.builtin.recipe.{module}"


def test_no_module_reaches_for_the_import_path():
    """Were a sibling imported by its bare name, it would stand in for a package of that name everywhere else."""
    for module in MODULES:
        source = (RECIPE / f"{module}.py").read_text(encoding="utf-8")
        assert "sys.path" not in source
        assert not re.findall(rf"^\s*(?:from|import) (?:{'|'.join(MODULES)})\b", source, re.MULTILINE)


def test_scenes_are_scored_as_the_library_scores_them(networks, scenes):
    scoring = recipe("scoring")
    few = {name: networks[name] for name in ("clip", "vfm_patch8")}
    small = {"side": 224, "windows": "sliding"}
    rows = scoring.table(few, scenes, small)
    model = pc.load("Built-in", "Built-in/8", device="cpu", precision="float32", templates="simple7")
    others = scoring.distractors_for(scenes)
    scores = score_rows(model, scenes, ("clip", "values", "proxy"), (0, others), **small)
    titles = ("CLIP alone, own attention", "CLIP alone, values", "proxy, Built-in/8")
    for title, fusion in zip(titles, ("clip", "values", "proxy"), strict=True):
        alone, among = scores[fusion, 0], scores[fusion, others]
        expected = {"miou": alone.miou, "miou with others": among.miou, "border f": alone.border_f}
        assert rows[title] == pytest.approx(expected, abs=2e-3)  # weights lie packed in one of them


def test_refinements_are_scored_as_the_library_scores_them(networks, scenes, monkeypatch):
    scoring = recipe("scoring")
    monkeypatch.setattr(scoring, "REFINED", ["none", "quick"])
    small = {"side": 224, "beta": 1.6, "gamma": 12.0}
    rows = scoring.refinements({name: networks[name] for name in ("clip", "vfm_patch8")}, scenes, "near", [small])
    model = pc.load("Built-in", "Built-in/8", device="cpu", precision="float32", templates="simple7")
    assert [(row["patch"], row["refine"], row["gamma"]) for row in rows] == [(8, "none", 12.0), (8, "quick", 12.0)]
    quick = score_scenes(model, scenes, refine="quick", **small)
    assert rows[1]["miou"] == pytest.approx(quick.miou, abs=2e-3)
    assert rows[1]["border f"] == pytest.approx(quick.border_f, abs=2e-3)


def test_what_is_trained_is_what_the_library_runs(networks):
    towers = recipe("towers")
    clip, vfm = networks["clip"], networks["vfm_patch8"]
    pictures = torch.rand(2, 3, 112, 168, generator=torch.Generator().manual_seed(0))
    model = recipe("scoring").pair(clip, vfm)
    with torch.no_grad():
        tokens = towers.clip_tokens(clip.visual, normalise(pictures, OPENAI_MEAN, OPENAI_STD))
        expected = model.clip.encode_windows(pictures)
        torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-3)
        values = towers.clip_values(clip.visual, expected)
        torch.testing.assert_close(values, model.clip.values(expected))
        dense = model.clip.project(model.clip.out_proj(values))
        torch.testing.assert_close(towers.project(clip.visual, values), dense, rtol=1e-4, atol=1e-4)
        patches = towers.vfm_patches(vfm, normalise(pictures, IMAGENET_MEAN, IMAGENET_STD))
        torch.testing.assert_close(patches, unit_patches(model.vfm.encode_windows(pictures)), rtol=0, atol=1e-3)
        prompts = ["a photo of a dog.", "grass", "a drawing of the brick wall."]
        embedded = towers.clip_text(clip, model.clip.tokenizer(prompts))
        torch.testing.assert_close(embedded, model.clip.encode_text(prompts), rtol=0, atol=1e-4)


def test_the_class_embedding_is_that_of_the_network_itself(networks):
    clip, towers = networks["clip"], recipe("towers")
    pictures = torch.rand(1, 3, 280, 280, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = towers.class_embedding(clip.visual, towers.clip_tokens(clip.visual, pictures))
        torch.testing.assert_close(seen, clip.encode_image(pictures), rtol=1e-3, atol=1e-3)


def test_training_reaches_every_weight_of_the_vision_towers():
    towers, networks = recipe("towers"), recipe("weights").read_networks(BUILTIN_FOLDER)
    pictures = torch.rand(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    visual, vfm = networks["clip"].visual, networks["vfm_patch8"]
    tokens = towers.clip_tokens(visual, pictures)
    values = towers.clip_values(visual, tokens)
    (towers.class_embedding(visual, tokens).sum() + towers.project(visual, values).sum()).backward()
    towers.vfm_patches(vfm, pictures)[..., 0].sum().backward()
    for name, parameter in (*visual.named_parameters(), *vfm.named_parameters()):
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_given_vectors_stand_in_for_an_untrained_text_tower(networks):
    tune, scoring = recipe("tune"), recipe("scoring")
    vectors = {"sky": torch.nn.functional.one_hot(torch.tensor(3), 128).float(), "horse": torch.zeros(128)}
    vocabulary = tune.GivenWords(scoring.pair(networks["clip"]).clip, vectors).embed(["sky", "horse"])
    torch.testing.assert_close(vocabulary.embeddings, torch.stack([vectors["sky"], vectors["horse"]]))
    assert vocabulary.names == ("sky", "horse")


def test_the_bias_turns_the_balance_from_stuff_to_things(scenes):
    tune, scoring, stuff = recipe("tune"), recipe("scoring"), recipe("stuff").STUFF
    clip = recipe("weights").read_networks(BUILTIN_FOLDER)["clip"]
    bias, direction = clip.visual.ln_post.bias.data, tune.stuff_direction(scoring.pair(clip), scenes)
    shares = []
    for share in (-0.5, 0.0, 0.5):
        clip.visual.ln_post.bias.data = bias - share * direction
        found = scoring.pair(clip)(scenes[0].picture, scenes[0].words).coverage()
        shares.append(sum(part for word, part in found.items() if word in stuff))
    assert shares[0] > shares[1] > shares[2]


def test_a_scene_follows_from_its_seed_and_names_what_it_shows():
    canvas, drawings, make_scene = recipe("canvas"), recipe("drawings"), recipe("scenes").make_scene
    looks = [np.full((20, 30, 4), 255, np.uint8), np.full((40, 20, 4), 200, np.uint8)]
    names = ("dog", "tree")
    bank = canvas.Bank(
        [drawings.Drawing(name, "noto", name, look) for name, look in zip(names, looks)],
        [thing for thing in drawings.load_things() if thing.name in names],
    )
    first, second = (make_scene(np.random.default_rng(4), bank, (160, 200), "country") for _ in range(2))
    assert np.array_equal(first.picture, second.picture) and np.array_equal(first.labels, second.labels)
    assert first.labels.shape == first.regions.shape == (160, 200)
    assert set(first.labels.ravel().tolist()) - {UNLABELLED} == set(range(len(first.words)))


def test_drawings_are_fetched_without_running_their_scripts(monkeypatch, tmp_path):
    drawings, commands = recipe("drawings"), []
    monkeypatch.setattr(drawings.subprocess, "run", lambda command, **_: commands.append(command))
    drawings.install(tmp_path, ["openmoji"])
    assert commands[0][:3] == ["npm", "install", "--ignore-scripts"]


def test_the_card_shows_the_recorded_figures(tmp_path):
    for name in ("README.md", "TRAINING.md", "scores.json", "log.json"):
        shutil.copy(BUILTIN / name, tmp_path)
    recipe("model_card").write_card(tmp_path)
    for page in ("README.md", "TRAINING.md"):
        assert (tmp_path / page).read_text(encoding="utf-8") == (BUILTIN / page).read_text(encoding="utf-8")
