"""A model on a data set: each picture is asked the same and gives areas, which are summed.

What one picture gives depends on the model, the question and the picture alone, and areas can be summed in any order,
so that pictures may be shared out among processes or machines.

Axes: K classes, Q queries, H x W pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from proxyclip_core.evaluation.benchmarks import BENCHMARKS, find_benchmark
from proxyclip_core.evaluation.items import DataSet, Item
from proxyclip_core.evaluation.partial import PartialAreas
from proxyclip_core.evaluation.results import Scores
from proxyclip_core.evaluation.scores import count_areas
from proxyclip_core.folders import Found, Outcome, Segmenter, map_pictures, progress_bar
from proxyclip_core.folders.ray_data import map_on_ray
from proxyclip_core.picture import PictureWarning
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.segmentation import Segmentation
from proxyclip_core.settings import Settings
from proxyclip_core.types import Vocabulary
from proxyclip_core.windows import PAPERS_WINDOWS
from proxyclip_core.words import BACKGROUND_NAME, Classes, as_text, with_background

Counted = tuple[np.ndarray, Mapping[str, Any]]  # (3, K) int64 of one picture, and `ProxyCLIP.computed_with`


@dataclass(frozen=True, eq=False)
class Question:
    """What every picture of a data set is asked. windows: `crop`, `stride` and `resizing` of `ProxyCLIP.encode`."""

    settings: Settings
    vocabulary: Vocabulary
    windows: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class CountJob:
    """All that a process needs to know to take part: `load` gives its model, and pictures are called by their places
    among the items."""

    load: Callable[[], ProxyCLIP]
    question: Question
    items: Sequence[Item]

    def __call__(self) -> Segmenter[Counted]:
        asked = self.question
        more = {"vocabulary": asked.vocabulary, "presence": False, **asked.windows}
        return Segmenter(self.load(), asked.settings, self.count, **more)

    def count(self, picture: Found, pixels: np.ndarray, result: Segmentation) -> Counted:
        ground_truth = self.items[int(picture.name)].ground_truth((pixels.shape[0], pixels.shape[1]))
        return count_areas(result.labels, ground_truth, len(result.names)), result.computed_with


def evaluate(
    model: ProxyCLIP,
    data: DataSet,
    *,
    limit: int | None = None,
    workers: int | None = None,
    partial: str | Path | None = None,
    fresh: bool = False,
    progress: bool = False,
    ray: str | None = None,
    load: Callable[[], ProxyCLIP] | None = None,
    **settings: Any,
) -> Scores:
    """Segments the pictures of a data set (`benchmark_data`, `folder_data`) and scores the result.

    limit: only the first so many pictures. workers: pictures computed at a time; None: as fits.
    partial: a folder; what was counted is kept there until the end, and an evaluation of the same that was stopped goes
    on from it, unless `fresh`. progress: show a bar, with the mIoU so far.
    ray: the address of a Ray cluster, or "local", on which the pictures are shared out; `load` is called there and
    gives the same model. The files must lie at the same paths on all machines.
    settings: those of `ProxyCLIP.__call__` and `resizing` (see `ProxyCLIP.encode`); what is not given is as the data
    set says (for a benchmark as in the paper), else the default.
    Raises ValueError for settings that do not fit, and, naming it, for a picture that cannot be scored: a score
    without it would be of another set.
    """
    items = data.items[:limit]
    question = ask(model, data, **settings)
    record = {**asdict(question.settings), **question.windows, "words_of": data.words_of}
    of = [data.title, str(data.folder.resolve()), data.names, record, model.computed_with(question.settings)]
    kept = PartialAreas(partial, items, len(data.names), of)
    if fresh:
        kept.clear()
    pictures = [Found(str(items[place].picture), str(place)) for place in kept.todo]
    if ray is None:
        outcomes = map_pictures(CountJob(lambda: model, question, items)(), pictures, workers)
    elif load is None:
        raise ValueError("ray needs load as well: a function that gives the model, to be called where it is used.")
    else:
        question = replace(question, vocabulary=question.vocabulary.to(torch.device("cpu")))
        outcomes = map_on_ray(CountJob(load, question, items), pictures, ray)
    shown = {"desc": data.title, "unit": " pictures", "leave": True, "delay": 0, "disable": not progress}
    with closing(outcomes), progress_bar(None, total=len(items), initial=kept.done, **shown) as bar:
        for outcome in outcomes:
            _add(kept, outcome)
            if kept.areas[1].any():
                so_far = Scores(data.title, data.names, kept.areas, kept.done).miou
                bar.set_postfix_str(f"mIoU {so_far:.2%}", refresh=False)
            bar.update()
    scores = Scores(
        title=data.title,
        names=data.names,
        areas=kept.areas,
        pictures=kept.done,
        expected=data.expected,
        settings=record,
        computed_with=kept.computed_with,
        published=find_benchmark(data.name).published(model.clip.name) if data.name in BENCHMARKS else None,
    )
    kept.clear()
    return scores


def _add(kept: PartialAreas, outcome: Outcome[Counted]) -> None:
    """Raises ValueError for a picture that could not be scored."""
    for note in outcome.notes:
        warnings.warn(note, PictureWarning, stacklevel=3)
    if outcome.value is None:
        picture, error = outcome.picture.shown, str(outcome.error)
        raise ValueError(error if picture in error else f"{picture}: {error}")
    areas, computed_with = outcome.value
    if kept.computed_with not in ({}, computed_with):
        warnings.warn(
            "Not all pictures were computed alike (versions, device, precision, kernels, weights).", stacklevel=3
        )
    kept.add(int(outcome.picture.name), areas, computed_with)


def ask(model: ProxyCLIP, data: DataSet, **settings: Any) -> Question:
    """What `evaluate` asks with these settings. Raises ValueError where one does not fit the data set."""
    given = {"fusion": model.fusion, "templates": model.templates, **PAPERS_WINDOWS, **data.settings, **settings}
    windows = {name: given.pop(name) for name in PAPERS_WINDOWS}
    vfm = model.vfm.name if model.vfm is not None else ""
    asked = Settings(clip=model.clip.name, vfm=vfm, words=as_text(data.classes), **given)
    classes = data.classes
    if asked.background in ("short", "long"):
        if data.names[0].casefold() != BACKGROUND_NAME:
            raise ValueError(
                f"background is {asked.background!r}, but class 0 of {data.title} is {data.names[0]!r}. It must be "
                f"called {BACKGROUND_NAME!r}."
            )
        if classes[0][0].casefold() != BACKGROUND_NAME:  # the paper's own list of words, which gives way
            classes = ((BACKGROUND_NAME,), *classes[1:])
    classes, has_background = with_background(classes, asked.background)
    return Question(asked, embed_all(model, classes, has_background, asked.templates), windows)


def embed_all(model: ProxyCLIP, classes: Classes, has_background: bool, templates: str) -> Vocabulary:
    """As `ProxyCLIP.embed`, but a wording may stand in several classes, as "bed" does in the paper's COCO-Object, where
    it is an object and one of the words for the background."""
    queries = [word for group in classes for word in group]
    once = list(dict.fromkeys(queries))
    vocabulary = model.embed([[word] for word in once], "none", templates)
    if len(vocabulary.queries) < len(once):
        raise ValueError("Two of the words differ in their spelling alone, so that CLIP reads them as one. Leave one.")
    places = [once.index(word) for word in queries]
    return replace(
        vocabulary,
        names=tuple(group[0] for group in classes),
        queries=tuple(queries),
        query_class=torch.tensor([index for index, group in enumerate(classes) for _ in group], device="cpu"),
        embeddings=vocabulary.embeddings[places],
        has_background=has_background,
    )
