"""The models that can be chosen: two tables, name -> frozen row. Adding a model is adding a row."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUILTIN_FOLDER = Path(__file__).parent / "builtin"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
USUAL_SAM = "SAM B/16"  # that is asked for regions where the vision model is no SAM
CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class ClipSpec:
    """One CLIP: an architecture with weights."""

    name: str  # as in the menu
    architecture: str  # open_clip's name of the model, or a .json of the same form in models/builtin/
    repo: str  # on the Hugging Face hub; "" for built-in weights
    licence: str
    megabytes: int  # of the float32 weights: what will be downloaded
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    files: tuple[str, ...] = CLIP_FILES  # in the repository, the preferred one first
    official_file: str = ""  # a release elsewhere that is taken as well
    reads: str = "English"  # the language of its words; "" where it reads many
    trained_on: str = ""  # a list in models/builtin/ of all words that it was trained on; "" where there is none
    builtin: str = ""  # file name in models/builtin/
    path: str = ""  # of a file of one's own, in place of everywhere else where weights are looked for
    note: str = field(default="", compare=False)  # what a user must know before trusting it


@dataclass(frozen=True)
class VfmSpec:
    """One vision foundation model: an architecture at one patch size, with weights."""

    name: str
    family: str  # rows of one family differ in patch size only
    patch: int  # pixels
    architecture: str  # timm's name of the model, a .json of arguments in models/builtin/, or "diffusion"
    repo: str
    licence: str
    megabytes: int
    # How position embeddings follow the window's size. "scale": bicubic by scale factor, as the paper's authors run
    # DINO; "size": bicubic to the size; "timm": timm's own way, antialiased or rotary; "native": the window is
    # resized to `input_side` instead.
    positions: str = "scale"
    input_side: int | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    files: tuple[str, ...] = ("model.safetensors",)
    in_memory: int = 0  # megabytes of it that are loaded, where that is not all
    together: bool = False  # all `files` are needed; else they are places where one may be
    extra: str = ""  # of pyproject.toml, where it needs one
    official_file: str = ""
    builtin: str = ""
    path: str = ""
    note: str = field(default="", compare=False)  # what a user must know before choosing it

    @property
    def is_sam(self) -> bool:
        """Whether it is the encoder of a SAM."""
        return self.architecture.startswith("samvit")

    @property
    def is_diffusion(self) -> bool:
        """Whether it is Stable Diffusion, see `models.diffusion`, and no ViT."""
        return self.architecture == "diffusion"


# The releases of the models' own authors, by repository or architecture.
_OFFICIAL_FILES = {
    "timm/vit_base_patch16_clip_224.openai": "ViT-B-16.pt",
    "timm/vit_base_patch32_clip_224.openai": "ViT-B-32.pt",
    "timm/vit_large_patch14_clip_224.openai": "ViT-L-14.pt",
    "timm/vit_large_patch14_clip_336.openai": "ViT-L-14-336px.pt",
    "timm/vit_base_patch16_clip_224.metaclip_2pt5b": "b16_fullcc2.5b.pt",
    "timm/vit_large_patch14_clip_224.metaclip_2pt5b": "l14_fullcc2.5b.pt",
    "timm/vit_huge_patch14_clip_224.metaclip_2pt5b": "h14_fullcc2.5b.pt",
    "vit_base_patch8_224.dino": "dino_vitbase8_pretrain.pth",
    "vit_base_patch16_224.dino": "dino_vitbase16_pretrain.pth",
    "vit_small_patch8_224.dino": "dino_deitsmall8_pretrain.pth",
    "vit_small_patch16_224.dino": "dino_deitsmall16_pretrain.pth",
    "vit_base_patch14_reg4_dinov2.lvd142m": "dinov2_vitb14_reg4_pretrain.pth",
    "vit_small_patch14_reg4_dinov2.lvd142m": "dinov2_vits14_reg4_pretrain.pth",
    "vit_base_patch14_dinov2.lvd142m": "dinov2_vitb14_pretrain.pth",
    "vit_small_patch14_dinov2.lvd142m": "dinov2_vits14_pretrain.pth",
    "vit_large_patch14_reg4_dinov2.lvd142m": "dinov2_vitl14_reg4_pretrain.pth",
    "vit_large_patch14_dinov2.lvd142m": "dinov2_vitl14_pretrain.pth",
    "vit_base_patch16_224.mae": "mae_pretrain_vit_base.pth",
    "samvit_base_patch16.sa1b": "sam_vit_b_01ec64.pth",
    "samvit_large_patch16.sa1b": "sam_vit_l_0b3195.pth",
    "samvit_huge_patch16.sa1b": "sam_vit_h_4b8939.pth",
}


def _clip(name: str, architecture: str, repo: str, megabytes: int, licence: str = "MIT", **more: Any) -> ClipSpec:
    return ClipSpec(name, architecture, repo, licence, megabytes, official_file=_OFFICIAL_FILES.get(repo, ""), **more)


def _vfm(family: str, patch: int, timm_name: str, megabytes: int, licence: str = "Apache-2.0", **more: Any) -> VfmSpec:
    official, repo = _OFFICIAL_FILES.get(timm_name, ""), f"timm/{timm_name}"
    return VfmSpec(
        f"{family}/{patch}", family, patch, timm_name, repo, licence, megabytes, official_file=official, **more
    )


_HALF = (0.5, 0.5, 0.5)

_DRAWN_THINGS = "Built in: knows drawn things, not photographs. For these choose another CLIP and vision model."

_NOT_COMMERCIAL: dict[str, Any] = {
    "licence": "CC-BY-NC-4.0",
    "note": "CC-BY-NC-4.0: these weights are not for commercial use.",
}
_DFN: dict[str, Any] = {
    "licence": "Apple Sample Code licence",
    "note": "Apple's Sample Code licence has terms of its own.",
}

_CLIP_ROWS = (
    # The -quickgelu architectures matter: OpenAI's weights in plain ViT-B-16 give wrong numbers without an error.
    _clip("OpenAI B/16", "ViT-B-16-quickgelu", "timm/vit_base_patch16_clip_224.openai", 599),
    _clip("OpenAI B/32", "ViT-B-32-quickgelu", "timm/vit_base_patch32_clip_224.openai", 605),
    _clip("OpenAI L/14", "ViT-L-14-quickgelu", "timm/vit_large_patch14_clip_224.openai", 1710),
    _clip("OpenAI L/14 336", "ViT-L-14-336-quickgelu", "timm/vit_large_patch14_clip_336.openai", 1712),
    _clip("LAION B/16", "ViT-B-16", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", 599),
    _clip("LAION L/14", "ViT-L-14", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", 1710, mean=_HALF, std=_HALF),
    _clip("LAION H/14", "ViT-H-14", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", 3944),
    _clip(
        "MetaCLIP B/16", "ViT-B-16-quickgelu", "timm/vit_base_patch16_clip_224.metaclip_2pt5b", 599, **_NOT_COMMERCIAL
    ),
    _clip(
        "MetaCLIP L/14", "ViT-L-14-quickgelu", "timm/vit_large_patch14_clip_224.metaclip_2pt5b", 1710, **_NOT_COMMERCIAL
    ),
    _clip(
        "MetaCLIP H/14", "ViT-H-14-quickgelu", "timm/vit_huge_patch14_clip_224.metaclip_2pt5b", 3944, **_NOT_COMMERCIAL
    ),
    _clip("DFN B/16", "ViT-B-16-quickgelu", "apple/DFN2B-CLIP-ViT-B-16", 599, **_DFN),
    _clip("DFN L/14", "ViT-L-14-quickgelu", "apple/DFN2B-CLIP-ViT-L-14", 1710, **_DFN),
    _clip("DataComp B/16", "ViT-B-16", "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K", 599),
    _clip("DataComp L/14", "ViT-L-14", "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", 1710),
    ClipSpec(
        "Built-in",
        "clip.json",
        "",
        "Apache-2.0",
        0,
        trained_on="words.txt",
        builtin="clip.safetensors",
        note=_DRAWN_THINGS,
    ),
)

_DINOV3: dict[str, Any] = {
    "licence": "DINOv3 licence",
    "positions": "timm",
    "note": "The DINOv3 licence has terms of its own; where the hub asks you to accept it, do so on the model's page "
    "there, once, and sign in with `hf auth login`.",
}
_MAE: dict[str, Any] = {"positions": "size", **_NOT_COMMERCIAL}
_SAM: dict[str, Any] = {"positions": "native", "input_side": 1024}
# At 512 x 512 pixels timm's positions are those of NVIDIA's own model; at other sizes they drift, as timm's card says.
_RADIO: dict[str, Any] = {
    "licence": "NVIDIA Open Model licence",
    "positions": "native",
    "input_side": 512,
    "mean": OPENAI_MEAN,
    "std": OPENAI_STD,
    "note": "The NVIDIA Open Model licence has terms of its own.",
}
_DIFFUSION: dict[str, Any] = {
    "positions": "native",
    "input_side": 704,
    "mean": _HALF,
    "std": _HALF,
    "files": (
        *("unet/diffusion_pytorch_model.safetensors", "unet/config.json"),
        *("vae/diffusion_pytorch_model.safetensors", "vae/config.json"),
        "text_encoder/model.safetensors",
    ),
    "together": True,
    "in_memory": 900,
    "extra": "diffusion",
    "note": "CreativeML OpenRAIL-M: the licence names uses that are not allowed. It needs the package diffusers, and "
    "takes some six times as long as DINO B/8.",
}

_VFM_ROWS = (
    _vfm("DINO B", 8, "vit_base_patch8_224.dino", 343),
    _vfm("DINO B", 16, "vit_base_patch16_224.dino", 343),
    _vfm("DINO S", 8, "vit_small_patch8_224.dino", 87),
    _vfm("DINO S", 16, "vit_small_patch16_224.dino", 87),
    _vfm("DINOv2-reg L", 14, "vit_large_patch14_reg4_dinov2.lvd142m", 1217, positions="timm"),
    _vfm("DINOv2-reg B", 14, "vit_base_patch14_reg4_dinov2.lvd142m", 346, positions="timm"),
    _vfm("DINOv2-reg S", 14, "vit_small_patch14_reg4_dinov2.lvd142m", 88, positions="timm"),
    _vfm("DINOv2 L", 14, "vit_large_patch14_dinov2.lvd142m", 1217),
    _vfm("DINOv2 B", 14, "vit_base_patch14_dinov2.lvd142m", 346),
    _vfm("DINOv2 S", 14, "vit_small_patch14_dinov2.lvd142m", 88),
    _vfm("DINOv3 H+", 16, "vit_huge_plus_patch16_dinov3.lvd1689m", 3362, **_DINOV3),
    _vfm("DINOv3 L", 16, "vit_large_patch16_dinov3.lvd1689m", 1212, **_DINOV3),
    _vfm("DINOv3 B", 16, "vit_base_patch16_dinov3.lvd1689m", 343, **_DINOV3),
    _vfm("DINOv3 S+", 16, "vit_small_plus_patch16_dinov3.lvd1689m", 115, **_DINOV3),
    _vfm("DINOv3 S", 16, "vit_small_patch16_dinov3.lvd1689m", 86, **_DINOV3),
    _vfm("MAE B", 16, "vit_base_patch16_224.mae", 343, **_MAE),
    _vfm("SAM B", 16, "samvit_base_patch16.sa1b", 359, **_SAM),
    _vfm("SAM L", 16, "samvit_large_patch16.sa1b", 1233, **_SAM),
    _vfm("SAM H", 16, "samvit_huge_patch16.sa1b", 2548, **_SAM),
    _vfm("C-RADIOv3 B", 16, "vit_base_patch16_radio_v3.c_radio", 346, **_RADIO),
    _vfm("C-RADIOv3 L", 16, "vit_large_patch16_radio_v3.c_radio", 1217, **_RADIO),
    _vfm("C-RADIOv3 H", 16, "vit_huge_patch16_radio_v3.c_radio", 2528, **_RADIO),
    VfmSpec(
        "Stable Diffusion/32",
        "Stable Diffusion",
        32,
        "diffusion",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "CreativeML OpenRAIL-M",
        4265,
        **_DIFFUSION,
    ),
    *(
        VfmSpec(
            f"Built-in/{patch}",
            "Built-in",
            patch,
            f"vfm_patch{patch}.json",
            "",
            "Apache-2.0",
            0,
            builtin=f"vfm_patch{patch}.safetensors",
        )
        for patch in (8, 4)
    ),
)


def _is_offered(spec: ClipSpec | VfmSpec) -> bool:
    """Hub models always are; built-in ones where the repository holds their weights."""
    return not spec.builtin or (BUILTIN_FOLDER / spec.builtin).is_file()


CLIP_MODELS: dict[str, ClipSpec] = {spec.name: spec for spec in _CLIP_ROWS if _is_offered(spec)}
VFM_MODELS: dict[str, VfmSpec] = {spec.name: spec for spec in _VFM_ROWS if _is_offered(spec)}


OTHER_CLIPS = "SigLIP, EVA, CoCa, PE and MobileCLIP"


def find_clip(name: str) -> ClipSpec:
    """The row called `name`. Raises ValueError with the known names, the closest first."""
    if name in CLIP_MODELS:
        return CLIP_MODELS[name]
    raise ValueError(f"No CLIP is called {name!r}.{_why_no_clip(name)} Known: {_closest(name, CLIP_MODELS)}.")


def find_vfm(name: str, patch: int | None = None) -> VfmSpec:
    """The row called `name`, such as "DINO B/8"; or of the family `name`, such as "DINO B", at a patch size.

    Without a patch size a family gives its first row, the one with the sharpest borders. Raises ValueError, with the
    known names, closest first, or with the patch sizes that the family has.
    """
    if name in VFM_MODELS and patch in (None, VFM_MODELS[name].patch):
        return VFM_MODELS[name]
    family = VFM_MODELS[name].family if name in VFM_MODELS else name
    rows = [spec for spec in list(VFM_MODELS.values()) if spec.family == family]  # another thread may add one
    if not rows:
        raise ValueError(f"No VFM is called {name!r}.{_why_no_vfm(name)} Known: {_closest(name, VFM_MODELS)}.")
    fitting = [spec for spec in rows if patch in (None, spec.patch)]
    if name in VFM_MODELS or not fitting:
        sizes = " and ".join(str(spec.patch) for spec in rows)
        raise ValueError(
            f"{name!r} was asked for with patch size {patch}. {family!r} comes with patch size {sizes}; "
            f"say for instance vfm={family!r}, patch={rows[0].patch}."
        )
    return fitting[0]


def _why_no_clip(name: str) -> str:
    """Why a CLIP that people ask for is no row."""
    families = re.sub(", | and ", "|", OTHER_CLIPS)
    is_one = re.search(rf"\b(?:{families})(?![a-z])", str(name), re.IGNORECASE)
    return f" {OTHER_CLIPS} are built differently: proxy attention needs a plain ViT." if is_one else ""


def _why_no_vfm(name: str) -> str:
    """Likewise of VFMs."""
    is_one = re.search(r"\bsam ?2(?![0-9a-z])|\bhiera", str(name), re.IGNORECASE)
    return " SAM 2's image encoder is no plain ViT; the first SAM's is." if is_one else ""


def _closest(name: str, models: dict) -> str:
    def likeness(known: str) -> float:
        return difflib.SequenceMatcher(None, str(name).casefold(), known.casefold()).ratio()

    return ", ".join(sorted(models, key=likeness, reverse=True))
