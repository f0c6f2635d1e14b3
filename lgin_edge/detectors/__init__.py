"""Finding faces.

A detector is any callable ``(frame, color) -> list[Face]``; give your own to ``Transformer(detector=...)``.
"""

from __future__ import annotations

from typing import Protocol

from .. import geometry
from ..errors import InputError
from ..faces import Face
from ..frames import Color, Frame, check_frame
from ..geometry import Float64


class Detector(Protocol):
    """What ``Transformer(detector=...)`` accepts."""

    def __call__(self, frame: Frame, color: Color) -> list[Face]:
        """Faces of a frame ([H, W, 3 or 4] or NV12 [H * 3/2, W] uint8), the largest first. May be called by several
        threads at once."""
        ...


def frame_size(frame: Frame, color: Color) -> tuple[int, int]:
    """Height and width of a frame in pixels. Raises InputError if it is none."""
    check_frame("frame", frame, color)
    height, width = frame.shape[:2]
    return (height * 2 // 3 if color == "nv12" else height), width


def is_face(landmarks: Float64) -> bool:
    """Whether the landmarks are those of a face, not of an accident."""
    try:
        geometry.fit_similarity(landmarks)
    except InputError:
        return False
    return True
