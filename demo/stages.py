"""One engine for all tabs: what a visitor's page holds of a picture, and how what is missing comes about.

Every value is kept by its stage and all settings that it depends on (`Kept`), so a change runs only what depends on it.
What the Segment tab shows and what Compare and Look inside lay beside it (another vision model, CLIP alone) are the
same stages with other `Settings`, and share what they have in common, such as CLIP's tokens. Nothing is kept on a
model.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

import proxyclip_core as pc
from demo import computing, limits, time_limit, work
from demo.answers.errors import UserError
from demo.asked_words import queries_of, words_of, words_of_everybody
from demo.draw.compact import Compact, compact_attention, compact_similarity
from demo.draw.layers import Layers
from demo.kept import Kept
from demo.models import Provider
from demo.visit import Key, Visit, file_digest, is_sams_own, keys_of, sam_of
from proxyclip_core.attention import unit_patches
from proxyclip_core.drawing.drawing import Drawing
from proxyclip_core.drawing.overlay import picture_at, size_within
from proxyclip_core.models.word_cache import private_to
from proxyclip_core.picture import unchanging
from proxyclip_core.refine import BY_COLOURS, BY_GRAPH, BY_PATCHES, BY_SAM
from proxyclip_core.refine.patches import PatchGraph
from proxyclip_core.refine.pixels import ColourGraph
from proxyclip_core.seeds import require_vfm
from proxyclip_core.windows import plan_windows
from proxyclip_core.words import Classes

OPENING = threading.RLock()  # one picture at a time: while 100 million pixels are read, they take 1.7 GB
# Pixels of the longer side of what is drawn on the page; the overlay of a small picture is drawn larger, so that names
# on it can be read, and because gradio finds the pixel under a click only in a picture that it does not enlarge.
DRAWN_SIDE, LEAST_OVERLAY_SIDE = 1600, 1200


@dataclass(frozen=True, eq=False)
class Picture:
    """pixels: (H, W, 3) uint8. reservations: as `pc.read_picture` gives them."""

    pixels: np.ndarray
    reservations: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Patches:
    """A VFM's part of `pc.ImageFeatures`."""

    vfm: torch.Tensor
    vfm_name: str | None
    vfm_id: str | None


