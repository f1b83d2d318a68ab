"""Where weights come from, in this order: a path that is given, the folder in PROXYCLIP_WEIGHTS, what is built in,
the Hugging Face cache and then the hub. What is in a file is read by `checkpoints`."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from queue import Empty, SimpleQueue

import torch

from proxyclip_core.models.checkpoints import WeightsError, problem_of
from proxyclip_core.models.checkpoints import ran_out_of_memory as ran_out_of_memory  # the page takes it from here
from proxyclip_core.models.registry import BUILTIN_FOLDER, ClipSpec, VfmSpec

WEIGHTS_VARIABLE = "PROXYCLIP_WEIGHTS"
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")

# A person should not wait for the retries of a download when there is no connection. Where the hub is far, its own
# variable says how long to wait.
HUB_ANSWER_SECONDS = 2.0
PATIENCE_VARIABLE = "HF_HUB_ETAG_TIMEOUT"

NUMBERS_SAMPLED = 32  # of a tensor, by `sample_of`

PACKAGES = {"diffusion": "diffusers"}  # extra of pyproject.toml -> the package that models need of it

Spec = ClipSpec | VfmSpec


def is_available(spec: Spec) -> bool:
    """Whether the weights are on this machine, in a file that looks whole, and can be used; touches no network."""
    return not missing_package(spec) and find_local(spec) is not None


def missing_package(spec: Spec) -> str:
    """What to install before the model can be used, as a sentence; "" where nothing is missing."""
    extra = spec.extra if isinstance(spec, VfmSpec) else ""
    if not extra or importlib.util.find_spec(PACKAGES[extra]):
        return ""
    package = PACKAGES[extra]
    return f"{spec.name} needs {package}, which is not installed: pip install {package}, or 'proxyclip[{extra}]'."


def find_weights(spec: Spec, given: str | os.PathLike | None = None) -> Path:
    """The file with the weights of `spec`, downloaded first where that is needed and possible.

    given: a file, or a folder that holds one, which is taken in place of everything else.
    Raises WeightsError, naming the model, what was tried, and how to get the weights or a package that it needs.
    """
    _refuse_without_package(spec)
    if given is not None:
        return _find_given(spec, Path(os.path.expanduser(given)))
    return find_local(spec) or _download(spec)


def find_here(spec: Spec, why_not_elsewhere: str) -> Path:
    """As `find_weights` without a download. Raises WeightsError, which says why the hub was not asked."""
    _refuse_without_package(spec)
    found = find_local(spec)
    if found is None:
        raise WeightsError(missing(spec, f"not asked, {why_not_elsewhere}"))
    return found


def find_local(spec: Spec) -> Path | None:
    """The file with the weights of `spec` if it is on this machine; files that are cut short are passed over."""
    return next((path for path in local_files(spec) if not problem_with(spec, path)), None)


def problem_with(spec: Spec, path: Path) -> str:
    """Why a file, of those in `local_files`, cannot be the one for `spec`, and what to do; "" where it looks whole."""
    gone = [name for name in _besides(spec) if not (path.parents[1] / name).is_file()]
    return problem_of(path) or (f"lies there without {' and '.join(gone)}. Fetch these too." if gone else "")


def _refuse_without_package(spec: Spec) -> None:
    if problem := missing_package(spec):
        raise WeightsError(problem)


def _places(spec: Spec) -> tuple[str, ...]:
    """The files of a repository of which the first that there is is taken."""
    return spec.files[:1] if _besides(spec) else spec.files


def _besides(spec: Spec) -> tuple[str, ...]:
    """The files that must be there besides."""
    return spec.files[1:] if isinstance(spec, VfmSpec) and spec.together else ()


def local_files(spec: Spec) -> list[Path]:
    """The files where the weights of `spec` are looked for, whole or not."""
    if spec.path:
        return [Path(spec.path)] if os.path.isfile(spec.path) else []
    folder = os.environ.get(WEIGHTS_VARIABLE)
    places = _candidates(spec, Path(os.path.expanduser(folder))) if folder else []
    if spec.builtin:
        places.append(BUILTIN_FOLDER / spec.builtin)
    return [path for path in places if path.is_file()] + ([] if spec.builtin else _cached(spec))


def weights_digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Tells networks apart by the names, types, shapes and every byte of their tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


@torch.no_grad()
def sample_of(tensors: Iterable[torch.Tensor]) -> bytes:
    """Some NUMBERS_SAMPLED numbers of each tensor, all on one device: other bytes where many of the weights are others.

    Joined first, so that a GPU is waited for once. The steps are odd, or they would stay in one column of a matrix.
    """
    parts = []
    for tensor in tensors:
        step = max(1, tensor.numel() // NUMBERS_SAMPLED) | 1
        parts.append(tensor.contiguous().as_strided((-(-tensor.numel() // step),), (step,)))  # half of a slice's time
    return torch.cat(parts).float().cpu().numpy().tobytes()


def _candidates(spec: Spec, folder: Path) -> list[Path]:
    """Where in PROXYCLIP_WEIGHTS a model may lie."""
    places = []
    if spec.repo:
        base = spec.repo.split("/")[1]
        for home in (folder / base, folder / spec.repo):
            places += [home / file for file in _places(spec)]
        places.append(folder / f"{base}.safetensors")
    if spec.official_file:
        places.append(folder / spec.official_file)
    if spec.builtin:
        places.append(folder / spec.builtin)
    return places


def _find_given(spec: Spec, path: Path) -> Path:
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise WeightsError(f"{path} is no file of weights for {spec.name}; expected one of {', '.join(SUFFIXES)}.")
        return path
    if path.is_dir():
        names = [*_places(spec), spec.official_file, spec.builtin]
        inside = [path / name for name in names if name] + _candidates(spec, path)
        for candidate in inside:
            if candidate.is_file():
                return candidate
        looked_for = ", ".join(name for name in names if name)
        raise WeightsError(f"The folder {path} holds no weights of {spec.name}; looked for {looked_for}.")
    raise WeightsError(f"There is no file or folder {path}, which was given for the weights of {spec.name}.")


def _cached(spec: Spec) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache  # here, because it is slow to import and often not needed

    found = (try_to_load_from_cache(spec.repo, file) for file in _places(spec))
    return [Path(path) for path in found if isinstance(path, str)]


def _damaged(spec: Spec) -> str:
    """What is wrong with the files that are there, a line each."""
    found = ((path, problem_with(spec, path)) for path in local_files(spec))
    return "".join(f"{path} {problem}\n" for path, problem in found if problem)


def _download(spec: Spec) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    if spec.path or not spec.repo:
        raise WeightsError(missing(spec, ""))
    if constants.HF_HUB_OFFLINE:
        raise WeightsError(missing(spec, "not asked, because HF_HUB_OFFLINE is set"))
    problem = _problem_of_hub(f"{constants.ENDPOINT}/{spec.repo}", _patience())
    if problem:
        raise WeightsError(missing(spec, problem))
    reason = "has none of the files"
    for file in _places(spec):
        try:
            found = Path(hf_hub_download(spec.repo, file))
            for other in _besides(spec):
                hf_hub_download(spec.repo, other)
            return found
        except LocalEntryNotFoundError as error:  # a kind of EntryNotFoundError
            reason = f"could not be reached ({_in_short(error.__cause__ or error)})"
            break
        except EntryNotFoundError:
            continue
        except HfHubHTTPError as error:
            reason = f"refused: {error}"
            break
        except Exception as error:  # noqa: BLE001  what a cut connection raises depends on the hub's library
            reason = f"the download broke off: {error}"
            break
    raise WeightsError(missing(spec, reason))


def _patience() -> float:
    """Seconds to wait for the hub's first answer."""
    try:
        return max(float(os.environ.get(PATIENCE_VARIABLE, "")), 0.1)
    except ValueError:
        return HUB_ANSWER_SECONDS


