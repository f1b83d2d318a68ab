"""Other ways to a result of the same picture: with another VFM, or with CLIP alone.

Every value comes from the visitor's staged values where these hold it, else from what was kept of an earlier event,
and is computed only where neither does. CLIP's part of the picture is shared by all VFMs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import proxyclip_core as pc
from demo.answers.segment import Provider, ran_out_of_memory
from demo.session import Staged, check_scores, count_patches, nbytes, stage_keys

KEPT_BYTES = 200_000_000  # of one page, beside the staged values
LABELS = {"clip": "CLIP alone", "values": "CLIP's values alone"}
log = logging.getLogger(__name__)
NO_RESULT = "No result yet. Give a picture and words, and press Segment."


@dataclass(frozen=True)
class Variant:
    """One way to a result. fusion: as for `ProxyCLIP.fuse`; vfm: full name, of "proxy" only."""

    fusion: str = "proxy"
    vfm: str = ""

    @property
    def label(self) -> str:
        return LABELS.get(self.fusion, self.vfm)


def variant_of(label: str) -> Variant:
    """What `Variant.label` says -> the variant."""
    fusion = {text: fusion for fusion, text in LABELS.items()}.get(label)
    return Variant(fusion) if fusion else Variant(vfm=label)


def ready_vfms(models: Provider, clip: str) -> list[str]:
    """VFMs that can be used beside `clip` without a download."""
    return [name for name in pc.VFM_MODELS if models.ready(clip, name)]


def in_words(error: Exception) -> str:
    """An error -> what the person should read about it."""
    if isinstance(error, (ValueError, pc.WeightsError)):
        return str(error)
    if ran_out_of_memory(error):
        return "The memory was not enough for this. Take a lower resolution, a larger patch, or fewer vision models."
    log.error("An event failed", exc_info=error)
    return f"Something went wrong inside ({type(error).__name__}). The server's log says more."


@dataclass(frozen=True, eq=False)
class Kept:
    """Values of stages by (stage, all they depend on), oldest first, and the seconds each took. Never changed."""

    values: dict[tuple, Any] = field(default_factory=dict)
    seconds: dict[tuple, float] = field(default_factory=dict)

    def adding(self, key: tuple, value: Any, seconds: float) -> Kept:
        return Kept(self.values | {key: value}, self.seconds | {key: seconds})

    def within(self, limit: int = KEPT_BYTES) -> Kept:
        """The newest values that fit into `limit` bytes."""
        sizes = {key: _size(value) for key, value in self.values.items()}
        total, values = sum(sizes.values()), dict(self.values)
        for key in self.values:
            if total <= limit:
                break
            total -= sizes[key]
            del values[key]
        return Kept(values, {key: self.seconds[key] for key in values})


def _size(value: Any) -> int:
    # CLIP's tokens are those of the staged features, not a copy.
    return nbytes(value.vfm) if isinstance(value, pc.ImageFeatures) else nbytes(value)


class Bench:
    """One event's access to the stages of all variants; `kept` is what the next event may take over."""

    def __init__(self, models: Provider, staged: Staged, kept: Kept | None = None) -> None:
        self.models, self.staged = models, staged
        self.settings = staged.settings
        self._kept = kept or Kept()
        self._keys: dict[str, dict[str, tuple]] = {}

    @property
    def kept(self) -> Kept:
        return self._kept.within()

    @property
    def vfm(self) -> str:
        """The VFM of the staged result."""
        return self.settings.vfm

    @property
    def current(self) -> Variant:
        """The way to the staged result."""
        return Variant(vfm=self.vfm)

    def model(self, vfm: str = "") -> pc.ProxyCLIP:
        return self.models.get(self.settings.clip, vfm or self.vfm)

    def features(self, vfm: str = "") -> pc.ImageFeatures:
        """Stage 1 of the staged picture with a VFM, "" for the staged one."""
        return self._value("features", Variant(vfm=vfm or self.vfm), lambda: self._encode(vfm or self.vfm))

    def logits(self, variant: Variant) -> pc.ClassLogits:
        return self._value("logits", variant, lambda: self._classify(variant))

    def labels(self, variant: Variant) -> np.ndarray:
        """(H, W) uint16 at the picture's own size."""
        return self._value("result", variant, lambda: self._decide(variant))

    def seconds(self, variant: Variant) -> tuple[float, bool]:
        """Time that the variant's stages took, and whether this is all of it: what was there before has no time."""
        keys = self._variant_keys(variant)
        stages = (
            ("features", "dense", "logits", "result") if variant.fusion == "proxy" else ("dense", "logits", "result")
        )
        found = [self._seconds(stage, keys[stage]) for stage in stages]
        return sum(value for value in found if value is not None), None not in found

    def _seconds(self, stage: str, key: tuple) -> float | None:
        if self.staged.made_from.get(stage) == key and stage in self.staged.seconds:
            return self.staged.seconds[stage]
        return self._kept.seconds.get((stage, key))

    def _value(self, stage: str, variant: Variant, make: Callable[[], Any]) -> Any:
        key = self._variant_keys(variant)[stage]
        if self.staged.made_from.get(stage) == key and getattr(self.staged, stage) is not None:
            value = getattr(self.staged, stage)
            return value.labels if stage == "result" else value
        if (stage, key) not in self._kept.values:
            start, others = time.perf_counter(), sum(self._kept.seconds.values())
            value = make()
            # Without the stages that ran for this one.
            spent = time.perf_counter() - start - (sum(self._kept.seconds.values()) - others)
            self._kept = self._kept.adding((stage, key), value, spent)
        return self._kept.values[(stage, key)]

    def _variant_keys(self, variant: Variant) -> dict[str, tuple]:
        if variant.label not in self._keys:
            keys = stage_keys(replace(self.settings, vfm=variant.vfm))
            if variant.fusion != "proxy":
                dense = (keys["features"], variant.fusion)  # neither a VFM nor beta and gamma matter
                logits = (dense, keys["vocabulary"])
                keys |= {"dense": dense, "logits": logits, "result": (logits, self.settings.threshold)}
            self._keys[variant.label] = keys
        return self._keys[variant.label]

    def _known_features(self) -> pc.ImageFeatures | None:
        """Features of this picture with any VFM: CLIP's part can be taken from them."""
        if self.staged.features is not None:
            return self.staged.features
        wanted = {self._variant_keys(Variant(vfm=name))["features"] for name in pc.VFM_MODELS}
        return next((self._kept.values[key] for key in self._kept.values if key[1] in wanted), None)

    def _encode(self, vfm: str) -> pc.ImageFeatures:
        s = self.settings
        return self.model(vfm).encode(s.picture, s.side, s.windows, clip_from=self._known_features()).to("cpu")

    def _fuse(self, variant: Variant) -> pc.DenseFeatures:
        features = (
            self.features(variant.vfm) if variant.fusion == "proxy" else self._known_features() or self.features()
        )
        model = self.model()  # fusing needs CLIP's last block and a VFM's features, not the VFM
        return model.fuse(features.to(model.device), self.settings.beta, self.settings.gamma, variant.fusion).to("cpu")

    def dense(self, variant: Variant) -> pc.DenseFeatures:
        return self._value("dense", variant, lambda: self._fuse(variant))

    def _classify(self, variant: Variant) -> pc.ClassLogits:
        dense, model = self.dense(variant), self.model()
        check_scores(count_patches(dense), len(self.staged.vocabulary.queries))
        return model.classify(dense.to(model.device), self.staged.vocabulary.to(model.device)).to("cpu")

    def _decide(self, variant: Variant) -> np.ndarray:
        logits, model = self.logits(variant), self.model()
        vocabulary = self.staged.vocabulary.to(model.device)
        return model.segment(logits.to(model.device), vocabulary, self.settings.threshold).labels


def answer(
    models: Provider, do: Callable[..., Any], staged: Staged, kept: Kept | None, *given: Any
) -> tuple[Any, Kept | None, str]:
    """`do(bench, *given)` for what the visitor holds -> its value, what is kept, and "".

    On an error None, what is kept so far, and a line for the person. Everything that comes and goes can be pickled
    where `do` is a function of a module, or a partial of one: on ZeroGPU the models live in a process of their own.
    """
    bench = Bench(models, staged, kept)
    try:
        return do(bench, *given), bench.kept, ""
    except Exception as error:  # noqa: BLE001 every error becomes a line that the person can read
        return None, bench.kept, in_words(error)


def chosen_vfms(bench: Bench, others: Sequence[str], most: int) -> list[str]:
    """The staged VFM, then the others that were ticked, `most` in all."""
    return list(dict.fromkeys([bench.vfm, *others]))[:most]
