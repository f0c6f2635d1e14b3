"""Turns at the one transformer that all visitors share."""

from __future__ import annotations

import asyncio
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

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, done in the thread when its turn comes; work that is cancelled before that is not begun.

        Raises:
            whatever ``work`` raises.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def run_request(self, work: Callable[[], T]) -> T:
        """``run`` for those whose number nothing else limits. Raises Busy, too: too many wait."""
        if self._requests.locked():
            raise Busy
        async with self._requests:
            return await self.run(work)

    def close(self) -> None:
        """End the thread after what it is doing now; nothing that waits is begun."""
        self._thread.shutdown(wait=True, cancel_futures=True)
