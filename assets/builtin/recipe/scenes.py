"""EmojiScenes: layered landscapes, streets and rooms with named things in them, and their exact label maps.

`make_scene(rng, bank)` is all a reader needs; the same rng state and bank give the same scene.
"""

from __future__ import annotations

import numpy as np

from assets.builtin.recipe.canvas import Bank, Canvas, Rng, Scene
from assets.builtin.recipe.stuff import STUFF, cloud_shape, noise

SHARE_OF_HEIGHT = {"small": (0.13, 0.24), "medium": (0.2, 0.38), "large": (0.32, 0.55)}
GROUNDS = ("grass", "sand", "snow", "field", "road")
KINDS = ("country", "country", "seaside", "street", "room", "underwater", "collage")


def make_scene(
    rng: Rng, bank: Bank, size_hw: tuple[int, int] | None = None, kind: str | None = None, light: float = 0.5
) -> Scene:
    """Paint one scene.

    size_hw: height and width in pixels (by default something between 192 and 512); kind: one of KINDS or 'close-up';
    light: how much colours, sharpness and grain vary, 0..1.
    """
    if size_hw is None:
        size_hw = (int(rng.integers(192, 385)), int(rng.integers(192, 513)))
    kind = kind or KINDS[rng.integers(len(KINDS))]
    canvas = Canvas(rng, *size_hw)
    LAYOUTS[kind](canvas, bank)
    return canvas.finish(light, name=kind)


def _clouds(canvas: Canvas, horizon: float, most: int = 3) -> None:
    rng = canvas.rng
    for _ in range(int(rng.integers(0, most + 1))):
        height, width = (max(8, int(canvas.height * rng.uniform(*span))) for span in ((0.07, 0.15), (0.18, 0.42)))
        top = int(rng.uniform(0, max(1, horizon - height * 1.3)))
        left = int(rng.uniform(-0.2 * width, canvas.width - 0.8 * width))
        mask = np.zeros((canvas.height, canvas.width), bool)
        y0, x0, x1 = top, max(left, 0), min(left + width, canvas.width)
        shape = cloud_shape(rng, height, width)[: canvas.height - y0]
        mask[y0 : y0 + len(shape), x0:x1] = shape[:, x0 - left : x1 - left]
        canvas.stuff("cloud", mask)


def _backdrop(canvas: Canvas, horizon: float) -> None:
    """Sky, and perhaps clouds, mountains and a forest, down to the horizon."""
    rng = canvas.rng
    seen = ~canvas.below(horizon + 0.12 * canvas.height)  # what lies lower is painted over anyway
    canvas.stuff("sky", seen)
    _clouds(canvas, horizon)
    if rng.random() < 0.45:
        peaks = canvas.below(horizon - canvas.height * rng.uniform(0.08, 0.2), 0.13, rng.uniform(0.15, 0.35))
        canvas.stuff("mountain", peaks & seen)
    if rng.random() < 0.4:
        canvas.stuff("forest", canvas.below(horizon - canvas.height * rng.uniform(0.06, 0.16), 0.02, 0.05) & seen)


def _stand(canvas: Canvas, bank: Bank, places: tuple[str, ...], top: float, bottom: float, count: int) -> None:
    """Things between two levels, farther ones first and a little smaller."""
    rng = canvas.rng
    for foot in np.sort(rng.uniform(top, bottom, count)):
        name = bank.pick(rng, places[rng.integers(len(places))])
        low, high = SHARE_OF_HEIGHT[bank.things[name].size]
        depth = 0.75 + 0.25 * (foot - top) / max(bottom - top, 1)
        for _ in range(3):  # another spot when it would hide something
            x = rng.uniform(0.06, 0.94) * canvas.width
            if canvas.thing(
                name, _turned(rng, bank.look(rng, name)), (x, foot), rng.uniform(low, high) * depth, shadow=True
            ):
                break


