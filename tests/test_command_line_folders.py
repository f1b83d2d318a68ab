"""`proxyclip segment` on folders: what it writes where, how it goes on after it was stopped, and what it says."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxyclip_core.folders import Output, output

FAST = ("--side", "as-is", "--templates", "none")
WORDS = ("--words", "red, green")
ROOT = Path(__file__).parents[1]


@pytest.fixture
def album(four_areas, tmp_path) -> Path:
    """Three pictures, one of them in a sub-folder."""
    for name in ("a.png", "b.png", "sea/c.png"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(four_areas, len(name), axis=1)).save(path)
    return tmp_path / "album"


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def rows_of(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_sub_folders_keep_their_shape(command, album):
    assert command("segment", "album", "red, green", "--out", "out", *FAST) == 0
    names = ["a.png", "b.png", "sea/c.png"]
    assert written(Path("out")) == sorted(f"{name}.proxyclip.{kind}" for name in names for kind in ("json", "png"))
    assert json.loads(Path("out/sea/c.png.proxyclip.json").read_text())["picture"] == "sea/c.png"


def test_a_second_run_does_nothing_and_says_so(command, album, counter, capsys):
    command("segment", "album", *WORDS, "--out", "out", *FAST)
    capsys.readouterr()
    calls = counter.during(lambda: command("segment", "album", *WORDS, "--out", "out", *FAST))
    assert set(calls) <= {"text"}
    assert "Pictures: 0 done in 0.0 s, 3 done before, by the same settings. Results: out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda: ("--beta", 1.4),
        lambda: ("--force",),
        lambda: os.utime("album/b.png") or (),
        lambda: Path("out/b.png.proxyclip.png").unlink() or (),
        lambda: Path("out/b.png.proxyclip.json").write_text('{"proxyclip_label_map": 1, "settings": {}}') and (),
    ],
    ids=["other settings", "forced", "newer picture", "label map gone", "record of an earlier version"],
)
def test_what_is_not_as_it_would_be_is_done_again(command, album, change, capsys):
    command("segment", "album", *WORDS, "--out", "out", *FAST)
    options = change()
    capsys.readouterr()
    assert command("segment", "album", *WORDS, "--out", "out", *FAST, *options, "--json") == 0
    rows = {row["name"]: row["done_before"] for row in rows_of(capsys)}
    assert rows["b.png"] is False and rows["a.png"] is not bool(options)


def test_results_among_the_pictures_are_no_pictures(command, album):
    for _ in range(2):
        assert command("segment", "album", *WORDS, "--out", "album", *FAST) == 0
    assert len(written(album)) == 3 * 3


def test_a_bad_picture_is_named_and_the_status_is_1(command, album, capsys):
    (album / "sea" / "bad.jpg").write_bytes(b"no picture")
    assert command("segment", "album", *WORDS, "--out", "out", *FAST) == 1
    said = capsys.readouterr().err
    assert "error: album/sea/bad.jpg: Could not read 'bad.jpg'" in said
    assert "Pictures: 3 done" in said and "1 failed" in said
    assert "sea/bad.jpg.proxyclip.json" not in written(Path("out"))


def test_json_is_a_line_a_picture_and_nothing_else(command, album, capsys):
    (album / "bad.jpg").write_bytes(b"no picture")
    assert command("segment", "album", *WORDS, "--out", "out", "--json", *FAST) == 1
    first, _, bad, _ = rows_of(capsys)
    assert (first["picture"], first["name"], first["done_before"]) == ("album/a.png", "a.png", False)
    assert first["files"] == ["a.png.proxyclip.png"] and set(first["shares"]) == {"red", "green"}
    assert (bad["name"], "Could not read" in bad["error"]) == ("bad.jpg", True)


def test_quiet_says_errors_alone(command, album, capsys):
    (album / "bad.jpg").write_bytes(b"no picture")
    assert command("segment", "album", "--words", "red, green, red", "--out", "out", "--quiet", *FAST) == 1  # a note
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: album/bad.jpg: ") and said.err.count("\n") == 1


def test_many_pictures_have_no_lines_of_their_own(command, four_areas, tmp_path, capsys):
    (tmp_path / "many").mkdir()
    for number in range(11):
        Image.fromarray(four_areas).save(tmp_path / "many" / f"{number}.png")
    assert command("segment", "many", *WORDS, "--out", "out", *FAST) == 0
    assert capsys.readouterr().out == ""


def test_a_picture_from_standard_input(command, four_areas, monkeypatch):
    file = io.BytesIO()
    Image.fromarray(four_areas).save(file, "png")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.getvalue())))
    assert command("segment", "-", "red, green", *FAST) == 0
    assert Image.open("stdin.proxyclip.png").size == four_areas.shape[1::-1]


def test_standard_input_is_read_once_and_is_another_picture_each_time(command, four_areas, monkeypatch, capsys):
    for picture in (four_areas, four_areas[:, ::-1], four_areas[:28]):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "png")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.getvalue())))
        assert command("segment", "-", "-", "red, green", "--json", *FAST) == 0
        assert Image.open("stdin.proxyclip.png").size == picture.shape[1::-1]
    assert [row["done_before"] for row in rows_of(capsys)] == [False] * 3


def test_a_name_that_is_too_long_fails_that_picture_alone(command, album, capsys):
    name = "x" * 240 + ".png"
    (album / name).write_bytes((album / "a.png").read_bytes())
    for done in (0, 3):
        assert command("segment", "album", *WORDS, "--out", "out", "--json", *FAST) == 1
        rows = rows_of(capsys)
        assert [row["name"] for row in rows if "error" in row] == [name]
        assert sum(row.get("done_before", False) for row in rows) == done


def test_a_file_of_words(command, album):
    Path("words.txt").write_text("red\ngreen\n")
    for given in (("--words-file", "words.txt"), ("--words", "@words.txt"), ("--words", "words.txt"), ("@words.txt",)):
        assert command("segment", "album/a.png", *given, "--force", *FAST) == 0
        assert json.loads(Path("a.png.proxyclip.json").read_text())["names"] == ["red", "green"]


def test_a_preset_asks_as_the_paper_does_but_for_what_is_said(command, album):
    assert command("segment", "album/a.png", "--preset", "voc21", *FAST) == 0
    record = json.loads(Path("a.png.proxyclip.json").read_text())
    settings = record["settings"]
    assert len(record["names"]) == 21 and record["names"][:2] == ["sky", "aeroplane"]  # of the 26 for background
    assert (settings["threshold"], settings["background"], settings["side"]) == (0.2, "first", "as-is")


def test_windows_of_a_preset_are_kept_with_the_result(command, album):
    assert command("segment", "album/a.png", "--preset", "cityscapes", *FAST) == 0
    assert json.loads(Path("a.png.proxyclip.json").read_text())["windows"] == {
        "crop": 224,
        "stride": 112,
        "resizing": "bilinear",
    }


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("album", "--preset", "voc"), "No benchmark is called 'voc'; these are: voc21"),
        (("album/a.png", "album"), "There are no words: the last argument is a folder, 'album'"),
        (("album", "red", "--save", "labels,svg"), "There is no format 'svg'; these are: labels, overlay"),
        (("album", "red", "--save", ","), "There is no format ''"),
        (("s3://bucket/photos", "red"), "s3://bucket/photos is a remote folder, which is read by Ray"),
        (("album/*.gif", "red"), "No pictures match 'album/*.gif'"),
        (("album", *WORDS, "--words-file", "words.txt"), "Words are given twice, by --words and by --words-file"),
        (("album", "none.txt"), "There is no file of words at none.txt"),
        (("album", "--words", "None.CSV"), "There is no file of words at None.CSV"),
    ],
)
def test_what_cannot_be_asked_for_is_said_before_any_work(command, loaded, album, arguments, message, capsys):
    assert command("segment", *arguments) == 1
    assert message in capsys.readouterr().err and not loaded


def test_a_full_disk_ends_the_run_with_one_error(command, album, monkeypatch, capsys):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output, "replace", full)
    assert command("segment", "album", *WORDS, "--out", "out", *FAST) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(said) == 1 and "No space left on device; what is written so far stays" in said[0]


def test_what_a_killed_run_left_unfinished_is_removed(command, album):
    Path("out").mkdir()
    ended = subprocess.Popen(["true"])
    ended.wait()
    for process in (ended.pid, os.getppid()):
        Path(f"out/.a.png.proxyclip.png.{process}").write_bytes(b"half")
    assert command("segment", "album", *WORDS, "--out", "out", *FAST) == 0
    assert [name for name in written(Path("out")) if name.startswith(".")] == [f".a.png.proxyclip.png.{os.getppid()}"]


def test_a_record_cannot_have_other_files_removed(four_areas, tiny_model, tmp_path):
    results = Output(tmp_path / "out")
    (tmp_path / "precious").write_bytes(b"not ours")
    (tmp_path / "out").mkdir()
    record = {"proxyclip_label_map": 1, "files": ["../precious", "a.png.proxyclip./../../precious", "/etc/hostname"]}
    (tmp_path / "out" / "a.png.proxyclip.json").write_text(json.dumps(record))
    assert results._files_of("a.png") == set()


# stopped half-way


@pytest.fixture
def twenty(four_areas, tmp_path) -> Path:
    """20 pictures: one cut short, one turned by its EXIF, one of 16 bits, and 17 plain ones."""
    folder = tmp_path / "twenty"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(np.roll(four_areas, number, axis=1)).save(folder / f"{number:02}.png")
    content = (folder / "03.png").read_bytes()
    (folder / "03.png").write_bytes(content[: len(content) // 2])
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(four_areas).save(folder / "05.png", exif=turned)
    Image.fromarray(four_areas[..., 0].astype(np.uint16) * 256).save(folder / "07.png")
    return folder


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT], ids=["killed", "^C"])
def test_a_run_that_is_stopped_half_way_goes_on_where_it_was(twenty, tmp_path, stop):
    out, words = tmp_path / "out", ", ".join(f"word {number}" for number in range(100))
    arguments = ["segment", str(twenty), words, "--out", str(out), "--clip", "Built-in", "--json", *FAST]
    command = [sys.executable, "-m", "proxyclip_core", *arguments]
    # A line is longer than 1,000 bytes, so that few fit into the pipe and the process waits for its reader.
    first = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1, pipesize=4096
    )
    assert first.stdout and first.stderr
    for _ in range(5):
        first.stdout.readline()
    first.send_signal(stop)
    said = first.communicate()[1]
    assert first.returncode == (130 if stop == signal.SIGINT else -stop), said
    assert "Traceback" not in said
    if stop == signal.SIGINT:
        assert not [name for name in written(out) if name.startswith(".")]
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.json")}
    assert 4 <= len(before) < 19
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in second.stdout.splitlines()]
    assert second.returncode == 1 and len(rows) == 20
    assert [row["name"] for row in rows if "error" in row] == ["03.png"]
    assert sum(row.get("done_before", False) for row in rows) == len(before)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(out.glob("*.png"))) == len(list(out.glob("*.json"))) == 19 and len(written(out)) == 38
    assert Image.open(out / "05.png.proxyclip.png").size == (56, 112)


def test_wishes_are_those_of_the_page(command, album, capsys):
    save = ("--save", "coco,cutouts", "--wishes", "split,polygons,crop")
    assert command("segment", "album/a.png", *WORDS, "--out", "out", *save, *FAST) == 0
    (coco,) = Path("out").glob("*.coco.json")
    annotations = json.loads(coco.read_text())["annotations"]
    assert all(isinstance(row["segmentation"], list) for row in annotations)
    assert Image.open(next(Path("out").rglob("000_red.png"))).size < (230, 150)
    capsys.readouterr()
    assert command("segment", "album/a.png", *WORDS, "--out", "out", *FAST, "--wishes", "bigger") == 1
    assert "There is no wish 'bigger'; these are: crop, split, polygons, background." in capsys.readouterr().err
