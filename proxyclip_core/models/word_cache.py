"""Embeddings of words that were embedded before, so that a vocabulary costs its new words only.

A word's embedding depends on the text tower's weights, the template set and the word; a digest of the three is its
key and its file name. Files are plain .npy arrays, written whole or not at all, and a damaged one is passed over.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

CACHE_VARIABLE = "PROXYCLIP_CACHE"
# 2 to 4 KB each. On a public page anyone can type words: past the limit new ones are kept in memory only.
WORDS_ON_DISK = 50_000
WORDS_IN_MEMORY = 5_000


def default_folder() -> Path | None:
    """PROXYCLIP_CACHE where it is set, else the user's own cache folder; None for a user without a home."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(os.path.expanduser(chosen)) / "words"
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(home) / "proxyclip" / "words"


def fingerprint(network: nn.Module, name: str) -> str:
    """A digest of an open_clip.CLIP's text tower: name, precision, and weights that any training changes."""
    digest = hashlib.sha256(f"{name} {network.text_projection.dtype}".encode())
    for tensor in (network.text_projection, network.ln_final.weight, network.positional_embedding):
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


class WordCache:
    """Word embeddings (E,) of one text tower, in memory and, where `folder` is given, on disk."""

    def __init__(self, tower: str, folder: Path | None = None) -> None:
        self.tower = tower
        self.folder = folder
        self._memory: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()  # of the memory: visitors share a model
        self._room: int | None = None  # files that may still be written; counted at the first write

    def get(self, word: str, templates: str) -> torch.Tensor | None:
        """(E,) float32 on the CPU, or None for a word that is not known."""
        key = self._key(word, templates)
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        embedding = _read(self.folder / f"{key}.npy") if self.folder else None
        if embedding is not None:
            self._remember(key, embedding)
        return embedding

    def put(self, word: str, templates: str, embedding: torch.Tensor) -> None:
        """Keeps (E,); a disk that is full or read-only is no error, the word is then kept in memory only."""
        key = self._key(word, templates)
        embedding = embedding.detach().float().cpu().clone()
        self._remember(key, embedding)
        folder = self.folder
        if folder is None:
            return
        try:
            self._write(folder, key, embedding)
        except OSError:
            self.folder = None

    def _key(self, word: str, templates: str) -> str:
        return hashlib.sha256("\0".join((self.tower, templates, word)).encode()).hexdigest()[:40]

    def _remember(self, key: str, embedding: torch.Tensor) -> None:
        with self._lock:
            self._memory[key] = embedding
            while len(self._memory) > WORDS_IN_MEMORY:
                self._memory.popitem(last=False)

    def _write(self, folder: Path, key: str, embedding: torch.Tensor) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self._room is None:
            self._room = WORDS_ON_DISK - sum(1 for _ in folder.iterdir())
        if self._room <= 0:
            return
        self._room -= 1
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.save(file, embedding.numpy())
        os.replace(temporary, folder / f"{key}.npy")


def _read(path: Path) -> torch.Tensor | None:
    """(E,) float32; None where there is no file or a damaged one, for which numpy raises errors of many kinds."""
    try:
        array = np.load(path, allow_pickle=False)
    except Exception:  # noqa: BLE001
        return None
    whole = isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype == np.float32
    return torch.from_numpy(array) if whole and np.isfinite(array).all() else None
