"""One picture of a pack with its mesh and person mask, at the working size of the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from training.dataset.labels import Photo

Floats = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Weights of RGB in light (ITU-R BT.601).
LUMA = np.array((0.299, 0.587, 0.114), np.float32)
#: Side of the canonical square in pixels while targets are made.
SIDE = 384
#: Mesh points of the face; the ten of the irises after them are not used.
MESH_POINTS = 468
#: MediaPipe's indices of the mesh points of each feature. Left and right as seen in the picture.
OVAL = (
    176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356, 454,
    323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148,
)  # fmt: skip
LIPS = (
    0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82, 84, 87, 88, 91, 95, 146, 178, 181, 185, 191, 267, 269, 270, 291, 308,
    310, 311, 312, 314, 317, 318, 321, 324, 375, 402, 405, 409, 415,
)  # fmt: skip
MOUTH_OPENING = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
RIGHT_EYE = (249, 263, 362, 373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466)
LEFT_EYE = (7, 33, 133, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246)
RIGHT_BROW = (276, 282, 283, 285, 293, 295, 296, 300, 334, 336)
LEFT_BROW = (46, 52, 53, 55, 63, 65, 66, 70, 105, 107)
BROWS = (105, 334)
FOREHEAD_EDGE = (162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389)
EYES = (33, 263)
NOSE_TIP, CHIN, LEFT_CHEEK, RIGHT_CHEEK, BELOW_NOSE, LOWER_LIP = 4, 152, 234, 454, 2, 17
JAWS = (172, 397)
NOSTRILS, MOUTH_CORNERS = (98, 327), (61, 291)


@dataclass(frozen=True, eq=False)
class Subject:
    """An aligned picture with its annotations.

    Attributes:
        photo: its row in the pack. mesh: [468, 2] (x, y) in pixels of the square of ``SIDE``.
        person: [SIDE, SIDE] float32, 1 where the person is.
        shown: [SIDE, SIDE, 3] RGB in [0, 1], a picture in place of the photo's.
        beard: [SIDE, SIDE] float32, where it wears another's beard; None: its own, found by colour (``beard.found``).
    """

    photo: Photo
    mesh: npt.NDArray[np.float64]
    person: Floats
    shown: Floats | None = None
    beard: Floats | None = None

    @cached_property
    def image(self) -> Floats:
        """[SIDE, SIDE, 3] RGB in [0, 1]."""
        if self.shown is not None:
            return self.shown
        frame = self.photo.frame()
        how = cv2.INTER_AREA if frame.shape[0] > SIDE else cv2.INTER_CUBIC
        return np.ascontiguousarray(cv2.resize(frame, (SIDE, SIDE), interpolation=how)).astype(np.float32) / 255

    def showing(self, image: Floats) -> Subject:
        """The same subject with another picture [SIDE, SIDE, 3] in place of the photo's."""
        return replace(self, shown=np.clip(image, 0, 1).astype(np.float32))

    def __getstate__(self) -> dict[str, Any]:
        # What was read and computed of a picture is ten times as large as all else, and goes to no other process.
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def lab(self) -> Floats:
        """The image in CIE L*a*b*, L in [0, 100]."""
        return cv2.cvtColor(self.image, cv2.COLOR_RGB2LAB)

    @property
    def half_width(self) -> float:
        """Half the width of the face at the cheekbones, pixels."""
        return float(self.mesh[RIGHT_CHEEK, 0] - self.mesh[LEFT_CHEEK, 0]) / 2

    @property
    def turn(self) -> float:
        """How far the head is turned: where the nose is between the cheeks, 0 on the left one, 1 on the right."""
        return float(self.mesh[NOSE_TIP, 0] - self.mesh[LEFT_CHEEK, 0]) / (2 * self.half_width)

    def height_of(self, points: Sequence[int]) -> float:
        return float(self.mesh[list(points), 1].mean())


def read_meshes(path: Path) -> dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]]:
    """What ``mesh.py`` wrote: landmarks [478, 3] (canonical) and person mask by the pictures' keys."""
    with np.load(path) as file:
        names, landmarks, person = (file[name] for name in ("name", "landmarks", "person"))
    return {str(name): (landmarks[i], person[i]) for i, name in enumerate(names)}


def subjects(photos: Sequence[Photo], meshes: Path) -> Iterator[Subject]:
    """The photos that have a mesh."""
    found = read_meshes(meshes)
    for photo in photos:
        if photo.key in found:
            landmarks, person = found[photo.key]
            mask = cv2.resize(person, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
            yield Subject(photo, landmarks[:MESH_POINTS, :2].astype(np.float64) * SIDE, mask)
