"""`proxyclip`: what it writes and prints, and how it says what went wrong."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import proxyclip_core
from proxyclip_core import export
from proxyclip_core.cli import options as command_line
from proxyclip_core.settings import SETTINGS, Settings

MODELS = {"clip": "OpenAI B/16", "vfm": "DINO B/8"}
FAST = ("--side", "as-is", "--templates", "none")


def labels_of(path: str) -> np.ndarray:
    return np.asarray(Image.open(path))


def record_of(path: str) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def usage_error(command, capsys, *arguments) -> str:
    """What a command says that argparse refuses."""
    with pytest.raises(SystemExit) as ended:
        command(*arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_segment_writes_what_the_library_gives(command, tiny_model, four_areas, picture_file, capsys):
    options = ("--out", "out", "--templates", "simple7", "--side", 224, "--threshold", 0.3, "--background", "first")
    assert command("segment", picture_file, "other, red; crimson, green", *options) == 0
    expected = tiny_model(
        four_areas, "other, red; crimson, green", side=224, threshold=0.3, background="first", templates="simple7"
    )
    assert np.array_equal(labels_of("out/blocks.png.proxyclip.png"), expected.labels)
    record = record_of("out/blocks.png.proxyclip.json")
    assert record["names"] == ["other", "red", "green"] and record["picture"] == "blocks.png"
    assert record["shares"] == expected.coverage()
    printed = capsys.readouterr().out
    assert printed.startswith("blocks.png: Built-in and Built-in/8, float32 on cpu\n") and " red" in printed


def test_the_record_holds_the_settings_and_what_computed_them(command, tiny_model, picture_file):
    command("segment", picture_file, "red, green", "--beta", 1.4, *FAST)
    saved = record_of("blocks.png.proxyclip.json")["settings"]
    assert saved["computed_with"] == tiny_model.computed_with()
    settings = Settings.from_json(json.dumps(saved))
    assert (settings.words, settings.beta, settings.side, settings.templates) == ("red, green", 1.4, None, "none")


def test_several_pictures_are_segmented_by_one_model(command, loaded, four_areas, tmp_path, capsys):
    for name in ("a.png", "a.webp", "b.png"):
        Image.fromarray(four_areas).save(tmp_path / name)
    assert command("segment", "a.png", "a.webp", "b.png", "red, green", *FAST) == 0
    assert len(loaded) == 1
    written = sorted(path.name for path in tmp_path.iterdir() if "proxyclip" in path.name)
    assert written == [f"{name}.proxyclip.{kind}" for name in ("a.png", "a.webp", "b.png") for kind in ("json", "png")]
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if "float32" in line] == [
        "a.png",
        "a.webp",
        "b.png",
    ]


def test_with_words_as_an_option_all_arguments_are_pictures(command, four_areas, tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(four_areas).save(tmp_path / name)
    assert command("segment", "a.png", "b.png", "--words", "red, green", *FAST) == 0
    assert Path("b.png.proxyclip.png").is_file()


def test_words_may_stand_after_an_option(command, picture_file):
    assert command("segment", picture_file, *FAST, "red, green") == 0
    assert record_of("blocks.png.proxyclip.json")["names"] == ["red", "green"]


def test_a_broken_picture_does_not_stop_the_others(command, picture_file, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert command("segment", "broken.png", picture_file, "red, green", *FAST) == 1
    assert "error: " in (said := capsys.readouterr().err) and "broken.png" in said
    assert Path("blocks.png.proxyclip.png").is_file() and not Path("broken.png.proxyclip.png").exists()


def test_what_was_not_written_here_is_left_alone(command, loaded, picture_file, capsys):
    Path("blocks.png.proxyclip.png").write_bytes(Path(picture_file).read_bytes())
    assert command("segment", picture_file, "red, green") == 1
    assert "blocks.png.proxyclip.png is there already" in capsys.readouterr().err and not loaded
    assert Path("blocks.png.proxyclip.png").read_bytes() == Path(picture_file).read_bytes()
    assert command("segment", picture_file, "red, green", *FAST, "--force") == 0
    assert export.is_label_png(Path("blocks.png.proxyclip.png"))


def test_a_ground_truth_beside_the_picture_is_never_the_target(command, picture_file):
    for name in ("blocks_labels.png", "blocks_names.json"):
        Path(name).write_bytes(b"ground truth")
    assert command("segment", picture_file, "red, green", *FAST) == 0
    assert Path("blocks_labels.png").read_bytes() == Path("blocks_names.json").read_bytes() == b"ground truth"


def test_what_was_written_here_is_replaced_and_is_no_picture(command, picture_file, capsys):
    assert command("segment", picture_file, "red, green", *FAST) == 0
    assert command("segment", picture_file, "blocks.png.proxyclip.png", "red, blue", *FAST) == 0
    assert record_of("blocks.png.proxyclip.json")["names"] == ["red", "blue"]
    assert "blocks.png.proxyclip.png is a label map that proxyclip wrote" in capsys.readouterr().err
    assert not list(Path().glob("*.png.proxyclip.png.*")) and not list(Path().glob(".*"))


def test_pictures_that_would_be_written_to_one_file_are_refused(command, loaded, four_areas, tmp_path, capsys):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        Image.fromarray(four_areas).save(tmp_path / folder / "a.png")
    assert command("segment", "x/a.png", "y/a.png", "red, green", "--out", "out") == 1
    assert "x/a.png and y/a.png would both be written to a.png.proxyclip.png" in capsys.readouterr().err
    assert not loaded and not Path("out").exists()


# settings and models


@pytest.fixture
def saved(tmp_path) -> Settings:
    settings = Settings(**MODELS, words="red, green, blue", beta=1.0, gamma=5.0, side=224, windows="whole")
    (tmp_path / "settings.json").write_text(settings.to_json(), encoding="utf-8-sig")  # as some editors save it
    return settings


def test_segment_with_settings_from_the_page(command, loaded, tiny_model, four_areas, picture_file, saved):
    assert command("segment", picture_file, "--settings", "settings.json") == 0
    assert loaded[0][0] == ("OpenAI B/16", "DINO B/8")
    expected = tiny_model(
        four_areas, saved.words, beta=1.0, gamma=5.0, side=224, windows="whole", templates=saved.templates
    )
    assert np.array_equal(labels_of("blocks.png.proxyclip.png"), expected.labels)


def test_the_record_of_a_result_serves_as_settings(command, picture_file):
    command("segment", picture_file, "red, green", "--beta", 1.4, *FAST)
    first = Path("blocks.png.proxyclip.json").read_bytes()
    Path("kept.json").write_bytes(first)
    assert command("segment", picture_file, "--settings", "kept.json") == 0
    assert record_of("blocks.png.proxyclip.json")["settings"]["beta"] == 1.4


def test_options_and_words_take_the_place_of_the_files(command, loaded, picture_file, saved):
    options = ("--words", "sky, sea", "--gamma", 3.0, "--side", "as-is", "--vfm", "DINO B", "--patch", 16)
    assert command("segment", picture_file, "--settings", "settings.json", *options) == 0
    assert loaded[0][0] == ("OpenAI B/16", "DINO B/16")
    kept = record_of("blocks.png.proxyclip.json")["settings"]
    assert (kept["words"], kept["gamma"], kept["side"]) == ("sky, sea", 3.0, "as-is")  # 3.0 is the default, but said
    assert (kept["beta"], kept["windows"]) == (1.0, "whole")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"{", "settings.json: These are no settings: the file is not JSON"),
        (b"[]", "settings.json: These are no settings"),
        (b"\xff\xfe\x00", "settings.json: These are no settings: the file is no text"),
        (b'{"proxyclip_label_map": 1, "settings": null}', "settings.json: These are no settings"),
    ],
)
def test_broken_settings_are_named(command, picture_file, content, message, capsys):
    Path("settings.json").write_bytes(content)
    assert command("segment", picture_file, "--settings", "settings.json") == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, names, kept",
    [
        (("--clip", "OpenAI B/16"), ("OpenAI B/16", None), ("OpenAI B/16", "DINO B/8")),
        (("--vfm", "SAM B/16"), (None, "SAM B/16"), ("OpenAI B/16", "SAM B/16")),
        (("--clip", "Built-in"), ("Built-in", None), ("Built-in", "Built-in/8")),
        (("--patch", 4), (None, None), ("Built-in", "Built-in/4")),
        ((), (None, None), ("Built-in", "Built-in/8")),
    ],
)
def test_a_half_named_pair_is_completed_by_the_paper(command, loaded, picture_file, options, names, kept):
    assert command("segment", picture_file, "red, green", *FAST, *options) == 0
    settings = record_of("blocks.png.proxyclip.json")["settings"]
    assert loaded[0][0] == names and (settings["clip"], settings["vfm"]) == kept


@pytest.mark.parametrize("fusion", ["values", "clip"])
def test_a_fusion_without_a_vfm_loads_none(command, loaded, picture_file, saved, fusion):
    assert command("segment", picture_file, "red", "--clip", "OpenAI B/16", "--fusion", fusion, *FAST) == 0
    assert command("segment", picture_file, "--settings", "settings.json", "--fusion", fusion) == 0
    assert [names for names, _ in loaded] == [("OpenAI B/16", None)] * 2
    assert all(options["fusion"] == fusion for _, options in loaded)


def test_what_the_library_warns_of_is_one_plain_line(command, picture_file, monkeypatch, capsys):
    tiny_load = command_line.load

    def load(*names, **options):
        warnings.warn("No other model is at hand, so the built-in one answers.", stacklevel=2)
        return tiny_load(*names, **options)

    monkeypatch.setattr(command_line, "load", load)
    assert command("segment", picture_file, "red, green", *FAST) == 0
    assert capsys.readouterr().err == "note: No other model is at hand, so the built-in one answers.\n"


# errors and consoles


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("segment", "none.png", "sky"), "no picture file or folder at 'none.png'"),
        (("segment", "none.png", "sky,,hill"), "empty word"),
        (("segment", "none.png"), "There are no words"),
        (("segment", "blocks.png", "blocks.png"), "There are no words: the last argument is a file, 'blocks.png'"),
        (("segment", "blocks.png", "sky,", "grass"), "All words are one argument, in quotes"),
        (("segment", "blocks.png", "sky", "--out", "blocks.png"), "--out is blocks.png, which is a file"),
        (("segment", "none.png", "--settings", "none.json"), "no settings file"),
        (("segment", "blocks.png", "sky", "--clip", "OpenAI B/99"), "No CLIP is called"),
        (
            ("segment", "blocks.png", "sky, sea", "--threshold", "0.2"),
            "threshold is 0.2, but no class is the background",
        ),
        (("evaluate", "scenes", "--index", "none.json"), "no scenes at none.json"),
        (("evaluate", "scenes", "--index", "blocks.png"), "blocks.png is not JSON"),
        (("evaluate", "scenes", "--index", "blocks.png", "--threshold", "0.2"), "no class is the background"),
    ],
)
def test_errors_are_one_sentence_and_status_1(command, loaded, picture_file, arguments, message, capsys):
    assert command(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and message in printed.err and printed.out == ""
    assert printed.err.count("\n") == 1 and not loaded


@pytest.mark.parametrize(
    "option, message",
    [
        ("--side=abc", "side is 'abc'; expected 224 to 1024 pixels, or 'as-is'"),
        ("--side=2000", "side is 2000; expected 224 to 1024 pixels"),
        ("--beta=nan", "beta is nan; expected a number from 0 to 3"),
        ("--gamma=0", "gamma is 0.0; expected a number from 0.5 to 20"),
        ("--threshold=2", "threshold is 2.0; expected a number from 0 to 1"),
        ("--background=", "background is ''; expected one of 'none', 'first', 'short', 'long'"),
        ("--fusion=sum", "fusion is 'sum'; expected one of 'proxy', 'values', 'clip'"),
        ("--patch=x", "got 'x'; expected a whole number of 1 or more"),
        ("--nothing=1", "unrecognized arguments: --nothing=1"),
    ],
)
def test_what_an_option_may_be_is_said(command, capsys, option, message):
    assert message in usage_error(command, capsys, "segment", "a.png", "sky", option)


def test_help_lists_every_setting_with_its_range_and_default(command, capsys):
    with pytest.raises(SystemExit):
        command("segment", "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"--{name} " in shown for name in SETTINGS)
    rows = [row for row in SETTINGS.values() if row.kind != "text"]
    assert all(f"{row.expected}; default: {row.as_text(row.default)})" in shown for row in rows)


def test_the_version_is_the_packages(command, capsys):
    with pytest.raises(SystemExit):
        command("--version")
    assert capsys.readouterr().out == f"proxyclip {proxyclip_core.__version__}\n"


def test_a_console_that_cannot_show_a_word_shows_the_rest(command, picture_file, monkeypatch):  # winml-cli 207
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", console)
    assert command("segment", picture_file, "água, red", *FAST) == 0
    assert b"?gua" in console.buffer.getvalue()
    assert record_of("blocks.png.proxyclip.json")["names"] == ["água", "red"]


@pytest.mark.parametrize(
    "error, status, said",
    [
        (KeyboardInterrupt(), 130, ""),
        (
            RuntimeError("[enforce fail] can't allocate memory: tried 9 bytes"),
            1,
            "error: The memory was not enough. Try",
        ),
        (MemoryError("Not enough to load SAM."), 1, "error: Not enough to load SAM. Try a lower --side"),
    ],
)
def test_what_ends_a_command_early_is_no_traceback(command, picture_file, monkeypatch, error, status, said, capsys):
    def load(*names, **options):
        raise error

    monkeypatch.setattr(command_line, "load", load)
    assert command("segment", picture_file, "red") == status
    shown = capsys.readouterr().err
    assert shown.startswith(said) and bool(shown) == bool(said)


def test_words_come_from_a_file(command, picture_file, tmp_path):
    (tmp_path / "names.json").write_text('{"0": "red, dark", "1": "green"}')
    assert command("segment", picture_file, "@names.json", "--side", "as-is") == 0
    record = json.loads((tmp_path / f"{picture_file}.proxyclip.json").read_text())
    assert record["names"] == ["red, dark", "green"]
    assert command("segment", picture_file, "--words", "@names.json", "--side", "as-is") == 0


def test_a_file_of_words_that_is_not_there_is_named(command, picture_file, capsys):
    assert command("segment", picture_file, "@no.txt") == 1
    assert capsys.readouterr().err == "error: There is no file of words at no.txt.\n"


def test_what_is_to_be_said_of_words_is_said_once(command, picture_file, capsys):
    assert command("segment", picture_file, "天空，红，天空", "--side", "as-is", "--clip", "OpenAI B/16") == 0
    said = capsys.readouterr().err.splitlines()
    assert sorted(said) == [
        "note: Given more than once, taken once: '天空'.",
        "note: OpenAI B/16 reads English; it hardly knows 天空, 红. Say it in English.",
    ]


def process(tmp_path, *arguments, **more) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    environment.pop("PROXYCLIP_WEIGHTS", None)
    command = [sys.executable, "-m", "proxyclip_core", *arguments]
    return subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False, **more)


def test_a_real_process_without_weights_says_how_to_get_them(tmp_path, picture_file):
    done = process(tmp_path, "segment", str(tmp_path / picture_file), "sky", "--clip", "OpenAI L/14")
    assert done.returncode == 1
    assert "hf download timm/vit_large_patch14_clip_224.openai" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_is_no_error(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = process(tmp_path, "segment", "--help", stdout=writing)
    os.close(writing)
    assert done.returncode == 0 and done.stderr == ""


def test_a_reader_of_errors_that_has_gone_is_none_either(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "proxyclip_core", "segment", str(tmp_path / "none.png"), "sky"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, check=False)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, b"")


def test_a_pipe_that_breaks_elsewhere_is_an_error(command, picture_file, monkeypatch, capsys):
    def broken(*_, **__):
        raise BrokenPipeError(32, "Broken pipe", "a cluster")

    monkeypatch.setattr(command_line, "load", broken)
    assert command("segment", picture_file, "red, green") == 1
    assert "error: [Errno 32] Broken pipe: 'a cluster'" in capsys.readouterr().err


@pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")  # left by other tests
def test_what_is_noted_of_words_is_no_error_where_warnings_are(command, picture_file, capsys):
    assert command("segment", picture_file, "red, Red, green", "--side", "as-is", "--templates", "none") == 0
    assert "note: Given more than once, taken once: 'Red'." in capsys.readouterr().err
