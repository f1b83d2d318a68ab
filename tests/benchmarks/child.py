"""One measurement in a process of its own: `python -m tests.benchmarks.child JOB`; JSON in, a line of JSON out.

A fresh process for each, because the peak memory of a process never falls again, and so that no measurement warms up
another. Ours goes through `proxyclip_core.load` and the stages, as a person's picture does; the baseline is
`tests/reference.py` on the same weights, with the attention of the VFM written out, as in the authors' DINO.

Axes: K classes, E embedding, H x W picture pixels.
"""

from __future__ import annotations

import copy
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_flop

from proxyclip_core import ProxyCLIP, Vocabulary, find_clip, find_vfm, load
from proxyclip_core.cpu.products import quick_products
from proxyclip_core.models.loading import PRECISIONS, build_clip_network, build_vfm_network, choose_device
from proxyclip_core.models.word_cache import WordCache, fingerprint
from proxyclip_core.types import ClassLogits
from proxyclip_core.windows import plan_windows
from tests import reference

WORDS = ("sky", "hill", "horse", "grass", "person")
TEMPLATES = "imagenet80"
BETA, GAMMA = 1.2, 3.0
OTHER_BETA, OTHER_GAMMA = 1.4, 4.0
MOST_RUNS = 20
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}  # large enough for full speed, small enough for a few seconds


@dataclass(frozen=True)
class Job:
    """What to measure. task: a name in TASKS. size_hw, side, windows: the picture, as in `ProxyCLIP.encode`.

    precision: of the encoders. repeats: timed runs after one that is not; 0 for one run and no warm-up.
    at_least: seconds that are spent on timed runs, so that a short task meets as many of the machine's moods as a long
    one; MOST_RUNS of them at most.
    keep: file (.npz) for the labels and logits, to be compared with another job's.
    """

    task: str
    precision: str = "float32"
    size_hw: tuple[int, int] = (336, 503)
    side: int | None = 336
    windows: str = "sliding"
    classes: int = len(WORDS)
    repeats: int = 3
    at_least: float = 0.0
    keep: str = ""
    clip: str = "OpenAI B/16"
    vfm: str = "DINO B/8"
    device: str = "cpu"
    weights: str = ""  # folder that `write_weights` filled


@dataclass
class Result:
    """seconds: the best run. peak_bytes: of the process (on CUDA: of the card), from its start to the last timed run.

    flops: by precision. speeds: operations a second of a large matrix product, by precision (task "speeds" only).
    """

    seconds: float = float("nan")
    peak_bytes: int = 0
    precision: str = "float32"
    flops: dict[str, float] = field(default_factory=dict)
    speeds: dict[str, float] = field(default_factory=dict)


