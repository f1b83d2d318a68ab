"""A packed linear layer computes what the plain one does and is, from outside, the plain one."""

import copy
import io
import pickle
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from proxyclip_core.cpu import kernels, linear, speed_up
from proxyclip_core.cpu.kernels import TORCHS_OWN, Kernels
from proxyclip_core.cpu.linear import PackedLinear, onednn_linear

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch was built without oneDNN")
native_bfloat16 = pytest.mark.skipif(
    not kernels.this_cpu().native_bfloat16, reason="oneDNN may have no bfloat16 on this CPU"
)
PRECISIONS = [torch.float32, pytest.param(torch.bfloat16, marks=native_bfloat16)]
CPU = torch.device("cpu")


class Whole:
    """An encoder all of whose network a picture goes through."""

    def __init__(self, network: nn.Module) -> None:
        self.picture_layers = (network,)


@pytest.fixture
def packing(monkeypatch) -> None:
    """Packing is faster in both precisions, for layers of any size."""
    packing = frozenset({torch.float32, *({torch.bfloat16} if kernels.this_cpu().native_bfloat16 else ())})
    monkeypatch.setattr(kernels, "current", lambda: Kernels(packing=packing))
    monkeypatch.setattr(linear, "PACKED_FROM", 0)


@pytest.fixture
def plain() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(24, 40), nn.Sequential(nn.GELU(), nn.Linear(40, 12, bias=False)))
    return network.requires_grad_(False)


@pytest.fixture
def packed(plain, packing) -> nn.Sequential:
    network = copy.deepcopy(plain)
    speed_up(Whole(network))
    return network


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(3, 70, 24, generator=torch.Generator().manual_seed(0))


def kinds(network: nn.Module) -> list[type]:
    return [type(module) for module in network.modules() if hasattr(module, "in_features")]


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_a_product_by_onednn_is_torchs(shape, rng):
    inputs, weight, bias = (torch.randn(shape, generator=rng) for shape in (shape, (5, 7), (5,)))
    for more in ((), (bias,)):
        torch.testing.assert_close(onednn_linear(inputs, weight, *more), F.linear(inputs, weight, *more))


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_packed_layers_compute_the_same(plain, packing, tokens, dtype):
    network = copy.deepcopy(plain).to(dtype)
    expected = network(tokens.to(dtype))
    speed_up(Whole(network))
    assert kinds(network) == [PackedLinear, PackedLinear]
    torch.testing.assert_close(network(tokens.to(dtype)), expected)


def test_small_layers_stay_as_they_are(plain, packing, monkeypatch):
    monkeypatch.setattr(linear, "PACKED_FROM", 24 * 40)
    speed_up(Whole(plain))
    assert kinds(plain) == [PackedLinear, nn.Linear]


def test_nothing_is_packed_where_it_is_not_faster(plain, packing, monkeypatch):
    monkeypatch.setattr(kernels, "current", lambda: TORCHS_OWN)
    speed_up(Whole(plain))
    assert kinds(plain) == [nn.Linear, nn.Linear]


def test_the_plain_weight_is_let_go(plain, packing):
    was = weakref.ref(plain[0])
    speed_up(Whole(plain))
    assert was() is None  # or every weight would be in memory twice


def test_the_state_is_the_plain_networks(plain, packed):
    state = packed.state_dict()
    assert list(state) == list(plain.state_dict())
    assert all(torch.equal(state[name], weight) for name, weight in plain.state_dict().items())
    assert torch.equal(packed[0].weight, plain[0].weight)


def test_other_weights_can_be_loaded(plain, packed, tokens):
    other = {name: weight + 0.5 for name, weight in plain.state_dict().items()}
    packed.load_state_dict(other)
    plain.load_state_dict(other)
    assert kinds(packed) == [PackedLinear, PackedLinear]
    torch.testing.assert_close(packed(tokens), plain(tokens))
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.weight"):
        packed.load_state_dict({**other, "0.weight": torch.zeros(2, 2)})
    with pytest.raises(RuntimeError, match=r"Missing key.*0\.weight"):
        packed.load_state_dict({"0.bias": other["0.bias"], "1.1.weight": other["1.1.weight"]})


def saved(network: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network)), saved])
def test_a_copy_is_packed_and_independent(packed, tokens, way):
    expected = packed(tokens)
    other = way(packed)
    packed.load_state_dict({name: weight * 0 for name, weight in packed.state_dict().items()})
    assert kinds(other) == [PackedLinear, PackedLinear]
    torch.testing.assert_close(other(tokens), expected)


def test_a_pickle_opens_where_packing_is_not_faster(packed, tokens, monkeypatch):
    expected, pickled = packed(tokens), pickle.dumps(packed)
    monkeypatch.setattr(kernels, "current", lambda: TORCHS_OWN)
    torch.testing.assert_close(pickle.loads(pickled)(tokens), expected)


@pytest.mark.parametrize("dtype", [*PRECISIONS, torch.float64])
def test_the_whole_network_changes_its_precision(plain, packed, tokens, dtype):
    plain.to(dtype), packed.to(dtype)
    assert {weight.dtype for weight in packed.state_dict().values()} == {dtype}
    torch.testing.assert_close(packed(tokens.to(dtype)), plain(tokens.to(dtype)))


def test_the_whole_network_changes_its_device(packed):
    packed.to("meta")
    assert all(weight.is_meta for weight in packed.state_dict().values())
    assert packed(torch.ones(2, 24, device="meta")).shape == (2, 12)


def test_gradients_pass_through_packed_layers(plain, packed, tokens):
    expected, found = tokens.clone().requires_grad_(), tokens.clone().requires_grad_()
    plain(expected).sum().backward(), packed(found).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)
