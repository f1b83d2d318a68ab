"""All tests. Where several processes run them, each, and what it starts, takes its share of the cores."""

import os

os.environ.setdefault("PROXYCLIP_REQUEST_SECONDS", "100000")  # so that no test hangs on how fast the machine is
os.environ.setdefault("PROXYCLIP_PUBLIC", "off")  # as on a page for this machine alone; test_strangers is another

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # before torch is imported, which reads it then
    shares = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // shares)))
