"""How a film's frames lie in the file: what its display matrix asks players to do, and whether they have transparent parts."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

from ..frames import Frame


class Orientation(NamedTuple):
    """What is done to a frame before it is shown, in this order."""

    transposed: bool  # rows become columns
    flipped_x: bool  # mirrored left to right
    flipped_y: bool  # mirrored top to bottom

    def apply(self, frame: Frame) -> Frame:
        """A frame [H, W, 3] as it is shown; itself if nothing is to be done."""
        if self == UPRIGHT:
            return frame
        shown = frame.swapaxes(0, 1) if self.transposed else frame
        shown = shown[:: -1 if self.flipped_y else 1, :: -1 if self.flipped_x else 1]
        return np.ascontiguousarray(shown)

    @property
    def is_mirrored(self) -> bool:
        """Whether no turn alone does it."""
        return self.transposed ^ self.flipped_x ^ self.flipped_y

    def __str__(self) -> str:
        if self.is_mirrored:
            turned = " and turned by 90 degrees" if self.transposed else ""
            return f"mirrored {'upside down' if self.flipped_y and not self.transposed else 'left to right'}{turned}"
        degrees = 180 if not self.transposed else 90 if self.flipped_y else 270
        return f"turned by {degrees} degrees"


UPRIGHT = Orientation(False, False, False)


def display_orientation(frame: Any) -> Orientation:
    """What the display matrix of a decoded frame asks for; turns other than by right angles are rounded to the next.

    The matrix (ISO/IEC 14496-12, 6.2.2) is nine 32-bit numbers a b u c d v x y w, by which a step to the right in the stored
    frame is one by (a, b) in the shown one, and a step down one by (c, d).
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix)[:36])
    if abs(a) >= abs(b):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def is_transparent(frame: Any) -> bool:
    """Whether a frame of PyAV has transparent parts. One whose format could have them, a GIF's for instance, need not."""
    could_be = any(part.is_alpha for part in frame.format.components)
    return could_be and bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)
