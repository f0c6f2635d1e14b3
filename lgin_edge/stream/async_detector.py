"""A detector in a thread of its own, one frame at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ..faces import Face
from ..frames import Frame


class AsyncDetector:
    """Looks at one frame at a time, beside whatever else goes on.

    Args:
        detect: finds the faces of a frame.
        inline: without a thread: ``ask`` itself looks, for tests and debuggers.
    """

    def __init__(self, detect: Callable[[Frame], list[Face]], *, inline: bool = False) -> None:
        self._detect = detect
        self._pool = None if inline else ThreadPoolExecutor(1, thread_name_prefix="lgin-detect")
        self._running: Future[list[Face]] | None = None
        self._frame: Frame | None = None

    @property
    def busy(self) -> bool:
        """Whether a frame was asked for and its faces were not taken yet."""
        return self._running is not None

    def ask(self, frame: Frame) -> None:
        """Start to look at a frame, which must then not change. The faces of one asked for before are dropped."""
        self._frame = frame
        if self._pool is not None:
            if self._running is not None:
                self._running.cancel()
            try:
                self._running = self._pool.submit(self._detect, frame)
            except RuntimeError:
                # The interpreter ends, and has ended every pool: this thread goes on as long as it is let.
                self._pool = None
            else:
                return
        self._running = Future()
        try:
            self._running.set_result(self._detect(frame))
        except Exception as error:  # noqa: BLE001 - raised where the faces are taken, as from a thread
            self._running.set_exception(error)

    def take(self, *, wait: bool) -> tuple[Frame, list[Face]] | None:
        """The frame and its faces; None if none was asked for or, without ``wait``, they are not there yet.

        Raises:
            whatever the detector raised.
        """
        running, frame = self._running, self._frame
        if running is None or frame is None or not (wait or running.done()):
            return None
        self._running = self._frame = None
        return frame, running.result()

    def forget(self) -> None:
        """Drop what was asked for."""
        if self._running is not None:
            self._running.cancel()
        self._running = self._frame = None

    def close(self) -> None:
        """End the thread, after the frame that it is looking at; that is not waited for."""
        self.forget()
        if self._pool is not None:
            self._pool.shutdown(wait=False)
