"""A result as files, one format a file."""

from proxyclip_core.export.archive import mask_name, write_zip
from proxyclip_core.export.coco import coco
from proxyclip_core.export.label_map import check_ours, is_label_png, label_png, settings_in, write_label_map

__all__ = [
    "check_ours",
    "coco",
    "is_label_png",
    "label_png",
    "mask_name",
    "settings_in",
    "write_label_map",
    "write_zip",
]
