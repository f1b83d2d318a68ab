"""Embeddings of words that were embedded before, so that a vocabulary costs its new words only.

A word's embedding depends on the text tower's weights, the template set, the word, and this code; a digest of the four
is its key. In memory, and in a diskcache of bounded size, in which the oldest words make room for new ones.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

import diskcache
import numpy as np
import torch

from proxyclip_core.cache import cache_folder

VERSION = 3  # raised whenever the same weights and words come to give other embeddings
BYTES_ON_DISK = 200_000_000  # 2 to 4 kB a word
WORDS_IN_MEMORY = 5_000
DISK_ERRORS = (OSError, sqlite3.Error, diskcache.Timeout)


_reader: ContextVar[tuple[str, Collection[str]]] = ContextVar("reader", default=("", ()))


@contextmanager
def private_to(reader: str, shared: Collection[str] = ()) -> Iterator[None]:
    """Within it, what is embedded is kept for this reader alone, and in memory alone: the time that a word takes tells
    nobody whether others have asked for it. reader: any name; "" for none, the usual. shared: words that are not
    private."""
    before = _reader.set((reader, shared))
    try:
        yield
    finally:
        _reader.reset(before)


def default_folder() -> Path | None:
    """Where word embeddings lie: in `cache_folder`; None where nothing is to be kept on disk."""
    folder = cache_folder()
    return folder / "embeddings" if folder else None


class WordCache:
    """Word embeddings (E,) of one text tower, in memory and, where `folder` is given, on disk.

    tower: a digest of its weights; set to another, it keeps the words of each apart.
    """

    def __init__(self, tower: str, folder: Path | None = None) -> None:
        self.tower = tower
        self.folder = folder
        self._memory: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()  # of the memory: threads share a model

    def __getstate__(self) -> dict[str, Any]:
        return {"tower": self.tower, "folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a copy begins with an empty memory

    def get(self, word: str, templates: str) -> torch.Tensor | None:
        """(E,) float32 on the CPU, or None for a word that is not known."""
        key, private = self._key(word, templates)
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        embedding = None if private else self._read(key)
        if embedding is not None:
            self._remember(key, embedding)
        return embedding

    def put(self, word: str, templates: str, embedding: torch.Tensor) -> None:
        """Keeps (E,); a disk that is full or read-only is no error, the word is then kept in memory only."""
        key, private = self._key(word, templates)
        embedding = embedding.detach().float().cpu().clone()
        self._remember(key, embedding)
        if private:
            return
        try:
            disk = self._opened()
            if disk is not None:  # an empty one is false
                disk.set(key, embedding.numpy().tobytes())
        except DISK_ERRORS:
            self._give_disk_up()

    def _key(self, word: str, templates: str) -> tuple[str, bool]:
        """The key, and whether it is one reader's alone."""
        reader, shared = _reader.get()
        private = bool(reader) and word not in shared
        parts = (str(VERSION), self.tower, templates, word, *((reader,) if private else ()))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40], private

    def _remember(self, key: str, embedding: torch.Tensor) -> None:
        with self._lock:
            self._memory[key] = embedding
            while len(self._memory) > WORDS_IN_MEMORY:
                self._memory.popitem(last=False)

    def _read(self, key: str) -> torch.Tensor | None:
        """(E,) float32; None where it is not on disk or damaged."""
        try:
            disk = self._opened()
            found = None if disk is None else disk.get(key)
        except DISK_ERRORS:
            self._give_disk_up()
            return None
        if not isinstance(found, bytes) or not found or len(found) % 4:
            return None
        array = np.frombuffer(found, dtype=np.float32).copy()
        return torch.from_numpy(array) if np.isfinite(array).all() else None

    def _opened(self) -> diskcache.Cache | None:
        return None if self.folder is None else _open(self.folder)

    def _give_disk_up(self) -> None:
        self.folder = None
        _open.cache_clear()


@lru_cache
def _open(folder: Path) -> diskcache.Cache:
    """One database for all of a process's text towers: opening it takes as long as reading some fifty words."""
    return diskcache.Cache(str(folder), size_limit=BYTES_ON_DISK, eviction_policy="least-recently-stored")
