"""What is timed: ours through the stages, as a person's picture goes, and the plain baseline.

Each task prepares what it needs and returns the call that is timed. What the call returns is compared, not timed.

Axes: K classes, E embedding, H x W picture pixels.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from proxyclip_core import ProxyCLIP, Settings, Vocabulary, evaluate, folder_data, load
from proxyclip_core.folders import Found, Output, Segmenter, map_pictures
from proxyclip_core.folders.ray_data import map_on_ray
from proxyclip_core.models.word_cache import WordCache
from proxyclip_core.refine import BY_COLOURS
from proxyclip_core.windows import plan_windows
from tests import reference
from tests.benchmarks.jobs import Job

WORDS = ("sky", "hill", "horse", "grass", "person")
TEMPLATES = "imagenet80"
BETA, GAMMA = 1.2, 3.0
OTHER_BETA, OTHER_GAMMA = 1.4, 4.0
EVALUATED = 2  # pictures, on two cores one on each
SCENES = sorted((Path(__file__).parents[2] / "assets" / "examples" / "eval").glob("[0-9][0-9].png"))

Call = Callable[[], dict[str, object]]
Task = Callable[[ProxyCLIP, Job], Call]


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
        names=names,
        queries=names,
        query_class=torch.arange(count),
        embeddings=embeddings.to(model.device),
        has_background=False,
        templates="none",
        clip_name=model.clip.name,
        clip_id=model.clip.digest,
    )


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
        return {"labels": logits.segment().labels, "logits": logits}

    return call


def our_settings(model: ProxyCLIP, job: Job) -> Call:
    features, words = model.encode(picture(job.size_hw), job.side, job.windows), vocabulary(model, job.classes)

    def call() -> dict[str, object]:
        logits = model.classify(model.fuse(features, OTHER_BETA, OTHER_GAMMA), words)
        return {"labels": logits.segment().labels}

    return call


def our_refinement(model: ProxyCLIP, job: Job) -> Call:
    """The stage alone, from logits to logits."""
    image, words = picture(job.size_hw), vocabulary(model, job.classes)
    features = model.encode(image, job.side, job.windows)
    logits = model.classify(model.fuse(features, BETA, GAMMA), words)
    return lambda: {"logits": model.refine(logits, features, image, job.refine)}


def our_refinement_again(model: ProxyCLIP, job: Job) -> Call:
    """The same with other words for a picture, or another beta: its graph is there."""
    image, words = picture(job.size_hw), vocabulary(model, job.classes)
    features = model.encode(image, job.side, job.windows)
    logits = model.classify(model.fuse(features, BETA, GAMMA), words)
    graph = model.colour_graph(image, job.refine) if job.refine in BY_COLOURS else model.patch_graph(features)
    return lambda: {"logits": model.refine(logits, features, image, job.refine, graph=graph)}


def our_known_words(model: ProxyCLIP, job: Job) -> Call:
    dense = model.fuse(model.encode(picture(job.size_hw), job.side, job.windows), BETA, GAMMA)
    folder = Path(tempfile.mkdtemp(dir=job.weights or None))
    filled = WordCache(model.clip.text_digest, folder)
    for word, embedding in zip(WORDS, vocabulary(model, len(WORDS)).embeddings):
        filled.put(word, TEMPLATES, embedding)

    def call() -> dict[str, object]:
        reader = _remembering(model, WordCache(model.clip.text_digest, folder))  # knows them from disk alone
        words = reader.embed([[word] for word in WORDS], templates=TEMPLATES)
        return {"labels": model.classify(dense, words).segment().labels}

    return call


def our_click(model: ProxyCLIP, job: Job) -> Call:
    features = model.encode(picture(job.size_hw), job.side, job.windows)
    height, width = job.size_hw
    return lambda: {"map": model.seed_attention(features, (width // 2, height // 2), BETA, GAMMA)}


def our_read_out(model: ProxyCLIP, job: Job) -> Call:
    """Classes to labels alone, without the encoders."""
    words = vocabulary(model, job.classes)
    dense = model.fuse(model.encode(picture(job.size_hw), job.side, job.windows))
    return lambda: {"labels": model.classify(dense, words).segment().labels}


def our_evaluation(model: ProxyCLIP, job: Job) -> Call:
    """From EVALUATED files to areas, as `proxyclip evaluate` has it; the words are known."""
    words, folder = vocabulary(model, job.classes), Path(tempfile.mkdtemp(dir=job.weights or None))
    labels = np.random.default_rng(0).integers(0, job.classes, job.size_hw).astype(np.uint8)
    for number in range(EVALUATED):
        Image.fromarray(picture(job.size_hw)).save(folder / f"{number}.jpg")
        Image.fromarray(labels).save(folder / f"{number}.png")
    reader = _remembering(model, WordCache(model.clip.text_digest))
    for word, embedding in zip(words.names, words.embeddings):
        reader.clip.word_cache.put(word, "none", embedding)
    data = folder_data(folder, folder, words.names, side=job.side, templates="none", resizing="bilinear")
    return lambda: {"areas": evaluate(reader, data).areas}


def our_session(model: ProxyCLIP, job: Job) -> Call:
    """Words, a picture, other settings and a click: what a person does first, for its memory."""
    text, image = our_text(model, job), our_picture(model, job)
    return lambda: text() | image() | our_settings(model, job)() | our_click(model, job)()


def _scenes(job: Job) -> list[Found]:
    return [Found(str(path), f"{time}/{path.name}") for time in range(job.times) for path in SCENES]


def our_folder(model: ProxyCLIP, job: Job) -> Call:
    """What `proxyclip segment FOLDER` does once the model is loaded: label maps in a new folder."""
    settings = model.settings_of(", ".join(WORDS))

    def call() -> dict[str, object]:
        with tempfile.TemporaryDirectory(dir=job.weights or None) as folder:
            segmenter = Segmenter(model, settings, Output(Path(folder)).write)
            outcomes = list(map_pictures(segmenter, _scenes(job)))
        return {"errors": np.array([outcome.error is not None for outcome in outcomes])}

    return call


@dataclass(frozen=True)
class FolderJob:
    """What a process of Ray's needs to know to take part in `folder_on_ray`."""

    job: Job
    settings: Settings
    folder: Path

    def __call__(self) -> Segmenter[dict[str, Any]]:
        model = load(self.job.clip, self.job.vfm, device=self.job.device, precision=self.job.precision)
        return Segmenter(model, self.settings, Output(self.folder).write)


