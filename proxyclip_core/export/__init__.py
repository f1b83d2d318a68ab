"""A result as files, one format a file."""

from proxyclip_core.export.archive import mask_name, write_zip
from proxyclip_core.export.coco import coco

__all__ = ["coco", "mask_name", "write_zip"]
