"""Golden cases of methods past the paper, computed again: tests/golden/README.md says what they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from proxyclip_core.attention import resample_patches, unit_patches
from proxyclip_core.refine.across import attend_across, attend_to_anchors
from proxyclip_core.refine.patches import grid_places, patch_graph
from proxyclip_core.refine.pixel_graph import pixel_graph
from proxyclip_core.refine.pixels import colour_graph
from proxyclip_core.refine.solver import solve
from proxyclip_core.settings import default

BOUND = 1e-5  # of absolute differences; also how near to a step a pair of patches on the edge is
SOLVER_BOUND = 1e-4  # relative to the largest value
MOVED_SHARE, MOVED_BOUND = 0.005, 3e-4  # as for the paper's cases, where pairs sit on a step

Case = dict[str, torch.Tensor]


@dataclass(frozen=True)
class RefineOutcome:
    """What one case gave: by array, the largest difference and the bound it is held to.

    on_edge: pairs of patches that one computation may keep and another drop. share: of values beyond BOUND.
    """

    name: str
    kind: str
    differences: dict[str, tuple[float, float]]
    on_edge: int = 0
    share: float = 0.0

    @property
    def passed(self) -> bool:
        moved = self.on_edge > 0 and self.share <= MOVED_SHARE
        return all(found <= (MOVED_BOUND if moved else bound) for found, bound in self.differences.values())

    def __str__(self) -> str:
        said = "  ".join(f"{name} {found:.1e} of {bound:.0e}" for name, (found, bound) in self.differences.items())
        edge = f"  pairs on the edge {self.on_edge}" if self.kind == "across_windows" else ""
        return f"{'pass' if self.passed else 'FAIL'}  {self.name:<28} {self.kind}: {said}{edge}"


def replay_refined(name: str, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> RefineOutcome:
    """Computes one case again. Raises ValueError for a kind that is not known."""
    kind = meta["kind"]
    if kind not in KINDS:
        raise ValueError(f"{name} is of kind {kind!r}; expected one of {', '.join(KINDS)}.")
    return KINDS[kind](name, {key: torch.from_numpy(array) for key, array in arrays.items()}, meta)


def _pamr(name: str, case: Case, meta: dict[str, Any]) -> RefineOutcome:
    mean, std = (torch.tensor(meta[key]).view(3, 1, 1) for key in ("mean", "std"))
    image = (case["image"].permute(2, 0, 1).float() / 255 - mean) / std
    logits = F.interpolate(case["logits"][None], size=image.shape[1:], mode="bilinear", align_corners=True)[0]
    refined = colour_graph(image, meta["dilations"])(logits, meta["iterations"])
    return RefineOutcome(name, "pamr", {"refined": (_largest(refined - case["refined"]), BOUND)})


def _lposs(name: str, case: Case, meta: dict[str, Any]) -> RefineOutcome:
    grids, corners = case["grids"].tolist(), case["tops_lefts"].tolist()
    patch = (meta["patch"], meta["patch"])
    places = [
        grid_places([(top, left)], (height, width), patch, torch.device("cpu"))
        for (top, left), (height, width) in zip(corners, grids)
    ]
    named = {key: meta[key] for key in ("k", "gamma", "sigma", "power")}
    graph = patch_graph(case["features"], torch.cat(places), **named)
    return _solved(name, "lposs", graph, case["cosines"].T.contiguous(), case, meta)


def _lposs_plus(name: str, case: Case, meta: dict[str, Any]) -> RefineOutcome:
    graph = pixel_graph(case["image"].permute(2, 0, 1) / 255, tau=meta["tau"], radius=meta["radius"])
    return _solved(name, "lposs_plus", graph, case["scores"].permute(2, 0, 1).contiguous(), case, meta)


def _solved(
    name: str, kind: str, graph: Callable, scores: torch.Tensor, case: Case, meta: dict[str, Any]
) -> RefineOutcome:
    """Of the solver's two ways: to the end, and for the ten steps that LPOSS's authors take."""
    differences = {}
    for key, steps in (("solved", None), ("ten_steps", 10)):
        found = solve(graph, scores, meta["alpha"], steps).movedim(0, -1)
        differences[key] = _largest(found - case[key]) / float(case["solved"].abs().max()), SOLVER_BOUND
    return RefineOutcome(name, kind, differences)


def _across_windows(name: str, case: Case, meta: dict[str, Any]) -> RefineOutcome:
    features = case["features"]
    values = resample_patches(case["values"], tuple(meta["clip_grid"]), tuple(features.shape[-2:]))
    parts = ("proxy_sim", "token_norm", "dynamic_beta", "dynamic_gamma")
    if any(meta.get(part) for part in parts):
        beta = None if meta.get("dynamic_beta") else default("beta")
        gamma = None if meta.get("dynamic_gamma") else default("gamma")
        rounds = meta.get("mini_iters", 2) if meta.get("proxy_sim") else 0
        renamed = {"initial_crit_pos": "alike", "beta_alpha": "beta_share", "gamma_alpha": "gamma_share"}
        more = {ours: meta[theirs] for theirs, ours in renamed.items() if theirs in meta}
        one_mean = not meta.get("token_norm")
        attended = attend_to_anchors(features, values, beta=beta, gamma=gamma, rounds=rounds, one_mean=one_mean, **more)
    else:
        attended = attend_across(features, values, default("beta"), default("gamma"))
    difference = (attended - case["attended"]).abs()
    share = float((~(difference <= BOUND)).float().mean())
    differences = {"attended": (_largest(difference), BOUND)}
    return RefineOutcome(name, "across_windows", differences, _on_edge(features, meta), share)


def _on_edge(features: torch.Tensor, meta: dict[str, Any]) -> int:
    """Pairs of patches within BOUND of a step: of belonging to an anchor, or of being masked."""
    patches = unit_patches(features).flatten(0, 1)
    anchors, alike, found = patches, meta.get("initial_crit_pos", 0.6), 0
    sizes = torch.ones(len(patches))
    for _ in range(meta.get("mini_iters", 2) if meta.get("proxy_sim") else 0):
        similarity = anchors @ patches.T
        members = similarity > alike
        found += int(((similarity - alike).abs() <= BOUND).sum())
        members[~members.any(dim=1)] = torch.eye(len(patches), dtype=torch.bool)[~members.any(dim=1)]
        sizes = members.sum(dim=1)
        anchors = F.normalize(members.float() @ patches, dim=1)
    similarity = anchors @ patches.T
    mean = similarity.mean(dim=1, keepdim=True).clamp(min=0) if meta.get("token_norm") else similarity.mean()
    beta = 1 + meta["beta_alpha"] * np.log(1 + len(features)) if meta.get("dynamic_beta") else default("beta")
    gamma = 1 + meta["gamma_alpha"] / sizes[:, None] if meta.get("dynamic_gamma") else default("gamma")
    return found + int((((similarity - beta * mean) * gamma).abs() <= BOUND).sum())


def _largest(difference: torch.Tensor) -> float:
    return float(difference.abs().max().nan_to_num(nan=float("inf")))


KINDS: dict[str, Callable[[str, Case, dict[str, Any]], RefineOutcome]] = {
    "pamr": _pamr,
    "lposs": _lposs,
    "lposs_plus": _lposs_plus,
    "across_windows": _across_windows,
}
