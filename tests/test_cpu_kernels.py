"""Which kernels run follows from what the CPU is, and PROXYCLIP_PLAIN turns all of them off."""

import sys

import pytest
import torch

from proxyclip_core import cpu
from proxyclip_core.cpu import kernels
from proxyclip_core.cpu.kernels import TORCHS_OWN, Cpu, Kernels, choose
from proxyclip_core.models.loading import choose_precision

CPU = torch.device("cpu")
NONE, FLOAT32, BFLOAT16 = frozenset(), frozenset({torch.float32}), frozenset({torch.bfloat16})
BOTH = FLOAT32 | BFLOAT16
ZEN5 = Cpu("AMD EPYC 9655", frozenset({"avx512f", "avx512_bf16", "avx_vnni"}))


@pytest.fixture(autouse=True)
def with_onednn(monkeypatch):
    """The rules are the same in a torch that was built without it; the last test takes it away."""
    monkeypatch.setattr(kernels, "_has_onednn", lambda: True)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (ZEN5, Kernels(FLOAT32, BOTH, BOTH)),
        (Cpu("AMD EPYC 9654", frozenset({"avx512_f", "avx512_bf16"})), Kernels(NONE, BOTH, BFLOAT16)),
        (Cpu("AMD EPYC 7763", frozenset({"avx2"})), TORCHS_OWN),
        (Cpu("Intel(R) Xeon(R) Platinum 8480+", frozenset({"avx512f", "amx_bf16"})), Kernels(NONE, BFLOAT16, NONE)),
        (Cpu("Intel(R) Xeon(R) Platinum 8375C", frozenset({"avx512f"})), TORCHS_OWN),
        (Cpu(), TORCHS_OWN),
    ],
    ids=lambda value: value.name if isinstance(value, Cpu) else "",
)
def test_the_cpu_alone_decides(found, expected):
    assert choose(found) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says")
def test_torch_and_linux_agree_on_the_cpu(monkeypatch):
    """Older versions of torch do not say what the CPU is."""
    told_by_torch = kernels.this_cpu.__wrapped__()
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    told_by_linux = kernels.this_cpu.__wrapped__()
    assert choose(told_by_linux) == choose(told_by_torch)
    assert told_by_linux.native_bfloat16 == told_by_torch.native_bfloat16


@pytest.mark.parametrize(("value", "plain"), [("1", True), ("0", False), ("", False)])
def test_one_variable_turns_everything_off(monkeypatch, value, plain):
    monkeypatch.setattr(kernels, "this_cpu", lambda: ZEN5)
    monkeypatch.setattr(kernels, "_of_this_cpu", lambda: choose(ZEN5))
    monkeypatch.setenv("PROXYCLIP_PLAIN", value)
    assert set(cpu.chosen_kernels().values()) == (
        {"torch's own"}
        if plain
        else {"oneDNN in float32", "packed in bfloat16 and float32", "in chunks in bfloat16 and float32"}
    )
    assert cpu.prefers_bfloat16() is not plain
    assert choose_precision("auto", CPU) == (torch.float32 if plain else torch.bfloat16)


def test_a_torch_without_onednn_keeps_its_own_kernels(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert choose(ZEN5) == TORCHS_OWN
