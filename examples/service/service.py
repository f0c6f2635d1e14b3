"""A camera in, the same camera with everyone in it older or younger out, for other programs on this device; no screen, no page.

    python service.py 0 --years 70                          # camera 0, on http://127.0.0.1:8090
    python service.py rtsp://192.168.1.20/stream --model engine.plan --listen 0.0.0.0:8090

    GET /stream.mjpg     the live picture; VLC, FFmpeg, OpenCV, GStreamer, Home Assistant and <img> read it
    GET /snapshot.jpg    the newest frame
    GET /health          200 and numbers while frames come, 503 and the reason while none do; nothing of a face is in it
    GET /years           the age, and PUT /years sets it:  curl -X PUT -d 30 http://127.0.0.1:8090/years

Every option is also an environment variable (LGIN_SOURCE, LGIN_YEARS, ...), for lgin-edge.service and the containers. A camera
that goes away is waited for. While nobody watches, one frame a second is worked on. It has neither passwords nor TLS:
whoever reaches the address sees the camera, so keep to 127.0.0.1 or put a proxy before it that has both.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import cv2

from lgin_edge import InputError, LginError, Stream, StreamError, Transformer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lgin_edge.stream import Source

log = logging.getLogger("lgin-edge")

#: Most that watch at a time, seconds that a sleeping camera's frame is good for, and seconds between attempts to open one.
WATCHERS, IDLE, RETRY = 16, 1.0, 2.0


class Camera:
    """Reads, changes and encodes frames in a thread; whoever wants one waits for the newest.

    Args:
        source: as for ``Stream``.
        transformer: stays the caller's.
        years: the age to begin with.
        quality: of the JPEG pictures, 1 to 100.
    """

    def __init__(self, source: Source, transformer: Transformer, years: float, *, quality: int = 85) -> None:
        self._source, self._transformer, self._quality = source, transformer, quality
        self._years = years
        self._stream: Stream | None = None
        self._new = threading.Condition()
        self._jpeg, self._count = b"", 0
        self._told = 0.0  # when the watchdog heard of us
        self._watchers = 0
        self._state: dict[str, object] = {}
        self.problem = "starting"  # why no frames come; "" while they do
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Free the camera and let whoever waits go."""
        self.stopped.set()
        if self._stream is not None:
            self._stream.close()
        with self._new:
            self._new.notify_all()
        self._thread.join(10)

    @property
    def years(self) -> float:
        return self._years

    @years.setter
    def years(self, value: float) -> None:
        """Raises InputError for an age that there is not."""
        self._transformer.description.age_code(years=value)
        self._years = value
        if self._stream is not None:
            self._stream.years = value

    @property
    def health(self) -> dict[str, object]:
        return self._state | {"watchers": self._watchers, "problem": self.problem, "years": self._years}

    def jpeg(self, after: int = 0, timeout: float = 5.0) -> tuple[bytes, int] | None:
        """The newest picture and its number, waited for until it is another than ``after``; None if none comes."""
        with self._new:
            self._new.wait_for(lambda: self._count != after or self.stopped.is_set(), timeout)
            return None if self._count == after or self.stopped.is_set() else (self._jpeg, self._count)

    @contextmanager
    def watched(self) -> Iterator[bool]:
        """While it lasts every frame is worked on; False if too many watch already."""
        with self._new:
            room = self._watchers < WATCHERS
            self._watchers += room
            self._new.notify_all()
        try:
            yield room
        finally:
            with self._new:
                self._watchers -= room

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                self._read()
                problem = "the source ended"
            except StreamError as error:  # unplugged, or not there yet: that may change
                problem = str(error)
            except Exception:
                log.exception("the camera's thread failed")
                os.kill(os.getpid(), signal.SIGTERM)  # systemd or the container engine starts us afresh
                self.problem = "failed"
                return
            if not self.stopped.is_set():
                notify("WATCHDOG=1")
                if problem != self.problem:
                    log.warning("%s", problem)
                self.problem = problem
                self.stopped.wait(RETRY)

    def _read(self) -> None:
        """The frames of the source from where it is opened to where it ends."""
        with Stream(self._source, self._transformer, years=self._years, color="bgr") as stream:
            self._stream = stream
            for frame in stream:
                if self.stopped.is_set():
                    return
                if self.problem:
                    log.info("%d x %d from %s", frame.shape[1], frame.shape[0], self._source)
                self._publish(frame, stream)
                with self._new:
                    self._new.wait_for(lambda: self._watchers or self.stopped.is_set(), IDLE)

    def _publish(self, frame: Any, stream: Stream) -> None:
        stats = stream.stats
        fine, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not fine:
            raise RuntimeError(f"no JPEG could be made of a frame {frame.shape}")
        with self._new:
            self._jpeg, self._count = jpeg.tobytes(), self._count + 1
            self._state = {
                "fps": round(stats.fps, 1),
                "latency_ms": round(1e3 * stats.latency_median),
                "frames": self._count,
                "faces": len(stats.faces),
            }
            self.problem = ""
            self._new.notify_all()
        if time.monotonic() - self._told >= 1:  # a second is often enough for a watchdog
            self._told = time.monotonic()
            notify("WATCHDOG=1")


