"""Every bound of the public page, in one place. The environment overrides each: PROXYCLIP_MOST_WORDS=500, say.

One visitor's work must not take the machine from the others: what takes too long or too much memory is refused with a
sentence that says what would do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

import proxyclip_core as pc
from proxyclip_core.windows import WindowLayout, plan_windows


def _limit(name: str, usual: int) -> int:
    return int(os.environ.get(f"PROXYCLIP_{name}", usual))


def _switch(name: str, usual: bool) -> bool:
    said = os.environ.get(f"PROXYCLIP_{name}", "").strip().lower()
    return said in ("1", "on", "yes", "true") if said else usual


def gpus_are_lent() -> bool:
    """Whether this is Hugging Face ZeroGPU, where a GPU is lent for a while to a process of its own."""
    return "SPACES_ZERO_GPU" in os.environ


CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # version 2, version 1


def machine_bytes() -> int:
    """The memory of this machine, or what its container may take of it."""
    said = [16 * 2**30]  # where neither tells, as on Windows
    for file in CGROUPS:
        with suppress(OSError, ValueError):
            said.append(int(Path(file).read_text(encoding="ascii")))
    with suppress(AttributeError, OSError, ValueError):
        said[0] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(said)


# Whether strangers come. `app.py` says that they do not where the page is for this machine alone.
PUBLIC = _switch("PUBLIC", True)
DOWNLOADS = _switch("DOWNLOADS", not PUBLIC)  # whether visitors may have the weights of models downloaded

# What is asked.
UPLOAD_MEGABYTES = _limit("UPLOAD_MEGABYTES", 20)
MOST_CHARACTERS = _limit("MOST_CHARACTERS", 20_000)  # of the words: several times the longest benchmark's
WORDS_FILE_BYTES = _limit("WORDS_FILE_BYTES", 500_000)
SETTINGS_FILE_BYTES = _limit("SETTINGS_FILE_BYTES", 100_000)
REQUEST_BYTES = _limit("REQUEST_BYTES", 4_000_000)  # of a request that is no upload; a page's values are far less
STALLED_SECONDS = _limit("STALLED_SECONDS", 30)  # that a request may pause on its way
LEAST_BYTES_A_SECOND = _limit("LEAST_BYTES_A_SECOND", 5_000)  # of a request on its way, after as long
MOST_WORDS = _limit("MOST_WORDS", 2_000)  # with synonyms; new ones take a CPU some 0.2 s each
MOST_SEEDS = _limit("MOST_SEEDS", 4)  # patches that are looked at together
MOST_SOURCES = _limit("MOST_SOURCES", 4)  # maps side by side for one seed

# Time. What is estimated to take longer is refused, with what would fit; and none goes on for twice as long.
REQUEST_SECONDS = _limit("REQUEST_SECONDS", 60 if PUBLIC else 600)
AT_ONCE = _limit("AT_ONCE", 4)  # visitors of whom a request is under way, and a quick one; at most two compute
LOOKS_AT_ONCE = _limit("LOOKS_AT_ONCE", 3)  # beside these, visitors who look at a result of theirs in another way
TYPING_SECONDS = _limit("TYPING_SECONDS", 2)  # what is estimated to take longer waits for Enter
UNASKED_SECONDS = _limit("UNASKED_SECONDS", 10)  # likewise, after a menu, for the button
# A picture of 1024 x 2048 pixels, which the largest resolution in the menu makes, is within all three.
MOST_WINDOWS = _limit("MOST_WINDOWS", 256)
MOST_IN_A_ROW = _limit("MOST_IN_A_ROW", 64)
MOST_WINDOW_PIXELS = _limit("MOST_WINDOW_PIXELS", 2_200_000)
MOST_PAIRS = _limit("MOST_PAIRS", 1_000_000_000)  # of patches that attend to each other across windows: some 10 s
MOST_REFINED = {  # pixels, some 10 s for each method on two cores
    "pixels": _limit("MOST_PIXELS_REFINED", 4_000_000),
    "pixels+": _limit("MOST_PIXELS_SOLVED", 250_000),
}
FILES_SECONDS = _limit("FILES_SECONDS", 3000)  # uploads and results stay as long, and FILES_LOOK more at most
LEAST_FREE_BYTES = _limit("LEAST_FREE_BYTES", 500_000_000)  # on the disk; with less, no more uploads are taken
FILES_LOOK = _limit("FILES_LOOK", 60)  # between two looks at what is to go
MOST_SAVED_PIXELS = _limit("MOST_SAVED_PIXELS", 50_000_000)  # of a picture whose result is downloaded
MOST_PACKED_PIXELS = _limit("MOST_PACKED_PIXELS", 2_000_000_000)  # of all its masks and cut-outs: some 20 s
WAITING = _limit("WAITING", 32)  # requests in the queue before the page says that it is full
WAITING_EACH = _limit("WAITING_EACH", 2)  # of one visitor's; from one address, half of all
YIELDS = _limit("YIELDS", 20)  # seconds by which a request is put off for each that it takes, while shorter ones come
MOST_YIELDS = _limit("MOST_YIELDS", 30)  # seconds, for however long it takes
MOST_OPEN = _limit("MOST_OPEN", 256)  # requests and streams of answers of one address at a time
UNREAD = _limit("UNREAD", 200)  # messages for a visitor that were not fetched, before no more requests are taken
UNREAD_SECONDS = _limit("UNREAD_SECONDS", 600)  # after which answers are forgotten that were not fetched
MOST_IN_AN_ID = 200  # characters of what a client calls its session, an upload or an event
GPU_SECONDS = _limit("GPU_SECONDS", 60)  # that Hugging Face ZeroGPU is asked for one event, at most

# Memory. Of all that there is the page takes seven tenths: 12 GB of 16. The models of earlier requests leave where
# those of a new one would take more than two thirds of that, and what visitors keep takes a quarter at most.
MEMORY_BYTES = _limit("MEMORY_BYTES", machine_bytes() * 7 // 10)
MODELS_BYTES = _limit("MODELS_BYTES", MEMORY_BYTES * 2 // 3)
PROCESS_BYTES = 1_000_000_000  # of Python, its libraries, and what requests compute with: one, or two quick ones
# SESSIONS visitors may each keep KEPT_BYTES, and all together ALL_KEPT_BYTES; who comes after them takes the place of
# the one who was away longest. The features of the result on the page must fit beside what is drawn, so that no slider
# ever runs an encoder. At all numbered resolutions of the menu they do: the largest, of LAION H/14 and DINO B/8 in 136
# windows, take 570 MB in 16 bits. Those of a large picture "as it is", or SAM's queries, keys and values, may not; then
# it is refused.
SESSIONS = _limit("SESSIONS", 64)
KEPT_BYTES = _limit("KEPT_BYTES", 640_000_000)
ALL_KEPT_BYTES = _limit("ALL_KEPT_BYTES", min(8_000_000_000, MEMORY_BYTES // 4))
# Of KEPT_BYTES, for what is not on the visitor's page any more, except what encoders made of its picture. Where
# strangers come it is their share of half of ALL_KEPT_BYTES, which leaves room for what is on their pages.
SPARE_BYTES = _limit("SPARE_BYTES", ALL_KEPT_BYTES // (2 * SESSIONS) if PUBLIC else KEPT_BYTES)
DRAWN_BYTES = 40_000_000  # what a result takes as it is drawn, at most
WIDE_BYTES = _limit("WIDE_BYTES", 300_000_000)  # of one encoder's float32 features; larger ones are kept in 16 bits
KEPT_SECONDS = _limit("KEPT_SECONDS", 1800)  # without a new result
MOST_SCORES = _limit("MOST_SCORES", 100_000_000)  # of all words at all patches: 400 MB while they are read out


def check_features(model: pc.ProxyCLIP, layout: WindowLayout, settings: pc.Settings) -> None:
    """Raises ValueError where the features of both encoders could not be kept: then every slider would encode anew."""
    encoders: list[Any] = [model.clip]
    if settings.fusion == "proxy" and model.vfm is not None:
        encoders.append(model.vfm.with_facet(settings.facet))
    total = 0
    for encoder in encoders:
        height, width = encoder.grid_of(layout.padded_hw)
        size = layout.count * height * width * encoder.width * 4
        total += size if encoder.dtype == torch.float32 and size <= WIDE_BYTES else size // 2
    room = KEPT_BYTES - DRAWN_BYTES
    if total > room:
        raise ValueError(
            f"In this resolution {' and '.join(encoder.name for encoder in encoders)} would say "
            f"{total / 1e6:.0f} MB about the picture; at most {room / 1e6:.0f} MB can be kept. Choose a "
            "lower resolution, a larger patch or a smaller model."
        )


def check_amount(size_hw: tuple[int, ...], settings: pc.Settings) -> None:
    """Raises ValueError where the encoders would be busy for very long, for which others wait."""
    layout = plan_windows((size_hw[0], size_hw[1]), settings.side, settings.windows)
    pixels = layout.window_hw[0] * layout.window_hw[1]
    in_a_row = max(len(layout.tops), len(layout.lefts))
    if layout.count > MOST_WINDOWS or in_a_row > MOST_IN_A_ROW or pixels > MOST_WINDOW_PIXELS:
        amount = f"{layout.count} windows" if layout.count > 1 else f"one window of {pixels / 1e6:.1f} million pixels"
        raise ValueError(
            f"The picture has {size_hw[1]} × {size_hw[0]} pixels. In this resolution that makes {amount}; at most "
            f"{MOST_WINDOWS} windows, {MOST_IN_A_ROW} of them in a row, or one of "
            f"{MOST_WINDOW_PIXELS / 1e6:g} million pixels, can be taken. Choose a lower resolution."
        )


def check_characters(words: str) -> None:
    """Raises ValueError for a text that takes long to be read at all."""
    if len(words) > MOST_CHARACTERS:
        raise ValueError(f"The words have {len(words)} characters; at most {MOST_CHARACTERS} can be taken.")


def check_words(classes: Sequence[Sequence[str]]) -> None:
    """Raises ValueError for more words than the text tower should read while others wait."""
    count = sum(len(wordings) for wordings in classes)
    if count > MOST_WORDS:
        raise ValueError(f"There are {count} words with their synonyms; at most {MOST_WORDS} can be taken at a time.")


def check_scores(patches: int, words: int) -> None:
    """Raises ValueError where the scores of all words at all patches would fill the memory, which others use too."""
    if patches * words > MOST_SCORES:
        raise ValueError(
            f"{words} words at {patches} patches are too many scores at a time. "
            f"Take fewer words (at most {MOST_SCORES // patches} here), a lower resolution, or a larger patch."
        )


def check_reach(features: pc.ImageFeatures, settings: pc.Settings) -> None:
    """Raises ValueError where attention across windows would take very long."""
    if features.vfm is None or settings.fusion != "proxy" or settings.reach == "windows":
        return
    pairs = (features.vfm.shape[0] * features.vfm.shape[2] * features.vfm.shape[3]) ** 2
    if pairs > MOST_PAIRS:
        raise ValueError(
            f"Across all windows {pairs / 1e9:.1f} billion pairs of patches would attend to each other; at most "
            f"{MOST_PAIRS / 1e9:g} billion can be taken. Let patches attend to their own window, or choose a lower "
            "resolution or a larger patch."
        )


def check_saved(size_hw: tuple[int, ...], pictures: int = 1) -> None:
    """Raises ValueError where packing the files of a result would take very long. pictures: how many are made of it."""
    pixels = size_hw[0] * size_hw[1]
    if pixels > MOST_SAVED_PIXELS:
        raise ValueError(
            f"The picture has {pixels / 1e6:.1f} million pixels; results of at most {MOST_SAVED_PIXELS / 1e6:g} "
            "million can be downloaded here. Give a smaller picture, or run `proxyclip segment` on your own machine."
        )
    if pixels * pictures > MOST_PACKED_PIXELS:
        raise ValueError(
            f"{pictures} pictures of {pixels / 1e6:.1f} million pixels each are too much for one download; at most "
            f"{MOST_PACKED_PIXELS // pixels} can be had. Untick the masks and cut-outs, or give a smaller picture."
        )


def check_refined(size_hw: tuple[int, ...], words: int, method: str) -> None:
    """Raises ValueError where a refinement at the picture's pixels would take very long, or much memory."""
    pixels, most = size_hw[0] * size_hw[1], MOST_REFINED.get(method)
    if most is None:
        return
    if pixels > most:
        raise ValueError(
            f"The picture has {pixels / 1e6:.1f} million pixels; the refinement {method!r} takes at most "
            f"{most / 1e6:g} million here. Give a smaller picture, or choose another refinement."
        )
    if pixels * words > MOST_SCORES:
        raise ValueError(
            f"{words} words at {pixels} pixels are too many scores to refine at a time; take at most "
            f"{MOST_SCORES // pixels} words, a smaller picture, or no refinement."
        )
