"""The fast kernels and torch's own give the same answers, through the encoders and the whole model."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from proxyclip_core import ProxyCLIP
from proxyclip_core.cpu import fast_products, kernels, linear, speed_up
from proxyclip_core.cpu.kernels import Kernels

CPU = torch.device("cpu")
PLAIN, BOTH = frozenset(), frozenset({torch.float32, torch.bfloat16})
FLOAT32 = frozenset({torch.float32})

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch was built without oneDNN")


@pytest.fixture
def everything(monkeypatch) -> None:
    """All fast kernels, in every precision that oneDNN has here, also for small layers."""
    possible = BOTH if kernels.this_cpu().native_bfloat16 else FLOAT32
    monkeypatch.setattr(kernels, "_of_this_cpu", lambda: Kernels(possible, possible, BOTH))
    monkeypatch.setattr(linear, "PACKED_FROM", 0)


@pytest.fixture
def fast_model(tiny_model, everything) -> ProxyCLIP:
    model = copy.deepcopy(tiny_model)
    speed_up(model.clip), speed_up(model.vfm)
    return model


def test_plain_and_fast_agree(tiny_model, fast_model, blocks, monkeypatch):
    words = "red, green, blue, yellow"
    fast, fast_features = fast_model(blocks, words, side=None), fast_model.encode(blocks, side=None)
    monkeypatch.setenv("PROXYCLIP_PLAIN", "1")
    plain, plain_features = tiny_model(blocks, words, side=None), tiny_model.encode(blocks, side=None)
    for name in ("clip_tokens", "vfm"):
        torch.testing.assert_close(getattr(fast_features, name), getattr(plain_features, name), atol=2e-5, rtol=1e-4)
    assert (fast.labels == plain.labels).mean() > 0.999
    assert fast.computed_with["kernels"] != plain.computed_with["kernels"]


def test_words_are_the_same(tiny_model, everything, monkeypatch):
    fast = tiny_model.clip.encode_text(["a hill", "a horse on a hill"])
    monkeypatch.setenv("PROXYCLIP_PLAIN", "1")
    torch.testing.assert_close(fast, tiny_model.clip.encode_text(["a hill", "a horse on a hill"]))


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_fast_model_can_be_copied_and_pickled(fast_model, blocks, way):
    other = way(fast_model)
    assert (other(blocks, "red, green", side=None).labels == fast_model(blocks, "red, green", side=None).labels).all()


def test_a_fast_encoder_holds_the_plain_weights(tiny_model, fast_model):
    for plain, fast in ((tiny_model.clip, fast_model.clip), (tiny_model.vfm, fast_model.vfm)):
        expected, found = plain.network.state_dict(), fast.network.state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())


def test_a_fast_encoder_changes_its_precision_as_a_plain_one(tiny_model, fast_model):
    windows = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    for plain, fast in ((tiny_model.clip, fast_model.clip), (tiny_model.vfm, fast_model.vfm)):
        plain = copy.deepcopy(plain).to(CPU, torch.bfloat16)
        fast.to(CPU, torch.bfloat16)
        precisions = [
            {name: weight.dtype for name, weight in one.network.state_dict().items()} for one in (plain, fast)
        ]
        assert precisions[0] == precisions[1]
        exact = tiny_model.vfm if fast is fast_model.vfm else tiny_model.clip
        similarity = F.cosine_similarity(exact.encode_windows(windows), fast.encode_windows(windows), dim=1)
        assert similarity.min() > 0.99


def test_features_can_be_trained_on(fast_model):
    windows = torch.rand(1, 3, 112, 112)
    head = nn.Conv2d(48, 1, 1)
    head(fast_model.vfm.encode_windows(windows)).sum().backward()
    assert head.weight.grad is not None


def test_masked_attention_stays_masked(everything):
    query, key, value = torch.randn(3, 2, 3, 20, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(20, 20, dtype=torch.bool).tril()
    with fast_products(CPU):
        masked = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        causal = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        free = F.scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False)
    torch.testing.assert_close(masked, causal)
    torch.testing.assert_close(free, F.scaled_dot_product_attention(query, key, value))
    assert not torch.allclose(masked, free)