def folder_on_ray(model: ProxyCLIP, job: Job) -> Call:
    """What `proxyclip segment FOLDER --ray local` does, from the start of a cluster to its end."""
    settings = model.settings_of(", ".join(WORDS))

    def call() -> dict[str, object]:
        with tempfile.TemporaryDirectory(dir=job.weights or None) as folder:
            outcomes = list(map_on_ray(FolderJob(job, settings, Path(folder)), _scenes(job), "local"))
        return {"errors": np.array([outcome.error is not None for outcome in outcomes])}

    return call


def one_by_one(model: ProxyCLIP, job: Job) -> Call:
    """The same pictures by calls of the model; nothing is written."""
    words = ", ".join(WORDS)
    return lambda: {"labels": [model(one.source, words).labels for one in _scenes(job)][-1]}


def plain_text(model: ProxyCLIP, job: Job) -> Call:
    return lambda: {"embeddings": reference.text_embeddings(model.clip, WORDS, TEMPLATES)}


def plain_picture(model: ProxyCLIP, job: Job) -> Call:
    words, vfm = vocabulary(model, job.classes), model.vfm
    assert vfm is not None  # a job names one
    scaled = plan_windows(job.size_hw, job.side).scaled_hw
    image = np.asarray(Image.fromarray(picture(job.size_hw)).resize(scaled[::-1], Image.Resampling.BICUBIC))

    def call() -> dict[str, object]:
        with torch.device(model.device):
            logits = reference.picture_logits(
                model.clip, vfm, image, words.embeddings, job.size_hw, beta=BETA, gamma=GAMMA
            )
        return {"labels": reference.labels(logits.cpu(), words.query_class)[0], "logits": logits}

    return call


def plain_session(model: ProxyCLIP, job: Job) -> Call:
    text, image = plain_text(model, job), plain_picture(model, job)
    return lambda: text() | image()


def _visit(model: ProxyCLIP, job: Job, changed: set[str]) -> Call:
    from tests.benchmarks.visits import asking  # here, as gradio would count in the memory of all other tasks

    return asking(model, job, changed)


# Task -> the controls of the page that have a new value.
VISITS = {
    "our_picture_shown": {"picture"},
    "our_words_shown": {"words"},
    "our_both_shown": {"picture", "words"},
    "our_beta_shown": {"beta"},
}
TASKS: dict[str, Task] = {name: partial(_visit, changed=changed) for name, changed in VISITS.items()}
TASKS |= {
    task.__name__: task
    for task in (
        our_text,
        our_picture,
        our_settings,
        our_refinement,
        our_refinement_again,
        our_known_words,
        our_click,
        our_read_out,
        our_evaluation,
        our_session,
        our_folder,
        folder_on_ray,
        one_by_one,
        plain_text,
        plain_picture,
        plain_session,
    )
}
