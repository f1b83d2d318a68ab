"""Models that are no rows of the tables yet: weights of one's own, and what open_clip and timm know by name.

    "/path/ViT-B-16.pt"                                a file, or a folder with one; its row is found by its tensors
    "OpenAI B/16=/path/ViT-B-16.pt"                    the same, read as this row
    "open_clip:ViT-B-16-quickgelu/metaclip_fullcc"     a model and its weights; "open_clip:ViT-B-16=/path" of one's own
    "timm:vit_small_patch16_224.augreg_in21k"          likewise

Each becomes a row of its table, once. They name files and downloads, so they are for whoever runs the program: the page
looks up what its visitors ask for in the tables, and no further.
"""

from __future__ import annotations

import difflib
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from proxyclip_core.models.building import build_vfm_network, check_clip, check_vfm
from proxyclip_core.models.checkpoints import WeightsError, read_weights
from proxyclip_core.models.registry import CLIP_FILES, CLIP_MODELS, VFM_MODELS, ClipSpec, VfmSpec, find_clip, find_vfm
from proxyclip_core.models.shapes import differences, facts_of
from proxyclip_core.models.signs import likely
from proxyclip_core.models.vit import Network
from proxyclip_core.models.weights import SUFFIXES

OPEN_CLIP, TIMM = "open_clip:", "timm:"
# In a folder, the preferred one first; the last one is Stable Diffusion's, which has others beside it.
FILES = (*CLIP_FILES, "model.safetensors", "pytorch_model.bin", "unet/diffusion_pytorch_model.safetensors")

Spec = TypeVar("Spec", ClipSpec, VfmSpec)
_lock = threading.Lock()


class WeightsWarning(UserWarning):
    """Weights were read in a way that may not be what was meant, which the message says."""


def register_clip(spec: ClipSpec) -> ClipSpec:
    """Makes a CLIP of one's own a row of CLIP_MODELS; returns it.

    Raises ValueError for an architecture that cannot be used, and for a name that another row has.
    """
    check_clip(spec)
    return _added(CLIP_MODELS, spec)


def register_vfm(spec: VfmSpec) -> VfmSpec:
    """Makes a VFM of one's own a row of VFM_MODELS, as `register_clip`."""
    check_vfm(spec)
    return _added(VFM_MODELS, spec)


def _added(table: dict[str, Spec], spec: Spec) -> Spec:
    if not spec.name.strip():
        raise ValueError("The row has no name.")
    if not spec.path and not spec.builtin and spec.repo.count("/") != 1:
        raise ValueError(
            f"{spec.name}: repo is {spec.repo!r}; expected 'owner/name' on the Hugging Face hub, or a path."
        )
    with _lock:
        if table.setdefault(spec.name, spec) != spec:
            raise ValueError(f"There is another row called {spec.name!r} already; give yours another name.")
    return table[spec.name]


def clip_named(name: str) -> ClipSpec:
    """The row of a CLIP, which is made where the name is one of those above. Raises ValueError for any other."""
    if name in CLIP_MODELS:
        return CLIP_MODELS[name]
    model, path = _split(name, OPEN_CLIP, lambda model: model in CLIP_MODELS)
    if path is None:
        return _added(CLIP_MODELS, _of_open_clip(model)) if model.startswith(OPEN_CLIP) else _known(find_clip, name)
    file = _file_at(path)
    if model.startswith(OPEN_CLIP):
        row = _of_open_clip(model, own=True)
    else:
        row = CLIP_MODELS[model] if model else _matching(file, list(CLIP_MODELS.values()), check_clip)
    return _added(CLIP_MODELS, replace(_own(row, file, CLIP_MODELS), trained_on=""))


