"""From a picture and words to a result in one call, and from many pictures to many results."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from proxyclip_core import presence
from proxyclip_core.beyond import Beyond
from proxyclip_core.computed_with import SettingsWarning, differences
from proxyclip_core.drawing.overlay import picture_at, size_within
from proxyclip_core.models.clip import Progress
from proxyclip_core.models.loading import PRECISIONS, choose_device
from proxyclip_core.picture import ImageLike, PictureWarning, read_image, read_picture
from proxyclip_core.segmentation import PREVIEW_SIDE, Segmentation
from proxyclip_core.settings import Settings, default
from proxyclip_core.types import DenseFeatures, ImageFeatures, Refined, Vocabulary
from proxyclip_core.words import Classes, Read, Words, WordsWarning, as_text, read_vocabulary


class ProxyCLIP(Beyond):
    """The model: all stages, one by one or at once."""

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> ProxyCLIP:
        """Moves the model and sets the precision of its image encoders; returns self. None: as it is.

        device: as in `load`. dtype: torch.float32, bfloat16 or float16; what is always float32 stays so (see
        `ClipEncoder.to`), and weights that were rounded stay rounded. The digests remain, so that features and words
        of before fit. Raises ValueError for a device that is not there and for another dtype.
        """
        if dtype not in (None, *PRECISIONS.values()):
            raise ValueError(f"dtype is {dtype}; expected {', '.join(map(str, PRECISIONS.values()))}.")
        there = self.device if device is None else choose_device(str(device))
        for encoder in (self.clip, self.vfm):
            if encoder is not None:
                encoder.to(there, dtype or encoder.dtype)
                encoder.note = "" if dtype else encoder.note  # that it overflowed in another precision
        if self.sam is not None:
            self.sam.to(there, dtype or self.sam.encoder.dtype)
        return self

    def __call__(
        self,
        image: ImageLike,
        words: Words,
        *,
        beta: float = default("beta"),
        gamma: float = default("gamma"),
        threshold: float = default("threshold"),
        background: str = default("background"),
        side: int | None = default("side"),
        windows: str = default("windows"),
        fusion: str | None = None,
        facet: str = default("facet"),
        reach: str = default("reach"),
        scope: str = default("scope"),
        refine: str = default("refine"),
        sam: str = default("sam"),
        templates: str | None = None,
        crop: int = 336,
        stride: int = 112,
    ) -> Segmentation:
        """All stages at once; see each for its arguments, which are in the ranges of `settings.SETTINGS`.

        What is to be said of the picture and the words is in the result's `notes`, and warned of.
        """
        read = read_vocabulary(words)
        settings = self.settings_of(
            words,
            beta=beta,
            gamma=gamma,
            side=side,
            windows=windows,
            templates=templates or self.templates,
            background=background,
            threshold=threshold,
            fusion=fusion or self.fusion,
            facet=facet,
            reach=reach,
            scope=scope,
            refine=refine,
            sam=sam,
        )
        return self._run(image, settings, read, crop, stride)

    def settings_of(self, words: Words, **numbers: Any) -> Settings:
        """The settings of a call with these words and numbers, which are named as in `Settings`."""
        if not isinstance(words, str):
            words = as_text(read_vocabulary(words)[0])
        models: dict[str, Any] = {"clip": self.clip.name, "vfm": self.vfm.name if self.vfm is not None else ""}
        own = {"fusion": self.fusion, "templates": self.templates}
        return Settings(**models, words=words, **{**own, **numbers})

    def run(self, image: ImageLike, settings: Settings, *, crop: int = 336, stride: int = 112) -> Segmentation:
        """All stages with the numbers and words of `settings`, whose models must be this model's; else as a call.

        Gives a `SettingsWarning` where the settings come from a file and were saved with other versions, kernels or
        weights. Raises ValueError where they name other models.
        """
        return self._run(image, settings, read_vocabulary(settings.words), crop, stride)

    def _run(self, image: ImageLike, settings: Settings, read: Read, crop: int, stride: int) -> Segmentation:
        self._check_settings(settings)
        # Words first: a slip in them should not wait for the encoders.
        vocabulary = self.with_plain(self._embed(read, settings.background, settings.templates, iter))
        _warn(vocabulary.notes, WordsWarning)
        picture, reservations = read_picture(image)
        _warn(reservations, PictureWarning)
        (result,) = self.run_all([picture], settings, vocabulary, crop=crop, stride=stride)
        preview = picture_at(picture, size_within(picture.shape[:2], most=PREVIEW_SIDE))
        return replace(result, notes=(*reservations, *vocabulary.notes), preview=preview.copy())

    def embed_for(self, settings: Settings, progress: Progress = iter) -> Vocabulary:
        """The words of `settings`, embedded; what is to be said of them is warned of. ValueError as in `run`."""
        self._check_settings(settings)
        vocabulary = self._embed(read_vocabulary(settings.words), settings.background, settings.templates, progress)
        _warn(vocabulary.notes, WordsWarning)
        return self.with_plain(vocabulary)

    def _check_settings(self, settings: Settings) -> None:
        mine = (self.clip.name, self.vfm.name if self.vfm is not None else "")
        if (settings.clip, settings.vfm if self.vfm is not None else "") != mine:
            raise ValueError(
                f"The settings are for {settings.clip} and {settings.vfm or 'no VFM'}, this model is "
                f"{' and '.join(filter(None, mine))}. Load the models that the settings name."
            )
        if settings.asks_sam:
            self.sam_model(settings.sam)  # nobody should wait for the encoders to hear that it is missing
        if settings.computed_with and (differ := differences(settings.computed_with, self.computed_with(settings))):
            warnings.warn(differ, SettingsWarning, stacklevel=4)

    def run_all(
        self,
        images: Sequence[ImageLike],
        settings: Settings,
        vocabulary: Vocabulary,
        *,
        crop: int = 336,
        stride: int = 112,
        resizing: str = "bicubic",
        presence: bool = True,
    ) -> list[Segmentation]:
        """As `run` for several pictures. vocabulary: from `embed_for`, once for all pictures there are.

        presence: whether the results tell it, which no score asks for.
        """
        pictures = [read_image(image) for image in images]
        more: dict[str, Any] = {"crop": crop, "stride": stride, "resizing": resizing, "facet": settings.facet}
        every = self.encode_all(pictures, settings.side, settings.windows, **more)
        results = []
        for picture, features in zip(pictures, every):
            dense, refined = self.answer(picture, features, settings, vocabulary)
            result = refined.segment(settings.threshold)
            told = self.presence(dense, vocabulary) if presence else {}
            computed_with = self.computed_with(settings)
            results.append(replace(result, presence=told, settings=settings, computed_with=computed_with))
        return results

    def answer(
        self, picture: np.ndarray, features: ImageFeatures, settings: Settings, vocabulary: Vocabulary
    ) -> tuple[DenseFeatures, Refined]:
        """Stage 2, and what comes of stages 4 and 5: all between the encoders and `.segment(settings.threshold)`."""
        s = settings
        scope = s.scope if s.fusion == "proxy" else "all"  # which alone has an attention to be kept somewhere
        seen = self.seen_by_sam(picture, features, s.refine, scope, s.sam)
        regions = seen.get("regions") if scope == "regions" else None
        dense = self.fuse(features, s.beta, s.gamma, s.fusion, s.reach, regions=regions)
        return dense, self.refine(self.classify(dense, vocabulary), features, picture, s.refine, s.sam, **seen)

    def batch(
        self,
        pictures: Iterable[str | os.PathLike] | str | os.PathLike,
        words: Words | Settings,
        *,
        progress: bool = False,
        skip_existing: str | os.PathLike | None = None,
        workers: int | None = None,
        crop: int = 336,
        stride: int = 112,
        **numbers: Any,
    ) -> Iterator[tuple[Path, Segmentation | None, Exception | None]]:
        """Many pictures, several at a time: yields (picture, result, None) or (picture, None, error), in order.

        pictures: files, folders (with their sub-folders, by name) and patterns such as "photos/**/*.jpg".
        words and numbers: as in a call; or `Settings`, which hold both.
        progress: a bar with pictures a second and the time left. skip_existing: a folder in which `proxyclip segment`
        wrote results: pictures that have one by these settings are left out. workers: pictures computed at a time.
        What is wrong with one picture is yielded; ValueError is raised, at once, for paths, words and numbers that
        cannot be. See `folders`.
        """
        from proxyclip_core import folders  # which runs this class

        settings = words if isinstance(words, Settings) else self.settings_of(words, **numbers)
        return folders.batch(self, settings, pictures, progress, skip_existing, workers, crop, stride)

    def find_words(
        self,
        image: ImageLike,
        words: Words | None = None,
        *,
        beta: float = default("beta"),
        gamma: float = default("gamma"),
        side: int | None = default("side"),
        windows: str = default("windows"),
        fusion: str | None = None,
        facet: str = default("facet"),
        reach: str = default("reach"),
    ) -> Classes:
        """The words of a large vocabulary that are in the picture, which a call takes as its words; the largest first.

        words: what is chosen from; None for `presence.candidate_words`. The rest as in a call. Found is what
        `words_in` finds. Raises ValueError, and warns, as a call.
        """
        chosen = presence.candidate_words(self.clip.name) if words is None else words
        vocabulary = self.embed(chosen, templates=presence.TEMPLATES)
        picture, reservations = read_picture(image)
        _warn(reservations, PictureWarning)
        dense = self.fuse(self.encode(picture, side, windows, facet=facet), beta, gamma, fusion, reach)
        return self.words_in(dense, vocabulary)


def _warn(notes: Sequence[str], category: type[Warning]) -> None:
    for note in notes:
        warnings.warn(note, category, stacklevel=4)  # of whoever called the model
