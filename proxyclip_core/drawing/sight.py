"""How far apart colours look, to every kind of sight: distances in OKLab (Ottosson 2020), with sight that lacks red,
green or blue cones after Machado, Oliveira and Fernandes (2009).

Axes: M colours.
"""

from __future__ import annotations

import numpy as np

# Linear RGB -> linear RGB as it is seen, and how far apart in OKLab two colours then are that nobody mixes up: 0.02 is
# just noticeable side by side, but a legend is looked up from memory. Sight without blue cones is rare.
SIGHTS = (
    (((1, 0, 0), (0, 1, 0), (0, 0, 1)), 0.10),
    (((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)), 0.07),
    (((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)), 0.07),
    (((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)), 0.05),
)
CONES = np.array(
    [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.6806995, 0.107397], [0.08830246, 0.28171884, 0.6299787]]
)
LAB = np.array(
    [[0.21045426, 0.79361779, -0.00407205], [1.9779985, -2.42859221, 0.45059371], [0.02590404, 0.78277177, -0.80867577]]
)


def linear(colours: np.ndarray) -> np.ndarray:
    """(..., 3) sRGB in 0..255 -> linear RGB in 0..1."""
    channels = np.asarray(colours, dtype=np.float64) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(light: np.ndarray) -> np.ndarray:
    """(..., 3) linear RGB -> lightness in 0..1, green to red, blue to yellow."""
    return np.cbrt(light @ CONES.T) @ LAB.T


def from_oklab(lab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M, 3) OKLab -> (M, 3) uint8 sRGB, and (M,) bool: which of them a screen can show."""
    light = (lab @ np.linalg.inv(LAB).T) ** 3 @ np.linalg.inv(CONES).T
    shown = np.clip(light, 0, 1)
    channels = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    return np.rint(channels * 255).astype(np.uint8), (np.abs(light - shown) < 0.001).all(axis=1)


def clearness(colours: np.ndarray) -> np.ndarray:
    """(M, 3) sRGB -> (M, M): how far apart any two are to the sight that tells them apart worst; nobody mixes up 1."""
    least = np.full((len(colours), len(colours)), np.inf)
    for matrix, bound in SIGHTS:
        seen = oklab(np.clip(linear(colours) @ np.transpose(matrix), 0, 1))
        squares = (seen**2).sum(axis=1)
        apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * seen @ seen.T, 0))
        least = np.minimum(least, apart / bound)
    return least


def text_on(colour: np.ndarray) -> str:
    """'#000000' or '#ffffff', whichever reads better on the colour (WCAG contrast)."""
    luminance = float(linear(colour) @ (0.2126, 0.7152, 0.0722))
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"
