"""The kiosk's state, and the work on pictures that is done in threads and in decoders."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

import numpy as np
from PIL import Image

from .. import animation, provenance
from ..contact_sheet import CELL
from ..faces import Face
from ..frames import Frame
from ..image_decoders import ImageDecoders
from ..images import Picture
from ..transformer import Transformer
from .events import Events
from .metrics import Metrics
from .printing import Printer
from .rate_limit import Places, TokenBuckets
from .security import host_name, is_loopback
from .serial_executor import SerialExecutor
from .settings import Settings
from .snapshots import MEDIA_TYPES, Snapshots

T = TypeVar("T")

#: Quality of the JPEGs of the live picture, of pictures to keep, and of the cells of a strip.
_LIVE, _KEEP = 85, 92
#: Formats of the page's frames, and of pictures given to the API.
_FRAMES, UPLOADS = ("JPEG", "WEBP"), ("JPEG", "PNG", "WEBP")
#: Uploads to the API at once, from their first byte to their answer, of all and of one address; and threads that encode.
_UPLOADS, _UPLOADS_PER_ADDRESS, _THREADS = 8, 4, 4
#: Decoders, in all, for uploads and for one address, and seconds that they may take for an upload and for a frame.
_DECODERS, _UPLOAD_DECODERS, _DECODERS_PER_ADDRESS, _UPLOAD_TIMEOUT_S, _FRAME_TIMEOUT_S = 4, 2, 2, 10.0, 2.0
#: Pixels of uploads in memory, in all, in multiples of the largest upload; one address holds one.
_LARGEST_UPLOADS = 2
CELL_SIDE = 2 * CELL
#: The transformer that is at one picture for longer has failed.
_STALL_S = 60.0
#: So often the receivers of events hear how the kiosk is, and the gallery is swept.
_HEALTH_S = 300.0
#: Of a clip: its longer side in pixels, frames per second, and how many are made at once: their frames are in memory.
_CLIP_SIDE, _CLIP_FPS, _CLIPS = 720, 15, 2


class Kiosk:
    """What all visitors share. For the event loop's thread; what it hands to others runs there.

    The transformer stays the caller's, who closes it after the kiosk.
    """

    def __init__(self, transformer: Transformer, settings: Settings) -> None:
        self.transformer = transformer
        self.settings = settings
        self.metrics = Metrics()
        self.snapshots = Snapshots(settings.still_seconds, settings.max_stills)
        self.metrics.stills.set_function(lambda: len(self.snapshots))
        self.executor = SerialExecutor()  # of the visitors
        # Of the uploads: a large picture is searched for seconds, and the live pictures go on meanwhile.
        self.upload_executor = SerialExecutor()
        self.requests = TokenBuckets(settings.requests_per_minute / 60, max(1.0, settings.requests_per_minute / 6))
        self.uploads = Places(_UPLOADS, _UPLOADS_PER_ADDRESS)
        half = -(-settings.max_visitors // 2)  # for one address, rounded up
        self.places = Places(settings.max_visitors, half)
        most = settings.uploads.image_pixels
        self.pixels = Places(_LARGEST_UPLOADS * most, most)
        self._clips = asyncio.Semaphore(_CLIPS)
        self.printer = Printer(settings.print_command, settings.prints_per_hour) if settings.print_command else None
        self.printing = SerialExecutor()
        self._events: list[Events] = []
        self._decoders = ImageDecoders(_DECODERS, _UPLOAD_TIMEOUT_S)
        self._decoding = ThreadPoolExecutor(_DECODERS, thread_name_prefix="lgin-decoding")
        self._upload_turns = asyncio.Semaphore(_UPLOAD_DECODERS)
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lgin-kiosk")

    def start(self) -> None:
        """Begin the decoders, and telling of events. Raises BackendError."""
        self._decoders.start()
        for receiver in self.settings.receivers:
            self._events.append(Events(receiver, lambda result: self.metrics.events.labels(result).inc()))

    def tell(self, event: str, **facts: str | int) -> None:
        """Tell the receivers of an event; never of pictures or people."""
        for events in self._events:
            events.tell(event, **facts)

    @property
    def status(self) -> str:
        """One of "ok", "busy" while more pictures given to the API would be refused, and "stalled" when the model does not come back
        from one."""
        if max(self.executor.seconds, self.upload_executor.seconds) > _STALL_S:
            return "stalled"
        return "busy" if any(places.taken >= places.total for places in (self.uploads, self.pixels)) else "ok"

    async def upload_size(self, data: bytes, address: str) -> tuple[int, int]:
        """Width and height of a picture given to the API. Raises ImageError."""
        limits = self.settings.uploads
        work = partial(self._decoders.size, data, limits=limits, formats=UPLOADS)
        return await self._decoded(work, self._upload_turns, self._turn_of(address))

    async def decode_upload(self, data: bytes, address: str) -> Picture:
        """A picture given to the API. Raises ImageError."""
        limits = self.settings.uploads
        work = partial(self._decoders.decode, data, limits=limits, formats=UPLOADS)
        return await self._decoded(work, self._upload_turns, self._turn_of(address))

    async def decode_frame(self, data: bytes, address: str) -> Frame:
        """A frame of the page, [H, W, 3] uint8 RGB. Raises ImageError."""
        limits, timeout_s = self.settings.frames, _FRAME_TIMEOUT_S

        def decode() -> Frame:
            picture = self._decoders.decode(data, "the frame", limits=limits, formats=_FRAMES, timeout_s=timeout_s)
            return np.asarray(picture.image.convert("RGB"))

        return await self._decoded(decode, self._turn_of(address))

    def _turn_of(self, address: str) -> asyncio.Semaphore:
        """One address has a part of the decoders."""
        return self._turns.setdefault(address, asyncio.Semaphore(_DECODERS_PER_ADDRESS))

    async def _decoded(self, work: Callable[[], T], *turns: asyncio.Semaphore) -> T:
        """What ``work`` returns, when all these turns have come; they are held until it is done, also when its sender is gone."""
        with ExitStack() as held:
            for turn in turns:
                await turn.acquire()
                held.callback(turn.release)
            future = asyncio.get_running_loop().run_in_executor(self._decoding, work)
            kept = held.pop_all()

        def end(future: asyncio.Future[T]) -> None:
            kept.close()
            if not future.cancelled():
                future.exception()  # perhaps nobody waits for it any more

        future.add_done_callback(end)
        try:
            return await asyncio.shield(future)
        finally:  # as in ``Session._serve``
            del future

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, done beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def clip(
        self,
        executor: SerialExecutor,
        image: Image.Image,
        faces: Sequence[Face],
        start: float,
        end: float,
        *,
        seconds: float = 3.0,
        boomerang: bool = True,
        suffix: str = ".gif",
        finished: Callable[[Image.Image], Image.Image] = lambda frame: frame,
    ) -> bytes:
        """The file of a clip, as ``Transformer.animate`` makes it; a few ages a turn, so that nobody waits for all of it."""
        picture, chosen = animation.reduced(image, _CLIP_SIDE, faces)
        years = animation.ages(start, end, seconds, _CLIP_FPS)
        made = animation.parts(self.transformer, picture, chosen or (), years)
        parts = ([*map(finished, part)] for part in made)
        async with self._clips:
            frames: list[Image.Image] = []
            while part := await executor.run(lambda: next(parts, None)):
                frames += part
            clip = animation.Animation(frames, years, animation.times_ms(len(years), _CLIP_FPS))
            return await self.in_thread(lambda: (clip.boomerang() if boomerang else clip).encode(suffix))

    async def keep(self, data: bytes, name: str, owner: str, language: str) -> str:
        """Keep a picture, signed and in the gallery too if the settings say so; returns its token, as ``Snapshots.add``."""
        if self.settings.credentials is not None:
            media_type = MEDIA_TYPES[name.rpartition(".")[2]]
            data = await self.in_thread(partial(self.settings.credentials.signed, data, media_type))
        token = self.snapshots.add(data, name, owner, language)
        if self.settings.gallery is not None:
            await self.in_thread(partial(self.settings.gallery.add, token, name.rpartition(".")[2], data))
        return token

    async def delete(self, token: str) -> None:
        """Drop a picture wherever it is kept."""
        self.snapshots.delete(token)
        if self.settings.gallery is not None:
            await self.in_thread(partial(self.settings.gallery.delete, token))

    async def sweep(self) -> None:
        """Drop pictures when their time is over, whether or not anybody asks for them. Never returns."""
        told = -_HEALTH_S
        while True:
            await asyncio.sleep(min(1.0, self.settings.still_seconds))
            self.snapshots.sweep()
            if time.monotonic() - told >= _HEALTH_S:
                told = time.monotonic()
                self.tell("health", status=self.status, visitors=self.places.taken)
                if self.settings.gallery is not None:
                    await self.in_thread(self.settings.gallery.sweep)

    def address(self, path: str, scheme: str, host: str) -> tuple[str, bool]:
        """The address of a path ("/...") for the phone of a visitor who came by this scheme and ``Host`` header, and
        whether a phone can reach it."""
        if self.settings.public_url is not None:
            return self.settings.public_url + path, True
        if not is_loopback(host_name(host)):
            return f"{scheme}://{host}{path}", True
        if self.settings.network_url is not None:
            return self.settings.network_url + path, True
        return f"{scheme}://{host}{path}", False

    def close(self) -> None:
        """Drop all pictures, end the decoders and the threads."""
        for events in self._events:
            events.close()
        self.snapshots.clear()
        self._decoders.close()
        self.executor.close()
        self.upload_executor.close()
        self.printing.close()
        self._decoding.shutdown(wait=True, cancel_futures=True)
        self._threads.shutdown(wait=True, cancel_futures=True)


def live_jpeg(frame: Frame) -> bytes:
    """A frame [H, W, 3] as JPEG, for the live picture."""
    return _jpeg(Image.fromarray(frame), _LIVE)


def keep_jpeg(image: Image.Image) -> bytes:
    """A picture as JPEG, to keep; its metadata says that it was changed."""
    return _jpeg(image, _KEEP, provenance.jpeg_segment(provenance.xmp()))


def _jpeg(image: Image.Image, quality: int, metadata: bytes = b"") -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, extra=metadata)
    return file.getvalue()
