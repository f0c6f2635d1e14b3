"""A kiosk on a free port of this machine, in a thread, and a visitor who needs no browser."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from lgin_edge import Transformer
from lgin_edge.kiosk.server import Server
from lgin_edge.kiosk.settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Self

#: Seconds for what takes milliseconds on a machine that has nothing else to do.
PATIENCE = 60.0

Image8 = npt.NDArray[np.uint8]


@contextmanager
def serving(transformer: Transformer, settings: Settings | None = None, **options: Any) -> Iterator[Server]:
    """A running server; ``server.url`` is its address."""
    ready = threading.Event()
    options.setdefault("port", 0)
    server = Server(transformer, settings or Settings(), ready=lambda _: ready.set(), **options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield server
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


def encoded(image: Image8, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def pixels(data: bytes) -> Image8:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine, signed by itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, which makes the certificate")
    cert, key = folder / "kiosk.pem", folder / "kiosk-key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=kiosk"
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return cert, key


class Visitor:
    """What the page does, over a WebSocket of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        options.setdefault("open_timeout", PATIENCE)
        self._connecting = connect(url.replace("http", "ws", 1) + "/live", proxy=None, **options)
        self.socket: ClientConnection
        self.number = -1

    def start(self, *, years: float = 70, consent: bool = True, **more: Any) -> Self:
        self.say(type="start", consent=consent, years=years, **more)
        assert self.hear() == ({"type": "started"}, b"")
        return self

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def show(self, file: bytes) -> int:
        self.number += 1
        self.socket.send(struct.pack(">I", self.number) + file)
        return self.number

    def hear(self) -> tuple[dict[str, Any], bytes]:
        message = self.socket.recv(PATIENCE)
        if isinstance(message, str):
            return json.loads(message), b""
        (length,) = struct.unpack(">I", message[:4])
        return json.loads(message[4 : 4 + length]), message[4 + length :]

    def change(self, file: bytes) -> tuple[dict[str, Any], bytes]:
        """The answer to a frame."""
        number = self.show(file)
        head, jpeg = self.hear()
        assert (head["type"], head["number"]) == ("frame", number)
        return head, jpeg

    def be_seen(self, file: bytes) -> None:
        """Show a frame until its face has all of its change."""
        deadline = time.monotonic() + PATIENCE
        while not any(face["strength"] == 1 for face in self.change(file)[0]["faces"]):
            assert time.monotonic() < deadline

    def __enter__(self) -> Self:
        self.socket = self._connecting.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._connecting.__exit__(*_)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it is so, for ``PATIENCE`` seconds at most."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