def _fly(canvas: Canvas, bank: Bank, horizon: float, count: int) -> None:
    rng = canvas.rng
    for _ in range(count):
        name = bank.pick(rng, "sky")
        share = rng.uniform(0.1, 0.2) if bank.things[name].size == "small" else rng.uniform(0.14, 0.26)
        foot = (
            rng.uniform(0.06, 0.94) * canvas.width,
            rng.uniform(share * canvas.height, max(horizon * 0.95, share * canvas.height + 1)),
        )
        canvas.thing(name, _turned(rng, bank.look(rng, name)), foot, share)


def _turned(rng: Rng, rgba: np.ndarray) -> np.ndarray:
    return rgba[:, ::-1] if rng.random() < 0.5 else rgba


def _country(canvas: Canvas, bank: Bank) -> None:
    rng, height = canvas.rng, canvas.height
    horizon = height * rng.uniform(0.28, 0.5)
    _backdrop(canvas, horizon)
    canvas.stuff(GROUNDS[rng.integers(4)], canvas.below(horizon, 0.03))
    if rng.random() < 0.35:  # a lower layer in front
        canvas.stuff(GROUNDS[rng.integers(4)], canvas.below(height * rng.uniform(0.68, 0.82), 0.05))
    if rng.random() < 0.3:
        y, x = np.mgrid[0:height, 0 : canvas.width]
        cy, cx = rng.uniform(0.6, 0.85) * height, rng.uniform(0.2, 0.8) * canvas.width
        ry, rx = rng.uniform(0.07, 0.13) * height, rng.uniform(0.2, 0.4) * canvas.width
        canvas.stuff("lake", ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1)
    elif rng.random() < 0.25:
        top = rng.uniform(0.6, 0.8) * height
        canvas.stuff("road", canvas.below(top) & ~canvas.below(top + height * rng.uniform(0.1, 0.18)))
    _fly(canvas, bank, horizon, int(rng.integers(0, 3)))
    _stand(
        canvas,
        bank,
        ("ground", "ground", "ground", "indoor"),
        horizon + 0.1 * height,
        height * 0.98,
        int(rng.integers(3, 7)),
    )


def _seaside(canvas: Canvas, bank: Bank) -> None:
    rng, height = canvas.rng, canvas.height
    horizon, shore = height * rng.uniform(0.22, 0.42), height * rng.uniform(0.6, 0.8)
    _backdrop(canvas, horizon)
    canvas.stuff("sea", canvas.below(horizon))
    _fly(canvas, bank, horizon, int(rng.integers(0, 3)))
    _stand(canvas, bank, ("water",), horizon + 0.12 * height, shore, int(rng.integers(1, 4)))
    canvas.stuff("sand" if rng.random() < 0.8 else "grass", canvas.below(shore, 0.03))
    _stand(canvas, bank, ("ground", "water", "indoor"), shore + 0.08 * height, height * 0.99, int(rng.integers(1, 4)))


def _street(canvas: Canvas, bank: Bank) -> None:
    rng, height = canvas.rng, canvas.height
    kerb = height * rng.uniform(0.55, 0.72)
    if rng.random() < 0.5:
        top = height * rng.uniform(0.12, 0.3)
        _backdrop(canvas, top)
        canvas.stuff("brick wall", canvas.below(top))
    else:
        _backdrop(canvas, kerb * 0.75)
        canvas.stuff("grass", canvas.below(kerb * 0.75, 0.02))
        _stand(canvas, bank, ("ground",), kerb * 0.9, kerb, int(rng.integers(1, 4)))
    canvas.stuff("road", canvas.below(kerb))
    _stand(canvas, bank, ("ground", "ground", "indoor"), kerb + 0.06 * height, height * 0.98, int(rng.integers(2, 5)))


def _room(canvas: Canvas, bank: Bank) -> None:
    rng, height = canvas.rng, canvas.height
    edge = height * rng.uniform(0.35, 0.65)
    canvas.stuff("brick wall", np.ones((height, canvas.width), bool))
    canvas.stuff("wooden floor", canvas.below(edge))
    for _ in range(int(rng.integers(0, 3))):  # hung on the wall
        name = bank.pick(rng, "indoor")
        share = rng.uniform(0.14, 0.24)
        foot = (rng.uniform(0.1, 0.9) * canvas.width, rng.uniform(share * height, edge * 0.95))
        canvas.thing(name, _turned(rng, bank.look(rng, name)), foot, share)
    _stand(
        canvas,
        bank,
        ("indoor", "indoor", "indoor", "ground"),
        edge + 0.1 * height,
        height * 0.98,
        int(rng.integers(3, 7)),
    )


