"""A kiosk on a free port of this machine, in a thread, and a visitor who needs no browser."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
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


@contextlib.contextmanager
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


@contextlib.contextmanager
def command(folder: Path, *words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``lgin-edge kiosk`` in a process of its own, and its address; ``folder`` is its working and its temporary folder."""
    # Where the tests run in a shell's background Ctrl-C is ignored, and a program inherits that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "lgin_edge", "kiosk", "--port", "0", *words],
            env=os.environ | {"TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", told)
        assert url is not None, told
        yield process, url[0]
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.communicate()


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

    def be_seen(self, file: bytes, every_s: float = 0.0) -> None:
        """Show a frame, again and again, until its face has all of its change."""
        deadline = time.monotonic() + PATIENCE
        while not any(face["strength"] == 1 for face in self.change(file)[0]["faces"]):
            assert time.monotonic() < deadline
            time.sleep(every_s)

    def photograph(self, file: bytes) -> dict[str, Any]:
        """The answer to a picture with all pixels of the camera."""
        self.say(type="still", attached=True)
        self.socket.send(bytes(4) + file)
        return self.hear()[0]

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


def whole_visit(url: str, file: bytes, kind: str, **options: Any) -> None:
    """Consent, a "still", "strip" or "clip" of the face in a file, the page for the phone, a print, and the end."""
    with Visitor(url) as visitor, httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as phone:
        visitor.start(**options).be_seen(file, every_s=0.1)
        if kind == "still":
            taken = [visitor.photograph(file) for _ in range(3)]
            for other in taken[1:]:
                visitor.say(type="forget", token=other["token"])
            token = taken[0]["token"]
        else:
            visitor.say(type=kind)
            token = visitor.hear()[0]["token"]
        suffix = "gif" if kind == "clip" else "jpg"
        for path in (f"/taken/{token}", f"/stills/{token}.json", f"/stills/{token}.svg", f"/stills/{token}.{suffix}"):
            phone.get(path).raise_for_status()
        if kind != "clip":
            visitor.say(type="print", token=token)
            assert visitor.hear()[0] == {"type": "printed"}


class ProcessTree:
    """What a program and the programs that it started use, as Linux counts it in ``/proc``.

    Args:
        process: id of the first.
    """

    def __init__(self, process: int) -> None:
        self.process = process

    def ids(self) -> list[int]:
        """Of all of them, the first one first."""
        found = [self.process]
        for one in found:
            for task in Path(f"/proc/{one}/task").iterdir():
                with contextlib.suppress(OSError):  # a thread that ended meanwhile
                    found += map(int, (task / "children").read_text().split())
        return found

    @property
    def memory_mb(self) -> list[float]:
        """Resident memory of each, megabytes."""
        return [self._number(one, "status", "VmRSS") / 1e3 for one in self.ids()]

    @property
    def written_bytes(self) -> int:
        """What was written to disks, or will be."""
        return sum(self._number(one, "io", "write_bytes") for one in self.ids())

    @property
    def descriptors(self) -> int:
        """Open files and connections."""
        return sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in self.ids())

    @staticmethod
    def _number(process: int, file: str, name: str) -> int:
        line = re.search(rf"^{name}:\s*(\d+)", Path(f"/proc/{process}/{file}").read_text(), re.MULTILINE)
        return int(line[1]) if line else 0
