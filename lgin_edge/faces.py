"""Faces of a frame: landmarks with the similarity and the region boxes that are fitted to them, once in a face's life."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import geometry
from .arguments import check_floats
from .errors import InputError
from .geometry import Float64

#: Side of a face's canonical square in the frame, pixels: what the kernels cut out.
MIN_SIDE, MAX_SIDE = 1.0, 65536.0
#: Two corners of the default box in canonical coordinates: from the brows to the chin.
_BROWS_TO_CHIN = [(0.2, 0.3), (0.8, 0.3), (0.2, 0.9), (0.8, 0.9)]


@dataclass(frozen=True, eq=False, init=False)
class Face:
    """One face in a frame. It cannot exist without its similarity and its region boxes.

    Raises InputError: the landmarks are not those of a face, or its square would be narrower than 1 px or wider than 65536.
    """

    #: [5, 2] (x, y), frame pixels, in the order of ``geometry.LANDMARK_NAMES`` (as seen in the picture).
    landmarks: Float64
    score: float  #: The detector's confidence, 0 to 1.
    #: [4] (x0, y0, x1, y1), frame pixels; may reach over the frame's border. When not given, it spans brows to chin.
    box: Float64
    affine: Float64  #: ``A`` [2, 3], canonical to frame pixels (``geometry.fit_similarity``).
    boxes: Float64  #: [5, 4] of the local regions, canonical (``geometry.region_boxes``).

    def __init__(self, landmarks: npt.ArrayLike, score: float = 1.0, box: npt.ArrayLike | None = None) -> None:
        points = check_floats("landmarks", landmarks, (5, 2)).copy()
        affine = geometry.fit_similarity(points)
        side = float(np.linalg.norm(affine[:, 0]))
        if not MIN_SIDE <= side <= MAX_SIDE:
            raise InputError(
                f"landmarks: this face's square would be {side:.3g} px wide; expected {MIN_SIDE:.0f} to {MAX_SIDE:.0f}, got "
                f"{points.tolist()}"
            )
        if box is None:
            corners = geometry.apply(affine, _BROWS_TO_CHIN)
            box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        box, boxes = check_floats("box", box, (4,)), geometry.region_boxes(points, affine)
        vars(self).update(landmarks=points, score=score, box=box, affine=affine, boxes=boxes)

    def __repr__(self) -> str:
        x0, y0, x1, y1 = self.box
        return f"<lgin_edge.Face {x1 - x0:.0f}x{y1 - y0:.0f} px at ({x0:.0f}, {y0:.0f}), score {self.score:.2f}>"

    def scored(self, score: float) -> Face:
        """The same face with another score; nothing is fitted again."""
        face = copy.copy(self)
        vars(face)["score"] = score
        return face

    @property
    def size(self) -> float:
        """Square root of the box's area, pixels."""
        return float(np.sqrt(max(0.0, (self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))))


def face_or_none(landmarks: npt.ArrayLike, score: float = 1.0, box: npt.ArrayLike | None = None) -> Face | None:
    """A face, or None where the landmarks are those of none: one accident must not fail a whole picture."""
    try:
        return Face(landmarks, score, box)
    except InputError:
        return None


@dataclass(frozen=True, eq=False, init=False)
class FaceBatch:
    """Where N faces lie, and how much of the change each of them takes.

    Raises InputError: wrong shape, or no numbers. (``kernels.FacePlan`` checks the values.)
    """

    affines: Float64  # [N, 2, 3], canonical to frame pixels
    boxes: Float64  # [N, 5, 4], canonical
    strengths: Float64  # [N], 0 (the face stays as it is) to 1; all 1 when not given

    def __init__(self, affines: npt.ArrayLike, boxes: npt.ArrayLike, strengths: npt.ArrayLike | None = None) -> None:
        places = check_floats("affines", affines, (-1, 2, 3))
        count = len(places)
        found = np.ones(count) if strengths is None else check_floats("strengths", strengths, (count,))
        vars(self).update(affines=places, boxes=check_floats("boxes", boxes, (count, 5, 4)), strengths=found)

    @staticmethod
    def of(faces: Sequence[Face], strengths: npt.ArrayLike | None = None) -> FaceBatch:
        """The batch of these faces. Raises InputError."""
        affines = np.array([face.affine for face in faces]).reshape(-1, 2, 3)
        boxes = np.array([face.boxes for face in faces]).reshape(-1, 5, 4)
        return FaceBatch(affines, boxes, strengths)

    def __len__(self) -> int:
        return len(self.affines)

    def __getitem__(self, part: slice | npt.NDArray[np.bool_]) -> FaceBatch:
        """Some of the faces."""
        return FaceBatch(self.affines[part], self.boxes[part], self.strengths[part])
