"""The few models that are in memory, and where they compute."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import proxyclip_core as pc
from demo import limits
from demo.computing import alone, in_computing_thread, run_next
from demo.menus import Spec, bytes_of
from proxyclip_core.models import loading, weights

NOT_NOW = "because others wait meanwhile; Segment on the page downloads them"
NOT_FOR_VISITORS = "because visitors of this page may not have models downloaded"
POLL_SECONDS = 0.3  # between looks at how far a download is
Say = Callable[[float, str], Any]  # how far along, 0..1, and what is being done: a gr.Progress is one
KEPT = 2  # encoders of each kind, where limits.MODELS_BYTES has room for them


@dataclass(frozen=True)
class Download:
    """How far the download of a model's weights is, in bytes. total: an estimate, from the registry."""

    name: str
    done: int
    total: int


class Provider(Protocol):
    """Whatever gives models by name: `Models`, or a stand-in in tests. See there."""

    def get(self, clip: str, vfm: str, say: Say = ...) -> pc.ProxyCLIP: ...

    def ready(self, clip: str, vfm: str) -> bool: ...

    def fetch(self, clip: str, vfm: str) -> Iterator[Download]: ...

    def loaded(self) -> list[str]: ...

    def room_for(self, clip: str, vfm: str, sam: str) -> None: ...

    def on_device(
        self, function: Callable[..., Any], seconds: Callable[..., int] | None = None
    ) -> Callable[..., Any]: ...