class Stages(Kept):
    """One event's access to the stages of a visit: takes what is kept, runs what is missing.

    may_encode: False where the event only follows another one, such as a tick of a slider.
    """

    def __init__(self, models: Provider, visit: Visit, may_encode: bool = True) -> None:
        super().__init__(visit)
        self.models, self.asked, self.may_encode = models, visit.asked, may_encode
        self._reader = visit.reader if limits.PUBLIC else ""

    @classmethod
    def opened(cls, models: Provider, visit: Visit) -> tuple[Visit, np.ndarray]:
        """The visit with its picture read, and that as `canvas`. Raises ValueError where it is none."""
        stages = cls(models, visit)
        with OPENING:
            canvas = stages.canvas()
            return replace(visit, reservations=stages.reservations(), entries=stages.entries()), canvas

    def beside(self, picture: str) -> Stages:
        """The stages of another picture, a file, in the same settings. What it makes is kept along with this one's.

        Raises ValueError where there is no such file any more.
        """
        other = copy.copy(self)
        other.asked, other.digest = replace(self.asked, picture=picture), file_digest(picture)
        return other

    def model(self, settings: pc.Settings | None = None) -> pc.ProxyCLIP:
        """The model of some settings. Raises UserError rather than downloading what nobody asked for."""
        chosen = settings or self.settings
        if chosen.vfm != self.settings.vfm and not self.models.ready(chosen.clip, chosen.vfm):
            raise UserError(f"{chosen.vfm} is not on this machine yet. Choose it under Models and press Segment.")
        return self.models.get(chosen.clip, chosen.vfm)

    def check_time(self, *stages: str) -> None:
        """Raises UserError where these stages of the page's result would take too long together."""
        self._check_time(self.settings, *stages)

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 at the picture's own size."""
        return self._read_picture().pixels

    def reservations(self) -> tuple[str, ...]:
        """What is to be said of how the picture was read."""
        return self._read_picture().reservations

    def words(self) -> pc.Vocabulary:
        self._check_time(self.settings, "words")
        return self._value(self._keys()["words"], self._embed)

    def notes(self) -> tuple[str, ...]:
        """What is to be said of the words, and of how the encoders compute."""
        encoders = (self.model().clip, self.model().vfm)
        return (*self.words().notes, *(encoder.note for encoder in encoders if encoder is not None and encoder.note))

    def features(self, settings: pc.Settings | None = None) -> pc.ImageFeatures:
        """Stage 1, of CLIP and of the settings' VFM; of CLIP alone where `fusion` takes no VFM."""
        s = settings or self.settings
        self._check_time(s, "clip", *(("vfm",) if s.fusion == "proxy" else ()))
        clip: pc.ImageFeatures = self._value(self._keys(s)["clip"], lambda: self._encode_clip(s))
        features = replace(clip, clip_tokens=clip.clip_tokens.float())
        if s.fusion != "proxy":
            return features
        vfm: Patches = self._value(self._keys(s)["vfm"], lambda: self._encode_vfm(s, features))
        return replace(features, vfm=vfm.vfm, vfm_name=vfm.vfm_name, vfm_id=vfm.vfm_id, facet=s.facet)

    def sam(self, settings: pc.Settings | None = None) -> pc.SamViews:
        """The picture as SAM reads it."""
        s = settings or self.settings
        return self._value(self._keys(s)["sam"], lambda: self._read_by_sam(s))

    def regions(self, settings: pc.Settings | None = None) -> pc.Regions:
        """SAM's regions, which know no words."""
        s = settings or self.settings
        return self._value(self._keys(s)["regions"], lambda: self._mask(s))

    def scope(self, settings: pc.Settings) -> pc.Regions | None:
        """The regions in which patches attend, where the settings keep them there."""
        is_kept = settings.scope == "regions" and settings.fusion == "proxy"
        return self.regions(settings) if is_kept else None

    def graph(self, settings: pc.Settings | None = None) -> PatchGraph | ColourGraph:
        """The links of the VFM's patches or of the picture's pixels, as `refine` takes them. No word changes them."""
        s = settings or self.settings
        return self._value(self._keys(s)["graph"], lambda: self._link(s))

    def dense(self, settings: pc.Settings | None = None) -> pc.DenseFeatures:
        self._check_time(settings or self.settings, "dense")
        return self._value(self._keys(settings)["dense"], lambda: self._fuse(settings or self.settings))

    def logits(self, settings: pc.Settings | None = None) -> pc.ClassLogits:
        """Stage 4."""
        self._check_time(settings or self.settings, "logits")
        return self._value(self._keys(settings)["logits"], lambda: self._classify(settings or self.settings))

    def refined(self, settings: pc.Settings | None = None) -> pc.Refined:
        """Stage 5: stage 4 where the settings do not refine."""
        s = settings or self.settings
        self._check_time(s, "refined")
        return self.logits(s) if s.refine == "none" else self._value(self._keys(s)["refined"], lambda: self._refine(s))

    def result(self, settings: pc.Settings | None = None) -> pc.Segmentation:
        """Stage 6, at the picture's own size."""
        self._check_time(settings or self.settings, "result")
        return self._value(self._keys(settings)["result"], lambda: self._segment(settings or self.settings))

    def presence(self) -> dict[str, float]:
        """How surely each word is in the picture at all, 0..1 by class name."""
        return self._value(self._keys()["presence"], lambda: self.model().presence(self.dense(), self.words()))

    def words_in(self) -> Classes:
        """Those of the words that win a region and are in the picture."""
        return self.model().words_in(self.dense(), self.words())

    def overlay(self) -> Drawing:
        """The result on the page, as the Segment tab draws it."""
        return self._value(self._keys()["overlay"], lambda: self.drawing(least=LEAST_OVERLAY_SIDE))

    def layers(self) -> Layers:
        """What the browser draws the result on the page from."""
        return self._value(self._keys()["layers"], lambda: Layers.of(self.overlay(), self.result()))

    def compact(self, settings: pc.Settings) -> Compact:
        """What the browser computes the proxy attention from, in the settings' windows."""
        s = replace(settings, fusion="proxy")
        key = ("compact", (self._keys(s)["vfm"],))
        return self._value(key, lambda: compact_similarity(unit_patches(require_vfm(self.features(s)))))

    def compact_clip(self, settings: pc.Settings, head: int | None = None) -> Compact:
        """The same for CLIP's own attention, see `ClipEncoder.own_attention`."""
        s, clip = replace(settings, fusion="clip"), self.model().clip
        key = ("compact", (self._keys(s)["clip"], head))

        def make() -> Compact:
            with torch.no_grad():
                windows = self.features(s).clip_tokens.to(clip.device).split(1)
                return compact_attention((clip.own_attention(one, head=head).cpu() for one in windows), len(windows))

        return self._value(key, make)

    def canvas(self) -> np.ndarray:
        """The picture with its longer side at most DRAWN_SIDE pixels; the browser enlarges a small one by itself."""

        def make() -> np.ndarray:
            picture = self.picture()
            return picture_at(picture, size_within(picture.shape, most=DRAWN_SIDE))

        return self._value(self._keys()["canvas"], make)

    def drawing(self, settings: pc.Settings | None = None, least: int = 0) -> Drawing:
        """A result, with its longer side between `least` and DRAWN_SIDE pixels, in the colours of the page's result."""
        result = self.result(settings)
        size_hw = size_within(result.labels.shape, least, DRAWN_SIDE)
        own = self._entries.get(self._keys()["overlay"]) if settings else None
        return Drawing.prepare(size_hw, result, own.value if own else None)

    def seconds(self, settings: pc.Settings) -> float:
        """What the VFM and the stages after it took for a result. CLIP reads the picture once for all of them."""
        keys = self._keys(settings)
        graph = ("graph",) if settings.refine in BY_GRAPH else ()
        after_clip = {keys[stage] for stage in ("vfm", *graph, "dense", "logits", "refined", "result")}
        found = [self._entries.get(key) for key in after_clip if settings.fusion == "proxy" or key[0] != "vfm"]
        return sum(entry.seconds for entry in found if entry)

    def _keys(self, settings: pc.Settings | None = None) -> dict[str, Key]:
        return keys_of(self.digest, settings or self.settings)

    def _check_time(self, s: pc.Settings, *stages: str) -> None:
        """Raises UserError where these stages, with what is missing for them, would take too long."""
        held = {stage for stage, key in self._keys(s).items() if key in self._entries}
        needed = set[str]().union(*(work.missing(held, stage) for stage in stages))
        if not needed:
            return
        queries, clip = queries_of(s), self.model().clip
        with private_to(self._reader, words_of_everybody()):
            cache = clip.word_cache
            new = [word for word in queries if cache is None or cache.get(word, s.templates) is None]
        size_hw = self.picture().shape[:2] if needed != {"words"} else (1, 1)
        device, given = self.model().device, (s, (size_hw[0], size_hw[1]), queries, new, needed)
        try:
            time_limit.check_time(*given, time_limit.operations_a_second(device, clip.dtype))
        except UserError:
            time_limit.check_time(*given, time_limit.operations_a_second(device, clip.dtype, again=True))

    def _read_picture(self) -> Picture:
        def read() -> Picture:
            with OPENING:
                pixels, reservations = pc.read_picture(self.asked.picture)
            return Picture(unchanging(pixels), reservations)

        return self._value(self._keys()["picture"], read)

    def _embed(self) -> pc.Vocabulary:
        s, (classes, dropped) = self.settings, words_of(self.settings.words)
        limits.check_words(classes)
        model = self.model()
        with private_to(self._reader, words_of_everybody()):
            found = model.with_plain(model.embed(classes, s.background, s.templates)).to("cpu")
        return replace(found, notes=(*dropped, *found.notes))

    def _encode_clip(self, s: pc.Settings) -> pc.ImageFeatures:
        model = self._checked_model(s)
        features = pc.ProxyCLIP(model.clip, None).encode(self.picture(), s.side, s.windows)
        return replace(features, clip_tokens=packed(features.clip_tokens, model.clip.dtype)).to("cpu")

    def _encode_vfm(self, s: pc.Settings, clip: pc.ImageFeatures) -> Patches:
        model: Any = self._checked_model(s)
        found: Any = model.encode(self.picture(), s.side, s.windows, facet=s.facet, clip_from=clip)
        return Patches(packed(found.vfm, model.vfm.dtype).cpu(), found.vfm_name, found.vfm_id)

    def _checked_model(self, s: pc.Settings) -> pc.ProxyCLIP:
        """The model, once it is clear that its encoders may run: a person should not wait for what is refused then."""
        self._check_may_encode(s.vfm if s.fusion == "proxy" else s.clip)
        model, size_hw = self.model(s), self.picture().shape[:2]
        if s.asks_sam:
            self._sam_model(s)  # which says so where its weights are missing
        limits.check_amount(size_hw, s)
        layout = plan_windows(size_hw, s.side, s.windows)
        queries = len(self.words().queries)
        limits.check_features(model, layout, s)
        grid_hw = (model.vfm if s.fusion == "proxy" and model.vfm else model.clip).grid_of(layout.padded_hw)
        limits.check_scores(layout.count * grid_hw[0] * grid_hw[1], queries)
        return model

    def _sam_model(self, s: pc.Settings) -> None:
        """Loads the SAM that is asked for regions, once it has room."""
        model = self.model(s)
        with computing.alone():
            self.models.room_for(s.clip, s.vfm, sam_of(s))
            model.sam_model(s.sam)

    def _check_may_encode(self, name: str) -> None:
        if not self.may_encode:
            raise UserError(
                f"What {name} had read of this picture had to make room. Open this view again to have it read anew; "
                "with fewer vision models or a lower resolution it could stay."
            )

    def _fuse(self, s: pc.Settings) -> pc.DenseFeatures:
        features, model = self.features(s), self.model()  # to fuse takes CLIP's last block, and no VFM
        limits.check_reach(features, s)
        regions = self.scope(s)
        return model.fuse(features.to(model.device), s.beta, s.gamma, s.fusion, s.reach, regions=regions).to("cpu")

    def _read_by_sam(self, s: pc.Settings) -> pc.SamViews:
        self._check_may_encode("SAM")
        self._sam_model(s)  # which says what to do where it is missing: the hub has no decoder of SAM's
        # It reads the whole picture.
        self._check_time(replace(s, vfm=sam_of(s), fusion="proxy", windows="whole"), "vfm")
        features = self.features(replace(s, fusion="proxy")) if is_sams_own(s) else None
        return self.model(s).sam_views(self.picture(), features, s.sam).to("cpu")

    def _mask(self, s: pc.Settings) -> pc.Regions:
        self._check_may_encode("SAM")
        return self.model(s).regions(self.sam(s)).to("cpu")

    def _classify(self, s: pc.Settings) -> pc.ClassLogits:
        dense, words, model = self.dense(s), self.words(), self.model()
        windows, _, *grid_hw = dense.tokens.shape
        limits.check_scores(windows * grid_hw[0] * grid_hw[1], len(words.queries))
        return model.classify(dense.to(model.device), words).to("cpu")

    def _link(self, s: pc.Settings) -> PatchGraph | ColourGraph:
        model = self.model(s)
        if s.refine in BY_COLOURS:
            return model.colour_graph(self.picture(), s.refine).to("cpu")
        return model.patch_graph(self.features(s)).to("cpu")

    def _refine(self, s: pc.Settings) -> pc.Refined:
        logits, picture = self.logits(s), self.picture()
        limits.check_refined(picture.shape[:2], len(logits.vocabulary.queries), s.refine)
        seen: dict[str, Any] = {"views": self.sam(s)} if s.refine in BY_SAM else {}
        seen |= {"regions": self.regions(s)} if s.refine == "sam" else {}
        # To bring a graph of colours back to the GPU takes longer than to make it there; for Apple's the CPU makes it.
        if s.refine in (BY_PATCHES if self.model(s).device.type == "cuda" else BY_GRAPH):
            seen["graph"] = self.graph(s)
        return self.model(s).refine(logits, self.features(s), picture, s.refine, **seen).to("cpu")

    def _segment(self, s: pc.Settings) -> pc.Segmentation:
        return self.refined(s).to(self.model().device).segment(s.threshold)


def packed(features: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Float32 features in the precision in which their encoder ran, or rounded to 16 bits where they are very large."""
    if dtype != torch.float32:
        return features.to(dtype)
    return features.half() if features.nbytes > limits.WIDE_BYTES else features
