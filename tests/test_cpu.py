"""Quick products and attention are torch's own, and stand in for them only where they may."""

import copy
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from proxyclip_core.cpu import products as cpu_products
from proxyclip_core.cpu.products import (
    MOST_BY_SIGMOID,
    PackedLinear,
    attend_in_rows,
    exp_of_product,
    onednn_linear,
    onednn_pays,
    pack_linears,
    packing_pays,
    quick_products,
    rows_pay,
    sigmoid_pays,
)
from proxyclip_core.models import vit
from proxyclip_core.models.clip import run_block

CPU = torch.device("cpu")
needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch was built without oneDNN"
)


def heads(patches: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Query, key and value, (2, 3, N, 16), strided as timm's are."""
    generator = torch.Generator().manual_seed(patches)
    together = torch.randn(2, patches, 3, 3, 16, generator=generator, dtype=dtype)
    return list(together.permute(2, 0, 3, 1, 4).unbind(0))


@pytest.fixture(params=["softmax", pytest.param("sigmoid", marks=needs_onednn)])
def way(request, monkeypatch) -> str:
    """Both ways to the weights; the second may be taken by a CPU where it is no quicker."""
    monkeypatch.setattr(cpu_products, "sigmoid_pays", lambda dtype: request.param == "sigmoid")
    return request.param


@pytest.fixture
def exps(monkeypatch) -> list[torch.Tensor]:
    """What `exp_of_product` gave."""
    given = []
    monkeypatch.setattr(
        cpu_products, "exp_of_product", lambda *parts: given.append(exp_of_product(*parts)) or given[-1]
    )
    return given


@pytest.mark.parametrize("patches", [1, 9, 10, 11, 300])
def test_attention_in_rows_is_the_fused_attention(patches, way, exps, monkeypatch):
    monkeypatch.setattr(cpu_products, "SCORES_AT_ONCE", 400)  # 10 by 10 scores
    query, key, value = heads(patches)
    attended = attend_in_rows(query, key, value)
    torch.testing.assert_close(attended, F.scaled_dot_product_attention(query, key, value))
    assert attended.transpose(1, 2).is_contiguous()  # the layer after it then needs no copy
    blocks = -(-patches * patches // 100)
    assert len(exps) == (6 * blocks if way == "sigmoid" else 0)


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("largest", [0.1, 10, 0.99 * MOST_BY_SIGMOID])
def test_a_sigmoid_far_below_0_gives_the_same_weights(largest, dtype, exps, monkeypatch):
    """Also where one query asks for nothing and so its weights are the smallest there are."""
    monkeypatch.setattr(cpu_products, "sigmoid_pays", lambda dtype: True)
    query, key, value = (part.clone() for part in heads(300))
    query[..., 7, :] = 0
    centred = key - key.mean(dim=-2, keepdim=True)
    bound = query.norm(dim=-1).amax() * centred.norm(dim=-1).amax() / query.shape[-1] ** 0.5
    given = [part.to(dtype) for part in (query * (largest / bound), key, value)]
    attended = attend_in_rows(*given)
    assert exps
    exact = F.scaled_dot_product_attention(*(part.double() for part in given))
    tolerance = {"atol": 3e-6, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.03, "rtol": 0.03}
    torch.testing.assert_close(attended.double(), exact, **tolerance)


@needs_onednn
def test_scores_that_are_too_large_for_the_sigmoid_take_the_softmax(exps, monkeypatch):
    monkeypatch.setattr(cpu_products, "sigmoid_pays", lambda dtype: True)
    query, key, value = (part.clone() for part in heads(50))
    query[0, 1] *= 200  # one head of six
    attended = attend_in_rows(query, key, value)
    assert len(exps) == 5
    torch.testing.assert_close(attended, F.scaled_dot_product_attention(query, key, value), atol=1e-4, rtol=1e-4)


def test_what_is_no_number_stays_none(way):
    query, key, value = (part.clone() for part in heads(20))
    query[0, 0, 3] = float("nan")
    attended = attend_in_rows(query, key, value)
    assert attended[0, 0, 3].isnan().all() and attended[1].isfinite().all()


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sigmoid_that_is_no_exp_is_not_taken(dtype, monkeypatch):
    """One by way of tanh is right to 1e-8, and as wrong as can be where its values are smaller."""
    monkeypatch.setattr(cpu_products, "_seconds", lambda call: 1.0)  # then neither is quicker
    assert not sigmoid_pays.__wrapped__(dtype)
    seconds = iter((1.0, 2.0, 1.0, 2.0))
    monkeypatch.setattr(cpu_products, "_seconds", lambda call: next(seconds))
    assert sigmoid_pays.__wrapped__(dtype)

    def by_tanh(queries, keys, shift):
        return ((F.linear(queries, keys, shift) / 2).tanh() + 1) / 2

    monkeypatch.setattr(cpu_products, "exp_of_product", by_tanh)
    assert not sigmoid_pays.__wrapped__(dtype)


@needs_onednn
@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_a_product_by_onednn_is_torchs(shape):
    generator = torch.Generator().manual_seed(0)
    inputs, weight, bias = (torch.randn(shape, generator=generator) for shape in (shape, (5, 7), (5,)))
    for more in ((), (bias,)):
        torch.testing.assert_close(onednn_linear(inputs, weight, *more), F.linear(inputs, weight, *more))


@pytest.fixture
def quick(monkeypatch):
    """The calls that went to oneDNN and to the rows, where both pay."""
    calls = {"linear": [], "rows": []}
    monkeypatch.setattr(cpu_products, "onednn_pays", lambda dtype: dtype == torch.float32)
    monkeypatch.setattr(cpu_products, "rows_pay", lambda dtype: True)
    monkeypatch.setattr(cpu_products, "sigmoid_pays", lambda dtype: False)
    monkeypatch.setattr(cpu_products, "onednn_linear", lambda *given: calls["linear"].append(given) or F.linear(*given))
    rows = attend_in_rows
    monkeypatch.setattr(cpu_products, "attend_in_rows", lambda *given: calls["rows"].append(given) or rows(*given))
    return calls


def test_a_vfm_in_bfloat16_attends_nearly_as_in_float32(tiny_model, quick):
    vfm = copy.deepcopy(tiny_model.vfm)
    windows = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    exact = vfm.encode_windows(windows)
    assert len(quick["rows"]) == len(vfm.network.blocks) and quick["linear"]
    quick["linear"].clear()
    reduced = vfm.to(CPU, torch.bfloat16).encode_windows(windows)
    assert len(quick["rows"]) == 2 * len(vfm.network.blocks) and not quick["linear"]
    assert F.cosine_similarity(exact, reduced, dim=1).min() > 0.99


def test_clip_takes_the_quick_products_in_both_towers(tiny_model, quick):
    vision, text = tiny_model.clip.network.visual.transformer, tiny_model.clip.network.transformer
    tiny_model.clip.encode_windows(torch.rand(1, 3, 112, 112))
    in_the_mlps = 2 * (len(vision.resblocks) - 1)
    assert len(quick["rows"]) == len(vision.resblocks) - 1
    assert len(quick["linear"]) >= in_the_mlps + 4 * (len(vision.resblocks) - 1)
    quick["linear"].clear()
    tiny_model.clip.encode_text(["a hill"])
    assert len(quick["linear"]) == 6 * len(text.resblocks)


@pytest.mark.parametrize("masked", [False, True])
def test_a_block_step_by_step_is_open_clips(tiny_model, masked):
    block = tiny_model.clip.network.transformer.resblocks[0]
    tokens = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.full((9, 9), float("-inf")).triu(1) if masked else None
    expected = block(tokens, attn_mask=mask)
    torch.testing.assert_close(run_block(block, tokens, mask), expected, atol=1e-5, rtol=1e-5)
    some = torch.tensor([8, 2])
    if masked:
        torch.testing.assert_close(run_block(block, tokens, mask, some), expected[:, some], atol=1e-5, rtol=1e-5)


def test_tokens_change_in_pieces_as_they_would_at_once(monkeypatch):
    monkeypatch.setattr(vit, "TOKENS_AT_ONCE", {"cpu": 4})
    tokens, change = torch.randn(3, 11, 6, generator=torch.Generator().manual_seed(0)), nn.Linear(6, 6)
    with torch.inference_mode():
        torch.testing.assert_close(vit.chunked_residual(tokens.clone(), change), tokens + change(tokens))


def test_masked_attention_is_left_to_torch(quick):
    query, key, value = heads(20, torch.bfloat16)
    mask = torch.ones(20, 20, dtype=torch.bool).tril()
    with quick_products(CPU):
        masked = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        causal = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        F.scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False)
    assert len(quick["rows"]) == 1
    torch.testing.assert_close(masked, causal, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("pays", [onednn_pays, packing_pays, rows_pay, sigmoid_pays])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_choices_are_measured_once(pays, dtype):
    chosen, measured = pays(dtype), pays.cache_info().misses
    assert chosen in (True, False) and pays(dtype) == chosen
    assert pays.cache_info().misses == measured


def test_a_torch_without_onednn_does_without(monkeypatch):
    def missing(*given):
        raise AttributeError("no such operator")

    for name in ("onednn_linear", "exp_of_product"):
        monkeypatch.setattr(cpu_products, name, missing)
    assert not sigmoid_pays.__wrapped__(torch.float32)
    assert not onednn_pays.__wrapped__(torch.float32)
    assert not packing_pays.__wrapped__(torch.bfloat16)


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_layers_stand_in_for_large_ones_alone(monkeypatch, dtype):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(512, 512), nn.Sequential(nn.Linear(512, 520, bias=False)), nn.Linear(520, 8))
    network = network.to(dtype).requires_grad_(False)
    tokens = torch.randn(3, 700, 512, dtype=dtype)
    expected = network(tokens)
    monkeypatch.setattr(cpu_products, "packing_pays", lambda dtype: False)
    pack_linears(network)
    assert type(network[0]) is nn.Linear
    monkeypatch.setattr(cpu_products, "packing_pays", lambda dtype: True)
    was = weakref.ref(network[0])
    pack_linears(network)
    assert was() is None  # or every weight would be there twice
    assert [type(layer) for layer in (network[0], network[1][0], network[2])] == [PackedLinear, PackedLinear, nn.Linear]
    assert (network[0].in_features, network[1][0].out_features) == (512, 520)
    torch.testing.assert_close(network(tokens), expected)
    with pytest.raises(ValueError, match="Load the model anew"):
        network.to(torch.float16)


def test_what_all_keys_have_in_common_costs_no_precision():
    query, key, value = heads(300)
    exact = F.scaled_dot_product_attention(query, key, value)
    shifted = [part.bfloat16() for part in (query, key + 40, value)]
    close = attend_in_rows(*shifted).float() - exact
    assert close.square().mean() < 0.01 * exact.square().mean()
