"""How cost grows with the picture, the classes and the windows: points, fitted exponents, and a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.jobs import Result
from tests.benchmarks.runner import Runner

SIDES = (224, 336, 448, 672, 896, 1344)
CLASSES = (2, 8, 32, 128, 512, 847)
WINDOWS = (1, 3, 6, 12, 24)
WINDOW, STRIDE = 336, 112
LARGE_HW = (1367, 2048)
# From here on a run takes up to a minute on a CPU: once, without a warm-up, must do.
ONCE_FROM_SIDE, ONCE_FROM_WINDOWS = 672, 12


@dataclass
class Curve:
    """What one quantity costs. title: what grows. xs: its values; seconds and peak_bytes: (len(xs),)."""

    title: str
    xs: Sequence[float]
    seconds: list[float]
    peak_bytes: list[int]

    @property
    def exponent(self) -> float:
        """Slope of the straight line through the points, both axes logarithmic: time ~ x ** exponent."""
        return fit(self.xs, self.seconds)[0]


def fit(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """(exponent, factor) of y = factor * x ** exponent, by least squares on the logarithms."""
    exponent, offset = np.polyfit(np.log(xs), np.log(ys), 1)
    return float(exponent), float(np.exp(offset))


def measure_growth(
    run: Runner,
    sides: Sequence[int] = SIDES,
    classes: Sequence[int] = CLASSES,
    windows: Sequence[int] = WINDOWS,
    large_hw: tuple[int, int] = LARGE_HW,
) -> list[Curve]:
    """Three curves: a square picture in one window, classes read out at a large picture, windows side by side."""

    def one_window(side: int) -> Result:
        repeats = 1 if side < ONCE_FROM_SIDE else 0
        return run("our_picture", size_hw=(side, side), side=None, windows="whole", repeats=repeats, at_least=0.0)

    def read_out(count: int) -> Result:
        return run("our_read_out", size_hw=large_hw, classes=count)

    def strip(count: int) -> Result:
        size_hw = (WINDOW, WINDOW + STRIDE * (count - 1))
        return run(
            "our_picture", size_hw=size_hw, side=None, repeats=1 if count < ONCE_FROM_WINDOWS else 0, at_least=0.0
        )

    return [
        _curve("picture side, in one window (pixels)", sides, one_window),
        _curve(f"classes, read out at {large_hw[1]} x {large_hw[0]}", classes, read_out),
        _curve("windows of 336 pixels", windows, strip),
    ]


def _curve(title: str, xs: Sequence[int], measure: Callable[[int], Result]) -> Curve:
    results = [measure(x) for x in xs]
    return Curve(title, list(xs), [one.seconds for one in results], [one.peak_bytes for one in results])


def plot(curves: list[Curve], path: Path) -> None:
    """One panel a curve, with its fitted line, on logarithmic axes."""
    from matplotlib.figure import Figure  # only where a plot is wanted

    figure = Figure(figsize=(4 * len(curves), 3.6), layout="constrained")
    for axes, curve in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves):
        exponent, factor = fit(curve.xs, curve.seconds)
        ends = np.array([min(curve.xs), max(curve.xs)], dtype=float)
        axes.loglog(curve.xs, curve.seconds, "o", color="tab:blue")
        axes.loglog(ends, factor * ends**exponent, "-", color="tab:orange", label=f"exponent {exponent:.2f}")
        axes.set(xlabel=curve.title, ylabel="seconds")
        axes.legend()
    figure.savefig(path)
