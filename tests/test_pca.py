"""Principal components as colours."""

import numpy as np
import pytest
import torch

from proxyclip_core.pca import pca_picture
from proxyclip_core.windows import plan_windows


def test_like_features_get_like_colours_across_windows():
    layout = plan_windows((112, 168), None, crop=112, stride=56)
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(4, 16, generator=generator)
    columns = torch.arange(14) * 8 + 4
    grids = []
    for left in layout.lefts:
        kind = ((columns + left) >= 84).long()  # the picture's left and right half
        kind = kind[None].repeat(14, 1)
        kind[7:] += 2
        grids.append(kinds[kind].movedim(-1, 0))
    picture = pca_picture(torch.stack(grids), layout)
    assert picture.shape == (112, 168, 3)
    assert picture.min() >= 0 and picture.max() <= 1
    assert np.allclose(picture[20, 10], picture[20, 60], atol=1e-3)
    assert np.abs(picture[20, 10] - picture[20, 150]).max() > 0.3
    assert np.abs(picture[20, 10] - picture[90, 10]).max() > 0.3


def test_same_features_same_colours():
    layout = plan_windows((56, 56), None)
    features = torch.randn(1, 8, 7, 7, generator=torch.Generator().manual_seed(1))
    assert np.array_equal(pca_picture(features, layout), pca_picture(features.clone(), layout))


def test_features_without_any_difference_are_finite():
    assert np.isfinite(pca_picture(torch.ones(1, 8, 7, 7), plan_windows((56, 56), None))).all()


def test_too_few_channels_are_refused():
    with pytest.raises(ValueError, match="have 2 channels"):
        pca_picture(torch.ones(1, 2, 7, 7), plan_windows((56, 56), None))
