"""What the menus say: which models are here, what would be downloaded, the licences; and the names of results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import proxyclip_core as pc
from demo import limits, presets
from proxyclip_core.models.weights import missing_package

Spec = pc.ClipSpec | pc.VfmSpec
CURRENT = "The current result"
PAPER, REFINED = "As in the paper", "Refined"  # the page's models by either preset
ALL_HEADS, HEAD = "mean of its heads", "head "  # of CLIP's own attention
ALONE = {"CLIP alone": "clip", "CLIP's values alone": "values"}  # results without a VFM -> fusion
PHOTO_MODELS = ("OpenAI B/16", "DINO B/8")  # what the paper takes, and small
SAM_BYTES = 2_400_000_000  # that L and H compute with by the shapes of their blocks; 1.8 GB was measured for B
OWN_ATTENTION = "CLIP's own attention"
_FACET = pc.SETTINGS["facet"]
# Of a VFM's patches, as its name goes on: "DINO B/8, keys". The paper's go without saying.
FACETS = {f", {label}": str(value) for label, value in _FACET.choices if value != _FACET.default}


def clip_choices() -> list[tuple[str, str]]:
    """(what the menu says, name) of every CLIP."""
    return [(f"{spec.name} · {state(spec)}", spec.name) for spec in pc.CLIP_MODELS.values()]


def family_choices() -> list[tuple[str, str]]:
    """(what the menu says, family) of every VFM. A family is here when one of its patch sizes is."""
    families: dict[str, list[pc.VfmSpec]] = {}
    for spec in pc.VFM_MODELS.values():
        families.setdefault(spec.family, []).append(spec)
    choices = []
    for family, rows in families.items():
        row = next(filter(pc.is_available, rows), rows[0])
        limit = f" · {row.licence}" if "NC" in row.licence else ""
        choices.append((f"{family} · {state(row)}{limit}", family))
    return choices


def patch_choices(family: str) -> list[tuple[str, int]]:
    """(what the menu says, patch size) of a family, smallest first."""
    sizes = sorted(spec.patch for spec in pc.VFM_MODELS.values() if spec.family == family)
    return [(f"{size} × {size}", size) for size in sizes]


def vfm_name(family: str, patch: int | None) -> str:
    """The VFM of a family at a patch size, or at its first where the family has no such size."""
    sizes = [size for _, size in patch_choices(family)]
    return pc.find_vfm(family, patch if patch in sizes else None).name


def about(clip: str, vfm: str) -> str:
    """Markdown: where the two models come from and under which licence. Raises ValueError for unknown names."""
    return "\n".join(f"- **{spec.name}** {_origin(spec)}" for spec in (pc.find_clip(clip), pc.find_vfm(vfm)))


def state(spec: Spec) -> str:
    """'ready', or 'download 343 MB', or 'not here' where visitors may have nothing downloaded.

    Behind it, where this machine is too small for the model, how much memory it needs.
    """
    needed = limits.PROCESS_BYTES + bytes_of(spec.name)
    return _place(spec) + (f" · needs {needed / 1e9:.0f} GB of memory" if needed > limits.MEMORY_BYTES else "")


def bytes_of(name: str) -> int:
    """What a model takes of the memory in float32, about, and a SAM while it reads a picture."""
    spec = pc.CLIP_MODELS.get(name) or pc.VFM_MODELS[name]
    if not isinstance(spec, pc.VfmSpec):
        return 1_000_000 * spec.megabytes
    return 1_000_000 * (spec.in_memory or spec.megabytes) + (SAM_BYTES if spec.is_sam else 0)


def _place(spec: Spec) -> str:
    if pc.is_available(spec):
        return "ready"
    if missing_package(spec):
        return "needs a package"
    return f"download {size(spec)}" if limits.DOWNLOADS else "not here"


def size(spec: Spec) -> str:
    return f"{spec.megabytes / 1000:.1f} GB" if spec.megabytes >= 1000 else f"{max(spec.megabytes, 1)} MB"


def photo_models() -> str:
    """What the button that takes PHOTO_MODELS says."""
    clip, vfm = specs = pc.find_clip(PHOTO_MODELS[0]), pc.find_vfm(PHOTO_MODELS[1])
    absent = sum(spec.megabytes for spec in specs if not pc.is_available(spec))
    return f"Use {clip.name} and {vfm.name}: " + (f"{absent} MB, downloaded once" if absent else "they are here")


def absent(clip: str, vfm: str) -> str:
    """A sentence on what to press for two models of which not all weights are here."""
    away = [spec for spec in (pc.find_clip(clip), pc.find_vfm(vfm)) if not pc.is_available(spec)]
    names = " and ".join(spec.name for spec in away)
    if not limits.DOWNLOADS:
        return f"Not on this machine: {names}. Choose models that are ready, under Models, and press Segment."
    megabytes = sum(spec.megabytes for spec in away)
    return f"Not on this machine yet: {names}. Segment downloads {megabytes} MB, once; under Models are others."


def photo_models_here() -> tuple[str, str] | None:
    """A CLIP and a VFM on this machine that know photographs: PHOTO_MODELS where they are; None where none are."""
    tables: list[Iterable[Spec]] = [pc.CLIP_MODELS.values(), pc.VFM_MODELS.values()]
    here = [[spec.name for spec in table if not spec.builtin and pc.is_available(spec)] for table in tables]
    clip, vfm = (
        wanted if wanted in names else next(iter(names), None) for wanted, names in zip(PHOTO_MODELS, here, strict=True)
    )
    return (clip, vfm) if clip and vfm else None


def _origin(spec: Spec) -> str:
    if spec.path:
        where = "is read from a file on this machine"
    elif spec.builtin:
        where = "is part of this repository"
    elif pc.is_available(spec):
        where = "is on this machine"
    elif missing := missing_package(spec):
        return f"cannot be used yet. {missing} {spec.note}".rstrip()
    elif limits.DOWNLOADS:
        where = f"will be downloaded on first use: {size(spec)} from `{spec.repo}`"
    else:
        where = f"is not on this machine; it is `{spec.repo}` on the Hugging Face hub"
    if spec.builtin and not spec.path:
        return f"{where}. Licence: {spec.licence}. {spec.note}".rstrip()
    # A licence that limits the use is said in full by the row's note.
    return f"{where}. {spec.note or f'Licence: {spec.licence}.'}"


def head_name(head: int) -> str:
    """What the menu calls a head, counted from 0."""
    return f"{HEAD}{head + 1}"


def head_of(name: str | None) -> int | None:
    """The number of a head, from 0 on, by its name; None for the mean of all, and where there is no such name."""
    number = (name or "").removeprefix(HEAD)
    return int(number) - 1 if number.isdecimal() and 0 < len(number) < 5 and int(number) else None


def result_names(vfms: Iterable[str], own: str | None = None) -> list[str]:
    """What the current result can be compared with: CLIP without a VFM, both presets, and what `vfm_names` says."""
    return [*ALONE, PAPER, REFINED, *vfm_names(vfms, own)]


def vfm_names(vfms: Iterable[str], own: str | None = None) -> list[str]:
    """Every VFM at each of its patch sizes, and the facets of the page's `own`."""
    return [*vfms, *(f"{own}{facet}" for facet, value in FACETS.items() if own and _has(pc.find_vfm(own), value))]


def _has(vfm: pc.VfmSpec, facet: str) -> bool:
    """Whether a facet other than the paper's is one of this model's: blocks are a UNet's, the others a ViT's."""
    return facet.startswith("block") is vfm.is_diffusion


def vfm_title(settings: pc.Settings) -> str:
    """The name by which `variant` gives the VFM of some settings."""
    said = {value: facet for facet, value in FACETS.items()}
    return settings.vfm + said.get(settings.facet, "")


def variant(name: str, settings: pc.Settings) -> pc.Settings:
    """The settings of a result by its name; `settings` are the current result's. Raises ValueError for no such name."""
    if name == CURRENT:
        return settings
    if name in (PAPER, REFINED):
        return presets.as_paper(settings) if name == PAPER else presets.refined(settings)
    if name in ALONE:
        return replace(settings, fusion=ALONE[name], refine="none")
    facet = next((facet for facet in FACETS if name.endswith(facet)), "")
    vfm = pc.find_vfm(name.removesuffix(facet)).name
    return replace(settings, fusion="proxy", vfm=vfm, facet=FACETS.get(facet, str(_FACET.default)))
