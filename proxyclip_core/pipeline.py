"""ProxyCLIP as stages without state, and the map of what one patch attends to.

    features = model.encode(image)            only this runs the image encoders
    dense    = model.fuse(features, beta, gamma)
    words    = model.embed("sky; cloud, hill") only this runs the text tower
    logits   = model.classify(dense, words)
    logits   = model.refine(logits, features, image, "pixels")   optional, past the paper
    present  = model.presence(dense, words)   likewise: whether the words are in the picture at all
    result   = logits.segment()

Hold on to the middle and a change costs only what comes after it. Nothing about a picture is kept on the model.

Axes: B windows, h x w patches, D CLIP width, E embedding, K classes, Q queries, H x W picture pixels.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from proxyclip_core import attention, presence, seeds
from proxyclip_core import refine as refinement
from proxyclip_core.cpu import chosen_kernels, fast_products
from proxyclip_core.drawing.overlay import picture_at, size_within
from proxyclip_core.models.clip import ClipEncoder, Progress
from proxyclip_core.models.vfm import PatchEncoder
from proxyclip_core.models.window_batches import encode_pictures, vfm_windows_at_once
from proxyclip_core.picture import ImageLike, PictureWarning, picture_digest, read_image, read_picture, resized
from proxyclip_core.refine import across
from proxyclip_core.refine.regions import paint
from proxyclip_core.refine.scope import scopes_of
from proxyclip_core.settings import SETTINGS, Settings, SettingsWarning, default, differences, versions
from proxyclip_core.types import (
    PREVIEW_SIDE,
    ClassLogits,
    DenseFeatures,
    ImageFeatures,
    Refined,
    Regions,
    SamViews,
    Segmentation,
    Vocabulary,
)
from proxyclip_core.windows import WindowLayout, plan_windows
from proxyclip_core.word_notes import notes_on
from proxyclip_core.words import (
    Classes,
    Read,
    Words,
    WordsWarning,
    as_text,
    prompts_for,
    read_vocabulary,
    templates_of,
    warned,
    with_background,
)

if TYPE_CHECKING:
    from proxyclip_core.models.sam import SamModel

FUSIONS = SETTINGS["fusion"].values


P = ParamSpec("P")
R = TypeVar("R")


def _stage(method: Callable[P, R]) -> Callable[P, R]:
    """Without gradients, and with tensors that name no device on the CPU, whatever the process's default is."""

    @wraps(method)
    def run(*given: P.args, **named: P.kwargs) -> R:
        changed = torch.get_default_device().type != "cpu"
        with torch.no_grad(), torch.device("cpu") if changed else nullcontext():
            return method(*given, **named)

    return run