class Models:
    """Gives models by name. Encoders load on first use, one at a time, and the last two of each kind stay."""

    def __init__(
        self,
        device: str = "auto",
        *,
        fetch: Callable[[Spec], Path] = weights.find_weights,
        find: Callable[[Spec], Path] = lambda spec: weights.find_here(spec, NOT_NOW),
        load_clip: Callable[..., pc.ClipEncoder] = loading.load_clip,
        load_vfm: Callable[..., pc.PatchEncoder] = loading.load_vfm,
        fetched: Callable[[Spec], int] | None = None,
    ) -> None:
        """device: as for `pc.load`; raises ValueError for one that is not there. The rest is for tests."""
        self.device = loading.choose_device(device)
        self._fetch, self._find, self._load_clip, self._load_vfm = fetch, find, load_clip, load_vfm
        self._fetched = fetched or fetched_bytes
        self._clips: OrderedDict[str, Any] = OrderedDict()
        self._vfms: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._sam = ""  # the one that was asked for regions last, which the core keeps
        self._downloads: dict[str, Future[Path]] = {}
        self._starting = threading.Lock()

    def on_device(self, function: Callable[..., Any], seconds: Callable[..., int] | None = None) -> Callable[..., Any]:
        """The function, run where models compute: in a computing thread, or with a lent GPU on Hugging Face ZeroGPU.

        seconds: from what the function takes to the time for which a GPU is lent; None where it needs none. What the
        function takes and gives must survive pickling then, as it runs in a process of its own. This is the only place
        that decides any of this.
        """
        # app.py imports it, where it is installed, before torch. Off ZeroGPU it lends nothing.
        spaces: Any = sys.modules.get("spaces") if limits.gpus_are_lent() else None
        if spaces:
            return spaces.GPU(duration=seconds)(function) if seconds else function
        return in_computing_thread(function, beside=self.device.type == "cpu")

    def get(self, clip: str, vfm: str, say: Say = lambda done, text: None) -> pc.ProxyCLIP:
        """The model of two encoders by their names, loaded first where needed; `say` hears what is going on.

        Nothing is downloaded: whoever asks is often the one that all others wait for. Raises ValueError for an unknown
        name and WeightsError where weights are not here or cannot be read; the models that are in memory stay then.
        For this an encoder leaves only when the new pair has loaded, and there are up to KEPT + 1 of each kind
        meanwhile: unless the memory has no room for that, see limits.MODELS_BYTES.
        """
        clip_spec, vfm_spec = pc.find_clip(clip), pc.find_vfm(vfm)
        # Both are looked for before either is loaded: neither memory nor time is spent on half a model.
        for spec, kept in ((clip_spec, self._clips), (vfm_spec, self._vfms)):
            if spec.name not in kept:
                self._find(spec)
        # The lock is taken in a computing thread, and not before: otherwise one caller could hold the lock and wait for
        # the thread, while the thread waits for the lock.
        return self.on_device(self._take_both)(clip_spec.name, vfm_spec.name, say)

    def ready(self, clip: str, vfm: str) -> bool:
        """Whether both are in memory or their weights on this machine. Raises ValueError for an unknown name."""
        specs = ((pc.find_clip(clip), self._clips), (pc.find_vfm(vfm), self._vfms))
        return all(spec.name in kept or pc.is_available(spec) for spec, kept in specs)

    def loaded(self) -> list[str]:
        """Names of what is in memory."""
        return [*dict.fromkeys((*self._clips, *self._vfms, *filter(None, [self._sam])))]

    def room_for(self, clip: str, vfm: str, sam: str) -> None:
        """Makes room for a SAM that is asked for regions beside two models, before it loads.

        Raises WeightsError where it is not here, ValueError where this machine is too small for all three.
        """
        from proxyclip_core.models import sam as sams  # slow to import

        sams.whole_file(pc.find_vfm(sam))
        most = limits.MODELS_BYTES if limits.PUBLIC else limits.MEMORY_BYTES - limits.PROCESS_BYTES
        needed, names = sum(map(bytes_of, {clip, vfm, sam})), dict.fromkeys((clip, vfm, sam))
        if needed > most:
            raise ValueError(
                f"{', '.join(names)} take {needed / 1e9:.1f} GB of memory together; here {most / 1e9:.1f} GB are for "
                "models. Choose a smaller SAM, a smaller model, or what asks no SAM."
            )
        with self._lock:
            self._make_room(clip, vfm, sam)
            self._sam = sam

    def fetch(self, clip: str, vfm: str) -> Iterator[Download]:
        """Downloads what is missing of two models, saying how far it is; loaded models go on meanwhile.

        Raises WeightsError, as `weights.find_weights`, and where visitors may have nothing downloaded.
        """
        if not limits.DOWNLOADS:
            for spec in (pc.find_clip(clip), pc.find_vfm(vfm)):
                weights.find_here(spec, NOT_FOR_VISITORS)
            return
        for spec in (pc.find_clip(clip), pc.find_vfm(vfm)):
            if not pc.is_available(spec):
                yield from self._fetch_one(spec)

    def _fetch_one(self, spec: Spec) -> Iterator[Download]:
        total = spec.megabytes * 1_000_000
        yield Download(spec.name, min(self._fetched(spec), total), total)
        running = self._download(spec)
        while not wait([running], timeout=POLL_SECONDS).done:
            yield Download(spec.name, min(self._fetched(spec), total), total)
        running.result()

    def _download(self, spec: Spec) -> Future[Path]:
        """The one download of a model's weights, whoever waits for it: begun here, unless it is under way already."""
        with self._starting:
            running = self._downloads.get(spec.name)
            if running is None or running.done():
                running = self._downloads[spec.name] = Future()
                # A daemon goes on where nobody listens any more, and neither they nor the server's end wait for it.
                threading.Thread(target=run_next, args=(running, partial(self._fetch, spec)), daemon=True).start()
            return running

    def _take_both(self, clip: str, vfm: str, say: Say) -> pc.ProxyCLIP:
        with suppress(KeyError):  # what is in memory waits for nothing that is being loaded
            pair = pc.ProxyCLIP(self._clips[clip], self._vfms[vfm])
            self._clips.move_to_end(clip)
            self._vfms.move_to_end(vfm)
            return pair
        with self._lock, alone():  # who comes in between would find neither the models nor the lock
            self._make_room(clip, vfm)
            wanted = (
                (self._clips, clip, self._loaded(self._clips, clip, self._load_clip, partial(say, 0.4))),
                (self._vfms, vfm, self._loaded(self._vfms, vfm, self._load_vfm, partial(say, 0.6))),
            )
            for kept, name, _ in wanted:  # both are there now
                kept.move_to_end(name)
                while len(kept) > KEPT:
                    kept.popitem(last=False)
            return pc.ProxyCLIP(wanted[0][2], wanted[1][2])

    def _make_room(self, *wanted: str) -> None:
        """Lets go of SAM, and of encoders, the least recently used of a kind first, until the wanted ones have room."""
        other = self._sam not in ("", *wanted)
        if other and (len(wanted) > 2 or self._bytes(*wanted, self._sam) > limits.MODELS_BYTES):
            from proxyclip_core.models import sam as sams

            sams.forget()
            self._sam = ""
        for kept in (self._vfms, self._clips):
            for name in list(kept):
                if self._bytes(*wanted) <= limits.MODELS_BYTES:
                    return
                if name not in wanted:
                    del kept[name]

    def _bytes(self, *more: str) -> int:
        return sum(map(bytes_of, {*self._clips, *self._vfms, *more}))

    def _loaded(
        self, kept: OrderedDict[str, Any], name: str, load: Callable[..., Any], say: Callable[[str], Any]
    ) -> Any:
        if name in kept:
            return kept[name]
        say(f"Loading {name} …")
        kept[name] = load(name, self.device, loading.choose_precision("auto", self.device))
        kept.move_to_end(name, last=False)  # it stays where the other one cannot be loaded, and is the first to leave
        return kept[name]


def ready_vfms(models: Provider, clip: str) -> list[str]:
    """VFMs that can be used with this CLIP without a download."""
    return [name for name in pc.VFM_MODELS if models.ready(clip, name)]


def fetched_bytes(spec: Spec) -> int:
    """Bytes of a model's weights that are in the Hugging Face cache so far, unfinished files included."""
    from huggingface_hub import constants  # slow to import

    blobs, total = Path(constants.HF_HUB_CACHE) / f"models--{spec.repo.replace('/', '--')}" / "blobs", 0
    for path in blobs.glob("*"):
        with suppress(FileNotFoundError):  # a file that is complete gets another name
            total += path.stat().st_size
    return total
