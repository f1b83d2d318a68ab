"""Ctrl-C ends a command wherever it comes, also where Python or a library drops it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from proxyclip_core import cli
from proxyclip_core.cli import ctrl_c
from proxyclip_core.cli.report import Report
from proxyclip_core.evaluation.partial import PartialAreas
from proxyclip_core.evaluation.scene_work import SceneWork
from proxyclip_core.interrupt import checkpoint

FAST = ("--side", "as-is", "--templates", "none")


def press() -> None:
    signal.raise_signal(signal.SIGINT)


class PressedAsItGoes:
    def __del__(self) -> None:
        press()


def caught() -> None:
    with suppress(BaseException):
        press()


DROPPED = pytest.mark.parametrize("pressed", [PressedAsItGoes, caught], ids=["by Python", "by a library"])


@pytest.fixture
def five(four_areas, tmp_path) -> list[str]:
    """Options that name five pictures with label maps of two classes."""
    for number in range(5):
        for folder, content in (("pictures", four_areas), ("labels", four_areas[..., 0] // 128)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(content).save(tmp_path / folder / f"{number}.png")
    return ["--pictures", "pictures", "--labels", "labels", "--words", "red, green"]


def pressing_at(place: int, pressed, method, calls: list):
    """The method, at whose call of this number Ctrl-C is pressed and dropped."""

    def called(*arguments):
        calls.append(arguments)
        if len(calls) == place:
            pressed()
        return method(*arguments)

    return called


@DROPPED
def test_segment_ends_at_the_next_picture(command, five, monkeypatch, capsys, pressed):
    calls: list = []
    monkeypatch.setattr(Report, "tell", pressing_at(2, pressed, Report.tell, calls))
    assert command("segment", "pictures", "red, green", "--out", "out", *FAST) == cli.INTERRUPTED
    assert len(calls) == 2 and "Traceback" not in capsys.readouterr().err
    assert command("segment", "pictures", "red, green", "--out", "out", *FAST) == 0


@DROPPED
def test_evaluate_ends_at_the_next_picture_and_goes_on_from_there(command, five, monkeypatch, capsys, pressed):
    calls: list = []
    monkeypatch.setattr(PartialAreas, "add", pressing_at(2, pressed, PartialAreas.add, calls))
    assert command("evaluate", "folder", *five, *FAST) == cli.INTERRUPTED
    said = capsys.readouterr().err
    assert "The same command goes on from here" in said and "Traceback" not in said
    assert command("evaluate", "folder", *five, *FAST) == 0 and len(calls) == 5


def test_scenes_end_while_they_are_computed(command, five, monkeypatch):
    rows = [f'{{"file": "pictures/{n}.png", "labels": "labels/{n}.png", "words": ["red", "green"]}}' for n in range(5)]
    Path("scenes.json").write_text(f"[{', '.join(rows)}]")
    calls: list = []
    monkeypatch.setattr(SceneWork, "_scored", pressing_at(2, caught, SceneWork._scored, calls))
    assert command("evaluate", "scenes", "--index", "scenes.json", *FAST) == cli.INTERRUPTED and len(calls) == 2


def test_what_comes_after_the_last_picture_is_not_lost_either(command, five, monkeypatch):
    monkeypatch.setattr(Report, "end", pressing_at(1, caught, Report.end, []))
    assert command("segment", "pictures", "red, green", "--out", "out", *FAST) == cli.INTERRUPTED


def test_an_error_that_a_library_makes_of_it_is_none(command, five, monkeypatch, capsys):
    def wrapped(*_):
        caught()
        raise RuntimeError("stopped for no known reason")

    monkeypatch.setattr(Report, "tell", wrapped)
    assert command("segment", "pictures", "red, green", "--out", "out", *FAST) == cli.INTERRUPTED
    assert "stopped for no known reason" not in capsys.readouterr().err


def test_the_second_ends_the_process_at_once():
    code = """
import signal
from proxyclip_core.cli.ctrl_c import never_lost
with never_lost():
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGINT)
        print("still here", flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGINT, "")


def test_afterwards_all_is_as_before():
    with pytest.raises(KeyboardInterrupt), ctrl_c.never_lost():
        press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    checkpoint()
    with ctrl_c.never_lost():
        pass


def test_what_somebody_else_wants_at_ctrl_c_stays():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as of a command that a script runs behind itself
    try:
        with ctrl_c.never_lost():
            press()
    finally:
        signal.signal(signal.SIGINT, before)
    seen = []

    def elsewhere() -> None:
        with ctrl_c.never_lost():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)  # where Python allows no handlers
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_other_errors_that_python_drops_are_still_told():
    told = []

    class Failing:
        def __del__(self) -> None:
            raise KeyError("a slip")

    def drop() -> None:
        with ctrl_c.never_lost():
            Failing()

    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: told.append(unraisable.exc_type)
    try:
        drop()
    finally:
        sys.unraisablehook = hook
    assert told == [KeyError]
