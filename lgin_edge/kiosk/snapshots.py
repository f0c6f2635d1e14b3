"""Pictures that visitors took: in memory, for a set time, under names that cannot be guessed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Still:
    """A picture that was taken.

    Attributes:
        jpeg: the file.
        name: that a browser saves it under.
        expires: on the clock of ``Stills``, seconds.
    """

    jpeg: bytes
    name: str
    expires: float


class Stills:
    """The pictures that can be fetched. For one thread.

    Args:
        seconds: how long each is kept.
        most: how many are kept; the oldest goes first.
        clock: seconds.
    """

    def __init__(self, seconds: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._stills: dict[str, Still] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._stills)

    def keep(self, jpeg: bytes, name: str) -> str:
        """Keep a picture; returns its token, 128 random bits in 22 letters."""
        self.sweep()
        while len(self._stills) >= self._most:
            del self._stills[next(iter(self._stills))]
        token = secrets.token_urlsafe(16)
        self._stills[token] = Still(jpeg, name, self._clock() + self._seconds)
        return token

    def get(self, token: str) -> Still | None:
        """The picture; None if there is none of that name, or no more."""
        self.sweep()
        return self._stills.get(token)

    def forget(self, token: str) -> None:
        """Drop a picture before its time."""
        self._stills.pop(token, None)

    def sweep(self) -> None:
        """Drop what is over."""
        now = self._clock()
        while self._stills and (token := next(iter(self._stills))) and self._stills[token].expires <= now:
            del self._stills[token]

    def clear(self) -> None:
        """Drop all."""
        self._stills.clear()
