"""What is done with each picture of a run: read, segmented, and kept or written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from proxyclip_core.folders.find import Found
from proxyclip_core.folders.output import OutputError
from proxyclip_core.models.checkpoints import ran_out_of_memory
from proxyclip_core.models.clip import Progress
from proxyclip_core.picture import read_picture
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.segmentation import Segmentation
from proxyclip_core.settings import Settings
from proxyclip_core.types import Vocabulary

ERRORS = (ValueError, OSError, RuntimeError, MemoryError)

Value = TypeVar("Value")
Keep = Callable[[Found, np.ndarray, Segmentation], Value]


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """value: what was kept of the picture's result; None where there was an error, which is then of this picture alone.

    notes: reservations with which the picture was read, a sentence each. done_before: nothing had to be done.
    """

    picture: Found
    value: Value | None = None
    error: Exception | None = None
    notes: tuple[str, ...] = ()
    done_before: bool = False


class Segmenter(Generic[Value]):
    """Segments a few pictures at a time, by one model and settings; may be called in several threads.

    keep: (picture, its pixels (H, W, 3) uint8, result) -> what is wanted of it; here files are written, where any are.
    known: picture -> what was kept of it in an earlier run; None where it is to be segmented.
    vocabulary: the words, where they are embedded already. progress: else wraps their batches, as tqdm does.
    Raises ValueError for words and settings that cannot be.
    """

    def __init__(
        self,
        model: ProxyCLIP,
        settings: Settings,
        keep: Keep[Value],
        *,
        known: Callable[[Found], Value | None] = lambda picture: None,
        crop: int = 336,
        stride: int = 112,
        resizing: str = "bicubic",
        presence: bool = True,
        vocabulary: Vocabulary | None = None,
        progress: Progress = iter,
    ) -> None:
        self.model, self.settings, self.keep, self.known = model, settings, keep, known
        self.device = model.device
        self.more: dict[str, Any] = {"crop": crop, "stride": stride, "resizing": resizing, "presence": presence}
        self.vocabulary = vocabulary or model.embed_for(settings, progress)
        # On a GPU threads would not compute at once, but hold its memory at once.
        self._computing: AbstractContextManager = nullcontext() if model.device.type == "cpu" else threading.Lock()

    def __call__(self, pictures: Sequence[Found]) -> list[Outcome[Value]]:
        known = [self.known(picture) for picture in pictures]
        read = [_read(picture) for picture, value in zip(pictures, known) if value is None]
        results = iter(self._segment([pixels for pixels, _ in read if isinstance(pixels, np.ndarray)]))
        outcomes: list[Outcome[Value]] = []
        rest = iter(read)
        for picture, value in zip(pictures, known):
            if value is not None:
                outcomes.append(Outcome(picture.without_bytes(), value, done_before=True))
                continue
            pixels, notes = next(rest)
            if isinstance(pixels, Exception):
                outcomes.append(Outcome(picture.without_bytes(), error=pixels, notes=notes))
            else:
                outcomes.append(self._kept(picture, pixels, next(results), notes))
        return outcomes

    def _segment(self, pictures: list[np.ndarray]) -> list[Segmentation | Exception]:
        """All at once; where that fails, one by one, so that what is wrong with one does not fail the others."""
        if not pictures:
            return []
        try:
            with self._computing:
                return list(self.model.run_all(pictures, self.settings, self.vocabulary, **self.more))
        except ERRORS as error:
            if len(pictures) == 1:
                return [_of_one_picture(error)]
        return [found for picture in pictures for found in self._segment([picture])]

    def _kept(
        self, picture: Found, pixels: np.ndarray, result: Segmentation | Exception, notes: tuple[str, ...]
    ) -> Outcome[Value]:
        if isinstance(result, Exception):
            return Outcome(picture.without_bytes(), error=result, notes=notes)
        try:
            return Outcome(picture.without_bytes(), self.keep(picture, pixels, result), None, notes)
        except OutputError:
            raise
        except ERRORS as error:
            return Outcome(picture.without_bytes(), error=_of_one_picture(error), notes=notes)


def _read(picture: Found) -> tuple[np.ndarray | Exception, tuple[str, ...]]:
    try:
        return read_picture(picture.source)
    except ERRORS as error:
        return _of_one_picture(error), ()


def _of_one_picture(error: Exception) -> Exception:
    """The error as it is kept: without what it was raised in, which holds on to pictures. Others are raised again."""
    if ran_out_of_memory(error):
        return MemoryError("The memory was not enough. Try a lower --side, or smaller models.")
    if isinstance(error, (ValueError, OSError)):
        return error.with_traceback(None)
    raise error
