"""Video: faces found, followed and changed from frame to frame. ``Stream`` has a source, ``Pipeline`` is fed."""

from .errors import StreamError
from .pipeline import Pipeline
from .sources import Source
from .stats import Stats
from .stream import Stream
from ..tracking.tracker import TrackedFace

__all__ = ["Pipeline", "Source", "Stats", "Stream", "StreamError", "TrackedFace"]
