"""`proxyclip evaluate` on the benchmarks and on a folder: what it prints and writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxyclip_core import cli
from proxyclip_core.evaluation import BENCHMARKS, Item, find_benchmark
from tests.tiny_sets import LAYOUTS, write_all, write_set

FAST = ("--side", "as-is", "--templates", "none")
MODELS = ("--clip", "OpenAI B/16", "--vfm", "DINO B/8")


@pytest.fixture
def root(four_areas, tmp_path) -> Path:
    write_all(tmp_path / "data", four_areas)
    return tmp_path / "data"


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("| ").split("|")]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_is_scored(name, command, root, capsys):
    assert command("evaluate", name, "--data", root, *MODELS, *FAST, "--json", "scores.json") == 0
    record = json.loads(Path("scores.json").read_text(encoding="utf-8"))
    printed = capsys.readouterr()
    lines, benchmark = printed.out.splitlines(), find_benchmark(name)
    assert [cells(line)[0] for line in lines[2 : 2 + len(benchmark.names)]] == list(benchmark.names)
    percent = [f"{100 * record[part]:.2f}" for part in ("miou", "aacc", "macc")]
    published = f"{100 * benchmark.published('OpenAI B/16').miou:.2f}"
    row = cells(next(line for line in lines if line.startswith(f"| {benchmark.title} ")))
    assert row == [
        benchmark.title,
        "OpenAI B/16, DINO B/8",
        f"2 of {benchmark.pictures}",
        *percent,
        published,
    ]
    assert "Published figures were not computed here: Lan et al." in printed.out
    assert record["settings"]["threshold"] == benchmark.settings["threshold"]
    assert record["settings"]["resizing"] == "bilinear" and record["settings"]["words_of"] == "paper"
    assert "mIoU" in printed.err and "/2 " in printed.err  # how far it is, and how good so far


def test_the_data_sets_own_names_and_other_ways_are_asked_for_by_options(command, loaded, root, capsys):
    ways = ("--names", "official", "--fusion", "values", "--threshold", 0.5, "--limit", 1)
    assert command("evaluate", "voc21", "--data", root, *MODELS[:2], *ways, *FAST, "--json", "scores.json") == 0
    record = json.loads(Path("scores.json").read_text(encoding="utf-8"))
    assert record["settings"]["words"].startswith("background, aeroplane") and record["pictures"] == 1
    assert record["settings"]["threshold"] == 0.5 and record["settings"]["fusion"] == "values"
    assert loaded[0][1]["fusion"] == "values"
    assert "fusion values, official names" in capsys.readouterr().out


def test_all_runs_what_it_finds_and_prints_the_papers_table(command, root, capsys):
    shutil.rmtree(root / "VOCdevkit" / "VOC2010")
    assert command("evaluate", "all", "--data", root, *MODELS, *FAST, "--limit", 1, "--json", "scores.json") == 0
    found = [name for name in BENCHMARKS if not name.startswith("context")]
    assert list(json.loads(Path("scores.json").read_text())) == found
    printed = capsys.readouterr()
    assert "note: There is no Context60 below" in printed.err and "note: There is no Context59 below" in printed.err
    head, _, ours, published = (cells(line) for line in printed.out.split("\n\n")[-1].splitlines()[:4])
    assert [title for title, cell in zip(head, ours) if cell == "–"] == ["Context60", "Context59", "mean"]
    assert published[0].startswith("published") and published[1] == "61.30"


def test_a_set_that_is_damaged_does_not_keep_the_others(command, root, capsys):
    (root / LAYOUTS["ade"].picture.format("ADE_val_00000002")).write_bytes(b"")
    (root / LAYOUTS["cityscapes raw"].picture.format("munster/munster_000001_000019")).unlink()
    assert command("evaluate", "all", "--data", root, *MODELS, *FAST) == 1
    printed = capsys.readouterr()
    assert "error: Cityscapes: 1 of 2 label maps" in printed.err and "ADE_val_00000002" in printed.err
    head, _, ours = (cells(line) for line in printed.out.split("\n\n")[-1].splitlines()[:3])
    assert [title for title, cell in zip(head, ours) if cell == "–"] == ["Cityscapes", "ADE20K", "mean"]


def test_what_is_not_there_is_said_before_models_are_loaded(command, loaded, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    assert command("evaluate", "cityscapes", "--data", "data") == 1
    said = capsys.readouterr().err
    assert "error: There is no Cityscapes below data" in said
    assert "looked for: gtFine/val/ID_gtFine_labelTrainIds.png or gtFine/val/ID_gtFine_labelIds.png" in said
    assert "found in data: nothing" in said and "expected: data/cityscapes/leftImg8bit/val/" in said
    assert command("evaluate", "all", "--data", "data") == 1
    assert "none of the benchmarks below data" in capsys.readouterr().err
    assert not loaded


def test_stopped_by_the_keyboard_it_says_that_it_goes_on(command, root, monkeypatch, capsys):
    plain, read = Item.ground_truth, []

    def stop_at_second(item, size_hw):
        read.append(item.name)
        if len(read) == 2:
            raise KeyboardInterrupt
        return plain(item, size_hw)

    monkeypatch.setattr(Item, "ground_truth", stop_at_second)
    asked = ("evaluate", "voc20", "--data", root, *MODELS, *FAST, "--workers", 1)
    assert command(*asked) == cli.INTERRUPTED
    assert "The same command goes on from here" in capsys.readouterr().err
    read.clear()
    monkeypatch.setattr(Item, "ground_truth", lambda item, size_hw: read.append(item.name) or plain(item, size_hw))
    assert command(*asked) == 0 and read == ["2007_000002"]
    read.clear()
    assert command(*asked) == 0 and len(read) == 2  # finished, nothing is kept


def test_a_folder_is_scored_against_ones_own_label_maps(command, four_areas, capsys):
    for folder in ("pictures", "labels"):
        Path(folder).mkdir()
    labels = (np.arange(56)[:, None] // 28).repeat(112, 1).astype(np.uint8)
    Image.fromarray(four_areas).save("pictures/a.png")
    Image.fromarray(labels).save("labels/a.png")
    Path("words.txt").write_text("nothing; background\nhill; mountain\n")
    asked = ("evaluate", "folder", "--pictures", "pictures", "--labels", "labels", *MODELS, *FAST, "--json", "f.json")
    for words in ("words.txt", "@words.txt", "nothing; background, hill; mountain"):
        assert command(*asked, "--words", words, "--background", "first", "--threshold", 1) == 0
        assert json.loads(Path("f.json").read_text())["iou"] == {"nothing": 0.5, "hill": 0.0}
    out = capsys.readouterr().out
    assert "| hill " in out and "published" not in out
    assert command(*asked, "--words", "words.txt", "--ignore", 0) == 0
    assert list(json.loads(Path("f.json").read_text())["pixels"]["nothing"].values())[1] == 0
    for words in ("@none.txt", "none.txt"):
        assert command(*asked, "--words", words) == 1
        assert "no file of words at none.txt" in capsys.readouterr().err
    many = ", ".join(["nothing", "hill", *(f"word {number}" for number in range(100))])  # longer than a name may be
    assert command(*asked, "--words", many) == 0


def test_what_segment_wrote_scores_itself_with_100_percent(command, picture_file, tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    shutil.move(picture_file, "pictures")
    words, everything = ("--words", "sky, hill; mountain, sea"), ("--save", "labels,overlay,masks,cutouts,npz")
    assert command("segment", f"pictures/{picture_file}", *words, *MODELS, *FAST, *everything, "--out", "labels") == 0
    folders = ("--pictures", "pictures", "--labels", "labels")
    assert command("evaluate", "folder", *folders, *words, *MODELS, *FAST, "--json", "f.json") == 0
    record = json.loads(Path("f.json").read_text())
    assert record["miou"] == record["aacc"] == record["macc"] == 1


def test_where_the_numbers_go_is_looked_at_before_the_work(command, loaded, root, capsys):
    assert command("evaluate", "voc21", "--data", root, "--json", "none/scores.json") == 1
    assert "table" in capsys.readouterr().err and not loaded


def test_the_numbers_are_written_also_where_nobody_reads_the_table(command, root, monkeypatch):
    def gone(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", gone)
    for name in ("voc21", "all"):
        command("evaluate", name, "--data", root, *MODELS, *FAST, "--limit", 1, "--json", f"{name}.json")
        assert json.loads(Path(f"{name}.json").read_text())


def test_the_table_is_printed_also_where_the_numbers_cannot_be_written(command, root, monkeypatch, capsys):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli.evaluate, "replace", full)
    for name in ("voc21", "all"):
        assert command("evaluate", name, "--data", root, *MODELS, *FAST, "--limit", 1, "--json", "scores.json") == 1
        said = capsys.readouterr()
        assert "| VOC21 " in said.out and "error: [Errno 28] No space left on device" in said.err


def test_quiet_prints_the_table_and_errors_alone(command, root, capsys):
    shutil.rmtree(root / "VOCdevkit")
    (root / LAYOUTS["ade"].picture.format("ADE_val_00000002")).write_bytes(b"")
    assert command("evaluate", "all", "--data", root, *MODELS, *FAST, "--quiet") == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: ADE20K: ") and said.err.count("\n") == 1 and "| Cityscapes" in said.out


def test_label_maps_of_one_layout_suffice(command, four_areas, tmp_path):
    write_set(tmp_path / "own", "voc", four_areas, [np.zeros((56, 112), np.uint8)])
    assert command("evaluate", "voc21", "--data", tmp_path / "own" / "VOCdevkit" / "VOC2012", *MODELS, *FAST) == 0
