"""proxyclip_core.drawing.label_placement: where names are written, on label maps small enough to write by hand."""

from __future__ import annotations

import numpy as np

from proxyclip_core.drawing import label_placement as regions
from proxyclip_core.drawing.sight import text_on

MAP = np.array(
    [
        [0, 0, 1, 1, 0],
        [0, 2, 2, 1, 0],
        [0, 2, 0, 0, 0],
        [2, 0, 0, 2, 2],
    ]
)


def test_regions_are_connected_by_edges():
    found = regions.components(MAP)
    areas = {MAP[found == number][0].item(): [] for number in np.unique(found)}
    for number in np.unique(found):
        areas[MAP[found == number][0].item()].append(int((found == number).sum()))
    assert {label: sorted(sizes) for label, sizes in areas.items()} == {0: [4, 7], 1: [3], 2: [1, 2, 3]}


def test_a_spiral_is_one_region():
    spiral = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]])
    found = regions.components(spiral)
    assert len(np.unique(found[spiral == 1])) == 1 and len(np.unique(found[spiral == 0])) == 1


def test_depth_counts_steps_from_the_border():
    depth = regions.depths(np.zeros((7, 9), dtype=int))
    assert depth[0].max() == depth[:, 0].max() == 1
    assert depth[3, 4] == depth.max() == 4


def test_a_point_lies_inside_the_largest_region_also_where_its_middle_does_not():
    labels = np.zeros((300, 400), dtype=np.uint16)
    labels[20:280, 20:380] = 1
    labels[60:280, 60:340] = 0  # class 1 is an arch now: its middle is class 0
    labels[5:9, 5:9] = 1  # a small region besides
    labels[150:250, 150:250] = 2
    points = regions.inner_points(labels)
    assert set(points) == {0, 1, 2}
    assert all(labels[int(y), int(x)] == label for label, (x, y) in points.items())
    assert abs(points[2][0] - 200) < 5 and abs(points[2][1] - 200) < 5
    assert points[1][1] > 15


def test_names_are_written_in_their_colour_and_stay_in_the_picture():
    labels = np.zeros((200, 300), dtype=np.uint16)
    labels[:, 280:] = 1
    colours = np.array([[230, 159, 0], [0, 0, 120]], dtype=np.uint8)
    plain = np.full((200, 300, 3), 200, dtype=np.uint8)
    places = regions.inner_points(labels)
    plates = regions.name_plates(places, ["sky", "a long name of a class"], colours, labels.shape)
    written = regions.lay(plain, plates)
    assert {tuple(colour) for colour in colours} <= {tuple(pixel) for pixel in written.reshape(-1, 3)}
    boxes = np.array([plate.box for plate in plates])  # left, top, right, bottom
    assert (boxes >= 0).all() and (boxes <= (300, 200, 300, 200)).all()
    assert (regions.lay(plain, ()) == plain).all()
    assert text_on(colours[0]) == "#000000" and text_on(colours[1]) == "#ffffff"


def test_a_name_never_covers_another():
    labels = np.zeros((40, 40), dtype=np.uint16)
    labels[:, 20:] = 1
    colours = np.array([[10, 20, 30], [200, 210, 220]], dtype=np.uint8)
    plain = np.full((40, 40, 3), 99, dtype=np.uint8)
    plates = regions.name_plates(regions.inner_points(labels), ["wide name", "other name"], colours, labels.shape)
    written = regions.lay(plain, plates)
    assert len(plates) == 2
    assert not ((written == colours[0]).all(axis=2).any() and (written == colours[1]).all(axis=2).any())
