"""What can go wrong with a stream beyond the errors of the package."""

from __future__ import annotations

from ..errors import LginError


class StreamError(LginError, OSError):
    """A source cannot be opened or read, or stopped; a video cannot be read or written."""
