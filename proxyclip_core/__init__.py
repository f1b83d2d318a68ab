"""ProxyCLIP: open-vocabulary segmentation without training. See `load` and `ProxyCLIP`."""

from proxyclip_core.attention import SimilarityStatistics
from proxyclip_core.encoders import ClipEncoder, PatchEncoder
from proxyclip_core.image import read_image
from proxyclip_core.loading import default_models
from proxyclip_core.pipeline import FUSIONS, ProxyCLIP, load
from proxyclip_core.registry import CLIP_MODELS, VFM_MODELS, ClipSpec, VfmSpec, find_clip, find_vfm
from proxyclip_core.types import ClassLogits, DenseFeatures, ImageFeatures, Segmentation, Vocabulary
from proxyclip_core.vocabulary import TEMPLATES, background_presets, parse_vocabulary, vocabulary_presets
from proxyclip_core.weights import WeightsError, is_available

__all__ = [
    "CLIP_MODELS",
    "FUSIONS",
    "TEMPLATES",
    "VFM_MODELS",
    "ClassLogits",
    "ClipEncoder",
    "ClipSpec",
    "DenseFeatures",
    "ImageFeatures",
    "PatchEncoder",
    "ProxyCLIP",
    "Segmentation",
    "SimilarityStatistics",
    "VfmSpec",
    "Vocabulary",
    "WeightsError",
    "background_presets",
    "default_models",
    "find_clip",
    "find_vfm",
    "is_available",
    "load",
    "parse_vocabulary",
    "read_image",
    "vocabulary_presets",
]
