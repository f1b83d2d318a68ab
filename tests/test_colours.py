"""proxyclip_core.drawing.colours: told apart by every sight, the same for the same name."""

from __future__ import annotations

import numpy as np
import pytest

from proxyclip_core.drawing import colours as palette

NAMES = [f"word {number}" for number in range(48)]
# Machado, Oliveira, Fernandes 2009: linear RGB as seen with no red, green or blue cones.
SIGHT = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colours: np.ndarray) -> np.ndarray:
    channels = colours / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(light: np.ndarray) -> np.ndarray:
    cones = light @ np.transpose(
        [
            [0.41222147, 0.53633254, 0.05144599],
            [0.21190350, 0.68069955, 0.10739696],
            [0.08830246, 0.28171884, 0.62997870],
        ]
    )
    return np.cbrt(cones) @ np.transpose(
        [
            [0.21045426, 0.79361779, -0.00407205],
            [1.97799850, -2.42859221, 0.45059371],
            [0.02590404, 0.78277177, -0.80867577],
        ]
    )


def test_a_name_has_the_same_colour_in_every_vocabulary():
    alone = palette.colours_for(["horse"])[0]
    assert (palette.colours_for(["sky", "horse"])[1] == alone).all()
    assert (palette.colours_for(["Horse"])[0] == alone).all()


def test_words_added_at_the_end_leave_the_others_as_they_are():
    assert (palette.colours_for(NAMES)[:20] == palette.colours_for(NAMES[:20])).all()


def test_no_two_of_48_classes_share_a_colour():
    assert len({tuple(colour) for colour in palette.colours_for(NAMES)}) == 48


def test_hundreds_of_classes_have_colours():
    assert palette.colours_for([f"word {number}" for number in range(300)]).shape == (300, 3)


def test_the_background_is_grey_and_leaves_the_others_their_colours():
    colours = palette.colours_for(["background", "horse"], has_background=True)
    assert (colours[0] == palette.BACKGROUND).all()
    assert (colours[1] == palette.colours_for(["horse"])[0]).all()


@pytest.mark.parametrize("sight", SIGHT)
def test_palette_is_told_apart(sight):
    seen = oklab(np.clip(linear(palette.PALETTE) @ np.transpose(SIGHT[sight]), 0, 1))
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(seen))
    assert distance.min() > (0.05 if sight == "tritan" else 0.07)  # 0.02 is just noticeable; tritanopia is rare


def test_text_reads_on_every_colour():
    for colour in palette.colours_for(NAMES):
        light = float(linear(colour.astype(float)) @ (0.2126, 0.7152, 0.0722))
        text = {"#000000": 0.0, "#ffffff": 1.0}[palette.text_on(colour)]
        assert (max(light, text) + 0.05) / (min(light, text) + 0.05) >= 4.5  # WCAG AA
