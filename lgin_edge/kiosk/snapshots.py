"""Pictures that visitors took: in memory, for a set time, under names that cannot be guessed."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

#: Of what is kept.
MEDIA_TYPES = {"jpg": "image/jpeg", "gif": "image/gif"}


@dataclass(frozen=True)
class Snapshot:
    """A picture that was taken."""

    data: bytes  #: The file.
    name: str  #: That a browser saves it under; its ending tells the kind, one of ``MEDIA_TYPES``.
    owner: str  #: Address of the visitor.
    language: str  #: That the visitor had chosen; "" for none.
    expires: float  #: On the clock of ``Snapshots``, seconds.

    @property
    def kind(self) -> str:
        """The ending of its name."""
        return self.name.rpartition(".")[2]


class Snapshots:
    """The pictures that can be fetched. For one thread.

    Args:
        seconds: how long each is kept.
        most: how many are kept; then the oldest goes of the owner who has the most.
        clock: seconds.
    """

    def __init__(self, seconds: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._snapshots: dict[str, Snapshot] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._snapshots)

    def add(self, data: bytes, name: str, owner: str = "", language: str = "") -> str:
        """Keep a picture; returns its token, 128 random bits in 22 letters."""
        self.sweep()
        while len(self._snapshots) >= self._most:
            greediest, _ = Counter(one.owner for one in self._snapshots.values()).most_common(1)[0]
            del self._snapshots[next(token for token, one in self._snapshots.items() if one.owner == greediest)]
        token = secrets.token_urlsafe(16)
        self._snapshots[token] = Snapshot(data, name, owner, language, self._clock() + self._seconds)
        return token

    def get(self, token: str) -> Snapshot | None:
        """The picture; None if there is none of that name, or no more."""
        self.sweep()
        return self._snapshots.get(token)

    def seconds_left(self, snapshot: Snapshot) -> float:
        """For how long a picture can still be fetched."""
        return max(0.0, snapshot.expires - self._clock())

    def delete(self, token: str) -> None:
        """Drop a picture before its time."""
        self._snapshots.pop(token, None)

    def sweep(self) -> None:
        """Drop what is over."""
        now = self._clock()
        while self._snapshots and (token := next(iter(self._snapshots))) and self._snapshots[token].expires <= now:
            del self._snapshots[token]

    def clear(self) -> None:
        """Drop all."""
        self._snapshots.clear()
