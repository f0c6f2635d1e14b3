"""A face without a face in it, for tests that give landmarks; and which pixels may change."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lgin_edge import Face, geometry

#: A face square of 100 px whose top left corner is (20, 30).
LANDMARKS = geometry.TEMPLATE * 100 + (20, 30)


def inside(
    shape: tuple[int, ...], faces: list[Face], box: tuple[float, ...] = geometry.FULL_BOX
) -> npt.NDArray[np.bool_]:
    """Pixels whose centre lies in one of the faces' view of this box, [H, W]."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    points = np.stack([x + 0.5, y + 0.5], axis=-1)
    mask = np.zeros(shape[:2], bool)
    for face in faces:
        u = geometry.apply(geometry.invert(geometry.fit_similarity(face.landmarks)), points)
        mask |= ((u >= box[:2]) & (u <= box[2:])).all(axis=-1)
    return mask
