"""Turns at the transformer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class SerialExecutor:
    """One thread in which what uses the transformer is done, first come, first served.

    A visitor waits with one frame at most (``session``), so whoever had his turn comes after all the others that wait: the
    frames go round among the visitors, whatever their cameras give.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lgin-turns")
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        """How long the thread has been at one piece of work; 0 between two."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, done in the thread when its turn comes; work that is cancelled before that is not begun.

        Raises:
            whatever ``work`` raises.
        """

        def timed() -> T:
            self._began = time.monotonic()
            try:
                return work()
            finally:
                self._began = None

        return await asyncio.get_running_loop().run_in_executor(self._thread, timed)

    def close(self) -> None:
        """End the thread after what it is doing now; nothing that waits is begun."""
        self._thread.shutdown(wait=True, cancel_futures=True)
