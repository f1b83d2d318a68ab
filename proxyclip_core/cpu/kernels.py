"""Which kernels compute on this CPU.

The choice follows from what the CPU is, and not from a stopwatch: on a busy machine a stopwatch chose differently from
one process to the next, and other kernels label a few pixels along borders differently. The rules rest on measurements
on AMD's Zen 4 and on what by its speed, 243 GFLOP/s a core in float32, was a Zen 5; `python -m tests.benchmarks
--tricks` repeats them. On CPUs that were not measured torch's own kernels run, but for packed bfloat16 weights.

torch multiplies float32 matrices with MKL, and uses MKL inside its fused attention in any precision. On AMD's CPUs MKL
runs AVX2 code, 256 bits wide; torch's other library, oneDNN, uses all that the CPU has.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

PLAIN_VARIABLE = "PROXYCLIP_PLAIN"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cpu:
    """What the rules ask of a CPU. features: instruction sets, as Linux and torch call them."""

    name: str = ""
    features: frozenset[str] = frozenset()

    @property
    def avx512(self) -> bool:
        return bool({"avx512f", "avx512_f"} & self.features)

    @property
    def native_bfloat16(self) -> bool:
        return bool({"avx512_bf16", "amx_bf16"} & self.features)


@dataclass(frozen=True)
class Kernels:
    """The precisions in which each faster kernel takes the place of torch's own.

    linear: oneDNN's product, see `linear.onednn_linear`. packing: weights in oneDNN's own order, see
    `linear.PackedLinear`. attention: in chunks, see `attention.chunked_attention`.
    """

    linear: frozenset[torch.dtype] = frozenset()
    packing: frozenset[torch.dtype] = frozenset()
    attention: frozenset[torch.dtype] = frozenset()


TORCHS_OWN = Kernels()


def is_plain() -> bool:
    """Whether PROXYCLIP_PLAIN turns everything here off."""
    return os.environ.get(PLAIN_VARIABLE, "") not in ("", "0")


def prefers_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices twice as fast as float32; False where PROXYCLIP_PLAIN is set."""
    return this_cpu().native_bfloat16 and not is_plain()


def chosen_kernels() -> dict[str, str]:
    """What was chosen for this CPU, in words, for records: the same in every process on one machine."""
    kernels = current()
    return {
        "linear": _in_words("oneDNN", kernels.linear),
        "weights": _in_words("packed", kernels.packing),
        "attention": _in_words("in chunks", kernels.attention),
    }


def current() -> Kernels:
    """The kernels of this CPU, or torch's own where PROXYCLIP_PLAIN is set."""
    return TORCHS_OWN if is_plain() else _of_this_cpu()


def choose(cpu: Cpu) -> Kernels:
    """The rules."""
    if not cpu.avx512 or not _has_onednn():
        return TORCHS_OWN
    amd = cpu.name.startswith("AMD")
    # Zen 5 computes 512 bits at a time, of which AVX2 leaves half unused: oneDNN multiplies float32 twice as fast.
    # Zen 4 computes 256 bits at a time, where oneDNN gains by packed weights alone: without
    # them a picture takes a fifth longer.
    zen5 = {torch.float32} if amd and "avx_vnni" in cpu.features else set()
    packed = {torch.float32} if amd else set()
    bfloat16 = {torch.bfloat16} if cpu.native_bfloat16 else set()
    return Kernels(
        linear=frozenset(zen5),
        # In bfloat16 torch takes oneDNN by itself, but packs the weights anew each time: a picture then takes 10 %
        # longer on Zen 4. With torch's fused attention it takes 20 % longer.
        packing=frozenset(packed | bfloat16),
        attention=frozenset(zen5 | (bfloat16 if amd else set())),
    )


@lru_cache
def this_cpu() -> Cpu:
    """Nothing is known of it where neither torch nor Linux says what it is: then torch's own kernels run."""
    if hasattr(torch.cpu, "get_capabilities"):  # in newer versions of torch
        found = torch.cpu.get_capabilities()
        features = frozenset(name for name, there in found.items() if there is True)
        return Cpu(str(found.get("cpu_name", "")), features)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return Cpu()
    found = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    return Cpu(found.get("model name", ""), frozenset(found.get("flags", "").split()))


@lru_cache
def _of_this_cpu() -> Kernels:
    kernels = choose(this_cpu())
    logger.info("Kernels for %s: %s", this_cpu().name or "this CPU", kernels)
    return kernels


def _has_onednn() -> bool:
    """Also that the two operators are there which torch's own compiler calls; there is no public name for them."""
    operators = ("_linear_pointwise", "_reorder_linear_weight")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in operators)


def _in_words(what: str, dtypes: Iterable[torch.dtype]) -> str:
    names = sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)
    return f"{what} in {' and '.join(names)}" if names else "torch's own"
