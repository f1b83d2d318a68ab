"""The picture as it was segmented, where its file lies turned and says so: there the labels would not fit over it."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from PIL import Image

from proxyclip_core.export.encoding import SOFTWARE, png
from proxyclip_core.picture import ImageLike, read_picture
from proxyclip_core.picture_file import opened, turn_of


def upright(picture: ImageLike | None, file_name: str) -> tuple[str, bytes] | None:
    """(file name, file) of the upright picture; None where it need not be turned. Its name is not `file_name`, for
    which the file as it was would be taken."""
    if not _is_turned(picture):
        return None
    assert picture is not None
    image, name = Image.fromarray(read_picture(picture)[0]), Path(file_name)
    if name.suffix.lower() not in (".jpg", ".jpeg"):
        return f"{name.stem}_upright.png", png(image)
    file = io.BytesIO()
    image.save(file, "jpeg", quality=95, subsampling=0, comment=SOFTWARE.encode())
    return f"{name.stem}_upright.jpg", file.getvalue()


def _is_turned(picture: ImageLike | None) -> bool:
    with contextlib.suppress(Exception):  # of EXIF that cannot be read, as in `picture_file.upright`
        if isinstance(picture, Image.Image):
            return turn_of(picture) is not None
        if isinstance(picture, (str, os.PathLike)):
            with opened(Path(picture), repr(str(picture))) as image:
                return turn_of(image) is not None
        if isinstance(picture, (bytes, bytearray, memoryview)):
            with opened(io.BytesIO(picture), "the given bytes") as image:
                return turn_of(image) is not None
    return False
