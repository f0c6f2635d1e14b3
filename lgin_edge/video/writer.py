"""A video file that is written whole or not at all. PyAV, the extra ``[video]``, is imported here alone."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

from .. import provenance
from ..errors import BackendError, InputError, StreamError, raised_by_caller
from ..files import atomic_write
from ..frames import Frame
from .sound import SoundEncoder, encoder

#: What is written, by the name's ending: FFmpeg's name of the container, and encoders, the preferred first.
WRITABLE = {
    ".mp4": ("mp4", ("libx264", "libopenh264", "mpeg4")),
    ".m4v": ("mp4", ("libx264", "libopenh264", "mpeg4")),
    ".mov": ("mov", ("libx264", "libopenh264", "mpeg4")),
    ".mkv": ("matroska", ("libx264", "libopenh264", "mpeg4")),
    ".webm": ("webm", ("libvpx-vp9", "libvpx")),
}
#: Options by which the encoders keep what can be seen.
_OPTIONS = {
    "libx264": {"crf": "18", "preset": "fast"},
    "libx265": {"crf": "20", "preset": "fast", "x265-params": "log-level=error"},
    "libvpx-vp9": {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"},
    "libvpx": {"crf": "10", "b": "20M", "deadline": "good", "cpu-used": "4"},
    "libopenh264": {"b": "12M"},
    "mpeg4": {"qmin": "2", "qmax": "4", "b": "40M"},
}
#: Pixel formats that players know, and their parents with full range; whatever else a film has is written as the first.
_FORMATS = {"yuv420p": "yuv420p", "yuvj420p": "yuv420p", "nv12": "yuv420p", "yuv422p": "yuv422p", "yuv444p": "yuv444p"}
#: FFmpeg's number of H.265.
_HEVC = 173
#: FFmpeg's numbers: the matrices of BT.601 and BT.709, "not stated", and the two ranges.
BT601, BT709, UNKNOWN = 6, 1, 2
LIMITED, FULL = 1, 2


def pyav() -> Any:
    """The module ``av``. Raises BackendError if it is not installed."""
    try:
        module = importlib.import_module("av")
    except ImportError as error:
        raise BackendError(f"videos are read and written by PyAV ({error}): pip install 'lgin-edge[video]'") from error
    importlib.import_module("av.logging").set_level(None)  # what matters is in our errors
    return module


def plain_name(path: Path) -> str:
    """A file's name for FFmpeg, which takes what stands before a colon in a relative one for a protocol."""
    return str(path.absolute())


