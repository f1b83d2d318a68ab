"""What a person at the page waits for: from a click to the refined masks, through its queue and over HTTP.

The page is the real one, in this process; `RemotePage` asks as a browser does, and draws nothing.
"""

from __future__ import annotations

import atexit
import io
import secrets
from itertools import count
from pathlib import Path

from PIL import Image

from demo.models import Models
from demo.ui import LAUNCH, build_demo
from proxyclip_core import ProxyCLIP
from tests.benchmarks.jobs import Job
from tests.benchmarks.meters import MOST_RUNS
from tests.benchmarks.tasks import Call, picture
from tests.load.remote_page import RemotePage
from tests.serving import free_port

WORDS = "sky {0}, hill {0}, horse {0}, grass {0}, person {0}"


def asking(model: ProxyCLIP, job: Job, changed: set[str]) -> Call:
    """A call brings a new value for each control that is `changed`, and asks for the masks. What is uploaded, and the
    first result of all, are there before."""
    page = RemotePage(_started(model, job))
    page.open()
    page.set("refine", job.refine)
    pictures = [
        page.upload(f"{number}.jpg", _photograph(job, number)) for number in range(max(MOST_RUNS, job.repeats) + 3)
    ]
    numbers, other = count(), secrets.randbelow(10**6)  # words that no process before has kept on the disk

    def ask(changed: set[str]) -> dict[str, object]:
        number = next(numbers)
        if "picture" in changed:
            page.set("picture", pictures[number])
        if "words" in changed:
            page.set("words", WORDS.format(other + number))
        if "beta" in changed:
            page.do("beta", "input", 1 + number / 100)
        else:
            page.do("segment", "click")
        if said := page.said() or next((one.said for one in page.made if one.outcome != "answered"), ""):
            raise RuntimeError(said)
        return {}

    ask({"picture", "words"})
    return lambda: ask(changed)


def _started(model: ProxyCLIP, job: Job) -> str:
    """The address of the page with a model in memory, until this process ends."""
    models = Models(
        job.device,
        find=lambda spec: Path(),
        load_clip=lambda *given: model.clip,
        load_vfm=lambda *given: model.vfm,
    )
    models.get(job.clip, job.vfm)
    page = build_demo(models, job.clip, job.vfm)
    _, address, _ = page.launch(server_port=free_port(), prevent_thread_lock=True, quiet=True, **LAUNCH)
    atexit.register(page.close, verbose=False)
    return address


def _photograph(job: Job, number: int) -> bytes:
    pixels, file = picture(job.size_hw), io.BytesIO()
    pixels[:8, :8] = number
    Image.fromarray(pixels).save(file, "jpeg", quality=95)
    return file.getvalue()
