"""The two ways to run a pipeline: every frame of a film in order, or the newest frame of a camera."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .._process import ForkGuard
from ..errors import StreamError
from ..frames import Frame
from .latest_slot import Ended, LatestSlot
from .pipeline import Pipeline, ProcessedFrame
from .sources import Frames

#: Seconds that ``close`` waits for each thread: a camera may be in the middle of a frame, or hang.
_JOIN_TIMEOUT_S = 3.0
#: Gain of the moving averages of the consumer's pause and of a frame's cost, a fraction of each new value.
_HABIT_GAIN = 0.2
#: A frame is begun this many times its usual cost before the consumer is expected back.
_COST_MARGIN = 1.3
#: A finished frame that waited for less than this is never replaced by a newer one.
_MIN_STALE_S = 0.01


class TimedFrame(NamedTuple):
    """A frame that went through, and when, in seconds of the clock."""

    original: Frame  # as it came
    processed: ProcessedFrame
    start: float  # when it was captured or, in order, asked for
    began: float  # when the pipeline began with it
    ended: float  # ... and was done


class SequentialRunner:
    """Every frame, worked on in the thread that asks for it.

    Args:
        frames: the source; closed with this.
        pipeline: closed with this.
        frame_time: seconds from frame to frame where the source does not know.
        clock: seconds.
    """

    dropped = 0

    def __init__(self, frames: Frames, pipeline: Pipeline, frame_time: float, clock: Callable[[], float]) -> None:
        self._frames, self._pipeline = frames, pipeline
        self._frame_time, self._clock = frame_time, clock
        self._iterator: Iterator[tuple[Frame, float | None]] = iter(frames)
        self._time = -frame_time
        self._closed = False
        self._running = threading.Lock()  # a generator that runs cannot be closed, nor a file that is being read
        self.frames_in = 0

    def next(self) -> TimedFrame:
        """The next frame. Raises Ended, or what the source or the pipeline raise."""
        with self._running:
            if self._closed:
                raise Ended
            start = self._clock()
            try:
                frame, time = next(self._iterator)
            except StopIteration:
                raise Ended from None
            self.frames_in += 1
            # Some files tell no time, or one that stands still.
            known = time is not None and time > self._time
            self._time = time if known and time is not None else self._time + self._frame_time
            began = self._clock()
            processed = self._pipeline(frame, self._time)
            timed = TimedFrame(frame, processed, start, began, self._clock())
        self._close_if_asked()  # by another thread, meanwhile
        return timed

    def _close_if_asked(self) -> None:
        if self._closed:
            self.close()

    def close(self) -> None:
        """Free the source; from another thread than the one that waits in ``next``, once that is done."""
        self._closed = True
        if self._running.acquire(blocking=False):
            try:
                self._iterator = iter(())
                self._frames.close()
                self._pipeline.close()
            finally:
                self._running.release()


class LatestFrameRunner:
    """The newest frame: one thread captures, another works a frame ahead of the consumer.

    To a consumer that is slow (it encodes and sends each frame, say) the frame that is made ahead would be old when
    it comes for it. So how long it stays away is watched, and the work begins as late as it can to be done by then.

    Args:
        frames: the source; closed by the thread that reads it.
        pipeline: closed with this.
        timeout: seconds without a frame after which the source counts as gone.
        clock: seconds.
    """

    def __init__(self, frames: Frames, pipeline: Pipeline, timeout: float, clock: Callable[[], float]) -> None:
        self._origin = ForkGuard("this stream")
        self._frames, self._pipeline = frames, pipeline
        self._timeout, self._clock = timeout, clock
        self._captured: LatestSlot[tuple[Frame, float]] = LatestSlot()
        self._done: LatestSlot[TimedFrame] = LatestSlot()
        self._stale = 0
        self._gave: float | None = None  # when the consumer got the last frame
        self._away = 0.0  # how long it stays away at least, seconds
        self._spent = 0.0  # what a frame takes, seconds
        self.frames_in = 0
        self._threads = [
            threading.Thread(target=self._capture, name="lgin-capture", daemon=True),
            threading.Thread(target=self._work, name="lgin-change", daemon=True),
        ]
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # interrupted, or there are no more threads
            self.close()
            raise

    @property
    def dropped(self) -> int:
        """Frames that were not taken in time."""
        return self._captured.replaced + self._stale

    def next(self) -> TimedFrame:
        """The newest frame, waited for. Raises Ended, or what went wrong in a thread; BackendError in a forked process."""
        self._origin.check()
        if self._gave is not None:
            away = self._clock() - self._gave
            self._away = min(away, self._away + _HABIT_GAIN * (away - self._away))
        timed = self._done.take()
        # One that waited for longer than it takes to make another, while there is a newer frame.
        stale = self._clock() - timed.ended > max(_MIN_STALE_S, timed.ended - timed.began)
        if stale and self._captured.waiting:
            self._stale += 1
            timed = self._done.take()
        self._gave = self._clock()
        return timed

    def close(self) -> None:
        """End the threads; in a forked process there are none."""
        if not self._origin.same_process:
            return
        try:
            self._captured.end(drop=True)
            self._done.end(drop=True)
            for thread in self._threads:
                if thread.is_alive() and thread is not threading.current_thread():
                    thread.join(_JOIN_TIMEOUT_S)
        finally:
            self._pipeline.close()

    def _capture(self) -> None:
        error: BaseException | None = None
        try:
            for frame, _ in self._frames:
                self.frames_in += 1
                if not self._captured.put((frame, self._clock())):
                    break
        except BaseException as caught:  # noqa: BLE001 - whatever it is, it is raised where the frames are asked for
            error = caught
        finally:
            self._captured.end(error)
            self._frames.close()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            while self._done.wait_until_taken():
                spare = self._away - _COST_MARGIN * self._spent
                if spare > 0:
                    self._done.wait_until_wanted(spare)
                frame, start = self._captured.take(self._timeout)
                began = self._clock()
                processed = self._pipeline(frame, start)
                ended = self._clock()
                self._spent += _HABIT_GAIN * (ended - began - self._spent)
                self._done.put(TimedFrame(frame, processed, start, began, ended))
                del frame, processed  # nothing is kept while the next one is waited for
        except Ended:
            pass
        except TimeoutError:
            error = StreamError(f"the source gave no frame for {self._timeout:g} s: is it still there?")
        except BaseException as caught:  # noqa: BLE001 - as above
            error = caught
        finally:
            self._done.end(error)
            self._captured.end(drop=True)
