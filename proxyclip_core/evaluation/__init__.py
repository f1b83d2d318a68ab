"""How good a segmentation is, where the ground truth is known."""

from proxyclip_core.evaluation.correspondence import (
    PrecisionRecall,
    correspondence,
    labels_on_patches,
    precision_recall,
)
from proxyclip_core.evaluation.scenes import (
    UNLABELLED,
    UNLABELLED_16,
    LabelledPicture,
    MaskWarning,
    is_labelled,
    is_mask,
    read_label_map,
    read_scenes,
)
from proxyclip_core.evaluation.scores import (
    Score,
    border_f_score,
    borders,
    classes_of,
    other_classes,
    score_rows,
    score_scenes,
)

__all__ = [
    "UNLABELLED",
    "UNLABELLED_16",
    "LabelledPicture",
    "MaskWarning",
    "PrecisionRecall",
    "Score",
    "border_f_score",
    "borders",
    "classes_of",
    "correspondence",
    "is_labelled",
    "is_mask",
    "labels_on_patches",
    "other_classes",
    "precision_recall",
    "read_label_map",
    "read_scenes",
    "score_rows",
    "score_scenes",
]
