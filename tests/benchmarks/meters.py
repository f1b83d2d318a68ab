"""Meters: time, memory, operations, and how fast this machine can multiply."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_flop

from proxyclip_core.cpu import fast_products
from proxyclip_core.models.loading import PRECISIONS

MOST_RUNS = 20
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}  # large enough for full speed, small enough for a few seconds


def _linear_flops(inputs: torch.Tensor, weight: torch.Tensor, *options: Any, **more: Any) -> int:
    return 2 * inputs.numel() * weight.shape[0]


def count_flops(call: Callable[[], object]) -> dict[str, float]:
    """Floating point operations of a call in matrix products, convolutions and attention, by precision."""
    counts: Counter[str] = Counter()

    def by_precision(formula: Callable[..., int]) -> Callable[..., int]:
        def counted(*arguments: Any, **more: Any) -> int:
            flops = formula(*arguments, **more)
            tensor = next(value for value in arguments if isinstance(value, torch.Tensor))
            counts[str(tensor.dtype).removeprefix("torch.")] += flops
            return flops

        raw: Any = counted
        raw._get_raw = True  # torch then hands over the tensors, not their shapes alone
        return counted

    formulas = {operator: by_precision(formula) for operator, formula in flop_registry.items()}
    # torch counts the fused attention of GPUs, but not the one of CPUs.
    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    formulas.setdefault(on_cpu, by_precision(sdpa_flop))
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        formulas[torch.ops.mkldnn._linear_pointwise] = by_precision(_linear_flops)
    with FlopCounterMode(display=False, custom_mapping=formulas):
        call()
    return dict(counts)


def best_seconds(
    call: Callable[[], object], repeats: int, device: torch.device, at_least: float = 0.0
) -> tuple[float, float]:
    """(seconds, CPU seconds), each the least of `repeats` or more runs after one that is not timed; with 0 repeats of
    the one first run."""
    runs = [_seconds(call, device)]
    while len(runs) <= repeats or (repeats and sum(run[0] for run in runs[1:]) < at_least and len(runs) <= MOST_RUNS):
        runs.append(_seconds(call, device))
    seconds, cpu_seconds = zip(*(runs[1:] or runs))
    return min(seconds), min(cpu_seconds)


def _seconds(call: Callable[[], object], device: torch.device) -> tuple[float, float]:
    _wait(device)
    start, cpu_start = time.perf_counter(), time.process_time()
    call()
    _wait(device)
    return time.perf_counter() - start, time.process_time() - cpu_start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(device: torch.device) -> int:
    """The most memory this process has held so far; on CUDA the most that torch held on the card."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # On Linux the obvious ru_maxrss starts at what the parent had held when it started this process.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    if found:
        return int(found[1]) * 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def matrix_speeds(device: torch.device) -> dict[str, float]:
    """Operations a second of a large matrix product, by precision: what no network on this device can exceed."""
    side = MATRIX_SIDE.get(device.type, 2048)
    speeds = {}
    for name, dtype in PRECISIONS.items():
        if device.type != "cuda" and dtype == torch.float16:
            continue  # CPUs convert it back and forth
        left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        with fast_products(device):
            seconds, _ = best_seconds(partial(F.linear, left, right), 8, device)
        speeds[name] = 2 * side**3 / seconds
    return speeds
