"""proxyclip_core.cpu.memory: what was freed is there again at once, and no system is asked for what it lacks."""

import ctypes
import subprocess
import sys

import pytest

from proxyclip_core.cpu.memory import give_memory_back, keep_freed_memory

# What the layers of a network take and free again, in a thread, as on a page.
PROGRAM = """
import resource, threading, torch
from proxyclip_core.cpu.memory import keep_freed_memory

keep_freed_memory()

def run_layers():
    for _ in range(20):
        together = torch.ones(1765, 2304)
        query = together[:, :768].contiguous()
        key = query + 1
        for _ in range(6):
            weights = (query[:441] @ key.T).softmax(dim=-1)
            weights @ key
        del weights
        hidden = torch.ones(512, 3072) + torch.ones(512, 3072)
        together = query = key = hidden = None

def count():
    run_layers()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run_layers()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=count)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="changes what glibc does, which is Linux's")
def test_freed_memory_is_taken_again_without_asking_the_system():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10_000  # pages that the system cleared anew; 24,000 without it


def test_another_c_library_is_left_alone(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    give_memory_back()
    keep_freed_memory()
