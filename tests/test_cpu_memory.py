"""The library changes nothing of the process it runs in; programs may, where their C library is glibc."""

import ctypes

import pytest
import torch

from proxyclip_core.cpu.memory import give_memory_back, keep_freed_memory
from proxyclip_core.models.loading import load_clip, load_vfm


@pytest.fixture
def options(monkeypatch) -> list[tuple[int, int]]:
    """What is set with mallopt."""

    class Library:
        def __init__(self, name: str) -> None:
            pass

        def mallopt(self, option: int, value: int) -> None:
            found.append((option, value))

        def malloc_trim(self, pad: int) -> None:
            pass

    found: list[tuple[int, int]] = []
    monkeypatch.setattr(ctypes, "CDLL", Library)
    return found


def test_loading_a_model_changes_nothing_of_the_process(options):
    threads = torch.get_num_threads()
    load_clip("Built-in", torch.device("cpu"), torch.float32)
    load_vfm("Built-in/8", torch.device("cpu"), torch.float32)
    assert options == [] and torch.get_num_threads() == threads


def test_a_program_can_keep_freed_memory(options):
    keep_freed_memory()
    assert {option for option, _ in options} == {-1, -3, -8}  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX


def test_another_c_library_is_left_alone(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    give_memory_back()
    keep_freed_memory()
