"""demo.draw.heat_map: maps alone and over pictures, their colour bar, markers and grids."""

from __future__ import annotations

import numpy as np
import pytest

from demo.draw.heat_map import SEED_COLOURS, STRIP, heat_map, number_text, with_seed, with_windows


@pytest.fixture
def grey() -> np.ndarray:
    return np.full((60, 80, 3), 100, dtype=np.uint8)


def brightness(drawn: np.ndarray) -> np.ndarray:
    return drawn.astype(float).sum(axis=-1)


def test_a_heat_map_is_bright_where_its_own_values_are_highest(grey):
    values = np.zeros((60, 80), dtype=np.float32)
    values[10:20, 60:70] = 1e-3  # each map has its own scale
    drawn = heat_map(values, grey)
    assert drawn.shape == (60 + STRIP, 80, 3)
    shown = brightness(drawn[:60])
    assert shown[12:18, 62:68].min() > 2 * shown[22:30, 62:68].max()


def test_what_cannot_be_attended_to_is_the_picture_alone(grey):
    values = np.full((60, 80), np.nan, dtype=np.float32)
    values[:, :40] = np.linspace(0, 1, 40)
    drawn = with_seed(heat_map(values, grey), (5, 55))[:60]
    assert (drawn[:30, 45:] == 40).all()  # grey and dim, no colour of the map
    assert (heat_map(np.full((60, 80), np.nan), grey)[:60] == 40).all()


def test_the_colour_bar_says_where_it_begins_and_ends():
    assert [number_text(value) for value in (0, 0.02514, 0.00021, -0.4, 3.2e-6, 1)] == [
        "0", "0.0251", "0.00021", "-0.4", "3.2e-06", "1"
    ]  # fmt: skip
    one, half = (heat_map(np.linspace(0, high, 200)[None].repeat(3, axis=0))[3:] for high in (1, 0.5))
    assert one.shape == (STRIP, 200, 3) and (one != half).any()


def marker_middle(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """(x, y) of the middle of the pixels in the first seed's colour."""
    colour = np.array([int(SEED_COLOURS[0][at : at + 2], 16) for at in (1, 3, 5)])
    found = (np.abs(after.astype(int) - colour).sum(axis=-1) < 40) & (after != before).any(axis=-1)
    rows, columns = np.nonzero(found)
    return columns.mean(), rows.mean()


def test_a_marker_is_around_its_point_and_leaves_it_seen(grey):
    large = np.full((200, 300, 3), 100, dtype=np.uint8)
    drawn = with_seed(large, (120, 90))
    x, y = marker_middle(large, drawn)
    assert abs(x - 120) < 5 and abs(y - 90) < 5  # its number, to the upper right, draws the middle away a little
    assert (drawn[90, 120] == 100).all()
    assert (large == 100).all()


def test_markers_at_the_corners_fit_on_the_picture(grey):
    for x, y in ((0, 0), (79, 0), (0, 59), (79, 59)):
        drawn = with_seed(grey, (x, y), (x - 4, y - 4, x + 4, y + 4))
        assert drawn.shape == grey.shape and (drawn != grey).any()


def test_windows_have_dashed_edges_and_names(grey):
    drawn = with_windows(grey, {"one": (10.0, 5.0, 70.0, 50.0)})
    changed = (drawn != grey).any(axis=-1)
    assert changed[5, 10:69].all() and changed[49, 10:69].all() and changed[5:49, 10].all() and changed[5:49, 69].all()
    assert not changed[:5].any() and not changed[30:48, 12:68].any()
    assert len(np.unique(drawn[5, 10:69], axis=0)) == 2  # light and dark by turns: seen on any picture
    assert changed[7:25, 12:60].any()  # the name


def test_the_ends_of_a_narrow_colour_bar_are_left_out_rather_than_drawn_over_each_other():
    def inks(width: int) -> int:
        bar = heat_map(np.linspace(0.00314, 0.0122, width)[None].repeat(3, axis=0))[3:]
        return len(np.unique(bar.reshape(-1, 3), axis=0))

    assert inks(60) <= 60 and inks(400) > 400


def test_maps_can_share_their_colours():
    one, half = (heat_map(np.full((4, 200), value), low=0.0, high=1.0)[0, 0] for value in (1.0, 0.5))
    assert brightness(one) > brightness(half) > brightness(heat_map(np.zeros((4, 200)), low=0.0, high=1.0)[0, 0])


def test_a_map_alone_begins_at_its_low_end():
    values = np.zeros((60, 90))
    values[:, 45:] = 0.5
    drawn = heat_map(values + 0.25, low=0.0, ramp="viridis")
    assert tuple(drawn[30, 80]) == (253, 231, 37) and tuple(drawn[30, 10]) not in ((68, 1, 84), (253, 231, 37))
    assert tuple(heat_map(values, ramp="viridis")[30, 10]) == (68, 1, 84)