class VideoWriter:
    """Writes frames, and the packets of other streams, into a new file.

    Everything goes into a hidden file beside the target, which takes its name in one step when ``finish`` is called. Without
    that, as after an error, nothing remains.

    Args:
        target: the file; its ending names the container (``WRITABLE``).
        overwrite: False refuses a file that exists.
        codec: name of an encoder of FFmpeg; one that suits the container when not given.
        into: where it is written instead of into a file, in memory; ``target`` then only names it.

    Raises:
        InputError: an ending, or an encoder, that there is not.
        StreamError: the file exists or its folder does not.
        BackendError: PyAV is not installed.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        codec: str | None = None,
        metadata: Mapping[str, str] | None = None,
        into: BytesIO | None = None,
    ) -> None:
        self.target = Path(target)
        self._into = into
        suffix = self.target.suffix.lower()
        if suffix not in WRITABLE:
            raise InputError(f"{self.target}: videos are written as {', '.join(WRITABLE)}, not as {suffix!r}")
        if into is None:
            _check_place(self.target, overwrite)
        self._av = pyav()
        self.form, encoders = WRITABLE[suffix]
        self.codec = _encoder(self._av, (codec,) if codec else encoders)
        options = {}
        if self.form in ("mp4", "mov"):
            # Keys like com.apple.quicktime.model have no place in the older kind of metadata.
            foreign = any("." in key for key in metadata or {})
            if into is None:  # else there is nothing that could be opened again, as for a fast start
                options["movflags"] = "+faststart+use_metadata_tags" if foreign else "+faststart"
        with ExitStack() as stack, self._explained():
            if into is None:
                self._partial = stack.enter_context(atomic_write(self.target))
            place = into or plain_name(self._partial)
            self._container = self._av.open(place, "w", format=self.form, container_options=options)
            self._files = stack.pop_all()
        self._container.metadata.update(metadata or {})
        if self.form not in ("mp4", "mov"):
            self._container.metadata["DIGITAL_SOURCE_TYPE"] = provenance.SOURCE_TYPE
        self._video: Any = None
        self._pending: list[tuple[Any, Any]] = []
        self._copied: dict[int, int] = {}  # the last times of decoding, by streams
        self._tail: list[Any] = []  # the last packet of the frames, which may yet last longer
        self._begins: tuple[int, int] | None = None  # when the first is shown and decoded, ticks
        self._begun, self._open = False, True
        self.size = (0, 0)  # width and height, once it has begun
        self.frames = 0
        #: When the last frame ends, ticks; None leaves its length to the encoder.
        self.end: int | None = None

    def takes(self, codec: str) -> bool:
        """Whether the container can hold what this codec makes."""
        return codec in self._container.supported_codecs

    def copy_stream(self, stream: Any) -> Any:
        """A stream of an input file, for ``copy``; before the first frame. Raises StreamError."""
        with self._explained():
            copied = self._container.add_stream_from_template(stream)
        copied.metadata.update(stream.metadata)
        with suppress(AttributeError, ValueError):  # PyAV cannot set it on every kind of stream
            copied.disposition = stream.disposition.value
        return copied

    def encode_sound(self, source: Any) -> SoundEncoder:
        """A stream of sound of an input file, for ``copy`` encoded anew; before the first frame. Raises StreamError."""
        name = encoder(self.form)
        try:
            return SoundEncoder(self._av, source, self._container, name)
        except (self._av.error.FFmpegError, ValueError) as error:
            if raised_by_caller(error):
                raise
            raise StreamError(
                f"{self.target}: its container does not take the film's sound, and {name} does not encode it: {error}"
            ) from error

    def copy(self, packet: Any, stream: Any) -> None:
        """Write a packet to a stream of ``copy_stream`` or ``encode_sound`` as it is. Raises StreamError."""
        if not self._begun:  # the file begins with the size of its frames
            self._pending.append((packet, stream))
            return
        packet.stream = stream
        if stream.type == "audio" and packet.dts is not None:
            last = self._copied.get(stream.index, packet.dts)
            if (
                packet.dts < last
            ):  # where recordings were joined they overlap a little; packets shorter than a tick are no overlap
                packet.dts = last + 1
                packet.pts = packet.pts if packet.pts is None else max(packet.pts, packet.dts)
            self._copied[stream.index] = packet.dts
        with self._explained():
            self._container.mux(packet)

    def add_video(self, rate: Fraction | None = None) -> None:
        """Make room for the frames, among the streams that are copied; ``begin`` then says how large they are.

        ``rate`` is frames per second, for the encoder to plan with; they may come at any time. Raises StreamError.
        """
        with self._explained():
            self._video = self._container.add_stream(self.codec, rate=rate, options=dict(_OPTIONS.get(self.codec, {})))

    def copy_chapters(self, container: Any) -> None:
        """The chapters of an input file, where this PyAV can."""
        if hasattr(container, "chapters") and hasattr(self._container, "set_chapters"):
            with self._explained():
                if chapters := container.chapters():
                    self._container.set_chapters(chapters)

    def begin(
        self,
        width: int,
        height: int,
        *,
        time_base: Fraction,
        pixels: str = "yuv420p",
        aspect: Fraction | None = None,
        color: Mapping[str, int] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Set up the frames; once, before the first and after ``add_video``.

        Args:
            time_base: seconds of one tick of the frames' times.
            pixels: pixel format of the source; kept if players know it.
            aspect: width of a pixel to its height.
            color: what the codec context says of the colours: color_range, colorspace, color_primaries, color_trc. When not given,
                BT.601 in limited range, as ``write_array`` writes by default.

        Raises StreamError: the encoder does not take it.
        """
        known = self._av.codec.Codec(self.codec, "w").video_formats or []
        chosen = _FORMATS.get(pixels, "yuv420p")
        self.pixels = chosen if chosen in [one.name for one in known] else "yuv420p"
        with self._explained():
            stream = self._video
            # Halved chroma needs even sides: what is over is cut off at the right and at the bottom.
            even = 2 if self.pixels == "yuv420p" else 1
            stream.width, stream.height = width // even * even, height // even * even
            stream.pix_fmt = self.pixels
            stream.time_base = stream.codec_context.time_base = time_base
            stream.codec_context.thread_type = "AUTO"
            if self.form in ("mp4", "mov") and stream.codec.id == _HEVC:
                stream.codec_context.codec_tag = "hvc1"  # Apple's players take no other
            if aspect:
                stream.codec_context.sample_aspect_ratio = aspect
            for name, value in (color or {"colorspace": BT601, "color_range": LIMITED}).items():
                setattr(stream.codec_context, name, value)
            stream.metadata.update(metadata or {})
            self.size = (stream.width, stream.height)
            self._container.start_encoding()
        self._begun = True
        pending, self._pending = self._pending, []
        for packet, copied in pending:
            self.copy(packet, copied)

    def write(self, frame: Any) -> None:
        """Write a frame of PyAV in the format ``pixels``, with its ``pts`` in ticks; they must rise. Raises StreamError."""
        frame.pict_type = 0  # what it was in the source is not what it has to be here
        with self._explained():
            packets = self._packets(frame)
            self._tail = packets[-1:]
            self._container.mux(packets[:-1])
        self.frames += 1

    def _packets(self, frame: Any) -> list[Any]:
        """What the encoder gives, behind what was kept."""
        packets = [*self._tail, *self._video.encode(frame)]
        if self._begins is None and packets:
            self._begins = packets[0].pts, packets[0].dts
        return packets

    def write_array(
        self, frame: Frame, pts: int, *, color: str = "rgb", matrix: int = BT601, full_range: bool = False
    ) -> None:
        """Write a frame [H, W, 3] uint8.

        Args:
            frame: the picture; of another size than the video it is scaled, but an odd row or column is cut off.
            pts: its time in ticks.
            color: "rgb" or "bgr".
            matrix, full_range: of the YUV that is written: as given to ``begin``.
        """
        width, height = self.size
        if frame.shape[0] - height in (0, 1) and frame.shape[1] - width in (0, 1):
            frame = frame[:height, :width]
        picture = self._av.VideoFrame.from_ndarray(frame, format=f"{color}24")
        with self._explained():
            picture = picture.reformat(
                width=width,
                height=height,
                format=self.pixels,
                dst_colorspace=SWS.get(matrix, SWS[BT601]),
                src_color_range=FULL,
                dst_color_range=FULL if full_range else LIMITED,
            )
        picture.pts = pts
        picture.time_base = self._video.codec_context.time_base
        self.write(picture)

    def finish(self) -> None:
        """Write the end, and give the file its name. Raises StreamError."""
        with self._explained():
            packets = self._packets(None)
            if self._begins is not None and self.end is not None and self.form in ("mp4", "mov"):
                # These last as long as their packets do, both as they are shown and in the order of decoding.
                (shown, decoded), last = self._begins, packets[-1]
                last.duration = max(1, self.end - last.pts, self.end - shown - (last.dts - decoded))
            self._container.mux(packets)
            self._container.close()
            self._open = False
            if self.form in ("mp4", "mov"):
                with self._partial.open("ab") if self._into is None else nullcontext(self._into) as file:
                    file.seek(0, os.SEEK_END)
                    file.write(provenance.mp4_box())
            self._files.close()  # it takes its name

    def close(self) -> None:
        """Drop the file, unless it was finished."""
        if self._open:
            self._open = False
            with suppress(Exception):  # what cannot be ended is thrown away all the same
                self._container.close()
        if self._into is None:
            self._partial.unlink(missing_ok=True)
        self._files.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            if raised_by_caller(error):
                raise
            raise StreamError(f"{self.target}: cannot be written with {self.codec}: {error}") from error


#: swscale's numbers for FFmpeg's matrices.
SWS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


def _check_place(target: Path, overwrite: bool) -> None:
    """Raises StreamError: the file exists, or its folder does not."""
    if target.is_dir() or (target.exists() and not overwrite):
        what = "is a folder" if target.is_dir() else "exists already; choose another name or allow overwriting"
        raise StreamError(f"{target}: {what}")
    if not target.parent.is_dir():
        raise StreamError(f"{target}: there is no folder {target.parent}")


def _encoder(av: Any, names: tuple[str, ...]) -> str:
    """The first of these encoders that FFmpeg has. Raises InputError."""
    for name in names:
        with suppress(ValueError):
            return str(av.codec.Codec(name, "w").name)
    raise InputError(f"codec: this PyAV has no encoder named {' or '.join(names)}")
