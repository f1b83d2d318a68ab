"""What `proxyclip_core` offers by name."""

from proxyclip_core.attention import SimilarityStatistics
from proxyclip_core.computed_with import SettingsWarning
from proxyclip_core.correspondence import Likeness, likeness
from proxyclip_core.drawing.attention_figure import AttentionFigure, attention_figure
from proxyclip_core.evaluation import Scores, benchmark_data, evaluate, folder_data
from proxyclip_core.loader import load
from proxyclip_core.models.checkpoints import WeightsError
from proxyclip_core.models.clip import ClipEncoder
from proxyclip_core.models.loading import complete_pair, default_models
from proxyclip_core.models.named import WeightsWarning, register_clip, register_vfm
from proxyclip_core.models.registry import CLIP_MODELS, VFM_MODELS, ClipSpec, VfmSpec, find_clip, find_vfm
from proxyclip_core.models.vfm import PatchEncoder
from proxyclip_core.models.weights import is_available
from proxyclip_core.picture import PictureWarning, read_image, read_picture
from proxyclip_core.pipeline import FUSIONS
from proxyclip_core.proxyclip import ProxyCLIP
from proxyclip_core.segmentation import Segmentation
from proxyclip_core.settings import SETTINGS, Settings
from proxyclip_core.types import (
    ClassLogits,
    DenseFeatures,
    ImageFeatures,
    PixelLogits,
    Refined,
    RegionLogits,
    Regions,
    SamViews,
    Vocabulary,
)
from proxyclip_core.word_files import read_words
from proxyclip_core.words import TEMPLATES, WordsWarning, background_presets, parse_vocabulary, vocabulary_presets

__all__ = [
    "CLIP_MODELS",
    "FUSIONS",
    "SETTINGS",
    "TEMPLATES",
    "VFM_MODELS",
    "AttentionFigure",
    "ClassLogits",
    "ClipEncoder",
    "ClipSpec",
    "DenseFeatures",
    "ImageFeatures",
    "Likeness",
    "PatchEncoder",
    "PictureWarning",
    "PixelLogits",
    "ProxyCLIP",
    "Refined",
    "RegionLogits",
    "Regions",
    "SamViews",
    "Scores",
    "Segmentation",
    "Settings",
    "SettingsWarning",
    "SimilarityStatistics",
    "VfmSpec",
    "Vocabulary",
    "WeightsError",
    "WeightsWarning",
    "WordsWarning",
    "attention_figure",
    "background_presets",
    "benchmark_data",
    "complete_pair",
    "default_models",
    "evaluate",
    "find_clip",
    "find_vfm",
    "folder_data",
    "is_available",
    "likeness",
    "load",
    "parse_vocabulary",
    "read_image",
    "read_picture",
    "read_words",
    "register_clip",
    "register_vfm",
    "vocabulary_presets",
]
