"""`proxyclip evaluate`: the table that it prints and writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxyclip_core.refine import BY_SAM
from proxyclip_core.settings import SETTINGS

FAST = ("--side", "as-is", "--templates", "none")


@pytest.fixture
def index(four_areas, tmp_path) -> str:
    for name in ("a", "b"):
        Image.fromarray(four_areas).save(tmp_path / f"{name}.png")
        labels = (np.arange(56)[:, None] // 28).repeat(112, 1).astype(np.uint8)
        Image.fromarray(labels).save(tmp_path / f"{name}_l.png")
    index = [
        {"file": "a.png", "labels": "a_l.png", "words": ["sky", "hill"]},
        {"file": "b.png", "labels": "b_l.png", "words": ["boat", "sea; water"]},
    ]
    (tmp_path / "scenes.json").write_text(json.dumps(index))
    return "scenes.json"


def test_evaluate_prints_a_row_a_fusion(command, index, capsys):
    assert command("evaluate", "scenes", "--index", index, "--vfm", "DINO B/8", *FAST, "--json", "table.json") == 0
    titles = ["CLIP alone, own attention", "CLIP alone, values", "proxy, DINO B/8"]
    table = json.loads(Path("table.json").read_text(encoding="utf-8"))
    assert list(table["rows"]) == list(table["iou"]) == titles
    assert all(row.pop("seconds") > 0 for row in table["rows"].values())
    assert all(0 <= value <= 1 for row in table["rows"].values() for value in row.values())
    assert {"words auc", "words precision", "words recall"} <= set(table["rows"][titles[2]])
    assert set(table["iou"][titles[0]]) == {"sky", "hill", "boat", "sea"}
    assert np.mean(list(table["iou"][titles[2]].values())) == table["rows"][titles[2]]["miou"]
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith("2 scenes")
    assert [line.split("  ")[0] for line in lines[2:]] == titles
    assert all(line.count("%") == 5 for line in lines[2:])
    assert "/2 " in printed.err and printed.err.endswith("\r")  # how far it is, meanwhile


def test_evaluate_prints_a_row_a_refinement_on_request(command, index, capsys):
    asked = ("--vfm", "DINO B/8", "--refinements", "--refine", "pixels", "--json", "table.json")
    assert command("evaluate", "scenes", "--index", index, *FAST, *asked) == 0
    rows = json.loads(Path("table.json").read_text(encoding="utf-8"))["rows"]
    known = [name for name in SETTINGS["refine"].values if name not in ("pixels", *BY_SAM)]  # it is not here
    assert list(rows)[2:] == ["proxy, DINO B/8", *(f"proxy, DINO B/8, {name}" for name in known)]
    printed = capsys.readouterr()
    assert [line.split("  ")[0] for line in printed.out.splitlines()[2:]] == list(rows)
    assert "sam, sam-prompts are left out. SAM's masks need the whole of SAM B/16" in printed.err
    assert len({row["seconds"] for row in rows.values()}) == len(rows)  # each was timed
    assert command("evaluate", "scenes", "--index", index, *FAST, *asked[:2], "--refinements", "quick", "none") == 0
    titles = ["proxy, DINO B/8", "proxy, DINO B/8, quick"]
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[4:]] == titles


def test_evaluate_of_scenes_is_quiet_on_request(command, index, capsys):
    asked = ("--vfm", "DINO B/8", "--refinements", "--limit", 1, "--quiet")
    assert command("evaluate", "scenes", "--index", index, *FAST, *asked) == 0
    said = capsys.readouterr()
    assert said.err == "" and "proxy, DINO B/8" in said.out


def test_evaluate_scores_the_other_patch_sizes_that_are_at_hand(command, loaded, index, capsys):
    assert command("evaluate", "scenes", "--index", index, *FAST) == 0
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[4:]] == [
        "proxy, Built-in/8",
        "proxy, Built-in/4",
    ]
    assert [names for names, _ in loaded] == [(None, None), ("Built-in", "Built-in/4")]


def test_evaluate_takes_the_scenes_of_the_current_folder_unasked(command, index, capsys):
    assert command("evaluate", "scenes") == 1
    assert "no scenes at assets" in capsys.readouterr().err
    Path("assets/examples/eval").mkdir(parents=True)
    for path in Path().glob("*.*"):
        path.rename(Path("assets/examples/eval") / path)
    assert command("evaluate", "scenes", *FAST, "--limit", 1) == 0
    assert capsys.readouterr().out.startswith("1 scenes")


def test_evaluate_takes_a_background(command, index, capsys):
    options = ("--background", "first", "--threshold", 1, "--json", "table.json")
    assert command("evaluate", "scenes", "--index", index, "--vfm", "DINO B/8", *FAST, *options) == 0
    expected = {"boat": 0.5, "hill": 0, "sea": 0, "sky": 0.5}  # all is below the threshold
    assert json.loads(Path("table.json").read_text())["iou"]["proxy, DINO B/8"] == expected
    assert command("evaluate", "scenes", "--index", index, "--background", "short") == 1
    assert "class 0 of the label map is 'sky'" in capsys.readouterr().err


def test_where_the_table_goes_is_looked_at_before_the_work(command, loaded, index, capsys):
    for place in (".", "none/table.json"):
        assert command("evaluate", "scenes", "--index", index, "--json", place) == 1
        assert "table" in capsys.readouterr().err
    assert not loaded


@pytest.mark.parametrize("limit", ["0", "-3", "two"])
def test_a_limit_is_a_number_of_scenes(command, index, limit, capsys):
    with pytest.raises(SystemExit):
        command("evaluate", "scenes", "--index", index, f"--limit={limit}")
    assert f"got {limit!r}; expected a whole number of 1 or more" in capsys.readouterr().err