def _problem_of_hub(url: str, seconds: float) -> str:
    """Why nothing answers at the hub; "" where something does. It never hangs, as the look-up of its name may."""
    from huggingface_hub.utils import get_session

    problems: SimpleQueue[str] = SimpleQueue()
    late = f"gave no answer within {seconds:g} seconds; {PATIENCE_VARIABLE}=30 would wait longer"

    def ask() -> None:
        try:
            get_session().head(url, timeout=seconds)
            problems.put("")
        except Exception as error:  # noqa: BLE001  whatever went wrong, the hub was not reached
            problems.put(late if "Timeout" in type(error).__name__ else f"could not be reached ({_in_short(error)})")

    threading.Thread(target=ask, daemon=True).start()
    try:
        return problems.get(timeout=seconds)
    except Empty:
        return late


def _in_short(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def missing(spec: Spec, hub_answer: str) -> str:
    """What to say where weights are not to be had: what was tried, with the hub's answer, and how to get them."""
    from huggingface_hub import constants

    if not spec.repo and not spec.path:
        return f"{_damaged(spec)}The weights of {spec.name} belong to this repository but are not in {BUILTIN_FOLDER}."
    if spec.path:
        return f"{_damaged(spec)}The file of {spec.name} cannot be used any more; put it back where it was."
    folder = os.environ.get(WEIGHTS_VARIABLE)
    base, files = spec.repo.split("/")[1], " ".join((*_places(spec)[:1], *_besides(spec)))
    official = f"\nThe official {spec.official_file} in that folder is taken as well." if spec.official_file else ""
    return (
        f"{_damaged(spec)}The weights of {spec.name} ({spec.megabytes} MB, {spec.licence}) are not on this machine.\n"
        f"Tried: {WEIGHTS_VARIABLE} ({folder or 'not set'}), the cache ({constants.HF_HUB_CACHE}), "
        f"the hub ({spec.repo}: {hub_answer}).\n"
        "On a machine with a connection, run\n"
        f"  hf download {spec.repo} {files} --local-dir weights/{base}\n"
        f"then copy the folder 'weights' here and start with {WEIGHTS_VARIABLE}=weights.{official}"
    )
