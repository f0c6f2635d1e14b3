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
    """The state of a stream after its last frame.

    Attributes:
        frames_in: frames that the source gave.
        frames_out: frames that came out.
        dropped: of a live source, frames that did not come out because newer ones were there.
        fps: frames out a second, over the last 120; 0 before the second one.
        latency: seconds from having a frame to giving it out changed, of the last frame; for live sources from the end of
            the capture, otherwise from asking the source.
        latency_median, latency_p95: of the last 120 frames.
        detections: how often the detector looked.
        scenes: scenes that began, the first frame's included.
        faces: the faces in the last frame.
    """

    frames_in: int = 0
    frames_out: int = 0
    dropped: int = 0
    fps: float = 0.0
    latency: float = 0.0
    latency_median: float = 0.0
    latency_p95: float = 0.0
    detections: int = 0
    scenes: int = 0
    faces: tuple[TrackedFace, ...] = ()


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
