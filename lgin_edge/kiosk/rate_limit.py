"""How often is too often, and how many are too many: in all, and from one address."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

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
        self._bucket = lru_cache(_CLIENTS)(lambda client: TokenBucket(rate, burst, clock))

    def take(self, client: str) -> float:
        """As ``TokenBucket.take``, of that client's."""
        return self._bucket(client).take()


class Full(Exception):
    """No place is free; ``of_address``: the address holds all that one can, and others may find a place."""

    def __init__(self, *, of_address: bool) -> None:
        super().__init__()
        self.of_address = of_address


class Places:
    """A few places, of which one address can hold a part. For one thread."""

    def __init__(self, total: int, per_address: int) -> None:
        self.total, self.per_address = total, per_address
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Places that are held now."""
        return self._held.total()

    @contextmanager
    def hold(self, address: str, count: int = 1) -> Iterator[None]:
        """Hold a place, or several. Raises Full."""
        if self.taken + count > self.total:
            raise Full(of_address=False)
        if self._held[address] + count > self.per_address:
            raise Full(of_address=True)
        self._held[address] += count
        try:
            yield
        finally:
            self._held[address] -= count
            self._held += Counter()  # forgets the addresses that hold none
