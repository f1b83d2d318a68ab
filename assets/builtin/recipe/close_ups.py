"""Single drawings on simple grounds, composited in batches: the quickest way to learn what things are called.

From whole scenes stuff is learnt at once and things hardly at all, so a few minutes of this come first.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from assets.builtin.recipe.canvas import Bank
from assets.builtin.recipe.pools import Batch
from assets.builtin.recipe.stuff import PAINTERS

SIDE = 112  # pixels of a drawing's canvas
GROUND_SIDE, GROUNDS_EACH = 280, 8


def _centred(rgba: np.ndarray) -> np.ndarray:
    """Any drawing -> SIDE x SIDE x 4, premultiplied, in the middle."""
    picture = Image.fromarray(rgba).convert("RGBa")
    scale = SIDE / max(picture.size)
    width, height = (max(2, round(side * scale)) for side in picture.size)
    small = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))
    canvas = np.zeros((SIDE, SIDE, 4), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    canvas[top : top + height, left : left + width] = small
    return canvas


class CloseUps:
    """All looks of all things as one tensor, and some grounds to put them on."""

    def __init__(self, bank: Bank, seed: int) -> None:
        self.names = list(bank.things)
        looks = [(self.names.index(name), look) for name in bank.looks for look in bank.looks[name]]
        self.looks = torch.from_numpy(np.stack([_centred(look) for _, look in looks])).permute(0, 3, 1, 2).contiguous()
        self.things = torch.tensor([thing for thing, _ in looks])
        rng = np.random.default_rng(seed)
        painted = [paint(rng, GROUND_SIDE, GROUND_SIDE) for paint in PAINTERS.values() for _ in range(GROUNDS_EACH)]
        grounds = np.clip(np.stack(painted), 0, 255).astype(np.uint8)
        self.grounds = torch.from_numpy(grounds).permute(0, 3, 1, 2).contiguous()

    def draw(self, rng: np.random.Generator, count: int, window: int, plain: float = 0.0) -> Batch:
        """`count` close-ups of window x window pixels; plain: share that keeps to the artists' own looks.

        Half of them stand on a plain colour, half on some stuff, which their caption then names too.
        """
        drawn = rng.integers(0, len(self.looks), count)
        own = rng.random(count) < plain
        which = torch.from_numpy(np.where(own, drawn - drawn % 4, drawn))  # first of 4: unvaried
        looks = self._moved(self.looks[which].float() / 255, rng, window, (0.45, 1.0))
        looks = torch.where(torch.from_numpy(own)[:, None, None, None], looks, self._tinted(looks, rng))
        colour = torch.from_numpy(rng.random((count, 3, 1, 1))).float()
        chosen = torch.from_numpy(rng.integers(0, len(self.grounds), count))
        y, x = rng.integers(0, GROUND_SIDE - window + 1, 2)
        ground = self.grounds[chosen, :, y : y + window, x : x + window].float() / 255
        bare = torch.from_numpy(rng.random(count) < 0.5)
        ground = torch.where(bare[:, None, None, None], colour, ground)
        pictures = looks[:, :3] + ground * (1 - looks[:, 3:])
        tint = 1 + 0.1 * torch.from_numpy(rng.standard_normal((count, 3, 1, 1))).float()
        tone = 0.06 * torch.from_numpy(rng.standard_normal((count, 1, 1, 1))).float()
        present = torch.zeros(count, len(self.names) + len(PAINTERS), dtype=torch.bool)
        present[torch.arange(count), self.things[which]] = True
        stuff = len(self.names) + chosen // GROUNDS_EACH
        present[torch.arange(count)[~bare], stuff[~bare]] = True
        return Batch((pictures * tint + tone).clamp_(0, 1), present, bare, torch.empty(0))

    @staticmethod
    def _tinted(looks: Tensor, rng: np.random.Generator) -> Tensor:
        """Premultiplied B x 4 x S x S with every drawing's colours mixed anew, a tenth of them to grey."""
        count = len(looks)
        mixed = np.eye(3) + rng.normal(0, 0.12, (count, 3, 3))
        mixed = np.where(rng.random((count, 1, 1)) < 0.1, 1 / 3, mixed)
        mix, shift = torch.from_numpy(mixed).float(), torch.from_numpy(rng.normal(0, 0.06, (count, 3, 1, 1))).float()
        alpha = looks[:, 3:]
        colour = torch.einsum("bij,bjhw->bihw", mix, looks[:, :3]) + shift * alpha
        return torch.cat([colour.clamp(min=0).minimum(alpha), alpha], 1)

    @staticmethod
    def _moved(looks: Tensor, rng: np.random.Generator, window: int, share: tuple[float, float]) -> Tensor:
        """Scaled to a share of the window, shifted, turned a little, mirrored, stretched and bent."""
        count = len(looks)
        size, turn = rng.uniform(*share, count), rng.normal(0, 0.12, count)
        mirror, stretch = rng.choice([-1.0, 1.0], count), np.exp(np.abs(rng.normal(0, 0.12, (2, count))))
        room = 1.05 - size
        shift_x, shift_y = rng.uniform(-1, 1, count) * room, rng.uniform(-1, 1, count) * room
        cos, sin = np.cos(turn) / size, np.sin(turn) / size
        rows = np.stack([[cos * mirror, -sin * mirror, -shift_x / size], [sin, cos, -shift_y / size]])
        theta = torch.from_numpy(rows * stretch[:, None]).permute(2, 0, 1).float()
        grid = F.affine_grid(theta, [count, 4, window, window], align_corners=False)
        field = torch.from_numpy(rng.normal(0, 0.035, (count, 2, 4, 4))).float()
        bent = F.interpolate(field, (window, window), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        return F.grid_sample(looks, grid + bent, mode="bilinear", align_corners=False)
