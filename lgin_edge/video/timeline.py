"""The times of a file that begins anew in its midst."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

#: Of the container formats in which that is allowed (AVFMT_TS_DISCONT).
_MAY_BEGIN_ANEW = 0x0200
#: Seconds back, or ahead, from which on it is no frame out of order and no pause, as in FFmpeg.
_BACK, _AHEAD = Fraction(1, 10), Fraction(10)
#: Seconds before a new beginning in which packets look damaged, because their counters do not go on.
_SEAM = Fraction(1, 2)


class Timeline:
    """Recordings that were joined, or whose camera began anew, go on where they were.

    Args:
        container: of PyAV, opened.
        video: index of the stream whose damage counts.
    """

    def __init__(self, container: Any, video: int) -> None:
        self._may_begin_anew = bool(container.format.flags & _MAY_BEGIN_ANEW)
        self._video = video
        self._shift = Fraction(0)  # seconds
        self._end: Fraction | None = None  # of what was placed; a clock that ran over begins before 0
        self._last: dict[int, Fraction] = {}  # by streams
        self._damaged: list[Fraction] = []

    @property
    def damaged(self) -> int:
        """Packets of the video that are marked as damaged, and do not only look so."""
        return len(self._damaged)

    def place(self, packet: Any) -> None:
        """Move a packet to its time."""
        time, stream = (packet.dts or 0) * packet.time_base, packet.stream
        if self._may_begin_anew and packet.dts is not None and stream.type in ("video", "audio"):
            last = self._last.get(stream.index)
            if last is not None and self._end is not None and not -_BACK <= time + self._shift - last <= _AHEAD:
                self._shift = self._end - time
                while self._damaged and self._damaged[-1] >= self._end - _SEAM:  # their times rise
                    self._damaged.pop()
            self._last[stream.index] = time + self._shift
            end = time + self._shift + (packet.duration or 0) * packet.time_base
            self._end = end if self._end is None else max(self._end, end)
        if packet.is_corrupt and stream.index == self._video:
            self._damaged.append(time + self._shift)
        ticks = round(self._shift / packet.time_base)
        if ticks:
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks
