"""The same work on the machines of a Ray cluster, as a Ray Data pipeline.

Each actor holds one model and has a GPU, or some cores of a CPU, on which it works as a process alone does. An actor
that dies is started again, and what it had in hand is done again but for pictures whose record was written. Ray is
imported here alone.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import torch

from proxyclip_core.folders.find import ENDINGS, Found
from proxyclip_core.folders.runner import MOST_ON_CPU, Work, map_pictures
from proxyclip_core.interrupt import checkpoint

PICTURES_A_BATCH = 16  # which an actor that dies has to do again

Outcome = TypeVar("Outcome")


def is_remote(given: str) -> bool:
    """Whether an input is a folder that Ray Data reads: s3://bucket/photos, say."""
    return "://" in given


def map_on_ray(
    job: Callable[[], Work[Any, Outcome]], pictures: Sequence[Any], address: str, folders: Sequence[str] = ()
) -> Generator[Outcome, None, None]:
    """What the work of `job` makes of the pictures: the outcomes, as they come.

    job: called once in each actor; it, pictures and outcomes are pickled. address: of a cluster, or "local".
    folders: remote ones, whose pictures come to the work as `Found` with their bytes.
    Raises ValueError where Ray is not installed, the cluster not reached, or the work failed.
    """
    ray = _ray()
    started_here = not ray.is_initialized()
    try:
        if started_here:
            ray.init(address, logging_level="warning", log_to_driver=False)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        resources = ray.cluster_resources()
        for data, folder in _data(ray, pictures, folders):
            share = _share(resources)
            done = data.map_batches(
                Actor,
                fn_constructor_args=(job, os.getcwd(), folder),
                batch_size=PICTURES_A_BATCH,
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=share.pop("actors")),
                **share,
            )
            for row in done.iter_rows():
                checkpoint()
                yield pickle.loads(row["outcome"])
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise ValueError(f"The run on Ray at {address!r} failed: {_cause(error)}") from None
    finally:
        if started_here:
            ray.shutdown()


class Actor:
    """A process of the cluster with a model of its own."""

    def __init__(self, job: Callable[[], Work[Any, Any]], home: str, folder: str) -> None:
        if os.path.isdir(home):  # so that paths mean what they mean where the command was given
            os.chdir(home)
        self.work, self.folder = job(), folder

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[bytes]]:
        pictures = (
            [Found(content, _name(path, self.folder)) for content, path in zip(batch["bytes"], batch["path"])]
            if self.folder
            else [pickle.loads(content) for content in batch["picture"]]
        )
        workers = None if self.work.device.type != "cpu" else min(torch.get_num_threads(), MOST_ON_CPU)
        outcomes = map_pictures(self.work, pictures, workers)  # a core a picture, also in a batch of few
        return {"outcome": [pickle.dumps(outcome) for outcome in outcomes]}


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError:
        raise ValueError("--ray needs Ray, which is not installed. Get it with: pip install 'proxyclip[ray]'") from None
    return ray


def _data(ray: Any, pictures: Sequence[Any], folders: Sequence[str]) -> Iterator[tuple[Any, str]]:
    """What is to be worked on, and the remote folder that it comes from, "" for none."""
    if pictures:
        yield ray.data.from_items([{"picture": pickle.dumps(picture)} for picture in pictures]), ""
    endings = [ending.removeprefix(".") for ending in ENDINGS]
    for folder in folders:
        try:
            # Without a core of its own: the actors may have them all, and reading would wait for ever.
            found = ray.data.read_binary_files(folder, include_paths=True, file_extensions=endings, num_cpus=0)
        except OSError as error:
            raise ValueError(
                f"Ray cannot read {folder}: {str(error) or type(error).__name__}. Check the address, and what the "
                "environment says of how to get there."
            ) from None
        yield found, folder


def _name(path: str, root: str) -> str:
    """Below the folder that was given; Ray gives paths without the scheme, a user and options behind a "?"."""
    parts = urlsplit(root)
    start = f"{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/") + "/"
    return path.split("://")[-1].removeprefix(start)


def _share(resources: dict[str, float]) -> dict[str, int]:
    """What each actor gets, a GPU or as many cores as a process alone uses; and how many actors there may be."""
    if gpus := int(resources.get("GPU", 0)):
        return {"num_gpus": 1, "actors": gpus}
    cores = int(resources.get("CPU", 1))
    share = min(cores, MOST_ON_CPU)
    return {"num_cpus": share, "actors": max(1, cores // share)}


def _cause(error: BaseException | None) -> str:
    """The last line of the innermost error that says anything: Ray puts empty ones of its own below others."""
    said = type(error).__name__
    while error is not None:
        said = (str(error).strip() or said).splitlines()[-1]
        error = error.__cause__
    return said
