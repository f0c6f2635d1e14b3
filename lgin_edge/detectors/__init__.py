"""Finding faces.

A detector is any callable ``(frame, color) -> list[Face]``; give your own to ``Transformer(detector=...)``.
"""

from __future__ import annotations

from typing import Protocol

from ..faces import Face
from ..frames import Color, Frame


class Detector(Protocol):
    """What ``Transformer(detector=...)`` accepts."""

    def __call__(self, frame: Frame, color: Color) -> list[Face]:
        """Faces of a frame ([H, W, 3 or 4] or NV12 [H * 3/2, W] uint8), the largest first. May be called by several
        threads at once."""
