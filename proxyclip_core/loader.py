"""A model by the names of its two encoders."""

from __future__ import annotations

import os
import warnings

from proxyclip_core.models.loading import (
    BUILTIN_MODELS,
    choose_device,
    choose_precision,
    complete_pair,
    load_clip,
    load_vfm,
)
from proxyclip_core.models.registry import find_clip
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.settings import ACROSS, SETTINGS, default


def load(
    clip: str | None = None,
    vfm: str | None = None,
    *,
    patch: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    fusion: str = default("fusion"),
    templates: str = default("templates"),
    clip_weights: str | os.PathLike | None = None,
    vfm_weights: str | os.PathLike | None = None,
) -> ProxyCLIP:
    """A model by names: `load(clip="OpenAI B/16", vfm="DINO B/8")`.

    clip, vfm: names in CLIP_MODELS and VFM_MODELS, or a family with `patch`; or weights of your own, or a name that
        open_clip or timm knows: "/path/file.pt", "LAION B/16=/path/file.pt", "open_clip:ViT-B-16-quickgelu/dfn2b",
        "timm:vit_small_patch16_224.augreg_in21k" (see `models.named`). One that is not named is completed by
        `complete_pair`: the paper's partner, or for no name at all what is at hand, with a warning where that is the
        built-in pair.
    device: "auto", "cpu", "cuda", "mps". precision: "auto", "float32", "bfloat16", "float16", of the encoders.
    fusion: "proxy", or for comparison "values" or "clip", which load no VFM unless one is named.
    clip_weights, vfm_weights: a file or a folder, in place of PROXYCLIP_WEIGHTS, the cache and the hub.

    Raises ValueError for a name or setting that is not known, WeightsError where weights cannot be had.
    """
    SETTINGS["fusion"].check(fusion)
    SETTINGS["templates"].check(templates)
    chosen_device = choose_device(device)
    dtype = choose_precision(precision, chosen_device)
    wants_vfm = fusion in ("proxy", ACROSS) or vfm is not None
    chosen_clip, chosen_vfm = complete_pair(clip, vfm, patch if wants_vfm else None)
    nothing_named = clip is None and vfm is None and not os.environ.get("PROXYCLIP_CLIP")
    if nothing_named and chosen_clip == BUILTIN_MODELS[0]:
        note = find_clip(chosen_clip).note
        warnings.warn(f"No other model is at hand, so the built-in one answers. {note}", stacklevel=2)
    return ProxyCLIP(
        load_clip(chosen_clip, chosen_device, dtype, clip_weights),
        load_vfm(chosen_vfm, chosen_device, dtype, weights=vfm_weights) if wants_vfm else None,
        fusion=fusion,
        templates=templates,
    )
