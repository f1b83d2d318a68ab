"""One measurement in a process of its own: `python -m tests.benchmarks.child JOB`; JSON in, a line of JSON out.

A fresh process for each, because the peak memory of a process never falls again, and so that no measurement warms up
another. Ours goes through `proxyclip_core.load`; the baseline is `tests/reference.py` on the same weights, with torch's
own kernels and with the attention of the VFM written out, as in the authors' DINO.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from proxyclip_core import ProxyCLIP, find_clip, find_vfm, load
from proxyclip_core.cpu.kernels import PLAIN_VARIABLE
from proxyclip_core.models.loading import build_clip_network, build_vfm_network, choose_device
from proxyclip_core.types import ClassLogits
from tests.benchmarks import tricks
from tests.benchmarks.jobs import Job, Result
from tests.benchmarks.meters import best_seconds, count_flops, matrix_speeds, peak_bytes
from tests.benchmarks.tasks import TASKS


def write_weights(job: Job) -> None:
    """Random weights of the real size, in files such as the hub's: loading them is then as real as the rest."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    for name, network in (
        ("clip", build_clip_network(find_clip(job.clip))),
        ("vfm", build_vfm_network(find_vfm(job.vfm))),
    ):
        state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
        save_file(state, Path(job.weights) / f"{name}.safetensors")


def load_model(job: Job) -> ProxyCLIP:
    os.environ["PROXYCLIP_CACHE"] = job.weights
    if job.task.startswith("plain"):
        from timm.layers import set_fused_attn

        set_fused_attn(False)
        os.environ[PLAIN_VARIABLE] = "1"
    else:
        tricks.prepare(job.without)
    if find_clip(job.clip).builtin:
        return load(job.clip, job.vfm, device=job.device, precision=job.precision)
    clip, vfm = (Path(job.weights) / f"{name}.safetensors" for name in ("clip", "vfm"))
    return load(job.clip, job.vfm, device=job.device, precision=job.precision, clip_weights=clip, vfm_weights=vfm)


def measure(job: Job, model: ProxyCLIP) -> Result:
    """Runs one task on a model; on a fresh process, for a peak that means something."""
    call = TASKS[job.task](model, job)
    seconds, cpu_seconds = best_seconds(call, job.repeats, model.device, job.at_least)
    precision = str(model.clip.dtype).removeprefix("torch.")
    result = Result(seconds, cpu_seconds, peak_bytes(model.device), precision)
    if job.keep:
        _keep(call(), job.keep)
    if job.repeats and job.task.startswith("our"):  # after the peak was read: counting takes some attention apart
        result.flops = count_flops(call)
    return result


def _keep(outcome: dict[str, object], path: str) -> None:
    """Saves what a call returned. Patch logits are carried to the picture's pixels first: (K, H, W)."""
    arrays: dict[str, Any] = {}
    for name, value in outcome.items():
        if isinstance(value, ClassLogits):
            rows, columns = value.layout.to_picture((value.values.shape[-2], value.values.shape[-1]))
            value = rows @ value.layout.tile(value.values.cpu()) @ columns.T
        arrays[name] = value.float().cpu().numpy() if isinstance(value, torch.Tensor) else value
    np.savez(path, **arrays)


def main(arguments: list[str]) -> int:
    given = json.loads(arguments[0])
    job = Job(**{**given, "size_hw": tuple(given.get("size_hw", Job.size_hw))})
    if job.task == "weights":
        write_weights(job)
        result = Result()
    elif job.task == "speeds":
        result = Result(speeds=matrix_speeds(choose_device(job.device)))
    else:
        result = measure(job, load_model(job))
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
