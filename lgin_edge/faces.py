"""What a face is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import geometry
from .geometry import Float64


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a frame.

    Attributes:
        box: [4] float64 (x0, y0, x1, y1), frame pixels; may reach over the frame's border.
        landmarks: [5, 2] float64 (x, y), frame pixels, in the order of ``geometry.LANDMARK_NAMES`` (as seen in the picture).
        score: the detector's confidence, 0 to 1.
    """

    box: Float64
    landmarks: Float64
    score: float

    @property
    def size(self) -> float:
        """Square root of the box's area, pixels."""
        return float(np.sqrt(max(0.0, (self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))))

    @staticmethod
    def from_landmarks(landmarks: npt.ArrayLike) -> Face:
        """A face that is known by its five landmarks alone; the box spans brows to chin. Raises InputError."""
        points = np.array(landmarks, np.float64)
        corners = geometry.apply(geometry.fit_similarity(points), [(0.2, 0.3), (0.8, 0.3), (0.2, 0.9), (0.8, 0.9)])
        return Face(np.concatenate([corners.min(axis=0), corners.max(axis=0)]), points, 1.0)
