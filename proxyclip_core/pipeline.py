"""ProxyCLIP as stages without state, and the map of what one patch attends to: `Stages`, which `ProxyCLIP` is.

    1   features = model.encode(image)            only this runs the image encoders
    2   dense    = model.fuse(features, beta, gamma)
    3   words    = model.embed("sky; cloud, hill") only this runs the text tower
    4   logits   = model.classify(dense, words)
    5   logits   = model.refine(logits, features, image, "pixels")   optional, past the paper
        present  = model.presence(dense, words)   likewise: whether the words are in the picture at all
    6   result   = logits.segment()

Hold on to the middle and a change costs only what comes after it. Nothing about a picture is kept on the model.

Axes: B windows, h x w patches, D CLIP width, E embedding, K classes, Q queries, H x W picture pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from proxyclip_core import attention, seeds
from proxyclip_core.computed_with import versions
from proxyclip_core.cpu import chosen_kernels, fast_products
from proxyclip_core.models.clip import ClipEncoder, Progress
from proxyclip_core.models.vfm import PatchEncoder
from proxyclip_core.models.window_batches import encode_pictures, vfm_windows_at_once
from proxyclip_core.models.word_embeddings import embed_words
from proxyclip_core.picture import ImageLike, picture_digest, read_image, resized
from proxyclip_core.refine import across
from proxyclip_core.refine.scope import scopes_of
from proxyclip_core.settings import SETTINGS, default, fusion_and_reach
from proxyclip_core.types import (
    ClassLogits,
    DenseFeatures,
    ImageFeatures,
    Regions,
    Vocabulary,
)
from proxyclip_core.windows import WindowLayout, plan_windows
from proxyclip_core.word_notes import notes_on
from proxyclip_core.words import (
    Read,
    Words,
    read_vocabulary,
    warned,
    with_background,
)

FUSIONS = SETTINGS["fusion"].values

P = ParamSpec("P")
R = TypeVar("R")


def stage(method: Callable[P, R]) -> Callable[P, R]:
    """Without gradients, and with tensors that name no device on the CPU, whatever the process's default is."""

    @wraps(method)
    def run(*given: P.args, **named: P.kwargs) -> R:
        changed = torch.get_default_device().type != "cpu"
        with torch.no_grad(), torch.device("cpu") if changed else nullcontext():
            return method(*given, **named)

    return run


