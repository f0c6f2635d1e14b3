"""Image files of strangers, decoded in processes that are ended when a file takes too long, whatever holds them up, and that get no
more memory than the largest picture needs.

A decoder is Python with Pillow, and nothing else. The file and its pixels go through memory that both processes share, which
has no name and goes with them; lengths go over a socket. A decoder that was ended, or died of its file, is replaced.
"""

from __future__ import annotations

import json
import math
import os
import queue
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from . import images
from .errors import BackendError, ClosedError, ImageError, raised_by_caller
from .limits import LIMITS, Limits

T = TypeVar("T")

#: What a decoder runs: our own modules, found where this process finds them.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lgin_edge import image_decoders; "
    "image_decoders.serve(int(sys.argv[2]), int(sys.argv[3]))"
)
#: Seconds until a decoder that was started can work.
_START_TIMEOUT_S = 60.0
#: Memory that a decoder may take for a file: this much, and by the byte of the file and the pixel that the limits allow.
_MEMORY_BYTES, _MEMORY_PER_FILE_BYTE, _MEMORY_PER_PIXEL = 512 << 20, 8, 32
#: A request: bytes of the file and of the JSON behind it. An answer: bytes of the pixels and of the JSON behind them.
_LENGTHS = struct.Struct("<QQ")


