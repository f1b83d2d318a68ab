"""What one visitor's page holds: the values of every stage, and which settings they were made from.

The design's table in code: `advance` compares the settings of each stage with those its value was made from, and
runs only the stages that differ. The values live in the page's state, never on a model.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import proxyclip_core as pc
from demo.draw import overlay as render
from proxyclip_core import settings as core
from proxyclip_core.windows import plan_windows

SHOWN_SIDE = 1600  # pixels of the longer side of what is drawn on the page; labels keep the picture's own size
# A picture of 1024 x 2048 pixels, which the largest resolution in the menu makes, is within both.
MOST_WINDOWS, MOST_IN_A_ROW, MOST_WINDOW_PIXELS = 256, 64, 2_200_000
MOST_WORDS = 2_000  # with synonyms; new ones take a CPU some 0.2 s each
MOST_SCORES = 100_000_000  # of all words at all patches: 400 MB, which one page may then hold on to
KEPT_BYTES = 200_000_000  # of one page; what is beyond is computed again instead of filling the memory


@dataclass(frozen=True)
class Settings(core.Settings):
    """Everything that a result depends on: the core's settings, and the picture's file ("": none yet)."""

    picture: str = ""

    @classmethod
    def of(cls, settings: core.Settings, picture: str) -> Settings:
        return cls(**vars(settings) | {"picture": picture})

    @property
    def savable(self) -> core.Settings:
        """Without the picture: what a file or a link may hold."""
        return core.Settings(**{entry.name: getattr(self, entry.name) for entry in fields(core.Settings)})


@dataclass(frozen=True, eq=False)
class Staged:
    """The values of one picture and one vocabulary. Large, on the CPU, and never changed once made.

    settings: all of those that the values belong to. made_from: stage -> the settings its value was made from.
    seconds: stage -> time, of the last `advance` only.
    picture (H, W, 3) and labels (H, W) are at the size they are shown; `result` has the picture's own size.
    """

    made_from: dict[str, tuple] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    picture: np.ndarray | None = None
    vocabulary: Any = None
    features: Any = None
    dense: Any = None
    logits: Any = None
    result: Any = None
    labels: np.ndarray | None = None
    device: str = ""
    settings: Settings | None = None


def advance(model: pc.ProxyCLIP, settings: Settings, before: Staged | None = None) -> Staged:
    """The staged values for `settings`, taking from `before` every one whose settings are the same.

    Raises ValueError, in words for the person, for words or a picture that cannot be used; `before` stays as it is.
    """
    run = _Run(model, settings, before or Staged())
    # Words first: a slip is found before the slow encoders have run. The other stages run where these need them.
    for name in ("vocabulary", "picture", "result", "labels"):
        run.value(name)
    made_from = {name: run.keys[name] for name in run.values}
    return Staged(made_from=made_from, seconds=run.seconds, device=str(model.device), settings=settings, **run.values)


class _Run:
    """One `advance`: the values so far, and one method a stage that is still to do."""

    def __init__(self, model: pc.ProxyCLIP, settings: Settings, before: Staged) -> None:
        self.model, self.settings, self.keys = model, settings, stage_keys(settings)
        self.values = {
            name: getattr(before, name) for name, key in self.keys.items() if before.made_from.get(name) == key
        }
        self.seconds: dict[str, float] = {}

    def value(self, name: str) -> Any:
        if name not in self.values:
            start, others = time.perf_counter(), sum(self.seconds.values())
            self.values[name] = getattr(self, f"_{name}")()
            # Without the stages that ran for this one.
            self.seconds[name] = time.perf_counter() - start - (sum(self.seconds.values()) - others)
        return self.values[name]

    def _near(self, name: str) -> Any:
        return self.value(name).to(self.model.device)

    @cached_property
    def _full_picture(self) -> np.ndarray:
        return pc.read_image(self.settings.picture)

    def _vocabulary(self) -> pc.Vocabulary:
        chosen = self.settings
        check_words(chosen.words)
        return self.model.embed(chosen.words, chosen.declared_background, chosen.templates).to("cpu")

    def _picture(self) -> np.ndarray:
        size_hw = render.shown_size(self._full_picture.shape[:2], SHOWN_SIDE)
        return render.shown_picture(self._full_picture, size_hw)

    def _features(self) -> pc.ImageFeatures:
        size_hw = self._full_picture.shape[:2]
        check_amount(size_hw, self.settings)
        layout = plan_windows(size_hw, self.settings.side, self.settings.windows)
        grid = self.model.vfm.grid_of(layout.padded_hw)  # now: a person should not wait for what is refused then
        check_scores(layout.count * grid[0] * grid[1], len(self.value("vocabulary").queries))
        return self.model.encode(self._full_picture, self.settings.side, self.settings.windows).to("cpu")

    def _dense(self) -> pc.DenseFeatures:
        return self.model.fuse(self._near("features"), self.settings.beta, self.settings.gamma).to("cpu")

    def _logits(self) -> pc.ClassLogits:
        dense, vocabulary = self._near("dense"), self._near("vocabulary")
        check_scores(count_patches(dense), len(vocabulary.queries))
        return self.model.classify(dense, vocabulary).to("cpu")

    def _result(self) -> pc.Segmentation:
        return self.model.segment(self._near("logits"), self._near("vocabulary"), self.settings.threshold)

    def _labels(self) -> np.ndarray:
        return render.shown_labels(self.value("result").labels, self.value("picture").shape[:2])


def check_amount(size_hw: tuple[int, int], settings: Settings) -> None:
    """Raises ValueError where the encoders would be busy for very long; nobody else can use them meanwhile."""
    layout = plan_windows(size_hw, settings.side, settings.windows)
    pixels = layout.window_hw[0] * layout.window_hw[1]
    in_a_row = max(len(layout.tops), len(layout.lefts))
    if layout.count > MOST_WINDOWS or in_a_row > MOST_IN_A_ROW or pixels > MOST_WINDOW_PIXELS:
        amount = f"{layout.count} windows" if layout.count > 1 else f"one window of {pixels / 1e6:.1f} million pixels"
        raise ValueError(
            f"The picture has {size_hw[1]} × {size_hw[0]} pixels. In this resolution that makes {amount}; at most "
            f"{MOST_WINDOWS} windows, {MOST_IN_A_ROW} of them in a row, or one of {MOST_WINDOW_PIXELS / 1e6:g} million "
            "pixels, can be taken. Choose a lower resolution."
        )


def check_words(words: str) -> None:
    """Raises ValueError for more words than the text tower should read while others wait."""
    count = sum(len(wordings) for wordings in pc.parse_vocabulary(words))
    if count > MOST_WORDS:
        raise ValueError(f"There are {count} words with their synonyms; at most {MOST_WORDS} can be taken at a time.")


def count_patches(dense: pc.DenseFeatures) -> int:
    """Patches of all windows."""
    return dense.tokens.shape[0] * dense.tokens.shape[2] * dense.tokens.shape[3]


def check_scores(patches: int, words: int) -> None:
    """Raises ValueError where the scores of all words at all patches would fill the memory, which others use too."""
    if patches * words > MOST_SCORES:
        raise ValueError(
            f"{words} words at {patches} patches are too many scores at a time. "
            f"Take fewer words (at most {MOST_SCORES // patches} here), a lower resolution, or a larger patch."
        )


def stage_keys(settings: Settings) -> dict[str, tuple]:
    """Stage -> all settings that its value depends on. A stage runs again when this differs."""
    s = settings
    vocabulary = (s.clip, s.words, s.background, s.templates)
    picture = (file_digest(s.picture),)
    features = (picture, s.clip, s.vfm, s.side, s.windows)
    dense = (features, s.beta, s.gamma)
    logits = (dense, vocabulary)
    result = (logits, s.threshold)
    return {
        "vocabulary": vocabulary,
        "picture": picture,
        "features": features,
        "dense": dense,
        "logits": logits,
        "result": result,
        "labels": result,
    }


def within_memory(staged: Staged, limit: int = KEPT_BYTES) -> Staged:
    """What the page keeps: all of it, or less where that would take too much memory.

    The features go first and then the full-size result; what is drawn stays.
    """
    for names in (("features", "dense"), ("result",)):
        if nbytes(staged) > limit:
            made_from = {name: key for name, key in staged.made_from.items() if name not in names}
            staged = replace(staged, made_from=made_from, **dict.fromkeys(names))
    return staged


def nbytes(value: Any) -> int:
    """Bytes of the arrays and tensors in a value and in the fields of a dataclass."""
    if is_dataclass(value):
        return sum(nbytes(getattr(value, entry.name)) for entry in fields(value))
    return int(getattr(value, "nbytes", 0))


def file_digest(path: str) -> str:
    """A short name for a file's content, so that the same picture under another path is still the same.

    Raises ValueError where the file is gone.
    """
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    except FileNotFoundError:  # uploads are deleted after a day
        raise ValueError("The picture is no longer on the server. Upload it again.") from None
