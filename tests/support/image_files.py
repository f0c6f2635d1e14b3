"""EXIF for tests of image files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Image8 = npt.NDArray[np.uint8]
ORIENTATION, DESCRIPTION, TAKEN, EXIF_IFD, THUMBNAIL_IFD = 0x0112, 0x010E, 0x9003, 0x8769, 1


def exif_bytes(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[DESCRIPTION] = "a description"
    exif.get_ifd(EXIF_IFD)[TAKEN] = "2020:02:02 20:20:20"
    return exif.tobytes()
