"""Where a device holds no large tensors, as Apple's GPUs do, nothing larger is made, and the result is the same.

A CPU stands in for it, with a limit, and with torch's attention by way of all scores.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from proxyclip_core import attention, readout
from proxyclip_core.cpu import fast_products, kernels, products, set_aside
from tests.test_costs import LargestTensor

CPU = torch.device("cpu")
LIMIT = 3_000_000  # bytes


@pytest.fixture
def limited(monkeypatch):
    monkeypatch.setattr(kernels, "current", lambda: kernels.TORCHS_OWN)
    monkeypatch.setattr(products, "LARGEST_TENSOR", {"cpu": LIMIT})
    for module in (attention, readout):
        monkeypatch.setattr(module, "ENTRIES_AT_ONCE", LIMIT // 8)


def largest(action) -> int:
    """Bytes of the largest tensor of float32 that an action makes."""
    with sdpa_kernel(SDPBackend.MATH), LargestTensor() as found:
        action()
    return found.entries * 4


def everything(model, picture):
    logits = model.classify(model.fuse(model.encode(picture, side=None)), model.embed("sky, hill, house"))
    return logits.values, logits.segment().labels


# ComfyUI-SUPIR 151
def test_no_larger_tensor_is_made_than_a_device_holds(tiny_model, limited, monkeypatch):
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert largest(lambda: everything(tiny_model, picture)) <= LIMIT
    monkeypatch.setattr(products, "LARGEST_TENSOR", {})
    assert largest(lambda: everything(tiny_model, picture)) > LIMIT


def test_the_result_in_pieces_is_the_result(tiny_model, limited, monkeypatch):
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    values, labels = everything(tiny_model, picture)
    monkeypatch.setattr(products, "LARGEST_TENSOR", {})
    whole_values, whole_labels = everything(tiny_model, picture)
    torch.testing.assert_close(values, whole_values, rtol=0, atol=1e-5)
    assert (labels == whole_labels).mean() > 0.999


@pytest.mark.parametrize("mask_rows", [0, 1, 300])
@pytest.mark.parametrize("bytes_at_most", [1, 100_000])
def test_a_mask_is_cut_with_its_queries(limited, monkeypatch, mask_rows, bytes_at_most):
    monkeypatch.setattr(products, "LARGEST_TENSOR", {"cpu": bytes_at_most})
    query, key, value = torch.randn(3, 2, 3, 300, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.randn(1, 1, mask_rows, 300, generator=torch.Generator().manual_seed(1)) if mask_rows else None
    with fast_products(CPU):
        pieces = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(pieces, F.scaled_dot_product_attention(query, key, value, attn_mask=mask))


def test_what_is_computed_in_the_midst_of_a_network_has_the_kernels_of_any_other_time(monkeypatch):
    chosen = kernels.Kernels(linear=frozenset({torch.float32}), attention=frozenset())
    monkeypatch.setattr(kernels, "current", lambda: chosen)
    monkeypatch.setattr(products, "onednn_linear", lambda *given: "fast")

    def linear() -> object:
        return F.linear(torch.ones(1, 1), torch.ones(1, 1))

    with fast_products(CPU):
        with set_aside():
            assert linear() == 1
            with fast_products(CPU):  # a network of its own
                assert linear() == "fast"
            assert linear() == 1
        assert linear() == "fast"
