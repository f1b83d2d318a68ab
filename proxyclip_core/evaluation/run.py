"""A model on a data set: each picture is asked the same and gives areas, which are summed.

What one picture gives depends on the model, the question and the picture alone, and areas can be summed in any order,
so that pictures may be shared out among processes or machines.

Axes: K classes, Q queries, H x W pixels.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from proxyclip_core.evaluation.benchmarks import BENCHMARKS, find_benchmark
from proxyclip_core.evaluation.items import DataSet, Item
from proxyclip_core.evaluation.partial import PartialAreas
from proxyclip_core.evaluation.results import Scores
from proxyclip_core.evaluation.scores import count_areas
from proxyclip_core.pipeline import ProxyCLIP
from proxyclip_core.settings import Settings
from proxyclip_core.types import Vocabulary
from proxyclip_core.windows import PAPERS_WINDOWS
from proxyclip_core.words import BACKGROUND_NAME, Classes, as_text, with_background


@dataclass(frozen=True, eq=False)
class Question:
    """What every picture of a data set is asked. windows: `crop`, `stride` and `resizing` of `ProxyCLIP.encode`."""

    settings: Settings
    vocabulary: Vocabulary
    windows: Mapping[str, Any]

    def areas(self, model: ProxyCLIP, picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(3, K) int64, see `count_areas`, of one picture (H, W, 3) uint8 and its ground truth (H, W) uint16."""
        asked = self.settings
        features = model.encode(picture, asked.side, asked.windows, facet=asked.facet, **self.windows)
        _, logits = model.answer(picture, features, asked, self.vocabulary)
        return count_areas(logits.segment(asked.threshold).labels, labels, len(self.vocabulary.names))


def evaluate(
    model: ProxyCLIP,
    data: DataSet,
    *,
    limit: int | None = None,
    workers: int = 2,
    partial: str | Path | None = None,
    fresh: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Scores:
    """Segments the pictures of a data set (`benchmark_data`, `folder_data`) and scores the result.

    limit: only the first so many pictures. workers: threads that read files ahead of the model.
    partial: a folder; what was counted is kept there until the end, and an evaluation of the same that was stopped goes
    on from it, unless `fresh`. progress: show a bar, with the mIoU so far.
    settings: those of `ProxyCLIP.__call__` and `resizing` (see `ProxyCLIP.encode`); what is not given is as the data
    set says (for a benchmark as in the paper), else the default.
    Raises ValueError for settings that do not fit, and, naming it, for a picture that cannot be scored: a score
    without it would be of another set.
    """
    items = data.items[:limit]
    question = ask(model, data, **settings)
    record = {**asdict(question.settings), **question.windows, "words_of": data.words_of}
    found = model.computed_with()
    kept = PartialAreas(partial, items, [data.title, str(data.folder.resolve()), data.names, record, found])
    if fresh:
        kept.clear()
    done, areas = kept.load(len(data.names))
    often = 0.5 if sys.stderr.isatty() else 20
    shown = {"desc": data.title, "unit": " pictures", "disable": not progress, "mininterval": often}
    with tqdm(total=len(items), initial=done, **shown) as bar:
        for item, (picture, labels) in zip(items[done:], _read_ahead(items[done:], workers)):
            try:
                areas = areas + question.areas(model, picture, labels)
            except ValueError as error:
                raise ValueError(f"{item.picture}: {error}") from None
            done += 1
            kept.save(done, areas)
            if areas[1].any():
                bar.set_postfix_str(f"mIoU {Scores(data.title, data.names, areas, done).miou:.2%}", refresh=False)
            bar.update()
    scores = Scores(
        title=data.title,
        names=data.names,
        areas=areas,
        pictures=done,
        expected=data.expected,
        settings=record,
        computed_with=found,
        published=find_benchmark(data.name).published(model.clip.name) if data.name in BENCHMARKS else None,
    )
    kept.clear()
    return scores


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


def _read_ahead(items: Sequence[Item], workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What `Item.read` gives, in order; threads read a few ahead, and no more than that is held."""
    pool, waiting = ThreadPoolExecutor(workers), deque[Future[tuple[np.ndarray, np.ndarray]]]()
    try:
        for item in items:
            waiting.append(pool.submit(item.read))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
