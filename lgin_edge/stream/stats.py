"""What a stream tells about itself."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from ..tracking.tracker import TrackedFace

#: Frames that the means are taken over.
_RECENT = 120


@dataclass(frozen=True, eq=False)
class Stats:
    """The state of a stream after its last frame."""

    frames_in: int = 0  #: Frames that the source gave.
    frames_out: int = 0  #: Frames that came out.
    dropped: int = 0  #: Of a live source, frames that did not come out because newer ones were there.
    fps: float = 0.0  #: Frames out per second, over the last 120; 0 before the second one.
    #: Seconds from having a frame to giving it out changed, of the last frame; for live sources from the end of the capture,
    #: otherwise from asking the source.
    latency: float = 0.0
    latency_median: float = 0.0  #: Of the last 120 frames.
    latency_p95: float = 0.0
    detections: int = 0  #: How often the detector looked.
    scenes: int = 0  #: Scenes that began, the first frame's included.
    faces: tuple[TrackedFace, ...] = ()  #: The faces in the last frame.


class Meter:
    """Latencies and frame rate over the last frames; may be read by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latencies: deque[float] = deque(maxlen=_RECENT)
        self._times: deque[float] = deque(maxlen=_RECENT)
        self.frames = 0

    def add(self, start: float, end: float) -> None:
        """A frame that was there at ``start`` came out at ``end``, seconds."""
        with self._lock:
            self._latencies.append(end - start)
            self._times.append(end)
            self.frames += 1

    def summary(self) -> dict[str, float]:
        """The fields of ``Stats`` that are measured here."""
        with self._lock:
            latencies, times = list(self._latencies), list(self._times)
        if not latencies:
            return {}
        span = times[-1] - times[0]
        return {
            "fps": (len(times) - 1) / span if span > 0 else 0.0,
            "latency": latencies[-1],
            "latency_median": float(np.median(latencies)),
            "latency_p95": float(np.percentile(latencies, 95)),
        }