class Handler(BaseHTTPRequestHandler):
    """Answers for a ``Server``."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds that a watcher may be stuck for

    def do_GET(self) -> None:
        routes = {
            "/stream.mjpg": self._stream,
            "/snapshot.jpg": self._snapshot,
            "/health": self._health,
            "/years": self._years,
        }
        if self._welcome():
            routes.get(self.path, self._nothing)()

    def do_PUT(self) -> None:
        if not self._welcome():
            return None
        if self.path != "/years":
            return self._nothing()
        try:
            length = min(max(int(self.headers.get("Content-Length", 0)), 0), 32)
            self.server.camera.years = float(self.rfile.read(length))
        except (ValueError, InputError) as error:
            self.close_connection = True  # something of a long body may be left
            return self._answer(400, f"{error}\n".encode())
        return self._years()

    def _welcome(self) -> bool:
        """A page of another site must not read us through its visitor's browser, by a name of its own for our address."""
        host = re.sub(r":\d*$", "", self.headers.get("Host", ""))
        if "." in host.removesuffix(".local") and not re.fullmatch(r"[\d.]+|\[.*\]", host):
            self._answer(421, b"call me by my address, or by a name without dots\n")
            return False
        return True

    def _nothing(self) -> None:
        self._answer(404, b"/stream.mjpg, /snapshot.jpg, /health, /years\n")

    def _years(self) -> None:
        self._answer(200, f"{self.server.camera.years:g}\n".encode())

    def _health(self) -> None:
        health = self.server.camera.health
        self._answer(503 if health["problem"] else 200, json.dumps(health).encode(), "application/json")

    def _snapshot(self) -> None:
        got = self.server.camera.jpeg()
        if got is None or self.server.camera.problem:
            self._answer(503, f"{self.server.camera.problem}\n".encode())
        else:
            self._answer(200, got[0], "image/jpeg")

    def _stream(self) -> None:
        camera, number = self.server.camera, 0
        self.close_connection = True
        with camera.watched() as room:
            if not room:
                return self._answer(503, b"too many watch already\n")
            self._head(200, "multipart/x-mixed-replace; boundary=frame")
            while not camera.stopped.is_set():
                got = camera.jpeg(number)
                if got is None:
                    continue  # the camera is away: the watcher keeps its connection, and the last picture
                jpeg, number = got
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
        return None

    def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def _head(self, status: int, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if length is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):  # a watcher went, or got stuck
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


class Server(ThreadingHTTPServer):
    """Serves a camera over HTTP, a thread a watcher."""

    daemon_threads = True

    def __init__(self, host: str, port: int, camera: Camera) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        self.camera = camera


def notify(state: str) -> None:
    """Tell systemd, if it is there: sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell, suppress(OSError):
            bell.setblocking(False)  # frames do not wait for it
            bell.connect("\0" + path[1:] if path.startswith("@") else path)
            bell.send(state.encode())


def options() -> argparse.Namespace:
    env = os.environ.get
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], epilog="Each option also as LGIN_SOURCE, LGIN_YEARS, and so on."
    )
    parser.add_argument(
        "source",
        nargs="?",
        default=env("LGIN_SOURCE", "0"),
        help="number of a camera, a file, an address, or a GStreamer pipeline with an appsink (a Jetson's CSI camera)",
    )
    parser.add_argument("--years", type=float, default=env("LGIN_YEARS", "70"))
    parser.add_argument("--model", default=env("LGIN_MODEL") or None, help=".onnx, or an engine of lgin-edge build")
    parser.add_argument("--device", default=env("LGIN_DEVICE") or None, help="cpu, cuda or cuda:1")
    parser.add_argument("--listen", default=env("LGIN_LISTEN", "127.0.0.1:8090"), metavar="HOST:PORT")
    parser.add_argument("--quality", type=int, default=env("LGIN_QUALITY", "85"), help="of JPEG, 1 to 100")
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=os.environ.get("LGIN_LOG", "INFO"), format="%(levelname)s %(message)s")
    args = options()
    host, _, port = args.listen.rpartition(":")
    for number in (signal.SIGTERM, signal.SIGINT):  # as the signal for Ctrl-C
        signal.signal(number, signal.default_int_handler)
    source = int(args.source) if args.source.isdecimal() else args.source
    try:
        with Transformer(args.model, device=args.device) as transformer:
            camera = Camera(source, transformer, args.years, quality=args.quality)
            camera.years = args.years  # refused here, not in its thread
            with Server(host.strip("[]"), int(port), camera) as server:
                log.info("serving %s on http://%s:%d", args.source, host, server.server_address[1])
                camera.start()
                notify("READY=1")
                try:
                    server.serve_forever()
                finally:
                    notify("STOPPING=1")
                    camera.stop()
    except KeyboardInterrupt:
        log.info("stopped")
    except (LginError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
