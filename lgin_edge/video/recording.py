"""What a camera shows, into a file."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
from PIL import Image

from ..frames import Frame
from ..provenance import marked
from .writer import VideoWriter

#: Ticks per second, and the frame rate that the header states; frames are written at the times at which they came.
_TICKS = 90_000
_RATE = Fraction(30)


class Recording(VideoWriter):
    """Writes frames of the channel order ``color`` ("rgb" or "bgr") at the times at which they come.

    Args, errors: as for ``VideoWriter``; the file appears with ``finish``. ``mark`` writes into the corner that it was changed.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        codec: str | None = None,
        color: str = "bgr",
        mark: bool = False,
    ) -> None:
        super().__init__(target, overwrite=overwrite, codec=codec)
        self._color, self._mark = color, mark
        self._start = 0.0
        self._last = -1

    @property
    def seconds(self) -> float:
        """Time from the first frame to the last."""
        return max(0, self._last) / _TICKS

    def add(self, frame: Frame, time: float) -> None:
        """Write a frame [H, W, 3] uint8, all of one size, that came at ``time`` in seconds. Raises StreamError."""
        if self._last < 0:
            self._start = time
            self.add_video(_RATE)
            self.begin(frame.shape[1], frame.shape[0], time_base=Fraction(1, _TICKS))
        self._last = max(self._last + 1, round((time - self._start) * _TICKS))
        self.end = self._last + round(_TICKS / _RATE)
        if self._mark:
            # In black and white: the order of the channels does not matter.
            frame = np.asarray(marked(Image.fromarray(frame)))
        self.write_array(frame, self._last, color=self._color)

    def finish(self) -> None:
        """Give the file its name, if a frame was written. Raises StreamError."""
        if self.frames:
            super().finish()
        self.close()
