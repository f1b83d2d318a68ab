"""Attention in rows is torch's own attention, and stands in for it only where it may."""

import copy

import pytest
import torch
import torch.nn.functional as F

from proxyclip_core import cpu_attention
from proxyclip_core.cpu_attention import attend_in_rows, quick_attention

CPU = torch.device("cpu")


def heads(patches: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Query, key and value, (2, 3, N, 16), strided as timm's are."""
    generator = torch.Generator().manual_seed(patches)
    together = torch.randn(2, patches, 3, 3, 16, generator=generator, dtype=dtype)
    return list(together.permute(2, 0, 3, 1, 4).unbind(0))


@pytest.mark.parametrize("fewest", [1, 4, 50])  # all three heads, two or one at a time
@pytest.mark.parametrize("patches", [1, 9, 10, 11, 300])
def test_attention_in_rows_is_the_fused_attention(patches, fewest, monkeypatch):
    monkeypatch.setattr(cpu_attention, "SCORES_AT_ONCE", 100)
    monkeypatch.setattr(cpu_attention, "FEWEST_ROWS", fewest)
    query, key, value = heads(patches)
    torch.testing.assert_close(attend_in_rows(query, key, value), F.scaled_dot_product_attention(query, key, value))


@pytest.fixture
def in_rows(monkeypatch):
    """The calls that went to the rows, where they pay."""
    calls = []
    monkeypatch.setattr(cpu_attention, "_rows_pay", lambda: True)
    monkeypatch.setattr(cpu_attention, "attend_in_rows", lambda *heads: calls.append(heads) or attend_in_rows(*heads))
    return calls


def test_a_vfm_in_bfloat16_attends_in_rows_and_nearly_as_in_float32(tiny_model, in_rows):
    vfm = copy.deepcopy(tiny_model.vfm)
    windows = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    exact = vfm.encode_windows(windows)
    assert not in_rows
    reduced = vfm.to(CPU, torch.bfloat16).encode_windows(windows)
    assert len(in_rows) == len(vfm.network.blocks)
    assert F.cosine_similarity(exact, reduced, dim=1).min() > 0.99


def test_masked_attention_is_left_to_torch(in_rows):
    query, key, value = heads(20, torch.bfloat16)
    mask = torch.ones(20, 20, dtype=torch.bool).tril()
    with quick_attention(CPU, torch.bfloat16):
        masked = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        causal = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        F.scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False)
    assert len(in_rows) == 1
    torch.testing.assert_close(masked, causal, atol=0.02, rtol=0.02)


def test_the_choice_is_measured_once():
    cpu_attention._rows_pay.cache_clear()
    assert cpu_attention._rows_pay() in (True, False)
    cpu_attention._rows_pay()
    assert cpu_attention._rows_pay.cache_info().misses == 1


def test_what_all_keys_have_in_common_costs_no_precision():
    query, key, value = heads(300)
    exact = F.scaled_dot_product_attention(query, key, value)
    shifted = [part.bfloat16() for part in (query, key + 40, value)]
    close = attend_in_rows(*shifted).float() - exact
    assert close.square().mean() < 0.01 * exact.square().mean()
