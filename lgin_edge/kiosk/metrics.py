"""What ``/metrics`` tells, in the format of Prometheus. It counts; it knows no visitor."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56)


class Metrics:
    """The counters of one kiosk, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.visitors = Gauge("lgin_kiosk_visitors", "Visitors now.", registry=registry)
        self.sessions = Counter("lgin_kiosk_sessions", "Visits begun.", registry=registry)
        self.frames = Counter("lgin_kiosk_frames", "Frames changed and sent back.", registry=registry)
        self.dropped = Counter("lgin_kiosk_frames_dropped", "Frames that a newer one replaced.", registry=registry)
        self.faces = Counter("lgin_kiosk_faces", "Faces changed, summed over the frames.", registry=registry)
        self.seconds = Histogram(
            "lgin_kiosk_frame_seconds",
            "Seconds of a frame: decode, turn (waiting for the others and changing), encode.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.taken = Counter("lgin_kiosk_pictures", "Pictures taken.", ["kind"], registry=registry)
        self.prints = Counter("lgin_kiosk_prints", "Pictures printed, or why not.", ["result"], registry=registry)
        self.events = Counter("lgin_kiosk_events", "Events for other programs.", ["result"], registry=registry)
        self.stills = Gauge("lgin_kiosk_pictures_kept", "Pictures in memory.", registry=registry)
        self.requests = Counter(
            "lgin_kiosk_requests", "Requests to the HTTP API under /v1.", ["status"], registry=registry
        )
        self.closed = Counter("lgin_kiosk_closed", "Sessions ended by the kiosk.", ["code"], registry=registry)
        self.refused = Counter("lgin_kiosk_refused", "Refused at the door.", ["reason"], registry=registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)