class ProxyCLIP:
    """Two frozen encoders and the stages between a picture, words, and labels.

    fusion and templates are the defaults of `fuse` and `embed`; ValueError is raised for unknown ones. sam: a SAM of
    one's own, in place of those of the table, which are loaded when they are asked for regions.
    """

    def __init__(
        self,
        clip: ClipEncoder,
        vfm: PatchEncoder | None,
        fusion: str = default("fusion"),
        templates: str = default("templates"),
        sam: SamModel | None = None,
    ) -> None:
        self.sam = sam
        self.clip = clip
        self.vfm = vfm
        self.fusion = str(SETTINGS["fusion"].check(fusion))
        self.templates = str(SETTINGS["templates"].check(templates))

    @property
    def device(self) -> torch.device:
        return self.clip.device

    def computed_with(self, settings: Settings | None = None) -> dict[str, Any]:
        """What decides the numbers of a result besides its settings: for the record, ready for JSON.

        settings: of the result; where they ask SAM, the record names its weights too.
        """
        encoders = [encoder for encoder in (self.clip, self.vfm) if encoder is not None]
        precisions = [str(encoder.dtype).removeprefix("torch.") for encoder in encoders]
        return {
            "versions": versions(),
            "device": self.device.type,
            "precision": " and ".join(dict.fromkeys(precisions)),
            "kernels": chosen_kernels() if self.device.type == "cpu" else {},
            "clip_weights": self.clip.digest,
            "vfm_weights": self.vfm.digest if self.vfm is not None else None,
            **({"sam_weights": self.sam_model(settings.sam).digest} if settings and settings.asks_sam else {}),
        }

    def __repr__(self) -> str:
        parts = [f"{encoder.name} @{encoder.digest}" for encoder in (self.clip, self.vfm) if encoder is not None]
        found = self.computed_with()
        kernels = [f"{name}: {choice}" for name, choice in found["kernels"].items()]
        return f"ProxyCLIP({', '.join([*parts, found['precision'], found['device'], *kernels])})"

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

        more: dict[str, Any] = {"progress": progress, "skip_existing": skip_existing, "workers": workers}
        return folders.batch(self, pictures, words, crop=crop, stride=stride, **more, **numbers)

    @_stage
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
        if clip_from is not None and clip_from.picture != picture_digest(picture):
            raise ValueError("clip_from holds features of another picture. Give features of this one, or none.")
        layout = _layout(picture, side, windows, crop, stride, resizing)
        known = clip_from is not None and (clip_from.layout, clip_from.clip_id) == (layout, self.clip.digest)
        return self._encode([(picture, layout)], facet, [clip_from.clip_tokens] if clip_from and known else None)[0]

    @_stage
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

    @_stage
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
        likewise by GLA-CLIP's rule, which sets beta and gamma itself; see `refine.across`.
        regions: of "proxy" alone: where they are given, a patch attends within its own and such as are like it; see
        `refine.scope`. Raises ValueError where they are of another picture.
        """
        SETTINGS["reach"].check(reach)
        fusion = str(SETTINGS["fusion"].check(fusion or self.fusion))
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

    @_stage
    def _embed(self, read: Read, background: str, templates: str | None, progress: Progress) -> Vocabulary:
        templates = str(SETTINGS["templates"].check(templates or self.templates))
        given, dropped = read
        classes, has_background = with_background(given, background)
        queries = [word for group in classes for word in group]
        longest = max(self.clip.count_tokens(template.replace("{}", "")) for template in templates_of(templates))
        for word in queries:
            self.clip.check_length(word, longest)
        return Vocabulary(
            names=tuple(group[0] for group in classes),
            queries=tuple(queries),
            query_class=torch.tensor([index for index, group in enumerate(classes) for _ in group], device="cpu"),
            embeddings=self._embed_words(queries, templates, progress),
            has_background=has_background,
            templates=templates,
            clip_name=self.clip.name,
            clip_id=self.clip.digest,
            notes=(*dropped, *notes_on(given, self.clip.name, has_background)),
        )

    def _embed_words(self, words: Sequence[str], templates: str, progress: Progress) -> torch.Tensor:
        """(Q, E): the mean over the templates, of unit length; the text tower reads only words it has not seen."""
        cache = self.clip.word_cache
        known = {word: found for word in words if cache and (found := cache.get(word, templates)) is not None}
        new = [word for word in dict.fromkeys(words) if word not in known]
        if new:
            prompts = [prompt for word in new for prompt in prompts_for(word, templates)]
            embeddings = self.clip.encode_text(prompts, progress).unflatten(0, (len(new), -1))  # (new, templates, E)
            known |= zip(new, F.normalize(embeddings.mean(dim=1), dim=-1).cpu())
            if cache:
                for word in new:
                    cache.put(word, templates, known[word])
        return torch.stack([known[word] for word in words]).to(self.device)

    def classify(self, dense: DenseFeatures, vocabulary: Vocabulary) -> ClassLogits:
        """Stage 4: cosine of every patch with every query, on the patch grid. Gradients pass through it.

        Raises ValueError where the picture and the words were not encoded by the same CLIP.
        """
        _check_same_clip(dense, vocabulary)
        vocabulary = vocabulary.to(dense.tokens.device)
        tokens = F.normalize(dense.tokens, dim=1)  # (B, E, h, w)
        logits = torch.einsum("qe,behw->bqhw", vocabulary.embeddings, tokens)
        return ClassLogits(dense.layout, logits, vocabulary, dense.picture)

    @_stage
    def presence(self, dense: DenseFeatures, vocabulary: Vocabulary) -> dict[str, float]:
        """Whether each word is in the picture at all, 0..1 by class name, without the background; see `presence`.

        Runs the text tower for words that were not read in the sentences of `presence.TEMPLATES`, and once a CLIP for
        the reference vocabulary. Raises ValueError as `classify`.
        """
        _check_same_clip(dense, vocabulary)
        found = self._presence(dense, vocabulary).tolist()
        return dict(list(zip(vocabulary.names, found))[int(vocabulary.has_background) :])

    def with_plain(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary, ready for the `presence` of many pictures."""
        return replace(vocabulary, plain=self._plain(vocabulary))

    def _plain(self, vocabulary: Vocabulary) -> torch.Tensor:
        """(Q, E), in the sentences in which the reference vocabulary is read: others would not compare."""
        if vocabulary.plain is not None:
            return vocabulary.plain
        if vocabulary.templates == presence.TEMPLATES:
            return vocabulary.embeddings
        return self._embed_words(vocabulary.queries, presence.TEMPLATES, iter)

    def _presence(self, dense: DenseFeatures, vocabulary: Vocabulary) -> torch.Tensor:
        """(K,) on the CPU."""
        if self.clip.reference is None:
            self.clip.reference = self._embed_words(presence.reference_words(), presence.TEMPLATES, iter)
        given = (part.to(self.device) for part in (dense.tokens, self._plain(vocabulary), self.clip.reference))
        return presence.best_of_class(presence.presence_of(*given).cpu(), vocabulary.query_class.cpu())

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

    @_stage
    def words_in(self, dense: DenseFeatures, vocabulary: Vocabulary) -> Classes:
        """The classes of a vocabulary that win a region and are there, the largest first. ValueError as `classify`."""
        logits = self.classify(dense, vocabulary)
        present = self._presence(dense, vocabulary) >= presence.PERHAPS_ABSENT
        classes = vocabulary.classes
        won = presence.winners(logits.values.cpu(), vocabulary.query_class.cpu(), present)
        return tuple(classes[index] for index in won)

    @_stage
    def refine(
        self,
        logits: ClassLogits,
        features: ImageFeatures,
        image: ImageLike,
        method: str = default("refine"),
        sam: str = default("sam"),
        *,
        views: SamViews | None = None,
        regions: Regions | None = None,
        **settings: Any,
    ) -> Refined:
        """Optional, past the paper: logits sharpened by the picture itself; see `refine.refine` for the methods.

        views, regions: what SAM has said of the picture, for the methods that ask it; where they are not given, it is
        asked, see `seen_by_sam`. Raises ValueError for what is of different pictures, and for a method or a setting
        that does not exist, WeightsError where SAM is not on this machine.
        """
        if method in refinement.BY_SAM and views is None and (regions is None or method != "sam"):
            views = self.sam_views(image, features, sam)
        if method == "sam":
            settings["regions"] = self.regions(views) if regions is None and views is not None else regions
        elif method == "sam-prompts" and views is not None:
            settings |= {"views": views.to(self.device), "model": self._sam_of(views)}
        return refinement.refine(logits.to(self.device), features, image, method, **settings)

    def sam_model(self, sam: str = default("sam")) -> SamModel:
        """The SAM that one of `SETTINGS["sam"]` means; "auto" is the VFM where that is a SAM, else SAM B.

        Raises WeightsError where it is not on this machine: nothing is downloaded for it.
        """
        SETTINGS["sam"].check(sam)
        if self.sam is not None:
            return self.sam
        from proxyclip_core.models import sam as sam_models  # here, because few need it and it is slow to import

        row = sam_models.sam_row(sam, self.vfm.name if self.vfm is not None else None)
        precision = (self.vfm or self.clip).dtype
        return sam_models.load_sam(row.name, self.device, precision, self.vfm)

    @_stage
    def sam_views(self, image: ImageLike, features: ImageFeatures | None = None, sam: str = default("sam")) -> SamViews:
        """The picture as SAM reads it: once more and as a whole, unless it is the VFM that `features` come from."""
        return self.sam_model(sam).views(read_image(image), features)

    @_stage
    def regions(self, views: SamViews, *, points: int = 8, iou: float = 0.4, stability: float = 0.4) -> Regions:
        """SAM's automatic regions of a picture, the smaller ones upon the larger ones.

        points: on each side of a grid over the picture, each asked for three masks. iou, stability: what a mask must
        reach of SAM's own guess of its overlap with the truth, and of how little it depends on the threshold. The
        defaults are CorrCLIP's quick ones; its others, 32, 0.7 and 0.7, take 16 times as long.
        """
        masks = self._sam_of(views).automatic_masks(views.to(self.device), points, iou, stability)
        numbers = paint(masks, views.working_hw)
        return Regions(torch.from_numpy(numbers).to(self.device), views.picture)

    def seen_by_sam(
        self,
        image: ImageLike,
        features: ImageFeatures,
        refine: str,
        scope: str = default("scope"),
        sam: str = default("sam"),
    ) -> dict[str, Any]:
        """What these settings ask of SAM: the named arguments `views` and `regions` of `refine`, or nothing."""
        wants_regions = refine == "sam" or SETTINGS["scope"].check(scope) == "regions"
        if refine not in refinement.BY_SAM and not wants_regions:
            return {}
        views = self.sam_views(image, features, sam)
        return {"views": views} | ({"regions": self.regions(views)} if wants_regions else {})

    def _sam_of(self, views: SamViews) -> SamModel:
        return self.sam or self.sam_model(views.sam)

    @_stage
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
    ) -> np.ndarray:
        """What the patch under a pixel attends to, float32, from stage 1 alone; see `seeds.seed_attention`."""
        self._check_features(features)
        return seeds.seed_attention(self.clip, features, point_xy, beta, gamma, stage, source, on, regions)

    @_stage
    def similarity_statistics(
        self, features: ImageFeatures, beta: float = default("beta"), gamma: float = default("gamma")
    ) -> attention.SimilarityStatistics:
        """Fig. 4 of the paper for this picture: the VFM's similarities before and after normalisation."""
        return attention.similarity_statistics(seeds.require_vfm(features).to(self.device), beta, gamma)

    def _check_features(self, features: ImageFeatures) -> None:
        if features.clip_id != self.clip.digest:
            raise ValueError(
                f"These features come from {features.clip_name} @{features.clip_id}, but this model's CLIP is "
                f"{self.clip.name} @{self.clip.digest}. Encode the picture again."
            )


def _check_same_clip(dense: DenseFeatures, vocabulary: Vocabulary) -> None:
    if dense.clip_id != vocabulary.clip_id:
        raise ValueError(
            f"The picture was encoded by {dense.clip_name} @{dense.clip_id} and the words by "
            f"{vocabulary.clip_name} @{vocabulary.clip_id}; both must come from one CLIP. Embed the words again."
        )


def _warn(notes: Sequence[str], category: type[Warning]) -> None:
    for note in notes:
        warnings.warn(note, category, stacklevel=4)  # of whoever called the model


def _layout(picture: np.ndarray, side: int | None, windows: str, crop: int, stride: int, resizing: str) -> WindowLayout:
    SETTINGS["side"].check(side)
    return plan_windows((picture.shape[0], picture.shape[1]), side, windows, crop, stride, resizing)
