"""What a data set gave: the scores of the field, from areas that are summed over all pictures.

Axes: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from proxyclip_core.evaluation.benchmarks import Published


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one data set. All are in 0..1.

    title: of the set. names: of the K classes. areas: (3, K) int64 pixels predicted as, being, and rightly predicted as
    each class, of all pictures (`count_areas`). pictures: how many; expected: how many the whole set has, where that is
    known. settings, computed_with: what was asked, and with what it was computed. published: another's score for the
    same set, not computed here.
    Raises ValueError where no pixel is labelled, as there is nothing to score then.
    """

    title: str
    names: tuple[str, ...]
    areas: np.ndarray
    pictures: int
    expected: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    computed_with: Mapping[str, Any] = field(default_factory=dict)
    published: Published | None = None

    def __post_init__(self) -> None:
        if self.areas.shape != (3, len(self.names)):
            raise ValueError(f"areas has shape {self.areas.shape}; expected (3, {len(self.names)}).")
        if not self.areas[1].any():
            raise ValueError(
                f"{self.title}: there is nothing to score in {self.pictures} pictures: no pixel is labelled."
            )

    @property
    def iou(self) -> dict[str, float]:
        """Class name -> intersection over union. A class that is neither true nor predicted anywhere has none."""
        predicted, true, both = self.areas
        union = predicted + true - both
        return {self.names[index]: float(both[index] / union[index]) for index in union.nonzero()[0]}

    @property
    def miou(self) -> float:
        """Mean of `iou`; a class that is predicted but nowhere true counts as 0 in it."""
        return float(np.mean(list(self.iou.values())))

    @property
    def aacc(self) -> float:
        """Share of the labelled pixels that are right."""
        return float(self.areas[2].sum() / self.areas[1].sum())

    @property
    def macc(self) -> float:
        """Mean, over the classes that are true anywhere, of the share of their pixels that are right."""
        true = self.areas[1] > 0
        return float(np.mean(self.areas[2, true] / self.areas[1, true]))

    @property
    def whole(self) -> bool:
        """Whether all pictures of the set were scored, as far as is known."""
        return self.expected in (None, self.pictures)

    def as_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        predicted, true, both = self.areas.tolist()
        return {
            "title": self.title,
            "pictures": self.pictures,
            "pictures of the whole set": self.expected,
            "miou": self.miou,
            "aacc": self.aacc,
            "macc": self.macc,
            "published, not computed here": vars(self.published) if self.published else None,
            "iou": self.iou,
            "pixels": {
                name: {"predicted": ours, "true": theirs, "right": right}
                for name, ours, theirs, right in zip(self.names, predicted, true, both)
            },
            "settings": dict(self.settings),
            "computed_with": dict(self.computed_with),
        }
