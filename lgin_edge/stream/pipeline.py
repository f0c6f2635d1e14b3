"""What happens to one frame of a stream, after the other: followed, looked at where needed, changed."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from .._process import ForkGuard, native_call
from ..arguments import check_real
from ..errors import ClosedError, InputError
from ..faces import Face
from ..frames import Color, Frame, PixelFormat
from ..inputs import code_of
from ..tracking.scene_cut import SceneCutDetector
from ..tracking.tracker import TrackedFace, Tracker
from ..transformer import Transformer
from .async_detector import AsyncDetector
from .buffer_pool import BufferPool

#: In a stream whose every frame counts, a detection is used this many frames after it was asked for, whether it took that
#: long or not: so that it has its time beside the frames, and the same film gives the same pictures.
DETECTION_LAG_FRAMES = 3
#: A lost or half covered face calls the detector, at most once in this time.
_MIN_DOUBT_INTERVAL_S = 0.1
#: Interval of detections where no face is followed: a person who comes is to be seen soon.
_SEARCH_INTERVAL_S = 0.25
#: The age that is shown snaps to the target when it is this near.
_AGE_TOLERANCE_GROUPS = 0.01
#: A change of less than this is not to be seen, and costs as much as another.
_MIN_VISIBLE_STRENGTH = 0.01


@dataclass(frozen=True, eq=False)
class ProcessedFrame:
    """A frame that went through, and what was seen in it."""

    image: Frame  #: The frame with its faces changed, in an array that is held nowhere else.
    faces: tuple[TrackedFace, ...]  #: Those that are followed in it, with the strength that each got.
    changed: bool  #: Whether any of them was changed; if not, ``image`` is a copy of the frame.


class Pipeline(AbstractContextManager["Pipeline"]):
    """Frames in, changed frames out, one at a time. ``Stream`` gives it a source; code that gets frames pushed calls it.

    >>> with Pipeline(transformer, years=70) as pipeline:
    ...     older = pipeline(frame, time).image

    ``__call__`` is for one thread; ``years`` and ``group`` may be set by any.

    Args:
        transformer: changes the faces; it stays the caller's, who closes it.
        group, years: exactly one of the two, as for ``Transformer.age``.
        color: channel order of the frames.
        ordered: every frame counts, as of a file, and the same frames give the same pictures: it is waited for detections
            when a scene begins or a face is lost. Otherwise, as for a camera, nothing is waited for.
        detect_every: seconds after which a detector looks again while faces are followed, 0 to 60. Where there are none it
            looks four times a second at least, and at once when a scene begins or a face is lost.
        ease: seconds in which a new age is all but reached, 0 to 60.
        detector: finds the faces; that of the transformer when not given.
        inline: detect without a thread of its own.

    Raises InputError: an argument out of range; ClosedError: the transformer was closed. Warns as ``Transformer.age`` of an age that the model
    does not reach.
    """

    def __init__(
        self,
        transformer: Transformer,
        *,
        group: float | None = None,
        years: float | None = None,
        color: Color = "rgb",
        ordered: bool = False,
        detect_every: float = 0.5,
        ease: float = 0.6,
        detector: Callable[[Frame, Color], list[Face]] | None = None,
        inline: bool = False,
    ) -> None:
        for name, value in (("detect_every", detect_every), ("ease", ease)):
            if not isinstance(value, (int, float)) or not 0 <= value <= 60:
                raise InputError(f"{name}: expected 0 to 60 seconds, got {value!r}")
        self._origin = ForkGuard("this stream")
        self._transformer = transformer
        self._color: Color = color
        self._format = PixelFormat.parse(color)
        self._ordered = ordered
        self._detect_every = detect_every
        self._ease = ease
        self._lock = threading.Lock()  # of the age asked for
        self._centers = [group.center for group in transformer.groups]
        self._target = self._position = self._to_position(group, years)
        self._tracker = Tracker(self._format)
        self._scene_cut = SceneCutDetector(self._format)
        look = detector or (lambda frame, color: transformer.detect(frame, color=color))
        self._detector = AsyncDetector(lambda frame: look(frame, color), inline=inline)
        self._buffers = BufferPool()
        self._time: float | None = None
        self._asked_time = -math.inf  # when the last detection was asked for
        self._frames_since_asked = 0
        self._asked_lost = 0
        self._closed = False
        self.detections = self.scenes = 0
        #: The faces of the last frame, for code that watches a pipeline that others feed.
        self.faces: tuple[TrackedFace, ...] = ()

    @property
    def group(self) -> float:
        """The age group asked for; may be set while running, and is then reached within about ``ease`` seconds."""
        with self._lock:
            return self._target

    @group.setter
    def group(self, value: float) -> None:
        self._aim(self._to_position(value, None))

    @property
    def years(self) -> float:
        """The age asked for in years, between the centres of the first and the last group; may be set likewise."""
        return float(np.interp(self.group, np.arange(len(self._centers)), self._centers))

    @years.setter
    def years(self, value: float) -> None:
        self._aim(self._to_position(None, value))

    def __call__(self, frame: Frame, time: float) -> ProcessedFrame:
        """The next frame, changed; its array is the caller's as long as it is kept.

        Args:
            frame: uint8 in the order ``color``, [H, W, 3 or 4] or NV12 [H * 3/2, W]. It is only read; what is needed of it
                later is copied.
            time: of the frame, seconds from anywhere; rising. Where it falls, as of a clock that begins again, faces are looked for.

        Raises:
            InputError: the frame has the wrong type, shape or dtype; a time that is no finite number.
            BackendError: the run time failed.
            ClosedError: this, or the transformer, was closed.
        """
        if self._closed:
            raise ClosedError("this stream was closed; make a new one")
        self._origin.check()
        self._format.check("frame", frame)
        time = check_real("time", time)
        if not math.isfinite(time):
            raise InputError(f"time: expected seconds, got {time}")
        with native_call():  # OpenCV too
            return self._change(frame, time)

    def _change(self, frame: Frame, time: float) -> ProcessedFrame:
        dt = 0.0 if self._time is None else max(0.0, time - self._time)
        if self._time is not None and time < self._time:
            self._asked_time = -math.inf
        self._time = time
        self._follow(frame, time, dt)
        faces = self.faces = tuple(self._tracker.fade(dt))
        changed = [face for face in faces if face.strength >= _MIN_VISIBLE_STRENGTH]
        image = self._transformer.age(
            frame,
            group=self._eased(dt),
            faces=[one.face for one in changed],
            strength=[one.strength for one in changed],
            color=self._color,
            out=self._buffers.acquire(frame),
        )
        return ProcessedFrame(image, faces, bool(changed))

    def close(self) -> None:
        """End the detector's thread. The transformer stays open."""
        self._closed = True
        self._detector.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _follow(self, frame: Frame, time: float, dt: float) -> None:
        """Bring the faces up to this frame."""
        begins = self._scene_cut(frame)
        if not begins and len(self._tracker):
            lost = self._tracker.lost
            self._tracker.move(frame, dt)
            begins = self._scene_cut.suspected and self._tracker.lost == len(self._tracker) > lost
        if begins:
            self.scenes += 1
            self._tracker.reset()
            self._detector.forget()
            self._look(frame, time)
            if self._ordered:
                self._take(frame, wait=True, at_once=True)
            return
        self._frames_since_asked += 1
        if not self._ordered:
            self._take(frame, wait=False)
        elif self._frames_since_asked >= DETECTION_LAG_FRAMES:
            self._take(frame, wait=True)
        if self._detector.busy:
            return
        waited = time - self._asked_time
        newly_lost = self._tracker.lost > self._asked_lost
        every = self._detect_every if len(self._tracker) else min(self._detect_every, _SEARCH_INTERVAL_S)
        if waited >= every or (self._tracker.doubtful and (waited >= _MIN_DOUBT_INTERVAL_S or newly_lost)):
            self._look(frame, time)
            if self._ordered and newly_lost:
                self._take(frame, wait=True)

    def _look(self, frame: Frame, time: float) -> None:
        """Ask for a detection of this frame."""
        self._tracker.ask()
        self._asked_time, self._frames_since_asked = time, 0
        self._asked_lost = self._tracker.lost
        self._detector.ask(frame.copy())
        self.detections += 1

    def _take(self, frame: Frame, *, wait: bool, at_once: bool = False) -> None:
        """Take in the detection, if there is one."""
        result = self._detector.take(wait=wait)
        if result is not None:
            asked, found = result
            self._tracker.correct(found, asked if self._frames_since_asked else None, frame, at_once=at_once)
            self._asked_lost = min(self._asked_lost, self._tracker.lost)

    def _to_position(self, group: float | None, years: float | None) -> float:
        """An age as a position among the groups, 0 to K - 1. Raises InputError."""
        code = code_of(self._transformer.description, group, years, stacklevel=4)
        return float(code @ np.arange(len(code)))

    def _aim(self, position: float) -> None:
        with self._lock:
            self._target = position

    def _eased(self, dt: float) -> float:
        """The age of this frame: an exponential approach, so that a slider which moves on is followed at once."""
        target = self.group
        fraction = 1.0 - math.exp(-3.0 * dt / self._ease) if self._ease > 0 else 1.0
        self._position += fraction * (target - self._position)
        if abs(target - self._position) < _AGE_TOLERANCE_GROUPS:
            self._position = target
        return self._position
