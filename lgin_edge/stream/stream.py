"""``Stream``: frames of a camera or a film, with the faces in them younger or older."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ..arguments import check_real
from ..errors import InputError
from ..faces import Face
from ..frames import Color, Frame
from ..transformer import Transformer
from .latest_slot import Ended
from .pipeline import Pipeline
from .runners import LatestFrameRunner, SequentialRunner
from .sources import Source, open_source
from .stats import Meter, Stats

if TYPE_CHECKING:
    from ..tracking.tracker import TrackedFace


class Stream(Iterator[Frame], AbstractContextManager["Stream"]):
    """The frames of a source, with the faces in them at another age.

    >>> with lgin_edge.Stream(0, transformer, years=70) as stream:  # camera 0
    ...     for frame in stream:  # [H, W, 3] uint8 RGB
    ...         show(frame)

    Faces are found when it is needed, and followed from frame to frame; who comes or goes is faded in or out, and so is who
    is covered by a hand or turns away (``pose.YAW_LIMITS``). A *live* source (a camera, an address, a pipeline) gives its
    newest frame: capture, detection and the model run in threads of their own, and what was not taken in time is
    dropped. Of a file or an iterable every frame comes, in order, worked on when it is asked for.

    Iterate in one thread; ``years``, ``group``, ``stats`` and ``close`` are for any. It ends with its source, and what went
    wrong in a thread is raised where it is iterated.

    Args:
        source: the number of a camera; a file; an address (``"rtsp://..."``); a GStreamer pipeline with an ``appsink``; or an
            iterable of frames.
        transformer: changes the faces; it stays the caller's, who closes it after the stream.
        group, years: the age, exactly one of the two, as for ``Transformer.age``.
        color: channel order of the frames that come out, and of those that an iterable gives: "rgb" or "bgr"; of an iterable
            also "rgba", "bgra" or "nv12".
        size: width and height to ask a camera for, pixels; it may give others.
        fps: frames per second of an iterable, by which faces fade; above 0.
        live: whether only the newest frame counts; when not given, it does for cameras, addresses and pipelines.
        detect_every, ease, detector, inline: as for ``Pipeline``.
        timeout: seconds without a frame after which a live source counts as gone, above 0.
        clock: seconds, from anywhere; for tests.

    Attributes:
        live: whether only the newest frame counts.
        groups: the age groups of the model, by rising age.

    Raises:
        InputError: an argument has the wrong type or value; when iterating, a frame has.
        StreamError: the source cannot be opened; when iterating, it stopped. Also an OSError.
        BackendError: OpenCV, or its GStreamer, is not there; when iterating, the run time failed.
        ClosedError: the transformer was closed.
    """

    def __init__(
        self,
        source: Source,
        transformer: Transformer,
        *,
        group: float | None = None,
        years: float | None = None,
        color: Color = "rgb",
        size: tuple[int, int] | None = None,
        fps: float = 30.0,
        live: bool | None = None,
        detect_every: float = 0.5,
        ease: float = 0.6,
        detector: Callable[[Frame, Color], list[Face]] | None = None,
        inline: bool = False,
        timeout: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        fps, timeout = check_real("fps", fps), check_real("timeout", timeout)
        for name, value in (("fps", fps), ("timeout", timeout)):
            if not 0 < value < float("inf"):
                raise InputError(f"{name}: expected a number above 0, got {value!r}")
        frames = open_source(source, color, size, copied=bool(live))  # others than the newest are kept meanwhile
        self.live = frames.live if live is None else bool(live)
        try:
            self._pipeline = Pipeline(
                transformer,
                group=group,
                years=years,
                color=color,
                ordered=not self.live,
                detect_every=detect_every,
                ease=ease,
                detector=detector,
                inline=inline,
            )
        except BaseException:
            frames.close()
            raise
        self.groups = transformer.groups
        self._clock = clock
        self._meter = Meter()
        #: The last frame as it came from the source; None before the first.
        self.original: Frame | None = None
        self._faces: tuple[TrackedFace, ...] = ()
        self._runner: LatestFrameRunner | SequentialRunner = (
            LatestFrameRunner(frames, self._pipeline, timeout, clock)
            if self.live
            else SequentialRunner(frames, self._pipeline, 1.0 / fps, clock)
        )
        # The runner and its threads know nothing of the stream: one that is forgotten without close() ends all the same.
        self._close = weakref.finalize(self, self._runner.close)

    @property
    def group(self) -> float:
        """The age group asked for, 0 to K - 1. Set while running, it is reached within about ``ease`` seconds."""
        return self._pipeline.group

    @group.setter
    def group(self, value: float) -> None:
        self._pipeline.group = value

    @property
    def years(self) -> float:
        """The age asked for in years, between the centres of the first and the last group; may be set likewise."""
        return self._pipeline.years

    @years.setter
    def years(self, value: float) -> None:
        self._pipeline.years = value

    @property
    def stats(self) -> Stats:
        """Frames, latency and faces up to the last frame."""
        return Stats(
            frames_in=self._runner.frames_in,
            frames_out=self._meter.frames,
            dropped=self._runner.dropped,
            detections=self._pipeline.detections,
            scenes=self._pipeline.scenes,
            faces=self._faces,
            **self._meter.summary(),
        )

    def __next__(self) -> Frame:
        """The next frame, changed. Raises StopIteration after ``close`` or the source's end; see ``Stream``."""
        try:
            timed = self._runner.next()
        except Ended:
            self.close()
            raise StopIteration from None
        except BaseException:
            self.close()
            raise
        self.original, self._faces = timed.original, timed.processed.faces
        self._meter.add(timed.start, self._clock())
        return timed.processed.image

    def __repr__(self) -> str:
        return f"<lgin_edge.Stream {'live' if self.live else 'in order'}, to {self.years:g} years>"

    def close(self) -> None:
        """Free the source and end the threads. A caller that waits for a frame gets no more; the transformer stays open."""
        self._close()

    def __exit__(self, *_: object) -> None:
        self.close()
