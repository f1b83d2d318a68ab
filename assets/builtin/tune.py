"""Choose on val how the built-in pair reads a scene: size, window, beta and gamma."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from evaluate import score_scenes, split_bank, split_scenes
from method import Reading, Towers

# the whole picture in one window; the app's own; smaller windows that overlap by half
VIEWS = ((280, 2048, 2048), (336, 2048, 2048), (448, 2048, 2048), (336, 336, 112), (280, 168, 84))
BETAS, GAMMAS = (1.0, 1.2, 1.6, 2.0), (3.0, 5.0, 8.0)


def choose_reading(folder: Path, work: Path, how: str = "vfm_patch8", count: int = 21) -> tuple[Reading, list[dict]]:
    """-> the best reading on `count` val scenes, by mIoU over classes, and every setting tried."""
    towers = Towers(folder)
    scenes = split_scenes(split_bank(work, "val"), "val", count)
    tried: list[dict] = []

    def miou(reading: Reading) -> float:
        found, _ = score_scenes(towers, scenes, how, reading, others=0)
        tried.append(asdict(reading) | found)
        return found["miou"]

    views = [Reading(side, window, stride) for side, window, stride in VIEWS]
    best = max(views, key=miou)
    best = max([replace(best, beta=beta) for beta in BETAS], key=miou)
    best = max([replace(best, gamma=gamma) for gamma in GAMMAS], key=miou)
    return best, tried
