"""Many pictures: found in folders, several at a time through one model, written so that a stopped run can go on."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from proxyclip_core.folders.find import Found, NoSuchPictureError, find_pictures
from proxyclip_core.folders.output import Output, OutputError
from proxyclip_core.folders.runner import Work, map_pictures
from proxyclip_core.folders.segmenter import Outcome, Segmenter
from proxyclip_core.models.clip import Progress
from proxyclip_core.picture import PictureWarning
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.segmentation import Segmentation
from proxyclip_core.settings import Settings
from proxyclip_core.windows import PAPERS_WINDOWS

BAR = {"leave": False, "delay": 1.0, "mininterval": 0.5}  # seconds before it is shown, and until it is drawn again

__all__ = [
    "Found",
    "NoSuchPictureError",
    "Outcome",
    "Output",
    "OutputError",
    "Segmenter",
    "Work",
    "batch",
    "find_pictures",
    "map_pictures",
    "progress_bar",
]


def progress_bar(items: Iterable[Any] | None, **more: Any) -> tqdm:
    """tqdm's bar on standard error, where what takes a moment only shows none. more: of tqdm."""
    often = {} if sys.stderr is None or sys.stderr.isatty() else {"mininterval": 20.0}
    return tqdm(items, dynamic_ncols=True, **{**BAR, **often, **more})


def words_bar(batches: Iterable[Any]) -> tqdm:
    """The bar while new words are embedded, which takes a second a word with large models."""
    return progress_bar(batches, desc="reading the words", unit=" batches")


def batch(
    model: ProxyCLIP,
    settings: Settings,
    pictures: Iterable[str | os.PathLike] | str | os.PathLike,
    progress: bool,
    skip_existing: str | os.PathLike | None,
    workers: int | None,
    crop: int,
    stride: int,
) -> Iterator[tuple[Path, Segmentation | None, Exception | None]]:
    """`ProxyCLIP.batch`, which says what all of this is, by settings."""
    found = find_pictures(pictures, skip_existing)
    if skip_existing is not None:
        made, by = (
            Output(Path(skip_existing), windows={**PAPERS_WINDOWS, "crop": crop, "stride": stride}),
            model.computed_with(settings),
        )
        found = [picture for picture in found if not made.record_if_done(picture, settings, by)]
    bar: Progress = words_bar if progress else iter
    segmenter = Segmenter(model, settings, _result, crop=crop, stride=stride, progress=bar)
    return _unpacked(map_pictures(segmenter, found, workers), len(found), progress)


def _result(picture: Found, pixels: np.ndarray, result: Segmentation) -> Segmentation:
    return result


def _unpacked(
    outcomes: Iterable[Outcome[Segmentation]], count: int, progress: bool
) -> Iterator[tuple[Path, Segmentation | None, Exception | None]]:
    for outcome in progress_bar(outcomes, total=count, unit=" pictures", disable=not progress):
        for note in outcome.notes:
            warnings.warn(note, PictureWarning, stacklevel=2)
        yield Path(str(outcome.picture.source)), outcome.value, outcome.error
