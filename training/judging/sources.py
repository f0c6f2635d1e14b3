"""Where aged pictures come from: a model, or a folder of pictures that somebody else made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

import lgin_edge
from training.dataset.labels import Photo

Frame = npt.NDArray[np.uint8]
#: The picture of a photo's person at an age in years, [H, W, 3] uint8 RGB; None where there is none.
Source = Callable[[Photo, float], "Frame | None"]

UNCHANGED = "input"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def open_source(given: str | Path) -> Source:
    """A source by its path, or the unaltered inputs by the word ``input``.

    A folder holds ``YEARS/NAME.png``, ``NAME.YEARSyears.png`` (as ``lgin-edge age`` names its results) or, for one age alone,
    ``NAME.png``; NAME is the input's without its ending. Pictures of another size are resampled to the input's.

    Raises FileNotFoundError: no such file or folder. LginError: a file that is no model.
    """
    path = Path(given)
    if path.is_dir():
        return partial(from_folder, path)
    if path.is_file():
        return ModelSource(path)
    if str(given) == UNCHANGED:
        return lambda photo, years: photo.frame()
    raise FileNotFoundError(f"{given}: neither a model file, nor a folder of pictures, nor the word {UNCHANGED!r}")


class ModelSource:
    """A model file as it runs in the product, on one thread, given the labelled landmarks."""

    def __init__(self, path: Path) -> None:
        self.transformer = lgin_edge.Transformer(path, threads=1)

    def __call__(self, photo: Photo, years: float) -> Frame:
        return self.age(photo.frame(), photo.landmarks, years)

    def age(self, frame: Frame, landmarks: npt.NDArray[np.float64], years: float) -> Frame:
        """A frame [H, W, 3] at an age."""
        aged: Any = self.transformer.age(frame, landmarks=landmarks, years=years)
        return np.asarray(aged, np.uint8)


def from_folder(folder: Path, photo: Photo, years: float) -> Frame | None:
    """The picture that lies in a folder."""
    stems = (f"{years:g}/{photo.name}", f"{photo.name}.{years:g}years", photo.name)
    for path in (folder / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES):
        if path.is_file():
            with Image.open(path) as picture:
                side = (photo.size, photo.size)
                return np.array(picture.convert("RGB").resize(side, Image.Resampling.LANCZOS))
    return None