class ImageDecoders:
    """A pool of decoders, which threads may share: each call takes one, and waits until one is free.

    Args:
        processes: decoders, each begun when it is first needed.
        timeout_s: seconds that a file may take.
    """

    def __init__(self, processes: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._all = [_Decoder() for _ in range(processes)]
        self._free: queue.LifoQueue[_Decoder] = queue.LifoQueue()  # the one that is warm goes first
        for decoder in reversed(self._all):
            self._free.put(decoder)
        self._closed = False

    def start(self) -> None:
        """Begin all decoders now, so that no file waits for it. Raises BackendError."""
        for decoder in self._all:
            decoder.start()

    def size(
        self,
        data: bytes,
        name: str = "the picture",
        *,
        limits: Limits = LIMITS,
        formats: Sequence[str] = images.READABLE,
    ) -> tuple[int, int]:
        """As ``images.size``. Raises ImageError, also for a file that takes too long, and BackendError."""

        def understood(answer: dict[str, Any], _: bytes) -> tuple[int, int]:
            width, height = answer["size"]
            return int(width), int(height)

        request = {"what": "size", "name": name, "limits": asdict(limits), "formats": list(formats)}
        return self._ask(data, request, 0, self._timeout_s, understood)

    def decode(
        self,
        data: bytes,
        name: str = "the picture",
        *,
        limits: Limits = LIMITS,
        formats: Sequence[str] = images.READABLE,
        timeout_s: float | None = None,
    ) -> images.Picture:
        """As ``images.decode``.

        Args:
            timeout_s: instead of that of all files.

        Raises:
            ImageError: as ``images.decode``; or the file takes too long, or its decoder died of it.
            BackendError: no decoder can be started.
            ClosedError: the pool was closed, perhaps while the file was decoded.
        """
        request = {"what": "decode", "name": name, "limits": asdict(limits), "formats": list(formats)}
        return self._ask(data, request, 4 * limits.image_pixels, timeout_s or self._timeout_s, _picture)

    def _ask(
        self,
        data: bytes,
        request: dict[str, Any],
        most_bytes: int,
        timeout_s: float,
        understood: Callable[[dict[str, Any], bytes], T],
    ) -> T:
        name, decoder = request["name"], self._free.get()
        try:
            if self._closed:
                raise ClosedError("these ImageDecoders were closed")
            try:
                return understood(*decoder.ask(data, request, most_bytes, timeout_s))
            except ImageError:
                raise  # the answer
            except (TimeoutError, _Died, ConnectionError, ValueError, KeyError, TypeError, AttributeError) as error:
                decoder.stop()
                if raised_by_caller(error):
                    raise
                if isinstance(error, TimeoutError):
                    raise ImageError(
                        f"{name}: takes more than {timeout_s:g} s to decode; save it again first, as a plain JPEG say"
                    ) from None
                if self._closed:
                    raise ClosedError("these ImageDecoders were closed") from None
                raise ImageError(f"{name}: its decoder died of it ({error}): damaged, or made to harm") from error
            except BaseException:  # Ctrl-C, or a signal handler's: its answer must not be the next one's
                decoder.stop()
                raise
        finally:
            if not self._closed:
                with suppress(BackendError):  # said when it is needed
                    decoder.start()
            self._free.put(decoder)

    def close(self) -> None:
        """End all decoders, also those at work."""
        self._closed = True
        for decoder in self._all:
            decoder.kill()
        returned = [self._free.get() for _ in self._all]
        for decoder in returned:
            decoder.stop()
            self._free.put(decoder)  # for those that wait, to learn of it


class _Died(Exception):
    """A decoder ended, or does not keep to what was agreed."""


class _Decoder:
    """One process, for one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False

    def start(self) -> None:
        """Begin the process, if none runs. It gets ready meanwhile. Raises BackendError."""
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        try:
            with ExitStack() as stack:
                memory = os.memfd_create("lgin-decoder")
                stack.callback(os.close, memory)
                ours, theirs = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                inherited = theirs.fileno(), memory
                self._process = subprocess.Popen(
                    [sys.executable, "-IB", "-c", _PROGRAM, json.dumps(sys.path), *map(str, inherited)],
                    pass_fds=inherited,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C is for us
                    env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # NumPy's threads would take memory, each
                )
                self._socket, self._memory = ours.dup(), os.dup(memory)
        except OSError as error:
            raise BackendError(f"no process for decoding pictures could be started: {error}") from error
        self._is_ready = False

    def ask(
        self, data: bytes, request: dict[str, Any], most_bytes: int, timeout_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """The answer to a request, and the pixels.

        Raises:
            ImageError: the answer is one.
            TimeoutError: there was none in time.
            BackendError: the process cannot be started.
            _Died, ConnectionError, ValueError: there was none, or a wrong one.
        """
        self.start()
        if not self._is_ready:
            try:
                self._receive(_START_TIMEOUT_S)
            except (_Died, OSError) as error:
                self.stop()
                if raised_by_caller(error):
                    raise
                raise BackendError(f"the process for decoding pictures does not start ({error})") from error
            self._is_ready = True
        deadline = time.monotonic() + timeout_s
        pixels_bytes = _MEMORY_PER_PIXEL * request["limits"]["image_pixels"]
        memory_bytes = _MEMORY_BYTES + _MEMORY_PER_FILE_BYTE * len(data) + pixels_bytes
        text = json.dumps(request | {"alarm_s": math.ceil(timeout_s) + 1, "memory_bytes": memory_bytes}).encode()
        _put(self._memory, data, text)
        self._socket.send(_LENGTHS.pack(len(data), len(text)))
        size, length = _LENGTHS.unpack(self._receive(deadline - time.monotonic()))
        if size > most_bytes or size + length > os.fstat(self._memory).st_size:
            raise _Died("it answers with more than was agreed")
        pixels, answer = os.pread(self._memory, size, 0), json.loads(os.pread(self._memory, length, size))
        os.ftruncate(self._memory, 0)
        if "error" in answer:
            raise ImageError(answer["error"])
        return answer, pixels

    def _receive(self, timeout_s: float) -> bytes:
        self._socket.settimeout(max(0.001, timeout_s))
        message = self._socket.recv(64)
        if not message:
            assert self._process is not None
            code = self._process.wait()
            if code == -signal.SIGALRM:  # it was faster than we, on a machine that has other things to do
                raise TimeoutError
            raise _Died(signal.Signals(-code).name if code < 0 else f"exit code {code}")
        return message

    def kill(self) -> None:
        """End the process, from any thread: who waits for its answer learns of it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End the process and free what it held."""
        if self._process is not None:
            self.kill()
            self._process = None
            self._socket.close()
            os.close(self._memory)


def _put(memory: int, *parts: bytes) -> None:
    """Write the parts, and nothing behind them."""
    os.ftruncate(memory, 0)
    at = 0
    for part in parts:
        view = memoryview(part)
        while view:
            written = os.pwrite(memory, view, at)
            view, at = view[written:], at + written


def serve(connection: int, memory: int) -> None:
    """A decoder, of two file descriptors: answers until the other side is closed."""
    from PIL import Image

    Image.init()
    used_bytes = _data_bytes()
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    with socket.socket(fileno=connection) as asked:
        asked.send(b"ready")
        while message := asked.recv(_LENGTHS.size):
            size, length = _LENGTHS.unpack(message)
            request = json.loads(os.pread(memory, length, size))
            signal.alarm(request["alarm_s"])  # ends this process, should the other be gone
            limit = used_bytes + request["memory_bytes"]
            limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
            pixels, answer = _answer(os.pread(memory, size, 0), request)
            text = json.dumps(answer, default=float).encode()  # Pillow's fractions are numbers
            _put(memory, pixels, text)
            signal.alarm(0)
            asked.send(_LENGTHS.pack(len(pixels), len(text)))


def _data_bytes() -> int:
    """What this process has of what ``RLIMIT_DATA`` bounds."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[5]) * resource.getpagesize()


def _answer(data: bytes, request: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Pixels and what else there is to a picture."""
    options: Any = {"limits": Limits(**request["limits"]), "formats": request["formats"]}
    try:
        if request["what"] == "size":
            return b"", {"size": images.size(data, request["name"], **options)}
        picture = images.decode(data, request["name"], **options)
        pixels = picture.image.tobytes()
    except ImageError as error:
        return b"", {"error": str(error)}
    binary = {key: value for key, value in picture.metadata.items() if isinstance(value, bytes)}
    return pixels, {
        "mode": picture.image.mode,
        "size": picture.image.size,
        "format": picture.format,
        "jpeg": picture.jpeg,
        "plain": {key: value for key, value in picture.metadata.items() if key not in binary},
        "binary": {key: value.decode("latin-1") for key, value in binary.items()},
    }


def _picture(answer: dict[str, Any], pixels: bytes) -> images.Picture:
    """What ``_answer`` made of a picture, as it was."""
    from PIL import Image

    jpeg, metadata = answer["jpeg"], answer["plain"]
    if "qtables" in jpeg:
        jpeg["qtables"] = {int(number): table for number, table in jpeg["qtables"].items()}
    metadata |= {key: value.encode("latin-1") for key, value in answer["binary"].items()}
    image = Image.frombytes(answer["mode"], tuple(answer["size"]), pixels)
    return images.Picture(image, metadata, jpeg, answer["format"])
