"""The same script gives the same labels in every process on the same machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.serving import ROOT

BUSY = 2  # threads that compute beside the model

SCRIPT = """
import hashlib, json, sys, threading
import proxyclip_core as pc

def busy():
    while True:
        hashlib.sha256(bytes(10**7))  # which leaves Python's lock to others

for _ in range(int(sys.argv[1])):
    threading.Thread(target=busy, daemon=True).start()
model = pc.load("Built-in", "Built-in", templates="none")
dense = model.fuse(model.encode("assets/examples/farm.png", side=224))
result = model.classify(dense, model.embed("sky, field, pig, cow")).segment()
digests = [hashlib.sha256(array.tobytes()).hexdigest() for array in (result.labels, result.confidence)]
print(json.dumps([digests, str(model), model.computed_with()]))
"""


def told(seed: int, busy: int) -> list[object]:
    """Digests of the answer, the model and what it computes with, from a process that knows nothing of the others."""
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PROXYCLIP_CACHE": "off"}
    command = [sys.executable, "-c", SCRIPT, str(busy)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_fresh_processes_agree_also_where_one_is_busy():
    first, *others = (told(seed, busy) for seed, busy in ((0, 0), (1, 0), (2, BUSY)))
    assert "Built-in" in first[1] and others == [first, first]
