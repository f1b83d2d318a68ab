"""proxyclip_core.drawing.fonts: names in every script that this machine has a font for, and none as boxes.

matplotlib's files stand in for a system's fonts: Pillow's own font has little more than English.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageFont, features

from demo.draw.legend import legend_html, legend_rows
from proxyclip_core.drawing import fonts
from proxyclip_core.drawing.label_placement import inner_points, lay, name_plates

DEJAVU = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
CACHES = (fonts.runs, fonts.default_face, fonts._system_face, fonts._files, fonts._sized, fonts._has)
GREEK = "θάλασσα"
needs_raqm = pytest.mark.skipif(not features.check("raqm"), reason="this Pillow was built without Raqm")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The one folder with fonts of a machine without fontconfig and matplotlib; empty at first."""
    monkeypatch.setattr(fonts, "FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(fonts, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for cached in CACHES:
        cached.cache_clear()
    yield tmp_path
    for cached in CACHES:
        cached.cache_clear()


def written(name: str, index: int = 0) -> np.ndarray:
    """(60, 300, 3): a picture of one class with its name on it."""
    labels = np.full((60, 300), index, np.uint16)
    colours, names = np.full((index + 1, 3), 200, np.uint8), [""] * index + [name]
    return lay(colours[labels], name_plates(inner_points(labels), names, colours, labels.shape))


# supervision 1630, ultralytics 17951
def test_a_name_is_written_in_a_font_of_the_system_where_the_usual_one_lacks_its_characters(folder):
    (folder / "deep" / "er").mkdir(parents=True)
    shutil.copy(DEJAVU, folder / "deep" / "er" / "NotoSansX-Regular.ttf")
    ((usual, english), (other, greek)) = fonts.runs(f"sea {GREEK}")
    assert (usual.path, english, greek) == ("", "sea ", GREEK) and other.path.endswith("NotoSansX-Regular.ttf")
    assert (written(GREEK) != written("0")).any()


def test_dejavu_is_the_usual_font_where_it_is_installed(folder):
    shutil.copy(DEJAVU, folder)
    assert [Path(face.path).name for face, _ in fonts.runs(f"sea {GREEK}")] == ["DejaVuSans.ttf"]


def test_a_name_without_a_font_is_written_as_its_number_which_the_legend_then_shows():  # ultralytics 17951
    assert fonts.runs(GREEK) == () and (written(GREEK, 7) == written("7", 7)).all()
    shown = legend_html(legend_rows({"sky": 0.5, GREEK: 0.5}, np.zeros((2, 3), np.uint8)))
    assert f">1 · {GREEK}<" in shown and ">sky<" in shown


def test_files_that_are_no_fonts_are_passed_over(folder):
    (folder / "NotoSansX-Regular.ttf").write_bytes(b"no font")
    (folder / "NotoSansY-Regular.ttf").write_bytes(b"")
    assert fonts.runs(GREEK) == () and fonts.runs("sea") == ((fonts.Face(), "sea"),)


@pytest.mark.parametrize("told", ["0 {font}", "", "x", "0 /nowhere/font.ttf", "0 {pillow}"])
def test_what_fontconfig_suggests_is_taken_where_it_has_the_characters(folder, told):
    shutil.copy(DEJAVU, folder / "suggested.ttf")  # under no name that is looked for
    (folder / "bin").mkdir()
    command = folder / "bin" / "fc-match"
    command.write_text("#!/bin/sh\nprintf '%s' '" + told.format(font=folder / "suggested.ttf", pillow=__file__) + "'\n")
    command.chmod(0o755)
    assert bool(fonts.runs(GREEK)) == (told == "0 {font}")


def test_what_is_not_to_be_seen_is_left_out():
    assert fonts.runs("a\u200bb\x07\u202e\ufeff\udcff  c\n") == fonts.runs("ab c")
    assert fonts.runs("\u200b") == fonts.runs("\u200d") == () and (written("\x00\x1b") == written("0")).all()


@needs_raqm
def test_hebrew_runs_from_right_to_left(folder):
    shutil.copy(DEJAVU, folder)
    image = Image.new("L", (200, 40)).convert("RGB")
    fonts.write(image, (10, 20), fonts.runs("שי"), 20, "white")
    ink = np.asarray(image.convert("L").crop(image.getbbox()))
    assert (
        ink[0, 0] > 100 and ink[-3:, : ink.shape[1] // 4].max() < 100
    )  # the second letter, which hangs, is on the left


def test_scripts_that_need_raqm_are_written_as_numbers_without_it(folder, monkeypatch):
    shutil.copy(DEJAVU, folder)
    monkeypatch.setattr(features, "check", lambda feature: False)
    assert fonts.runs("שמיים") == fonts.runs("سماء") == fonts.runs("आकाश") == ()
    assert fonts.runs("cafe\u0301") == ((fonts.default_face(), "café"),)


def test_a_font_of_one_size_is_scaled(folder, monkeypatch):
    shutil.copy(DEJAVU, folder)
    wanted, open_font = written("sea"), ImageFont.truetype

    def one_size(path, size, index):
        if size != 109:
            raise OSError("invalid pixel size")
        return open_font(path, size, index)

    monkeypatch.setattr(ImageFont, "truetype", one_size)
    for cached in CACHES:
        cached.cache_clear()
    assert abs(written("sea").mean() - wanted.mean()) < 1 and (written("sea") != written("0")).any()
