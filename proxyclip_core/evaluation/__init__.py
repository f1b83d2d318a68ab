"""How good a segmentation is, where the ground truth is known."""

from proxyclip_core.evaluation.benchmarks import BENCHMARKS, NAMES, Benchmark, Published, find_benchmark
from proxyclip_core.evaluation.correspondence import (
    PrecisionRecall,
    correspondence,
    labels_on_patches,
    precision_recall,
)
from proxyclip_core.evaluation.folder import folder_data
from proxyclip_core.evaluation.items import DataSet, Item
from proxyclip_core.evaluation.layouts import MissingDataError, benchmark_data
from proxyclip_core.evaluation.results import Scores
from proxyclip_core.evaluation.run import Question, ask, evaluate
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
    Way,
    border_f_score,
    borders,
    classes_of,
    count_areas,
    other_classes,
    score_rows,
    score_scenes,
)

__all__ = [
    "BENCHMARKS",
    "NAMES",
    "UNLABELLED",
    "UNLABELLED_16",
    "Benchmark",
    "DataSet",
    "Item",
    "LabelledPicture",
    "MaskWarning",
    "MissingDataError",
    "PrecisionRecall",
    "Published",
    "Question",
    "Score",
    "Scores",
    "Way",
    "ask",
    "benchmark_data",
    "border_f_score",
    "borders",
    "classes_of",
    "correspondence",
    "count_areas",
    "evaluate",
    "find_benchmark",
    "folder_data",
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
