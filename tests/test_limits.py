"""demo.limits: bounds that fit each other, and that an owner can set."""

from __future__ import annotations

import runpy

import pytest
import torch

import proxyclip_core as pc
from demo import limits
from proxyclip_core.models.registry import CLIP_MODELS, VFM_MODELS
from proxyclip_core.windows import plan_windows


def test_bounds_can_be_set_by_the_environment(monkeypatch):
    monkeypatch.setenv("PROXYCLIP_MOST_WORDS", "7")
    assert limits._limit("MOST_WORDS", 2_000) == 7 and limits._limit("MOST_SEEDS", 4) == 4


def test_what_is_not_on_pages_any_more_leaves_room_for_what_is(monkeypatch):
    monkeypatch.setenv("PROXYCLIP_PUBLIC", "on")
    found = runpy.run_path(limits.__file__)
    half = found["ALL_KEPT_BYTES"] // 2
    assert 0.99 * half < found["SESSIONS"] * found["SPARE_BYTES"] <= half


class Shape:
    """As much of an encoder as its features' size depends on."""

    def __init__(self, name: str, patch: int, width: int, dtype: torch.dtype, input_side: int | None = None) -> None:
        self.name, self.patch, self.width, self.dtype, self.input_side = name, patch, width, dtype, input_side

    def grid_of(self, window_hw: tuple[int, int]) -> tuple[int, int]:
        height, width = (self.input_side,) * 2 if self.input_side else window_hw
        return height // self.patch, width // self.patch

    def with_facet(self, facet: str) -> Shape:
        assert facet == "tokens"  # the others are wider in SAM, and may not fit
        return self


WIDTHS = {"S": 384, "B": 768, "L": 1024, "H": 1280}


def shapes(dtype: torch.dtype) -> list[tuple[Shape, Shape]]:
    """Every pair of the menus."""
    clips = [Shape(name, int(spec.architecture.split("-")[2]) if "-" in spec.architecture else 14,
                   192 if spec.builtin else WIDTHS[spec.architecture.split("-")[1]], dtype)
             for name, spec in CLIP_MODELS.items()]  # fmt: skip
    vfms = []
    for name, spec in VFM_MODELS.items():
        own = {"Built-in": 128, "Stable Diffusion": 1280}
        width = own.get(spec.family) or (256 if spec.is_sam else WIDTHS[spec.family.split()[-1][0]])
        vfms.append(Shape(name, spec.patch, width, dtype, spec.input_side))
    return [(clip, vfm) for clip in clips for vfm in vfms]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size_hw", [(1024, 2048), (1200, 1800), (3000, 4000), (500, 5000)])
def test_the_features_of_every_pair_fit_at_every_numbered_resolution_of_the_menu(dtype, size_hw):
    settings = pc.Settings("OpenAI B/16", "DINO B/8", "sky")
    for clip, vfm in shapes(dtype):
        for side in filter(None, pc.SETTINGS["side"].values):
            for windows in ("sliding", "whole"):
                layout = plan_windows(size_hw, side, windows)
                limits.check_features(pc.ProxyCLIP(clip, vfm), layout, settings)
