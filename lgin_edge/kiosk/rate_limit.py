"""How often is too often."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

#: Clients that are remembered.
_CLIENTS = 1024


class TokenBucket:
    """A token bucket.

    Args:
        rate: what it lets through in the long run, a second.
        burst: and at once.
        clock: seconds.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._level, self._time = burst, clock()

    def take(self) -> float:
        """0 and one is taken; or nothing is, and the seconds until one can be."""
        now = self._clock()
        self._level = min(self._burst, self._level + self._rate * (now - self._time))
        self._time = now
        if self._level >= 1:
            self._level -= 1
            return 0.0
        return (1 - self._level) / self._rate


class TokenBuckets:
    """A bucket for each client; of too many clients the one that has been quiet for longest is forgotten."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = rate, burst, clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, client: str) -> float:
        """As ``TokenBucket.take``, of that client's."""
        bucket = self._buckets.setdefault(client, TokenBucket(*self._limits))
        self._buckets.move_to_end(client)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return bucket.take()
