"""Attention in chunks is the fused attention."""

import pytest
import torch
import torch.nn.functional as F

from proxyclip_core.cpu import attention, kernels
from proxyclip_core.cpu.attention import chunked_attention
from proxyclip_core.cpu.kernels import TORCHS_OWN, Kernels

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch was built without oneDNN"
)


def heads(patches: int) -> list[torch.Tensor]:
    """Query, key and value, (2, 3, N, 16), strided as timm's are."""
    together = torch.randn(2, patches, 3, 3, 16, generator=torch.Generator().manual_seed(patches))
    return list(together.permute(2, 0, 3, 1, 4).unbind(0))


@pytest.fixture(params=["torch", pytest.param("oneDNN", marks=needs_onednn)], autouse=True)
def products(request, monkeypatch) -> None:
    """Which library multiplies."""
    by_onednn = Kernels(linear=frozenset({torch.float32}))
    monkeypatch.setattr(kernels, "current", lambda: by_onednn if request.param == "oneDNN" else TORCHS_OWN)


@pytest.mark.parametrize("patches", [1, 9, 10, 11, 300])
def test_chunks_give_what_the_fused_attention_gives(patches, monkeypatch):
    monkeypatch.setattr(attention, "SCORES_AT_ONCE", 400)  # bytes: 10 queries of 10 tokens
    query, key, value = heads(patches)
    attended = chunked_attention(query, key, value)
    torch.testing.assert_close(attended, F.scaled_dot_product_attention(query, key, value))
    assert attended.transpose(1, 2).is_contiguous()  # so that the layer after it needs no copy


@pytest.mark.parametrize("scale", [0.1, 10, 200])
def test_scores_of_any_size_are_right(scale):
    query, key, value = heads(50)
    query = query * scale
    query[..., 7, :] = 0  # asks for nothing, and so attends to all tokens alike
    exact = F.scaled_dot_product_attention(query.double(), key.double(), value.double())
    attended = chunked_attention(query, key, value)
    torch.testing.assert_close(attended.double(), exact, atol=1e-4, rtol=1e-4)


def test_nan_stays_nan():
    query, key, value = heads(20)
    query = query.clone()
    query[0, 0, 3] = float("nan")
    attended = chunked_attention(query, key, value)
    assert attended[0, 0, 3].isnan().all() and attended[1].isfinite().all()


def test_a_large_mean_of_the_keys_does_not_coarsen_bfloat16():
    query, key, value = heads(300)
    exact = F.scaled_dot_product_attention(query, key, value)
    shifted = [part.bfloat16() for part in (query, key + 40, value)]
    difference = chunked_attention(*shifted).float() - exact
    assert difference.square().mean() < 0.01 * exact.square().mean()