class Stages:
    """Two frozen encoders and the stages between a picture, words, and labels.

    fusion and templates are the defaults of `fuse` and `embed`. Raises ValueError for unknown ones.
    """

    def __init__(
        self,
        clip: ClipEncoder,
        vfm: PatchEncoder | None,
        fusion: str = default("fusion"),
        templates: str = default("templates"),
    ) -> None:
        self.clip = clip
        self.vfm = vfm
        self.fusion = str(SETTINGS["fusion"].check(fusion))
        self.templates = str(SETTINGS["templates"].check(templates))

    @property
    def device(self) -> torch.device:
        return self.clip.device

    def computed_with(self) -> dict[str, Any]:
        """What decides the numbers of a result besides its settings: for the record, ready for JSON."""
        encoders = [encoder for encoder in (self.clip, self.vfm) if encoder is not None]
        precisions = [str(encoder.dtype).removeprefix("torch.") for encoder in encoders]
        return {
            "versions": versions(),
            "device": self.device.type,
            "precision": " and ".join(dict.fromkeys(precisions)),
            "kernels": chosen_kernels() if self.device.type == "cpu" else {},
            "clip_weights": self.clip.digest,
            "vfm_weights": self.vfm.digest if self.vfm is not None else None,
        }

    def __repr__(self) -> str:
        parts = [f"{encoder.name} @{encoder.digest}" for encoder in (self.clip, self.vfm) if encoder is not None]
        found = self.computed_with()
        kernels = [f"{name}: {choice}" for name, choice in found["kernels"].items()]
        return f"ProxyCLIP({', '.join([*parts, found['precision'], found['device'], *kernels])})"

    @stage
    def encode(
        self,
        image: ImageLike,
        side: int | None = default("side"),
        windows: str = default("windows"),
        *,
        crop: int = 336,
        stride: int = 112,
        resizing: str = "bicubic",
        facet: str = default("facet"),
        clip_from: ImageFeatures | None = None,
    ) -> ImageFeatures:
        """Stage 1: the picture through both image encoders.

        image: whatever `read_image` takes. side: short side in pixels after resizing, 224..1024, or None for the
        picture as it is. windows: "sliding" (windows of `crop` pixels every `stride`) or "whole".
        resizing: "bicubic", or "bilinear" for scores that compare with published ones; see `picture.resized`.
        facet: what of the VFM's patches is taken, one of `SETTINGS["facet"]`; see `models.vfm`.
        clip_from: features of the same picture with another VFM; where CLIP and windows are the same, CLIP's part is
        taken from there and only the VFM runs. Raises ValueError where they are of another picture.
        """
        picture = read_image(image)
        self.clip.notice_changes()
        if clip_from is not None and clip_from.picture != picture_digest(picture):
            raise ValueError("clip_from holds features of another picture. Give features of this one, or none.")
        layout = _layout(picture, side, windows, crop, stride, resizing)
        known = clip_from is not None and (clip_from.layout, clip_from.clip_id) == (layout, self.clip.digest)
        return self._encode([(picture, layout)], facet, [clip_from.clip_tokens] if clip_from and known else None)[0]

    @stage
    def encode_all(
        self,
        images: Sequence[ImageLike],
        side: int | None = default("side"),
        windows: str = default("windows"),
        *,
        crop: int = 336,
        stride: int = 112,
        resizing: str = "bicubic",
        facet: str = default("facet"),
    ) -> list[ImageFeatures]:
        """Stage 1 for several pictures, whose windows go through the encoders together; otherwise as `encode`."""
        pictures = [read_image(image) for image in images]
        self.clip.notice_changes()
        return self._encode([(one, _layout(one, side, windows, crop, stride, resizing)) for one in pictures], facet)

    def _encode(
        self,
        pictures: Sequence[tuple[np.ndarray, WindowLayout]],
        facet: str,
        clip_tokens: Sequence[torch.Tensor] | None = None,
    ) -> list[ImageFeatures]:
        """clip_tokens: CLIP's part, where it is known already."""
        SETTINGS["facet"].check(facet)
        scaled = [(resized(picture, layout.scaled_hw, layout.resizing), layout) for picture, layout in pictures]
        if clip_tokens is None:
            clip_tokens = encode_pictures(self.clip, scaled, self.clip.mean, self.device)
        vfm: Sequence[torch.Tensor | None] = [None] * len(pictures)
        if self.vfm is not None:
            vfm = encode_pictures(self.vfm.with_facet(facet), scaled, self.clip.mean, self.device)
        return [
            ImageFeatures(
                layout=layout,
                clip_tokens=of_clip,
                clip_grid=self.clip.grid_of(layout.padded_hw),
                vfm=of_vfm,
                clip_name=self.clip.name,
                vfm_name=self.vfm.name if self.vfm is not None else None,
                clip_id=self.clip.digest,
                vfm_id=self.vfm.digest if self.vfm is not None else None,
                picture=picture_digest(picture),
                facet=facet,
            )
            for (picture, layout), of_clip, of_vfm in zip(pictures, clip_tokens, vfm)
        ]

    @stage
    def fuse(
        self,
        features: ImageFeatures,
        beta: float = default("beta"),
        gamma: float = default("gamma"),
        fusion: str | None = None,
        reach: str = default("reach"),
        *,
        regions: Regions | None = None,
    ) -> DenseFeatures:
        """Stage 2: one embedding a patch.

        fusion: "proxy" re-weights CLIP's values by the VFM's similarity (on the VFM's grid); "values" takes each
        patch's own value (identity attention); "clip" is CLIP's last block as trained. The latter two stay on CLIP's
        grid and know no beta and gamma. None takes the model's own.

        beta: what counts as similar, in units of the mean similarity; raising it masks more.
        gamma: sharpness; raising it gives more weight to the most similar patches.
        reach: of "proxy" alone: "windows" has a patch attend to its own window, "picture" to all windows, "anchors"
        likewise by GLA-CLIP's rule, which sets beta and gamma itself; see `refine.across`. The fusion "proxy-across"
        is "proxy" with "anchors".
        regions: of "proxy" alone: where they are given, a patch attends within its own and such as are like it; see
        `refine.scope`. Raises ValueError where they are of another picture.
        """
        fusion, reach = fusion_and_reach(fusion or self.fusion, reach)
        SETTINGS["fusion"].check(fusion)
        SETTINGS["reach"].check(reach)
        self._check_features(features)
        features = features.to(self.device)
        vfm = seeds.require_vfm(features) if fusion == "proxy" else None
        grid_hw = features.clip_grid if vfm is None else seeds.grid_of(vfm)
        scopes = None
        if regions is not None and vfm is not None:
            if regions.picture != features.picture:
                raise ValueError("The regions are of another picture than the features. Make those of this one.")
            scopes = scopes_of(vfm, features.layout, regions)
        count = features.layout.count
        at_once = count if vfm is not None and reach != "windows" else vfm_windows_at_once(self.device)
        parts = []
        with fast_products(self.device):
            for first in range(0, count, at_once):
                some = slice(first, first + at_once)
                if fusion == "clip":
                    parts.append(self.clip.plain_tokens(features.clip_tokens[some]))
                    continue
                values = self.clip.out_proj(self.clip.values(features.clip_tokens[some]))  # (B, N, D)
                if vfm is not None:
                    values = attention.resample_patches(values, features.clip_grid, grid_hw)
                    own = None if scopes is None else scopes[some]
                    values = across.attend(vfm[some], values, beta, gamma, reach, own)
                parts.append(self.clip.project(values))
        return DenseFeatures(
            layout=features.layout,
            tokens=torch.cat(parts).transpose(1, 2).unflatten(2, grid_hw),
            clip_name=features.clip_name,
            clip_id=features.clip_id,
            picture=features.picture,
        )

    def embed(
        self,
        words: Words,
        background: str = default("background"),
        templates: str | None = None,
        progress: Progress = iter,
    ) -> Vocabulary:
        """Stage 3: words to embeddings, the mean over a set of templates; needs no picture.

        words: text for `parse_vocabulary`, or a list with a word, or a list of wordings, for each class. What is given
        twice is warned of, as there; this and all else that is to be said is in the vocabulary's `notes`.
        background: "none", "first", "short" or "long", see `with_background`.
        progress: wraps the batches of new words as tqdm does, for a sign of life.
        """
        read = read_vocabulary(words)
        warned(read)
        return self._embed(read, background, templates, progress)

    @stage
    def _embed(self, read: Read, background: str, templates: str | None, progress: Progress) -> Vocabulary:
        templates = str(SETTINGS["templates"].check(templates or self.templates))
        given, dropped = read
        classes, has_background = with_background(given, background)
        queries = [word for group in classes for word in group]
        self.clip.check_length(queries, templates)
        return Vocabulary(
            names=tuple(group[0] for group in classes),
            queries=tuple(queries),
            query_class=torch.tensor([index for index, group in enumerate(classes) for _ in group], device="cpu"),
            embeddings=embed_words(self.clip, queries, templates, progress),
            has_background=has_background,
            templates=templates,
            clip_name=self.clip.name,
            clip_id=self.clip.digest,
            notes=(*dropped, *notes_on(given, self.clip.name, len(classes), has_background)),
        )

    def classify(self, dense: DenseFeatures, vocabulary: Vocabulary) -> ClassLogits:
        """Stage 4: cosine of every patch with every query, on the patch grid. Gradients pass through it.

        Raises ValueError where the picture and the words were not encoded by the same CLIP.
        """
        check_same_clip(dense, vocabulary)
        tokens = F.normalize(dense.tokens, dim=1)  # (B, E, h, w)
        logits = torch.einsum("qe,behw->bqhw", vocabulary.embeddings.to(tokens.device), tokens)
        return ClassLogits(dense.layout, logits, vocabulary, dense.picture)

    @stage
    def seed_attention(
        self,
        features: ImageFeatures,
        point_xy: tuple[float, float],
        beta: float = default("beta"),
        gamma: float = default("gamma"),
        *,
        stage: str = "softmax",
        source: str = "vfm",
        on: str = "picture",
        regions: Regions | None = None,
        head: int | None = None,
    ) -> np.ndarray:
        """What the patch under a pixel attends to, float32, from stage 1 alone; see `seeds.seed_attention`."""
        self._check_features(features)
        return seeds.seed_attention(self.clip, features, point_xy, beta, gamma, stage, source, on, regions, head)

    @stage
    def similarity_statistics(
        self, features: ImageFeatures, beta: float = default("beta"), gamma: float = default("gamma")
    ) -> attention.SimilarityStatistics:
        """Fig. 4 of the paper for this picture: the VFM's similarities before and after normalisation."""
        return attention.similarity_statistics(seeds.require_vfm(features).to(self.device), beta, gamma)

    def _check_features(self, features: ImageFeatures) -> None:
        self._check_clip(features, "These features come from", "Encode the picture again.")

    def _check_words(self, vocabulary: Vocabulary) -> None:
        self._check_clip(vocabulary, "These words were embedded by", "Embed them again.")

    def _check_clip(self, made: ImageFeatures | Vocabulary, whence: str, advice: str) -> None:
        if made.clip_id != self.clip.digest:
            raise ValueError(
                f"{whence} {made.clip_name} @{made.clip_id}, but this model's CLIP is "
                f"{self.clip.name} @{self.clip.digest}. {advice}"
            )


def check_same_clip(dense: DenseFeatures, vocabulary: Vocabulary) -> None:
    if dense.clip_id != vocabulary.clip_id:
        raise ValueError(
            f"The picture was encoded by {dense.clip_name} @{dense.clip_id} and the words by "
            f"{vocabulary.clip_name} @{vocabulary.clip_id}; both must come from one CLIP. Embed the words again."
        )


def _layout(picture: np.ndarray, side: int | None, windows: str, crop: int, stride: int, resizing: str) -> WindowLayout:
    SETTINGS["side"].check(side)
    return plan_windows((picture.shape[0], picture.shape[1]), side, windows, crop, stride, resizing)
