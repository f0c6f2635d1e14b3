"""The kiosk's state, and the work on pictures that is done in threads."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from PIL import Image

from .. import images
from ..contact_sheet import CELL
from ..frames import Frame
from ..limits import Limits
from ..transformer import Transformer
from .metrics import Metrics
from .rate_limit import Places, TokenBuckets
from .security import host_name, is_loopback
from .serial_executor import SerialExecutor
from .settings import Settings
from .snapshots import Snapshots

T = TypeVar("T")

#: Quality of the JPEGs of the live picture, of pictures to keep, and of the cells of a strip.
_LIVE, _KEEP = 85, 92
_FRAMES = ("JPEG", "WEBP")
#: Requests to /v1/age that may wait beside the visitors, those whose pictures may be in memory (they are still coming, too), of
#: all and of one address, and threads that decode and encode.
_REQUESTS, _UPLOADS, _UPLOADS_PER_ADDRESS, _THREADS = 4, 8, 4, 4
CELL_SIDE = 2 * CELL


class Kiosk:
    """What all visitors share. For the event loop's thread; what it hands to others runs there.

    Args:
        transformer: changes the faces; it stays the caller's, who closes it after the kiosk.
        settings: see there.
    """

    def __init__(self, transformer: Transformer, settings: Settings) -> None:
        self.transformer = transformer
        self.settings = settings
        self.metrics = Metrics()
        self.snapshots = Snapshots(settings.still_seconds, settings.max_stills)
        self.metrics.stills.set_function(lambda: len(self.snapshots))
        self.executor = SerialExecutor(_REQUESTS)
        self.requests = TokenBuckets(settings.requests_per_minute / 60, max(1.0, settings.requests_per_minute / 6))
        self.uploads = Places(_UPLOADS, _UPLOADS_PER_ADDRESS)
        self.places = Places(settings.max_visitors, settings.visitors_per_address)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lgin-kiosk")

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, done beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def sweep(self) -> None:
        """Drop pictures when their time is over, whether or not anybody asks for them. Never returns."""
        while True:
            await asyncio.sleep(min(1.0, self.settings.still_seconds))
            self.snapshots.sweep()

    def address(self, path: str, scheme: str, host: str) -> tuple[str, bool]:
        """The whole address of a path for a visitor's phone, and whether a phone can reach it.

        Args:
            path: begins with a slash.
            scheme: by which the visitor came: "http", "https".
            host: the ``Host`` header by which he came.
        """
        if self.settings.public_url is not None:
            return self.settings.public_url + path, True
        if not is_loopback(host_name(host)):
            return f"{scheme}://{host}{path}", True
        if self.settings.network_url is not None:
            return self.settings.network_url + path, True
        return f"{scheme}://{host}{path}", False

    def close(self) -> None:
        """Drop all pictures and end the threads."""
        self.snapshots.clear()
        self.executor.close()
        self._threads.shutdown(wait=True, cancel_futures=True)


def decode_frame(data: bytes, limits: Limits) -> Frame:
    """A frame of the page, [H, W, 3] uint8 RGB. Raises ImageError."""
    picture = images.decode(data, "the frame", limits=limits, formats=_FRAMES)
    return np.asarray(picture.image.convert("RGB"))


def live_jpeg(frame: Frame) -> bytes:
    """A frame [H, W, 3] as JPEG, for the live picture."""
    return _jpeg(Image.fromarray(frame), _LIVE)


def keep_jpeg(image: Image.Image) -> bytes:
    """A picture as JPEG, to keep."""
    return _jpeg(image, _KEEP)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
