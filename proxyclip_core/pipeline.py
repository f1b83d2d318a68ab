"""ProxyCLIP as five stages without state, and the picture of what one patch attends to.

    features = encode(image)             only this runs the image encoders
    dense    = fuse(features, beta, gamma)
    words    = embed("sky; cloud, hill") only this runs the text tower
    logits   = classify(dense, words)
    result   = segment(logits, words)

Hold on to the middle and a change costs only what comes after it. Nothing about a picture is kept on the model.

Axes: B windows, h x w patches, D CLIP width, E embedding, K classes, Q queries, H x W picture pixels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from proxyclip_core import attention, readout
from proxyclip_core.cpu.memory import keep_freed_memory
from proxyclip_core.cpu.products import quick_products
from proxyclip_core.models.clip import ClipEncoder
from proxyclip_core.models.loading import choose_device, choose_precision, default_models, load_clip, load_vfm
from proxyclip_core.models.vfm import PatchEncoder
from proxyclip_core.models.vit import check_finite
from proxyclip_core.picture import cut_windows, read_image
from proxyclip_core.types import (
    ClassLogits,
    DenseFeatures,
    ImageFeatures,
    Segmentation,
    Vocabulary,
    check_same_words,
)
from proxyclip_core.windows import plan_windows
from proxyclip_core.words import (
    TEMPLATES,
    check_classes,
    parse_vocabulary,
    prompts_for,
    templates_of,
    with_background,
)

FUSIONS = ("proxy", "values", "clip")
SIDES = (224, 1024)
LOGIT_SCALE = 40.0
# On a CPU more take the VFM as long, or a little longer, and more memory; CLIP, with fewer patches, gains a little.
WINDOWS_AT_ONCE = {"cpu": 1, "mps": 8, "cuda": 32}
CLIP_WINDOWS_AT_ONCE = {"cpu": 4, "mps": 8, "cuda": 32}

ImageLike = str | os.PathLike | bytes | Image.Image | np.ndarray


def load(
    clip: str | None = None,
    vfm: str | None = None,
    *,
    patch: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    fusion: str = "proxy",
    templates: str = "imagenet80",
    clip_weights: str | os.PathLike | None = None,
    vfm_weights: str | os.PathLike | None = None,
) -> ProxyCLIP:
    """A model by names: `load(clip="OpenAI B/16", vfm="DINO B/8")`.

    clip, vfm: names in CLIP_MODELS and VFM_MODELS, or a family with `patch`; None for `default_models()`.
    device: "auto", "cpu", "cuda", "mps". precision: "auto", "float32", "bfloat16", "float16", of the encoders.
    fusion: "proxy", or for comparison "values" or "clip", which load no VFM unless one is named.
    clip_weights, vfm_weights: a file or a folder, in place of PROXYCLIP_WEIGHTS, the cache and the hub.

    Raises ValueError for a name or setting that is not known, WeightsError where weights cannot be had.
    """
    _check_choice("fusion", fusion, FUSIONS)
    chosen_device = choose_device(device)
    if chosen_device.type == "cpu":
        keep_freed_memory()
    dtype = choose_precision(precision, chosen_device)
    wants_vfm = fusion == "proxy" or vfm is not None
    if clip is None or (vfm is None and wants_vfm):
        default_clip, default_vfm = default_models(patch if wants_vfm and vfm is None else None)
        clip, vfm = clip or default_clip, vfm or default_vfm
    return ProxyCLIP(
        load_clip(clip, chosen_device, dtype, clip_weights),
        load_vfm(vfm, chosen_device, dtype, patch, vfm_weights) if wants_vfm else None,
        fusion=fusion,
        templates=templates,
    )


class ProxyCLIP:
    """Two frozen encoders and the stages between a picture, words, and labels.

    fusion and templates are the defaults of `fuse` and `embed`. Raises ValueError for unknown ones.
    """

    def __init__(
        self, clip: ClipEncoder, vfm: PatchEncoder | None, fusion: str = "proxy", templates: str = "imagenet80"
    ) -> None:
        self.clip = clip
        self.vfm = vfm
        self.fusion = _check_choice("fusion", fusion, FUSIONS)
        self.templates = _check_choice("templates", templates, TEMPLATES)

    @property
    def device(self) -> torch.device:
        return self.clip.device

    def __call__(
        self,
        image: ImageLike,
        words: str | Sequence[Sequence[str]],
        *,
        beta: float = 1.2,
        gamma: float = 3.0,
        threshold: float = 0.0,
        background: bool | str = False,
        side: int | None = 336,
        windows: str = "sliding",
    ) -> Segmentation:
        """All stages at once; see each for its arguments."""
        vocabulary = self.embed(words, background)  # first: words with a slip in them should not wait for the encoders
        dense = self.fuse(self.encode(image, side, windows), beta, gamma)
        return self.segment(self.classify(dense, vocabulary), vocabulary, threshold)

    def _windows_at_once(self, padded_hw: tuple[int, int]) -> int:
        """How many windows the VFM takes together; fewer where it reads them enlarged, as SAM does."""
        count = WINDOWS_AT_ONCE.get(self.device.type, 4)
        enlarged = self.vfm.input_side if self.vfm is not None else None
        return max(1, min(count, count * padded_hw[0] * padded_hw[1] // enlarged**2)) if enlarged else count

    def _encode_in_batches(
        self, encoder: ClipEncoder | PatchEncoder, windows: torch.Tensor, at_once: int
    ) -> list[torch.Tensor]:
        return [encoder.encode_windows(batch.to(self.device)) for batch in windows.split(at_once)]

    @torch.inference_mode()
    def encode(
        self,
        image: ImageLike,
        side: int | None = 336,
        windows: str = "sliding",
        *,
        crop: int = 336,
        stride: int = 112,
        clip_from: ImageFeatures | None = None,
    ) -> ImageFeatures:
        """Stage 1: the picture through both image encoders.

        image: whatever `read_image` takes. side: short side in pixels after resizing, 224..1024, or None for the
        picture as it is. windows: "sliding" (windows of `crop` pixels every `stride`) or "whole".
        clip_from: features of the same picture with another VFM; where CLIP and windows are the same, CLIP's part is
        taken from there and only the VFM runs.
        """
        if side is not None and not (isinstance(side, Integral) and SIDES[0] <= side <= SIDES[1]):
            raise ValueError(f"side is {side!r}; expected {SIDES[0]}..{SIDES[1]} pixels, or None for as is.")
        picture = read_image(image)
        layout = plan_windows(picture.shape[:2], side, windows, crop, stride)
        known = clip_from if clip_from and (clip_from.layout, clip_from.clip_name) == (layout, self.clip.name) else None
        pixels = cut_windows(picture, layout, fill_rgb=self.clip.mean)
        clip_parts, vfm_parts = [], []
        if not known:
            clip_parts = self._encode_in_batches(self.clip, pixels, CLIP_WINDOWS_AT_ONCE.get(self.device.type, 4))
        if self.vfm is not None:
            vfm_parts = self._encode_in_batches(self.vfm, pixels, self._windows_at_once(layout.padded_hw))
        for encoder, parts in ((self.clip, clip_parts), (self.vfm, vfm_parts)):
            if encoder is not None:
                check_finite(encoder.name, parts)
        return ImageFeatures(
            layout=layout,
            clip_tokens=known.clip_tokens if known else torch.cat(clip_parts),
            clip_grid=self.clip.grid_of(layout.padded_hw),
            vfm=torch.cat(vfm_parts) if vfm_parts else None,
            clip_name=self.clip.name,
            vfm_name=self.vfm.name if self.vfm is not None else None,
        )

    @torch.inference_mode()
    def fuse(
        self, features: ImageFeatures, beta: float = 1.2, gamma: float = 3.0, fusion: str | None = None
    ) -> DenseFeatures:
        """Stage 2: one embedding a patch.

        fusion: "proxy" re-weights CLIP's values by the VFM's similarity (on the VFM's grid); "values" takes each
        patch's own value (identity attention); "clip" is CLIP's last block as trained. The latter two stay on CLIP's
        grid and know no beta and gamma. None takes the model's own.

        beta: what counts as similar, in units of the mean similarity; raising it masks more.
        gamma: sharpness; raising it gives more weight to the most similar patches.
        """
        fusion = _check_choice("fusion", fusion or self.fusion, FUSIONS)
        self._check_features(features)
        features = features.to(self.device)
        vfm = _require_vfm(features) if fusion == "proxy" else None
        at_once, parts = WINDOWS_AT_ONCE.get(self.device.type, 4), []
        with quick_products(self.device):
            for first in range(0, features.layout.count, at_once):
                some = slice(first, first + at_once)
                if fusion == "clip":
                    parts.append(self.clip.plain_tokens(features.clip_tokens[some]))
                    continue
                values = self.clip.mix_heads(self.clip.values(features.clip_tokens[some]))  # (B, N, D)
                if vfm is not None:
                    values = attention.resample_patches(values, features.clip_grid, vfm.shape[-2:])
                    values = attention.proxy_attention(vfm[some], values, beta, gamma)
                parts.append(self.clip.project(values))
        return DenseFeatures(
            layout=features.layout,
            tokens=torch.cat(parts).transpose(1, 2).unflatten(2, features.clip_grid if vfm is None else vfm.shape[-2:]),
            clip_name=features.clip_name,
        )

    @torch.inference_mode()
    def embed(
        self, words: str | Sequence[Sequence[str]], background: bool | str = False, templates: str | None = None
    ) -> Vocabulary:
        """Stage 3: words to embeddings, the mean over a set of templates; needs no picture.

        words: text for `parse_vocabulary`, or one list of wordings a class. background: see `with_background`.
        """
        templates = _check_choice("templates", templates or self.templates, TEMPLATES)
        classes = parse_vocabulary(words) if isinstance(words, str) else check_classes(words)
        classes, has_background = with_background(classes, background)
        queries = [word for group in classes for word in group]
        longest = max(self.clip.count_tokens(template.replace("{}", "")) for template in templates_of(templates))
        for word in queries:
            self.clip.check_length(word, longest)
        return Vocabulary(
            names=tuple(group[0] for group in classes),
            queries=tuple(queries),
            query_class=torch.tensor([index for index, group in enumerate(classes) for _ in group]),
            embeddings=self._embed_words(queries, templates),
            background=has_background,
            templates=templates,
            clip_name=self.clip.name,
        )

    def _embed_words(self, words: Sequence[str], templates: str) -> torch.Tensor:
        """(Q, E): the mean over the templates, of unit length; the text tower reads only words it has not seen."""
        cache = self.clip.word_cache
        known = {word: cache.get(word, templates) if cache else None for word in words}
        new = [word for word, embedding in known.items() if embedding is None]
        if new:
            prompts = [prompt for word in new for prompt in prompts_for(word, templates)]
            embeddings = self.clip.encode_text(prompts).unflatten(0, (len(new), -1))  # (new, templates, E)
            for word, embedding in zip(new, F.normalize(embeddings.mean(dim=1), dim=-1)):
                known[word] = embedding
                if cache:
                    cache.put(word, templates, embedding)
        return torch.stack([known[word].to(self.device) for word in words])

    @torch.inference_mode()
    def classify(self, dense: DenseFeatures, vocabulary: Vocabulary) -> ClassLogits:
        """Stage 4: cosine of every patch with every query, on the patch grid."""
        if dense.clip_name != vocabulary.clip_name:
            raise ValueError(
                f"The picture was encoded by {dense.clip_name!r} and the words by {vocabulary.clip_name!r}; "
                "both must come from one CLIP. Embed the words again."
            )
        embeddings = vocabulary.embeddings.to(dense.tokens.device)
        tokens = F.normalize(dense.tokens, dim=1)  # (B, E, h, w)
        return ClassLogits(dense.layout, torch.einsum("qe,behw->bqhw", embeddings, tokens))

    @torch.inference_mode()
    def segment(self, logits: ClassLogits, vocabulary: Vocabulary, threshold: float = 0.0) -> Segmentation:
        """Stage 5: logits to labels at the picture's size.

        threshold: softmax score in 0..1 below which a pixel goes to class 0, the background.
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; expected 0..1.")
        check_same_words(logits, vocabulary)
        query, confidence = readout.best_query(logits, LOGIT_SCALE)
        labels = vocabulary.query_class.cpu().numpy()[query].astype(np.uint16)
        labels[confidence < threshold] = 0
        return Segmentation(labels, vocabulary.names, confidence)

    @staticmethod
    @torch.inference_mode()
    def scores(logits: ClassLogits, vocabulary: Vocabulary, class_index: int) -> np.ndarray:
        """(H, W) float32 in 0..1: softmax score of one class, of its best synonym. No encoder is needed."""
        check_same_words(logits, vocabulary)
        if not 0 <= class_index < len(vocabulary.names):
            raise ValueError(f"class_index is {class_index}; expected 0..{len(vocabulary.names) - 1}.")
        queries = (vocabulary.query_class == class_index).nonzero().flatten().tolist()
        return readout.score_map(logits, queries, LOGIT_SCALE)

    @staticmethod
    @torch.inference_mode()
    def scores_at(logits: ClassLogits, vocabulary: Vocabulary, point_xy: tuple[float, float]) -> dict[str, float]:
        """Softmax score of every class at one pixel (x, y), the best class first."""
        check_same_words(logits, vocabulary)
        scores = readout.scores_at(logits, point_xy, LOGIT_SCALE)  # (Q,)
        best = [float(scores[vocabulary.query_class.cpu() == index].max()) for index in range(len(vocabulary.names))]
        return dict(sorted(zip(vocabulary.names, best), key=lambda pair: -pair[1]))

    @torch.inference_mode()
    def seed_attention(
        self,
        features: ImageFeatures,
        point_xy: tuple[float, float],
        beta: float = 1.2,
        gamma: float = 3.0,
        *,
        stage: str = "softmax",
        source: str = "vfm",
    ) -> np.ndarray:
        """What the patch under a pixel attends to, (H, W) float32; reads stage 1 alone.

        point_xy: (x, y) in picture pixels. stage: "cosine" (similarity S), "normalised" (A, masked entries as 0) or
        "softmax" (W). source: "vfm" for the proxy attention, "clip" for CLIP's own in its last block, mean over heads
        (softmax only). Where windows overlap, the mean over those that hold the point. Pixels in none of these
        windows cannot be attended to: 0 for "softmax", NaN for the other stages.
        """
        attention.check_beta_gamma(beta, gamma)
        _check_choice("source", source, ("vfm", "clip"))
        _check_choice("stage", stage, attention.STAGES if source == "vfm" else ("softmax",))
        self._check_features(features)
        grid_hw = features.clip_grid if source == "clip" else tuple(_require_vfm(features).shape[-2:])
        maps = {}
        for window, patch in features.layout.patches_at(point_xy, grid_hw):
            if source == "clip":
                row = self.clip.own_attention(features.clip_tokens[window : window + 1].to(self.device), patch)
            else:
                row = _vfm_row(features.vfm[window : window + 1], patch, beta, gamma, stage)
            maps[window] = row.unflatten(0, grid_hw)
        return readout.window_maps(features.layout, maps, shares=stage == "softmax")

    @torch.inference_mode()
    def similarity_statistics(
        self, features: ImageFeatures, beta: float = 1.2, gamma: float = 3.0
    ) -> attention.SimilarityStatistics:
        """Fig. 4 of the paper for this picture: the VFM's similarities before and after normalisation."""
        return attention.similarity_statistics(_require_vfm(features), beta, gamma)

    def _check_features(self, features: ImageFeatures) -> None:
        if features.clip_name != self.clip.name:
            raise ValueError(
                f"These features come from {features.clip_name!r}, but this model's CLIP is {self.clip.name!r}. "
                "Encode the picture again."
            )


def _check_choice(what: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{what} is {value!r}; expected one of {', '.join(known)}.")
    return value


def _require_vfm(features: ImageFeatures) -> torch.Tensor:
    if features.vfm is None:
        raise ValueError(
            "These features hold no VFM. Load the model with one, such as vfm='DINO B/8', and encode again."
        )
    return features.vfm


def _vfm_row(features: torch.Tensor, patch: int, beta: float, gamma: float, stage: str) -> torch.Tensor:
    """(1, C, h, w) -> (h * w,): one row of the attention of one window."""
    patches = attention.unit_patches(features)
    rows = torch.tensor([patch], device=patches.device)
    row = attention.attention_rows(patches[0], rows, attention.similarity_mean(patches)[0], beta, gamma, stage)[0]
    return row.clamp(min=0) if stage == "normalised" else row
