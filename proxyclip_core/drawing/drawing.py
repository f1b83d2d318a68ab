"""A result that is ready to be drawn: prepared once, drawn as often as its look changes.

Axes: K classes, H x W pixels as drawn. Colours are (K, 3) uint8 RGB in the order of the class names. Points are (x, y).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real

import numpy as np

from proxyclip_core.drawing.colours import Settled, shades_of
from proxyclip_core.drawing.label_placement import Plate, inner_points, lay, name_plates
from proxyclip_core.drawing.overlay import borders, labels_at, overlay
from proxyclip_core.drawing.patterns import hatched
from proxyclip_core.segmentation import Segmentation


@dataclass(frozen=True)
class Look:
    """How a result is drawn. opacity: in 0..1; hidden: names of classes that are not drawn.

    Raises ValueError for anything else.
    """

    opacity: float = 0.6
    outlines: bool = True
    names: bool = True
    hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        is_number = isinstance(self.opacity, Real) and not isinstance(self.opacity, bool)
        if not is_number or not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity is {str(self.opacity)[:80]!r}; expected a number from 0 to 1.")
        for name in ("outlines", "names"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {str(getattr(self, name))[:80]!r}; expected true or false.")


@dataclass(frozen=True, eq=False)
class Drawing:
    """All of a result that does not depend on how it is looked at. Make it with `prepare`.

    labels (H, W), colours (K, 3), patterns (K,).
    marks (H, W), tints (K or 2 K, 3): the labels and the colours with lines where classes are hatched.
    plates: the classes' names, the largest region's class first. coverage: name -> share of the picture, in 0..1.
    size_hw: of the picture itself.
    """

    labels: np.ndarray
    colours: np.ndarray
    patterns: np.ndarray
    marks: np.ndarray
    tints: np.ndarray
    plates: tuple[Plate, ...]
    coverage: Mapping[str, float]
    size_hw: tuple[int, int]

    @classmethod
    def prepare(cls, shape_hw: Sequence[int], result: Segmentation, beside: Drawing | None = None) -> Drawing:
        """A result that is to be drawn on a picture of this shape (H, W, ...).

        beside: the drawing of another result of the same words; what is in both has the same colour and pattern.
        """
        size_hw = shape_hw[0], shape_hw[1]
        # In as few bytes as they need: a page keeps them.
        labels = labels_at(result.labels, size_hw).astype(np.min_scalar_type(len(result.names)))
        colours, patterns = shades_of(result, beside.found() if beside else None)
        marks, tints = hatched(labels, colours, patterns)
        return cls(
            labels=labels,
            colours=colours,
            patterns=patterns,
            marks=marks,
            tints=tints,
            plates=name_plates(inner_points(labels), result.names, colours, size_hw),
            coverage=result.coverage(),
            size_hw=(result.labels.shape[0], result.labels.shape[1]),
        )

    def found(self) -> Settled:
        """The colours and the patterns of the classes that are in the picture."""
        shades = enumerate(zip(self.colours, self.patterns.tolist(), self.coverage.values()))
        return {index: (colour, pattern) for index, (colour, pattern, share) in shades if share}

    @cached_property
    def edges(self) -> np.ndarray:
        """(H, W) bool: the borders of regions."""
        return borders(self.labels)

    def draw(self, picture: np.ndarray, look: Look) -> np.ndarray:
        """The result on its picture (H, W, 3) uint8, of the shape that was asked for -> the same."""
        names = tuple(self.coverage)
        hidden = [index for index, name in enumerate(names) if name in look.hidden]
        edges = self.edges if look.outlines else None
        lines = [len(names) + index for index in hidden] if self.patterns.any() else []
        drawn = overlay(picture, self.marks, self.tints, look.opacity, edges, [*hidden, *lines])
        if not look.names:
            return drawn
        return lay(drawn, [plate for plate in self.plates if plate.label not in hidden])
