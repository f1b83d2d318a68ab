"""The few models that are in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import proxyclip_core as pc
from demo.menus import Spec, size
from demo.one_thread import in_one_thread
from proxyclip_core.models import loading, weights

POLL_SECONDS = 0.3  # between looks at how far a download is
Say = Callable[[float, str], Any]  # how far along, 0..1, and what is being done: a gr.Progress is one
KEPT = 2  # encoders of each kind; two of the largest pairs fit into 16 GB


@dataclass(frozen=True)
class Download:
    """How far the download of a model's weights is. done, total: bytes; the total is the registry's, so about."""

    name: str
    done: int
    total: int


class Models:
    """Gives models by name. Encoders load on first use, one at a time, and the last two of each kind stay."""

    def __init__(
        self,
        device: str = "auto",
        *,
        fetch: Callable[[Spec], Path] = weights.find_weights,
        load_clip: Callable[..., pc.ClipEncoder] = loading.load_clip,
        load_vfm: Callable[..., pc.PatchEncoder] = loading.load_vfm,
        fetched: Callable[[Spec], int] | None = None,
    ) -> None:
        """device: as for `pc.load`; raises ValueError for one that is not there. The rest is for tests."""
        self.device = loading.choose_device(device)
        self._where = lambda function: function
        if self.device.type == "cpu":
            self._where = in_one_thread
        self._fetch, self._load_clip, self._load_vfm = fetch, load_clip, load_vfm
        self._fetched = fetched or fetched_bytes
        self._clips: OrderedDict[str, Any] = OrderedDict()
        self._vfms: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, clip: str, vfm: str, say: Say = lambda done, text: None) -> pc.ProxyCLIP:
        """The model of two encoders by their names, loaded first where needed; `say` hears what is going on.

        Raises ValueError for an unknown name and WeightsError where weights cannot be had; what is loaded stays then.
        """
        clip_spec, vfm_spec = pc.find_clip(clip), pc.find_vfm(vfm)
        # Both fetched before either is loaded: neither memory nor time is spent on half a model. And fetched before the
        # lock is taken: models that are there can be had meanwhile.
        for done, spec, kept in ((0.0, clip_spec, self._clips), (0.2, vfm_spec, self._vfms)):
            if spec.name not in kept:
                if not pc.is_available(spec):
                    say(done, f"Downloading {spec.name} ({size(spec)}) …")
                self._fetch(spec)
        # The lock is taken in the one thread, and not before: a caller who held it while waiting for that thread would
        # never get there if the thread itself asks for a model.
        return self._where(self._take_both)(clip_spec.name, vfm_spec.name, say)

    def ready(self, clip: str, vfm: str) -> bool:
        """Whether both are in memory or their weights on this machine. Raises ValueError for an unknown name."""
        specs = ((pc.find_clip(clip), self._clips), (pc.find_vfm(vfm), self._vfms))
        return all(spec.name in kept or pc.is_available(spec) for spec, kept in specs)

    def fetch(self, clip: str, vfm: str) -> Iterator[Download]:
        """Downloads what is missing of two models, saying how far it is; loaded models go on meanwhile.

        Raises WeightsError, as `weights.find_weights`.
        """
        for spec in (pc.find_clip(clip), pc.find_vfm(vfm)):
            if not pc.is_available(spec):
                yield from self._fetch_one(spec)

    def _fetch_one(self, spec: Spec) -> Iterator[Download]:
        total = spec.megabytes * 1_000_000
        yield Download(spec.name, min(self._fetched(spec), total), total)
        with ThreadPoolExecutor(max_workers=1) as pool:
            running = pool.submit(self._fetch, spec)
            while not wait([running], timeout=POLL_SECONDS).done:
                yield Download(spec.name, min(self._fetched(spec), total), total)
            running.result()

    def _take_both(self, clip: str, vfm: str, say: Say) -> pc.ProxyCLIP:
        with self._lock:
            return pc.ProxyCLIP(
                self._take(self._clips, clip, self._load_clip, partial(say, 0.4)),
                self._take(self._vfms, vfm, self._load_vfm, partial(say, 0.6)),
            )

    def _take(self, kept: OrderedDict[str, Any], name: str, load: Callable[..., Any], say: Callable[[str], Any]) -> Any:
        if name not in kept:
            while len(kept) >= KEPT:  # before loading, so that no more than KEPT are ever in memory
                kept.popitem(last=False)
            say(f"Loading {name} …")
            kept[name] = load(name, self.device, loading.choose_precision("auto", self.device))
        kept.move_to_end(name)
        return kept[name]


def fetched_bytes(spec: Spec) -> int:
    """Bytes of a model's weights that are in the Hugging Face cache so far, unfinished files included."""
    from huggingface_hub import constants  # slow to import

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{spec.repo.replace('/', '--')}" / "blobs"
    return sum(path.stat().st_size for path in blobs.glob("*") if path.is_file())
