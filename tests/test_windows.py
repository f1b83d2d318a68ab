"""Windows cover the picture, and patches, pixels and matrices agree on where things are."""

import pytest
import torch
import torch.nn.functional as F

from proxyclip_core import windows
from proxyclip_core.windows import plan_windows


@pytest.mark.parametrize(
    ("size_hw", "side", "scaled_hw", "tops", "lefts"),
    [
        ((336, 503), 336, (336, 503), (0,), (0, 112, 167)),
        ((1367, 2048), 336, (336, 503), (0,), (0, 112, 167)),
        ((800, 600), 336, (448, 336), (0, 112), (0,)),
        ((1, 1), 336, (336, 336), (0,), (0,)),
        ((100, 50), None, (100, 50), (0,), (0,)),
    ],
)
def test_the_papers_windows(size_hw, side, scaled_hw, tops, lefts):
    layout = plan_windows(size_hw, side)
    assert (layout.scaled_hw, layout.tops, layout.lefts) == (scaled_hw, tops, lefts)


@pytest.mark.parametrize("size_hw", [(5000, 1), (1, 5000), (40, 9000)])
def test_extreme_shapes_stay_within_the_long_side(size_hw):
    layout = plan_windows(size_hw, 336)
    assert max(layout.scaled_hw) == 2048 and min(layout.scaled_hw) >= 1


def test_every_pixel_is_covered_and_windows_stay_inside():
    layout = plan_windows((700, 1111), None, crop=300, stride=170)
    covered = torch.zeros(layout.scaled_hw)
    for top, left in layout.corners:
        covered[top : top + 300, left : left + 300] += 1
        assert top + 300 <= 700 and left + 300 <= 1111
    assert covered.min() >= 1
    assert layout.count == len(layout.corners)


def test_padding_to_multiples_of_56():
    layout = plan_windows((57, 112), None)
    assert layout.padded_hw == (112, 112)
    assert layout.padding_top_left == (27, 0)


def test_matrices_equal_torch_step_by_step():
    layout = plan_windows((130, 170), None, crop=100, stride=60)
    grids = torch.rand(layout.count, 2, 14, 14, generator=torch.Generator().manual_seed(0))
    total, count = torch.zeros(2, 130, 170), torch.zeros(130, 170)
    for grid, (top, left) in zip(grids, layout.corners):
        pixels = F.interpolate(grid[None], size=(112, 112), mode="bilinear", align_corners=False)[0]
        total[:, top : top + 100, left : left + 100] += pixels[:, 6:106, 6:106]
        count[top : top + 100, left : left + 100] += 1
    rows, columns = layout.to_picture((14, 14))
    assert torch.allclose(rows @ layout.tile(grids) @ columns.T, total / count, atol=1e-6)


@pytest.mark.parametrize("size_hw", [(300, 700), (700, 300)])
def test_the_patch_under_a_point_peaks_there(size_hw):
    layout = plan_windows(size_hw, 224, crop=224)
    rows, columns = layout.to_picture((28, 28))
    for x, y in [(0, 0), (size_hw[1] - 1, size_hw[0] - 1), (150, 222)]:
        found = layout.patches_at((x, y), (28, 28))
        grids = torch.zeros(layout.count, 28, 28)
        for window, patch in found:
            grids[window].view(-1)[patch] = 1
        heat = rows @ layout.tile(grids) @ columns.T
        assert heat[y, x] > 0.2


def test_only_small_matrices_are_kept(monkeypatch):
    layout = plan_windows((311, 733), 224, crop=224)
    before = windows._kept_axis_matrix.cache_info().currsize
    monkeypatch.setattr(windows, "KEPT_ENTRIES", 0)
    rows, columns = layout.to_picture((13, 17))
    assert windows._kept_axis_matrix.cache_info().currsize == before
    monkeypatch.undo()
    assert all(torch.equal(*pair) for pair in zip(layout.to_picture((13, 17)), (rows, columns)))


@pytest.mark.parametrize(
    "bad", [{"windows": "tiles"}, {"crop": 0}, {"stride": 0}, {"stride": 400}, {"side": 0}, {"side": 1.5}]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError):
        plan_windows((100, 100), **bad)


def test_a_point_in_a_padded_window_is_in_the_patch_that_covers_it():
    layout = plan_windows((60, 61), None)  # padded to 112 x 112: 26 rows above, 25 columns to the left
    assert (layout.padded_hw, layout.padding_top_left) == ((112, 112), (26, 25))
    assert layout.patches_at((0, 0), (14, 14)) == [(0, 26 // 8 * 14 + 25 // 8)]
    assert layout.patches_at((60, 59), (14, 14)) == [(0, (26 + 59) // 8 * 14 + (25 + 60) // 8)]


def test_the_smallest_windows_and_steps_are_one_pixel():
    assert plan_windows((2, 3), None, crop=1, stride=1).count == 6
    for crop, stride in ((0, 1), (1, 0), (1, 2)):
        with pytest.raises(ValueError, match=f"crop is {crop} and stride {stride}"):
            plan_windows((2, 3), None, crop=crop, stride=stride)


@pytest.mark.parametrize(
    ("size_hw", "side", "scaled_hw"),
    [
        ((100, 152), 336, (336, 511)),  # 510.72
        ((100, 151), 336, (336, 507)),  # 507.36
        ((100, 100), 3000, (3000, 3000)),  # the long side's limit is no limit of a side that is asked for
    ],
)
def test_sides_are_rounded_to_the_nearest_pixel_and_may_be_as_long_as_is_asked(size_hw, side, scaled_hw):
    assert plan_windows(size_hw, side).scaled_hw == scaled_hw


def test_a_point_means_the_middle_of_its_pixel():
    layout = plan_windows((10, 20), 30)
    assert layout.scaled_hw == (30, 60)
    assert layout.scaled_point((0, 0)) == (1.5, 1.5)
    assert layout.scaled_point((19.9, 2.2)) == (7.5, 58.5)


@pytest.mark.parametrize("point_xy", [(20, 0), (0, 10), (-1, 0), (0, -0.5)])
def test_a_point_outside_of_the_picture_is_refused(point_xy):
    with pytest.raises(ValueError, match=r"lies outside the picture of 20 x 10 pixels"):
        plan_windows((10, 20), 30).scaled_point(point_xy)
