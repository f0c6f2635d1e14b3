"""Turns at the one transformer that all visitors share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Busy(Exception):
    """Too many requests wait for a turn."""


class SerialExecutor:
    """One thread in which everything that uses the transformer is done, first come, first served.

    A visitor waits with one frame at most (``session``), so whoever had his turn comes after all the others that wait: the
    frames go round among the visitors, whatever their cameras give.

    Args:
        requests: how many of ``run_request`` may wait or be served at once.
    """

    def __init__(self, requests: int) -> None:
        self._requests = asyncio.Semaphore(requests)
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

    async def run_request(self, work: Callable[[], T]) -> T:
        """``run`` for those whose number nothing else limits. Raises Busy, too: too many wait."""
        if self._requests.locked():
            raise Busy
        async with self._requests:
            return await self.run(work)

    def close(self) -> None:
        """End the thread after what it is doing now; nothing that waits is begun."""
        self._thread.shutdown(wait=True, cancel_futures=True)
