"""demo.preferences: what the browser keeps is read with care."""

from __future__ import annotations

import pytest

from demo import preferences


def test_what_was_written_is_read_again():
    assert preferences.read(preferences.write(0.25, False, True)) == {"opacity": 0.25, "outlines": False, "names": True}


@pytest.mark.parametrize("kept", [None, "text", [], {}, {"opacity": 7}, {"opacity": "0.5"}, {"opacity": True, "x": 1}])
def test_what_makes_no_sense_is_the_default(kept):
    assert preferences.read(kept) == preferences.DEFAULTS


def test_a_part_that_makes_sense_is_kept():
    assert preferences.read({"outlines": False, "names": 3}) == {"opacity": 0.6, "outlines": False, "names": True}
