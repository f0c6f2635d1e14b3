"""The kiosk for fuzzing: without a model, sockets, threads or processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.datastructures import Headers
from starlette.types import Message

from lgin_edge import Face, Limits, geometry, images
from lgin_edge.kiosk.app import create_app
from lgin_edge.kiosk.settings import Settings
from lgin_edge.models.description import Description, groups_from_centers
from lgin_edge.transformer import Transformer

SMALL = Limits(image_pixels=300_000, image_bytes=100_000)


class Model:
    """A transformer without a model: half of the pictures have a face, and its ages are shades of grey."""

    description = Description(
        model="fuzz",
        groups=groups_from_centers((35, 45, 55, 65), (30, 40, 50, 60, 70)),
        face_size=64,
        patch_size=32,
        face_taper=0.12,
        region_taper=0.3,
        template=tuple((float(x), float(y)) for x, y in geometry.TEMPLATE),
        precision="fp32",
        training_data="none",
    )
    face_size, patch_size = 64, 32

    def run(self, face: Any, patches: Any, boxes: Any, age: Any) -> Any:
        return np.full((len(age), 3, 64, 64), 0.1, np.float32), np.zeros((len(age), 5, 3, 32, 32), np.float32)

    def close(self) -> None:
        pass


def find(frame: npt.NDArray[np.uint8], color: Any) -> list[Face]:
    height, width = frame.shape[:2]
    if min(height, width) < 8 or frame[0, 0].sum() % 2:
        return []
    return [Face(geometry.TEMPLATE * min(height, width) / 2 + min(height, width) / 4)]


@lru_cache(maxsize=1)
def kiosk() -> Any:
    """The kiosk as an ASGI application, with work done in the event loop's own thread: atheris sees that one."""
    from lgin_edge._process import ForkGuard
    from lgin_edge.inference.cpu import CpuFramePath

    transformer = Transformer.__new__(Transformer)
    vars(transformer).update(
        _origin=ForkGuard("this Transformer"),
        _threads=1,
        _path=CpuFramePath(Model(), 1),
        _description=Model.description,
        _detector=find,
        _limits=Limits(),
        _local=_Local(),
    )
    frames = Limits(image_bytes=100_000, image_pixels=100_000, json_bytes=1024, json_depth=2)
    settings = Settings(requests_per_minute=1e12, frames=frames, uploads=SMALL, max_fps=1e9)
    app = create_app(transformer, settings)
    state = app.state.kiosk

    async def here(work: Callable[[], Any]) -> Any:
        return work()

    state.in_thread = state.executor.run = state.upload_executor.run = here
    state._decoded = lambda work, *turns: here(work)
    state._decoders = _Decoders()
    return app


class _Decoders:
    """In the place of processes of their own."""

    size = staticmethod(images.size)

    @staticmethod
    def decode(*arguments: Any, timeout_s: float | None = None, **options: Any) -> images.Picture:
        return images.decode(*arguments, **options)


class _Local:
    """In the place of threading.local: there is one thread."""


async def ask(scope: Any, body: bytes) -> int:
    """The status that a request gets."""
    sent: list[Message] = []
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await kiosk()(scope, receive, send)
    start = next(one for one in sent if one["type"] == "http.response.start")
    assert "content-security-policy" in Headers(raw=start["headers"])
    return int(start["status"])


async def visit(received: list[Message]) -> list[Message]:
    """What a visitor is sent for what he sends."""
    sent: list[Message] = []
    left = iter(received)

    async def receive() -> Message:
        for _ in range(20):  # the task that works has its turn
            await asyncio.sleep(0)
        return next(left, received[-1])

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/live",
        "raw_path": b"/live",
        "query_string": b"",
        "root_path": "",
        "scheme": "ws",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "subprotocols": [],
        "state": {},
    }
    await kiosk()(scope, receive, send)
    assert kiosk().state.kiosk.places.taken == 0
    return sent


async def nothing() -> Message:
    return {"type": "http.disconnect"}


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def run(work: Any) -> Any:
    return _loop().run_until_complete(work)
