"""Video: faces found, followed and changed from frame to frame. ``Stream`` has a source, ``Pipeline`` is fed."""

from ..errors import StreamError
from ..tracking.tracker import TrackedFace
from .pipeline import Pipeline, ProcessedFrame
from .sources import Source
from .stats import Stats
from .stream import Stream

__all__ = ["Pipeline", "ProcessedFrame", "Source", "Stats", "Stream", "StreamError", "TrackedFace"]
