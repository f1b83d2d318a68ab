"""What glibc, the C library of most Linux systems, does with memory that was freed. Elsewhere nothing is changed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # M_... of malloc.h
KEPT = 128_000_000  # bytes, at most
MAPPED_FROM = 32_000_000  # bytes; the most that glibc itself would rise to


def give_memory_back() -> None:
    """Hands the freed memory between what is still in use back to the system, where glibc would keep it."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def keep_freed_memory() -> None:
    """Keeps some of what is freed from now on for what comes next, in one place for all threads of this process.

    By itself glibc gives the scores of one head back to the system and asks for as much a moment later; the system then
    clears every page anew, which took up to a tenth of the time of a picture in float32.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        for option, value in ((MMAP_THRESHOLD, MAPPED_FROM), (TRIM_THRESHOLD, KEPT), (ARENA_MAX, 1)):
            library.mallopt(option, value)