def vfm_named(name: str, patch: int | None = None) -> VfmSpec:
    """The row of a VFM, as `clip_named`. patch: of the family that the name is of, or that a file may be read as."""
    families = {spec.family for spec in list(VFM_MODELS.values())}
    if name in VFM_MODELS or name in families:
        return find_vfm(name, patch)
    model, path = _split(name, TIMM, lambda model: model in VFM_MODELS or model in families)
    if path is None:
        return _added(VFM_MODELS, _of_timm(model)) if model.startswith(TIMM) else _known(find_vfm, name)
    file = _file_at(path)
    if model.startswith(TIMM):
        row = _of_timm(model, own=True)
    elif model:
        row = find_vfm(model, patch)
    else:
        rows = [spec for spec in list(VFM_MODELS.values()) if patch in (None, spec.patch) and not spec.together]
        row = _matching(file, rows, check_vfm)
    own = _own(row, file, VFM_MODELS)
    return _added(VFM_MODELS, replace(own, family=own.name))


def _split(name: str, prefix: str, is_row: Callable[[str], bool]) -> tuple[str, Path | None]:
    """ "ROW=PATH", "PATH" or a name -> the row or name, "" for none, and the path."""
    model, _, path = name.partition("=")
    if path and (model.startswith(prefix) or is_row(model)):
        return model, Path(os.path.expanduser(path))
    place = Path(os.path.expanduser(name))
    if not name.startswith(prefix) and (place.suffix in SUFFIXES or place.is_dir()):
        return "", place
    return name, None


def _known(find: Callable[[str], Spec], name: str) -> Spec:
    """Raises ValueError as the tables do, with what else a name may be."""
    try:
        return find(name)
    except ValueError as error:
        prefix = f"{OPEN_CLIP}MODEL/TAG" if find is find_clip else f"{TIMM}MODEL.TAG"
        raise ValueError(f"{error} It may also be a file of weights ({', '.join(SUFFIXES)}), or {prefix!r}.") from None


def _file_at(path: Path) -> Path:
    if path.is_dir():
        inside = [path / file for file in FILES if (path / file).is_file()]
        inside += sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if not inside:
            raise WeightsError(f"The folder {path} holds no file of weights ({', '.join(SUFFIXES)}).")
        return inside[0].absolute()
    if not path.is_file():
        raise WeightsError(f"There is no file or folder {path}.")
    return path.absolute()


def _own(row: Spec, file: Path, table: dict[str, Spec]) -> Spec:
    """A row for a file of one's own that is read as `row`."""
    note = f"Weights of your own, read as {row.name}. {'' if row.builtin else row.note}".rstrip()
    for parts in range(1, len(file.parts) + 1):  # as much of the path as tells it from other files
        name = f"{'/'.join(file.parts[-parts:])} as {row.name}"
        if name not in table or table[name].path == str(file):
            break
    return replace(row, name=name, path=str(file), licence="your file's", note=note)


def _matching(file: Path, rows: Sequence[Spec], network_of: Callable[[Spec], Network]) -> Spec:
    """The row whose network has tensors of these shapes. Raises WeightsError that says how the nearest differ."""
    state = read_weights(file)
    own, candidates = facts_of(state), {row.name: row for row in rows if not row.path}
    facts = {name: facts_of(network_of(row).state_dict()) for name, row in candidates.items()}
    fitting = [candidates[name] for name, found in facts.items() if found == own]
    if not own or not fitting:
        how = "'open_clip:MODEL=PATH'" if isinstance(rows[0], ClipSpec) else "'timm:MODEL=PATH'"
        raise WeightsError(
            f"{file} fits no known model. {differences(own, facts)} If you know its architecture, say {how}."
        )
    (chosen, *rest), is_told = likely(fitting, file, state)
    others = [row.name for row in rest]
    if others and not is_told:
        activation = " with QuickGELU" if "quickgelu" in chosen.architecture else ""
        warnings.warn(
            f"{file.name} fits {chosen.name}, and {', '.join(others)} just as well; it is read as {chosen.name}"
            f"{activation}, which is a guess. If that is wrong, say which: '{others[0]}={file}'.",
            WeightsWarning,
            stacklevel=2,
        )
    return chosen


