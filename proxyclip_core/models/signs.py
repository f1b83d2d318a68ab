"""What tells apart weights whose tensors have the same shapes, such as OpenAI's and LAION's.

QuickGELU or GELU is in no tensor, so weights that are read as the wrong row compute wrong numbers without an error.
Certain are the digest of a release, where open_clip knows it; the configuration that lies beside a file on the hub; and
tensors that only one release holds. The name of a file, and how fine its numbers are, are hints.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from proxyclip_core.models.registry import CLIP_MODELS, VFM_MODELS, ClipSpec, VfmSpec

# How tensors begin that only some releases hold, and how the name of the repository ends that these are of.
MARKS = {"input_resolution": ".openai", "decoder_": ".mae"}
CONFIG_FILE = "open_clip_config.json"
READ_AT_ONCE = 1 << 22  # bytes of a file whose digest is taken

Spec = TypeVar("Spec", ClipSpec, VfmSpec)
Tensors = Mapping[str, torch.Tensor]


def likely(rows: Sequence[Spec], file: Path, state: Tensors) -> tuple[list[Spec], bool]:
    """Those of some rows of one shape that a file may be of, the likeliest first; and whether there is no doubt."""
    released = [row for row in rows if is_release(row, file, state)]
    if released:
        return released, len(released) == 1
    configured = [row for row in rows if agrees(row, file)]
    if len(configured) < len(rows) and configured:
        rows = configured
    marks = _marks(state)
    told = [row for row in rows if any(map(row.repo.endswith, marks)) or is_called(file, row)]
    if told:
        return told, len(told) == 1
    finer = _is_finer_than_half(state)
    return sorted(rows, key=lambda row: row.repo.endswith(".openai") is finer), len(rows) == 1


def doubt(spec: ClipSpec | VfmSpec, file: Path, state: Tensors) -> str:
    """Why a file of the right shapes may hold other weights than its row's; "" where nothing that is known says so."""
    if is_release(spec, file, state):
        return ""
    table: Mapping[str, ClipSpec | VfmSpec] = CLIP_MODELS if isinstance(spec, ClipSpec) else VFM_MODELS
    others = [row.name for row in list(table.values()) if not row.path and is_called(file, row)]
    if others and not is_called(file, spec):
        return f"its name is that of {others[0]}"
    if not agrees(spec, file):
        return f"{CONFIG_FILE} beside it is that of another model"
    if not all(map(spec.repo.endswith, _marks(state))):
        return "it holds tensors that only another release has"
    if spec.repo.endswith(".openai") and _is_finer_than_half(state):
        return "OpenAI's were released in half precision, and these numbers are finer"
    if file.name == spec.official_file and _released_digest(spec):
        return "its content is not that of the release, by its digest"
    return ""


def is_called(file: Path, row: ClipSpec | VfmSpec) -> bool:
    """Whether the name of the file, or of a folder it is in, is that of the row's release."""
    base = row.repo.rpartition("/")[2]
    return file.name == row.official_file or (bool(base) and any(base in part for part in file.parts))


def is_release(row: ClipSpec | VfmSpec, file: Path, state: Tensors) -> bool:
    """Whether the file is a release of the row, byte for byte, as open_clip knows it.

    A file that is neither called so nor of that form is not read once more for it.
    """
    if file.name != row.official_file and not _marks(state):
        return False
    known = _released_digest(row)
    if not known:
        return False
    found = file.stat()
    return _digest(file, found.st_size, found.st_mtime_ns).startswith(known)


def agrees(row: ClipSpec | VfmSpec, file: Path) -> bool:
    """Whether open_clip's configuration beside a file is that of the row; True where there is none."""
    if not isinstance(row, ClipSpec):
        return True
    try:
        config = json.loads((file.parent / CONFIG_FILE).read_text(encoding="utf-8"))
        quick, colours = bool(config["model_cfg"].get("quick_gelu")), config.get("preprocess_cfg") or {}
        told = [(tuple(colours[name]), getattr(row, name)) for name in ("mean", "std") if name in colours]
        alike = all(max(abs(one - other) for one, other in zip(*pair, strict=True)) < 1e-3 for pair in told)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # none, or one that says nothing
        return True
    return alike and quick is ("quickgelu" in row.architecture)


def _marks(state: Tensors) -> list[str]:
    return [part for begin, part in MARKS.items() if any(name.startswith(begin) for name in state)]


def _is_finer_than_half(state: Tensors) -> bool:
    """Whether numbers are finer than half precision, in which OpenAI published a CLIP's and other people's are not."""
    projection = state.get("text_projection")
    return projection is not None and bool((projection.half() != projection).any())


def _released_digest(row: ClipSpec | VfmSpec) -> str:
    """The beginning of the SHA-256, in hexadecimal, of the row's official file; "" where open_clip does not know it."""
    if not isinstance(row, ClipSpec) or not row.official_file:
        return ""
    import open_clip  # see models/clip.py

    tags: Any = open_clip.list_pretrained_tags_by_model(row.architecture)
    urls = [str((open_clip.get_pretrained_cfg(row.architecture, tag) or {}).get("url", "")) for tag in tags]
    url = next((url for url in urls if url.endswith(f"/{row.official_file}")), "")
    # OpenAI's folder is the digest; in open_clip's own releases the name ends with how it begins.
    found = re.search(r"/([0-9a-f]{64})/[^/]*$", url) or re.search(r"-([0-9a-f]{8,})\.[a-z]+$", url)
    return found[1] if found else ""


@lru_cache(maxsize=64)
def _digest(file: Path, size: int, changed: int) -> str:
    """size, changed: part of the key under which the answer is kept."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while part := opened.read(READ_AT_ONCE):
            digest.update(part)
    return digest.hexdigest()
