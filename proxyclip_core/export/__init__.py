"""A result as files, one format a file."""

from proxyclip_core.export.coco import coco
from proxyclip_core.export.files import FORMATS, WISHES, Format, files_of
from proxyclip_core.export.label_map import check_ours, is_label_png, label_png, record_in, settings_in
from proxyclip_core.export.masks import mask_name
from proxyclip_core.export.saving import write_files
from proxyclip_core.export.upright import upright

__all__ = [
    "FORMATS",
    "WISHES",
    "Format",
    "check_ours",
    "coco",
    "files_of",
    "is_label_png",
    "label_png",
    "mask_name",
    "record_in",
    "settings_in",
    "upright",
    "write_files",
]
