"""All tests. Where several processes run them, each, and what it starts, takes its share of the cores."""

import os

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # before torch is imported, which reads it then
    shares = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // shares)))
