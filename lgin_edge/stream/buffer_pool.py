"""Arrays for results, used again once they are no longer held.

The system clears every page of a fresh array of some megabytes: of a frame of 1280x720 that costs as much as following the
face in it (``benchmarks/stream.py``, "copy"), and a stream would need one for each frame.
"""

from __future__ import annotations

import sys

import numpy as np

from ..frames import Frame

#: Arrays that are kept: what a live stream has in hand at once, and one for a consumer who keeps the last frame.
_KEPT = 5


class BufferPool:
    """A few arrays of one shape; a caller may keep one as long as needed, and views of it."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        # How many references a free array has depends on the interpreter; without reference counts nothing is used again.
        counts = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
        self._free = _references([np.empty(1, np.uint8)], 0) if counts else -1

    def acquire(self, frame: Frame) -> Frame:
        """A C-contiguous array of the frame's shape, of any content, that is held nowhere else."""
        if self.frames and self.frames[0].shape != frame.shape:
            self.frames.clear()
        for i in range(len(self.frames)):
            if _references(self.frames, i) == self._free:
                return self.frames[i]
        array: Frame = np.empty(frame.shape, np.uint8)
        if self._free >= 0 and len(self.frames) < _KEPT:
            self.frames.append(array)
        return array


def _references(arrays: list[Frame], i: int) -> int:
    return sys.getrefcount(arrays[i])