def _underwater(canvas: Canvas, bank: Bank) -> None:
    rng, height = canvas.rng, canvas.height
    canvas.stuff("sea", np.ones((height, canvas.width), bool))
    floor = height * rng.uniform(0.72, 0.88)
    for _ in range(int(rng.integers(3, 6))):
        name = bank.pick(rng, "water")
        share = rng.uniform(0.15, 0.32)
        foot = (rng.uniform(0.08, 0.92) * canvas.width, rng.uniform(share * height, floor))
        canvas.thing(name, _turned(rng, bank.look(rng, name)), foot, share)
    canvas.stuff("sand", canvas.below(floor, 0.04))
    _stand(canvas, bank, ("water", "any"), floor + 0.06 * height, height * 0.98, int(rng.integers(1, 4)))


def _collage(canvas: Canvas, bank: Bank) -> None:
    """Anything anywhere: what stands together elsewhere is no hint here."""
    rng, names = canvas.rng, list(STUFF)
    angle = rng.uniform(0, 6.28)
    y, x = np.mgrid[0 : canvas.height, 0 : canvas.width]
    across = np.cos(angle) * x / canvas.width + np.sin(angle) * y / canvas.height
    across = across + 0.08 * noise(rng, canvas.height, canvas.width, canvas.height / 3, canvas.width / 3)
    low, high = across.min(), across.max()
    canvas.stuff(names[rng.integers(len(names))], np.ones_like(across, bool))
    for cut in np.sort(rng.uniform(0.15, 0.85, rng.integers(1, 4))):
        canvas.stuff(names[rng.integers(len(names))], across > low + cut * (high - low))
    for _ in range(int(rng.integers(3, 8))):
        name, share = bank.pick(rng, "any"), rng.uniform(0.14, 0.42)
        foot = (rng.uniform(0.05, 0.95) * canvas.width, rng.uniform(0.6 * share, 1 + 0.3 * share) * canvas.height)
        canvas.thing(name, _turned(rng, bank.look(rng, name)), foot, share)


def _close_up(canvas: Canvas, bank: Bank) -> None:
    """One thing fills most of the picture; now and then one or two more beside it."""
    rng, names = canvas.rng, list(STUFF)
    everywhere = np.ones((canvas.height, canvas.width), bool)
    if rng.random() < 0.4:
        canvas.picture[:] = rng.uniform(0, 255, 3) if rng.random() < 0.6 else 255
    else:
        canvas.stuff(names[rng.integers(len(names))], everywhere)
    more = int(rng.integers(1, 3)) if rng.random() < 0.5 else 0
    for _ in range(more):
        name, side = bank.pick(rng, "any"), rng.uniform(0.3, 0.6)
        spot = (rng.uniform(0.1, 0.9) * canvas.width, rng.uniform(0.8 * side, 1 + 0.2 * side) * canvas.height)
        canvas.thing(name, _turned(rng, bank.look(rng, name)), spot, side)
    share = rng.uniform(0.6, 0.98) if not more else rng.uniform(0.4, 0.7)
    foot = (
        (0.5 + rng.normal(0, 0.2 if more else 0.06)) * canvas.width,
        (0.5 + share / 2 + rng.normal(0, 0.12 if more else 0.04)) * canvas.height,
    )
    name = bank.pick(rng, "any")
    look = _turned(rng, bank.look(rng, name))
    foot = (foot[0], foot[1] - share * canvas.height * (1 - look.shape[0] / max(look.shape[:2])) / 2)
    canvas.thing(name, look, foot, share)


LAYOUTS = {
    "country": _country,
    "seaside": _seaside,
    "street": _street,
    "room": _room,
    "underwater": _underwater,
    "collage": _collage,
    "close-up": _close_up,
}
