"""Where frames come from: cameras, files, network addresses and GStreamer pipelines through OpenCV, and iterables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from .._process import native_call
from ..errors import BackendError, InputError, StreamError
from ..files import exists, is_file
from ..frames import Color, Frame
from ..tracking.opencv import opencv

#: What ``Stream`` reads.
Source: TypeAlias = int | str | os.PathLike[str] | Iterable[Frame]

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_DEVICE = re.compile(r"/dev/video\d+")
_MOST_CAMERAS = 1000


class Frames(Protocol):
    """An opened source: iterated once, by one thread, which then closes it."""

    live: bool  #: Frames come when they come, and late ones are worth nothing.

    def __iter__(self) -> Iterator[tuple[Frame, float | None]]:
        """Frames, and their time in seconds where the source knows it. Raises StreamError when it stops before its end."""

    def close(self) -> None: ...


def open_source(source: Source, color: Color, size: tuple[int, int] | None = None, *, copied: bool = False) -> Frames:
    """Open a source.

    Args:
        source: number of a camera; a file; an address ("rtsp://..."); a GStreamer pipeline that ends in ``appsink`` and is
            recognised by its " ! "; or an iterable of frames.
        color: channel order of the frames; what OpenCV reads is brought to it, frames of an iterable must have it.
        size: width and height to ask a camera for; it may give others.
        copied: of frames of an iterable, as ``IterableFrames``.

    Raises:
        InputError: no source, a colour that OpenCV does not give, or a size for a source that has its own.
        StreamError: it cannot be opened.
        BackendError: OpenCV, or its GStreamer, is not there.
    """
    camera = isinstance(source, int) or (isinstance(source, str) and _DEVICE.fullmatch(source) is not None)
    if size is not None:
        if not camera:
            raise InputError(f"size: only a camera can be asked for one, and the source is {_short(source)}")
        if len(size) != 2 or not all(isinstance(side, int) and 1 <= side <= 16384 for side in size):
            raise InputError(f"size: expected width and height, 1 to 16384 pixels, got {size!r}")
    if isinstance(source, bool) or (isinstance(source, int) and not 0 <= source < _MOST_CAMERAS):
        raise InputError(f"source: expected the number of a camera, 0 to {_MOST_CAMERAS - 1}, got {source!r}")
    if isinstance(source, (int, str, os.PathLike)):
        if color not in ("rgb", "bgr"):
            raise InputError(f'color: frames of {_short(source)} are "rgb" or "bgr", got {color!r}')
        return OpenCvFrames(source, color, camera, size)
    if not isinstance(source, Iterable):
        raise InputError(
            "source: expected the number of a camera, a file, an address, a GStreamer pipeline or an iterable of frames, "
            f"got {type(source).__name__}"
        )
    return IterableFrames(source, copied=copied)


class IterableFrames:
    """Frames from Python. The iterator is closed with the stream if it can be, as generators can.

    Args:
        copied: a frame is copied before the next one is asked for: a camera's library may write that into the same array.
    """

    live = False

    def __init__(self, source: Iterable[Frame], *, copied: bool = False) -> None:
        self._iterator, self._copied = iter(source), copied

    def __iter__(self) -> Iterator[tuple[Frame, float | None]]:
        for frame in self._iterator:
            yield frame.copy() if self._copied and isinstance(frame, np.ndarray) else frame, None

    def close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class OpenCvFrames:
    """Frames from ``cv2.VideoCapture``. Use ``open_source``."""

    def __init__(
        self, source: int | str | os.PathLike[str], color: Color, camera: bool, size: tuple[int, int] | None
    ) -> None:
        self._cv2 = opencv()
        self._color = color
        self._camera = camera
        is_file = isinstance(source, os.PathLike) or (isinstance(source, str) and not camera and exists(Path(source)))
        pipeline = isinstance(source, str) and not is_file and " ! " in source
        address = isinstance(source, str) and not is_file and not pipeline and _URL.match(source) is not None
        self.live = camera or address or pipeline
        self._name = f"camera {source}" if isinstance(source, int) else os.fspath(source)
        self._capture = self._open(source, pipeline)
        self._count = 0
        self._whole = float(self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)) if not camera else 0.0
        self._ends = not (camera or address) or self._whole > 0
        if size is not None:
            self._capture.set(self._cv2.CAP_PROP_FRAME_WIDTH, size[0])
            self._capture.set(self._cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if camera:
            self._capture.set(self._cv2.CAP_PROP_BUFFERSIZE, 1)  # where the driver lets us: old frames are no use

    def _open(self, source: int | str | os.PathLike[str], pipeline: bool) -> Any:
        cv2 = self._cv2
        if not self.live:
            path = Path(self._name)
            if not is_file(path):
                is_folder = exists(path) and path.is_dir()
                raise StreamError(
                    f"{path}: " + ("expected a video file, got a folder" if is_folder else "no such file")
                )
            source = str(path.absolute())  # in a relative name FFmpeg takes what stands before a colon for a protocol
        backend = cv2.CAP_ANY
        if pipeline:
            backend = cv2.CAP_GSTREAMER
            if not cv2.videoio_registry.hasBackend(backend):
                raise BackendError(
                    f"source: {_short(source)} is a GStreamer pipeline, and this OpenCV ({cv2.__version__}) was built "
                    "without GStreamer, as those of PyPI are: use the one of JetPack or your distribution, or give an "
                    "iterator of frames"
                )
        log = getattr(getattr(cv2, "utils", None), "logging", None)
        level = log.setLogLevel(log.LOG_LEVEL_SILENT) if log else None  # what it would print is in our errors
        try:
            capture = cv2.VideoCapture(source, backend)
        except cv2.error as error:
            raise StreamError(f"{self._name}: cannot be opened: {error}") from error
        finally:
            if log:
                log.setLogLevel(level)
        if not capture.isOpened():
            what = "is it plugged in, and free?" if self._camera else "does it exist, and is it a video?"
            raise StreamError(f"{self._name}: cannot be opened: {what}")
        return capture

    def __iter__(self) -> Iterator[tuple[Frame, float | None]]:
        while (read := self._read()) is not None:
            self._count += 1
            yield read
        if not self._count:
            raise StreamError(f"{self._name}: opened, but there is no frame that can be read in it")
        if not self._ends:
            what = "was it unplugged?" if self._camera else "did the connection break?"
            raise StreamError(f"{self._name}: no more frames after {self._count}: {what}")

    def _read(self) -> tuple[Frame, float | None] | None:
        """The next frame and its time; None where there is none."""
        cv2 = self._cv2
        with native_call():
            try:
                there, frame = self._capture.read()
            except cv2.error as error:
                raise StreamError(f"{self._name}: frame {self._count} cannot be read: {error}") from error
            if not there:
                return None
            time = None if self.live else 1e-3 * float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            return (frame if self._color == "bgr" else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)), time

    def close(self) -> None:
        self._capture.release()


def _short(source: object) -> str:
    text = repr(source)
    return text if len(text) <= 80 else text[:77] + "..."
