"""What glibc, the C library of most Linux systems, does with freed memory. Elsewhere nothing changes."""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # M_... of malloc.h
KEPT = 128_000_000  # bytes, at most
MAPPED_FROM = 32_000_000  # bytes; the most that glibc itself would rise to


def give_memory_back() -> None:
    """Returns freed memory to the system, also what lies between blocks that are in use."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def keep_freed_memory() -> None:
    """Makes this process keep some freed memory for its next allocations, in one place for all threads.

    Without it glibc returns the scores of one attention head to the system and asks for as much again a moment later,
    and each time the system clears every page. On Zen 4 that took 8 % of a picture in float32 and nothing in bfloat16:
    less than a tenth, but these lines are all that it takes, and only programs call them.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        for option, value in ((MMAP_THRESHOLD, MAPPED_FROM), (TRIM_THRESHOLD, KEPT), (ARENA_MAX, 1)):
            library.mallopt(option, value)