def _of_open_clip(name: str, own: bool = False) -> ClipSpec:
    """The row of "open_clip:MODEL/TAG". own: for weights of one's own, so there need be none on the hub, and no tag."""
    import open_clip  # see models/clip.py

    model, _, tag = name.removeprefix(OPEN_CLIP).partition("/")
    if model not in open_clip.list_models():
        raise ValueError(
            f"open_clip knows no model {model!r}. The closest: {_closest(model, open_clip.list_models())}."
        )
    if own and not tag:
        return _measured(ClipSpec(name, model, "", "", 0), check_clip)
    tags = open_clip.list_pretrained_tags_by_model(model)
    if tag not in tags:
        known = ", ".join(tags) or f"none; give your own as '{OPEN_CLIP}{model}=PATH'"
        raise ValueError(f"open_clip knows no weights {tag!r} of {model}. Known: {known}.")
    found = open_clip.get_pretrained_cfg(model, tag)
    if bool(found.get("quick_gelu")) != bool(open_clip.get_model_config(model).get("quick_gelu")):
        raise ValueError(
            f"The weights {tag!r} were trained with QuickGELU, which {model} does not have, so it would compute wrong "
            f"numbers. Take '{OPEN_CLIP}{model}-quickgelu/{tag}'."
        )
    repo, file = _place(found.get("hf_hub", "")), found.get("url", "").rpartition("/")[2]
    if not repo and not own:
        raise ValueError(
            f"The weights {tag!r} are on no hub. Fetch {found['url']}, then say '{OPEN_CLIP}{model}=PATH'."
        )
    spec = ClipSpec(name, model, repo, f"see huggingface.co/{repo}", 0, found["mean"], found["std"], official_file=file)
    return _measured(spec, check_clip)


def _of_timm(name: str, own: bool = False) -> VfmSpec:
    """The row of "timm:MODEL.TAG"; without a tag, of timm's default for the model. own: as in `_of_open_clip`."""
    import timm

    model = name.removeprefix(TIMM)
    if not timm.is_model(model):
        raise ValueError(f"timm knows no model {model!r}. The closest: {_closest(model, timm.list_models())}.")
    try:
        found = timm.models.get_pretrained_cfg(model)
    except RuntimeError:
        tags = timm.list_pretrained(f"{model.partition('.')[0]}.*")
        raise ValueError(f"timm knows no weights {model!r}. Known: {', '.join(tags) or 'none'}.") from None
    repo = _place(found.hf_hub_id or "") if found else ""
    if not repo and not own:
        raise ValueError(f"The weights of {model} are on no hub. Give your own as '{TIMM}{model}=PATH'.")
    if found and "quickgelu" not in model and "QuickGELU" in str(found.notes):
        quick = model.replace("_clip_", "_clip_quickgelu_")
        raise ValueError(
            f"The weights of {model} were trained with QuickGELU, which it does not have. Take '{TIMM}{quick}'."
        )
    more: dict[str, Any] = {"mean": found.mean, "std": found.std} if found else {}
    more |= {"positions": "native", "input_side": 1024} if model.startswith("samvit") else {"positions": "timm"}
    licence = found.license if found and found.license else f"see huggingface.co/{repo}"
    spec = _measured(VfmSpec(name, name, 0, model, repo, licence, 0, **more), check_vfm)
    with torch.device("meta"):
        return replace(spec, patch=build_vfm_network(spec).patch_embed.proj.kernel_size[0])


def _place(hub: str) -> str:
    """ "timm/name/" -> "timm/name"."""
    return "/".join(hub.strip("/").split("/")[:2])


def _measured(spec: Spec, check: Callable[[Spec], Network]) -> Spec:
    """With the size of its weights in float32."""
    count = sum(tensor.numel() for tensor in check(spec).state_dict().values())
    return replace(spec, megabytes=round(count * 4 / 1e6))


def _closest(name: str, known: Iterable[str]) -> str:
    return ", ".join(difflib.get_close_matches(name, list(known), n=5, cutoff=0.0))