def picture(size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8: plain rectangles and a little noise, the same every time."""
    rng = np.random.default_rng(0)
    height, width = size_hw
    pixels = np.full((height, width, 3), 128.0)
    for _ in range(40):
        top, left = rng.integers(0, height), rng.integers(0, width)
        tall, wide = (int(share * side) for share, side in zip(rng.uniform(0.05, 0.5, 2), size_hw))
        pixels[top : top + tall, left : left + wide] = rng.uniform(20, 235, 3)
    return np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)


def vocabulary(model: ProxyCLIP, count: int) -> Vocabulary:
    """K classes in random directions: reading out does not ask what an embedding means."""
    width = model.clip.network.text_projection.shape[1]
    embeddings = F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(1)), dim=-1)
    names = tuple(f"class {number}" for number in range(count))
    return Vocabulary(
        names,
        names,
        torch.arange(count),
        embeddings.to(model.device),
        False,
        "none",
        model.clip.name,
        model.clip.digest,
    )


# Each task prepares what it needs and returns the call that is timed. What the call returns is compared, not timed.
Call = Callable[[], dict[str, object]]


def _remembering(model: ProxyCLIP, cache: WordCache | None) -> ProxyCLIP:
    """The same networks with another word cache, or none."""
    clip = copy.copy(model.clip)
    clip.word_cache = cache
    return ProxyCLIP(clip, model.vfm)


def our_text(model: ProxyCLIP, job: Job) -> Call:
    forgetful, words = _remembering(model, None), [[word] for word in WORDS]
    return lambda: {"embeddings": forgetful.embed(words, templates=TEMPLATES).embeddings}


def our_picture(model: ProxyCLIP, job: Job) -> Call:
    image, words = picture(job.size_hw), vocabulary(model, job.classes)

    def call() -> dict[str, object]:
        dense = model.fuse(model.encode(image, job.side, job.windows), BETA, GAMMA)
        logits = model.classify(dense, words)
        return {"labels": model.segment(logits, words).labels, "logits": logits}

    return call


def our_settings(model: ProxyCLIP, job: Job) -> Call:
    features, words = model.encode(picture(job.size_hw), job.side, job.windows), vocabulary(model, job.classes)

    def call() -> dict[str, object]:
        logits = model.classify(model.fuse(features, OTHER_BETA, OTHER_GAMMA), words)
        return {"labels": model.segment(logits, words).labels}

    return call


def our_known_words(model: ProxyCLIP, job: Job) -> Call:
    dense = model.fuse(model.encode(picture(job.size_hw), job.side, job.windows), BETA, GAMMA)
    folder = Path(tempfile.mkdtemp(dir=job.weights or None))
    tower = fingerprint(model.clip.network, model.clip.name)
    for word, embedding in zip(WORDS, vocabulary(model, len(WORDS)).embeddings):
        WordCache(tower, folder).put(word, TEMPLATES, embedding)

    def call() -> dict[str, object]:
        reader = _remembering(model, WordCache(tower, folder))  # knows them from disk alone
        words = reader.embed([[word] for word in WORDS], templates=TEMPLATES)
        return {"labels": model.segment(model.classify(dense, words), words).labels}

    return call


def our_click(model: ProxyCLIP, job: Job) -> Call:
    features = model.encode(picture(job.size_hw), job.side, job.windows)
    height, width = job.size_hw
    return lambda: {"map": model.seed_attention(features, (width // 2, height // 2), BETA, GAMMA)}


def our_read_out(model: ProxyCLIP, job: Job) -> Call:
    """Classes to labels alone, without the encoders."""
    words = vocabulary(model, job.classes)
    dense = model.fuse(model.encode(picture(job.size_hw), job.side, job.windows))
    return lambda: {"labels": model.segment(model.classify(dense, words), words).labels}


def our_session(model: ProxyCLIP, job: Job) -> Call:
    """Words, a picture, other settings and a click: what a person does first, for its memory."""
    steps = [task(model, job) for task in (our_text, our_picture)]
    return lambda: [step() for step in steps] and our_settings(model, job)() and our_click(model, job)()


def plain_text(model: ProxyCLIP, job: Job) -> Call:
    return lambda: {"embeddings": reference.text_embeddings(model.clip, WORDS, TEMPLATES)}


def plain_picture(model: ProxyCLIP, job: Job) -> Call:
    words = vocabulary(model, job.classes)
    scaled = plan_windows(job.size_hw, job.side).scaled_hw
    image = np.asarray(Image.fromarray(picture(job.size_hw)).resize(scaled[::-1], Image.Resampling.BICUBIC))

    def call() -> dict[str, object]:
        with torch.device(model.device):
            logits = reference.picture_logits(
                model.clip, model.vfm, image, words.embeddings, job.size_hw, beta=BETA, gamma=GAMMA
            )
        return {"labels": reference.labels(logits.cpu(), words.query_class)[0], "logits": logits}

    return call


def plain_session(model: ProxyCLIP, job: Job) -> Call:
    text, image = plain_text(model, job), plain_picture(model, job)
    return lambda: text() and image()


TASKS = {
    task.__name__: task
    for task in (
        our_text,
        our_picture,
        our_settings,
        our_known_words,
        our_click,
        our_read_out,
        our_session,
        plain_text,
        plain_picture,
        plain_session,
    )
}


def _linear_flops(inputs: torch.Tensor, weight: torch.Tensor, *options, **more) -> int:
    return 2 * inputs.numel() * weight.shape[0]


def count_flops(call: Callable[[], object]) -> dict[str, float]:
    """Floating point operations of a call in matrix products, convolutions and attention, by precision."""
    counts: Counter[str] = Counter()

    def by_precision(formula):
        def counted(*arguments, **more):
            flops = formula(*arguments, **more)
            tensor = next(value for value in arguments if isinstance(value, torch.Tensor))
            counts[str(tensor.dtype).removeprefix("torch.")] += flops
            return flops

        counted._get_raw = True  # torch then hands over the tensors, not their shapes alone
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


def best_seconds(call: Callable[[], object], repeats: int, device: torch.device, at_least: float = 0.0) -> float:
    """The fastest of `repeats` or more runs after one that is not timed; with 0 repeats the one first run."""
    first, runs = _seconds(call, device), []
    while len(runs) < repeats or (repeats and sum(runs) < at_least and len(runs) < MOST_RUNS):
        runs.append(_seconds(call, device))
    return min(runs, default=first)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(device: torch.device) -> int:
    """The most memory this process has held so far; on CUDA the most that torch held on the card."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # On Linux the obvious ru_maxrss starts at what the parent had held when it started this process.
    status = Path("/proc/self/status")
    if status.is_file():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
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
        with torch.inference_mode(), quick_products(device):
            speeds[name] = 2 * side**3 / best_seconds(lambda left=left, right=right: F.linear(left, right), 8, device)
    return speeds


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
    if job.task.startswith("plain"):
        from timm.layers import set_fused_attn

        set_fused_attn(False)
    os.environ["PROXYCLIP_CACHE"] = job.weights
    files = {f"{name}_weights": Path(job.weights) / f"{name}.safetensors" for name in ("clip", "vfm")}
    return load(job.clip, job.vfm, device=job.device, precision=job.precision, **files)


def measure(job: Job, model: ProxyCLIP) -> Result:
    """Runs one task on a model; on a fresh process, for a peak that means something."""
    call = TASKS[job.task](model, job)
    seconds = best_seconds(call, job.repeats, model.device, job.at_least)
    result = Result(seconds, peak_bytes(model.device), str(model.clip.dtype).removeprefix("torch."))
    if job.keep:
        _keep(call(), job.keep)
    if job.repeats and job.task.startswith("our"):  # after the peak was read: counting takes some attention apart
        result.flops = count_flops(call)
    return result


def _keep(outcome: dict[str, object], path: str) -> None:
    """Saves what a call returned. Patch logits are carried to the picture's pixels first: (K, H, W)."""
    arrays = {}
    for name, value in outcome.items():
        if isinstance(value, ClassLogits):
            rows, columns = value.layout.to_picture(value.values.shape[-2:])
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
