"""NV12 frames from GStreamer, changed as they are (no RGB on the way) and given back to GStreamer. For a Jetson's CSI camera:

    python examples/gstreamer_nv12.py --years 70
    python examples/gstreamer_nv12.py --model engine.plan --sink "nvv4l2h264enc ! h264parse ! matroskamux ! filesink location=me.mkv"
    python examples/gstreamer_nv12.py --source "v4l2src ! jpegdec ! videoconvert" --sink "videoconvert ! autovideosink"
    python examples/gstreamer_nv12.py --test-source --sink fakesink --seconds 5      # on any machine

Needs GStreamer 1.20 and PyGObject, which JetPack 6 has; elsewhere: apt install python3-gi gir1.2-gst-plugins-base-1.0
gstreamer1.0-plugins-good. Both belong to the system's Python: python3 -m venv --system-site-packages venv.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import gi
import numpy as np
import numpy.typing as npt

from lgin_edge import LginError, Stream, StreamError, Transformer

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GLib, Gst, GstVideo

Frame = npt.NDArray[np.uint8]

# The camera writes NV12 into memory of its own (NVMM); nvvidconv brings it, still NV12, to where the CPU can read it.
CAMERA = (
    "nvarguscamerasrc sensor-id={sensor} ! "
    "video/x-raw(memory:NVMM),format=NV12,width={width},height={height},framerate=30/1 ! nvvidconv"
)
SCREEN = "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nv3dsink sync=false"
TEST = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=NV12,width={width},height={height},framerate=30/1"


def from_gstreamer(data: Any, width: int, height: int, strides: Sequence[int], offsets: Sequence[int]) -> Frame:
    """A buffer's two planes as one array [H * 3/2, W]: rows may be padded, and the UV plane may begin anywhere after Y's.

    Raises ValueError or TypeError if the planes do not lie within the buffer.
    """
    rows = (height, height // 2)
    planes = [
        np.ndarray((rows[i], width), np.uint8, buffer=data, offset=offsets[i], strides=(strides[i], 1)) for i in (0, 1)
    ]
    return np.concatenate(planes)  # a copy: the buffer goes back to the camera


def to_gstreamer(frame: Frame) -> bytes:
    """The bytes of a frame [H * 3/2, W] as GStreamer expects NV12 that says nothing else: rows of a multiple of 4 bytes."""
    return np.pad(frame, ((0, 0), (0, -frame.shape[1] % 4))).tobytes()


class Camera:
    """The frames of a GStreamer pipeline: an iterable for ``Stream``, which reads it in a thread of its own.

    Attributes:
        caps: format of the last frame, for whoever sends it on.
    """

    def __init__(self, source: str, timeout: float = 10.0) -> None:
        # The newest frame alone is kept: while one is changed, those that come in between are dropped.
        sink = "capsfilter caps=video/x-raw,format=NV12 ! appsink name=sink max-buffers=1 drop=true sync=false"
        self._pipeline = launch(f"{source} ! {sink}")
        self._timeout = timeout
        self.caps: Any = None

    def __iter__(self) -> Iterator[Frame]:
        sink, last = self._pipeline.get_by_name("sink"), time.monotonic()
        self._pipeline.set_state(Gst.State.PLAYING)
        try:
            while True:
                sample = sink.emit("try-pull-sample", Gst.SECOND // 10)
                if sample is not None:
                    last = time.monotonic()
                    self.caps = sample.get_caps()
                    yield self._frame(sample)
                elif ended(self._pipeline):
                    return
                elif time.monotonic() - last > self._timeout:
                    raise StreamError(f"the camera gave no frame for {self._timeout:g} s: is it still there?")
        finally:
            self._pipeline.set_state(Gst.State.NULL)

    def _frame(self, sample: Any) -> Frame:
        buffer, info = sample.get_buffer(), GstVideo.VideoInfo.new_from_caps(sample.get_caps())
        # Hardware tells here how it has laid out this buffer; who says nothing keeps to GStreamer's default.
        layout = GstVideo.buffer_get_video_meta(buffer) or info
        data = buffer.extract_dup(0, buffer.get_size())
        return from_gstreamer(data, info.width, info.height, layout.stride, layout.offset)


class Output:
    """Sends NV12 frames to the end of a GStreamer pipeline: a screen, an encoder, the network."""

    def __init__(self, sink: str) -> None:
        self._pipeline = launch(
            f"appsrc name=src format=time is-live=true do-timestamp=true block=true max-buffers=2 ! {sink}"
        )
        self._source = self._pipeline.get_by_name("src")
        self._pipeline.set_state(Gst.State.PLAYING)

    def send(self, frame: Frame, caps: Any) -> None:
        buffer = Gst.Buffer.new_wrapped(to_gstreamer(frame))
        flow = self._source.emit("push-sample", Gst.Sample.new(buffer, caps, None, None))
        if ended(self._pipeline) or flow != Gst.FlowReturn.OK:
            raise StreamError(f"the output takes no more frames ({flow.value_nick})")

    def close(self) -> None:
        self._source.emit("end-of-stream")  # so that a file is finished
        self._pipeline.get_bus().timed_pop_filtered(3 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
        self._pipeline.set_state(Gst.State.NULL)


def launch(description: str) -> Any:
    try:
        return Gst.parse_launch(description)
    except GLib.Error as error:
        raise StreamError(f"GStreamer: {error.message}, in: {description}") from error


def ended(pipeline: Any) -> bool:
    """Whether a pipeline came to its end. Raises StreamError if something in it failed."""
    message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR | Gst.MessageType.EOS)
    if message is not None and message.type == Gst.MessageType.ERROR:
        error, _ = message.parse_error()
        raise StreamError(f"GStreamer: {message.src.get_name()}: {error.message}")
    return message is not None


def run(source: str, sink: str, *, years: float, model: str | None, seconds: float) -> None:
    """Change frames until the source ends, or for some seconds."""
    with Transformer(model) as transformer:
        camera = Camera(source)
        with Stream(camera, transformer, years=years, color="nv12", live=True) as stream:
            output, start = Output(sink), time.monotonic()
            try:
                for frame in stream:
                    output.send(frame, camera.caps)
                    if time.monotonic() - start > seconds:
                        break
            finally:
                output.close()
                stats = stream.stats
                print(
                    f"{stats.frames_out} frames, {stats.fps:.1f} a second, {1e3 * stats.latency_median:.0f} ms, "
                    f"{len(stats.faces)} faces in the last one"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description="NV12 through GStreamer: a Jetson's camera, younger or older.")
    parser.add_argument("--years", type=float, default=70.0)
    parser.add_argument(
        "--model", help="an .onnx file or an engine of lgin-edge build; default: the bundled model, on the CPU"
    )
    parser.add_argument("--sensor", type=int, default=0, help="number of the CSI camera")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--source", help="another pipeline that gives video/x-raw, in place of the CSI camera")
    parser.add_argument(
        "--test-source", action="store_true", help="videotestsrc in place of a camera: no face is in it"
    )
    parser.add_argument("--sink", default=SCREEN, help="pipeline that takes NV12; default: the screen of a Jetson")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long")
    args = parser.parse_args()
    source = args.source or (TEST if args.test_source else CAMERA).format(**vars(args))
    try:
        run(source, args.sink, years=args.years, model=args.model, seconds=args.seconds)
    except LginError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    Gst.init(None)
    main()
