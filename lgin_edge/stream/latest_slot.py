"""A place for one thing, the newest, between two threads."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Ended(Exception):
    """Nothing more will be put."""


class LatestSlot(Generic[T]):
    """``put`` never waits and replaces what was not taken; ``take`` waits for something new."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._ended = False
        self._error: BaseException | None = None
        self._takers = 0  # that wait
        self.replaced = 0

    @property
    def waiting(self) -> bool:
        """Whether something is there to be taken."""
        with self._changed:
            return self._item is not None

    def put(self, item: T) -> bool:
        """Replace what is there; False if it has ended and nothing more is wanted."""
        with self._changed:
            if self._ended:
                return False
            self.replaced += self._item is not None
            self._item = item
            self._changed.notify_all()
            return True

    def take(self, timeout: float | None = None) -> T:
        """The newest, waited for.

        Raises:
            Ended: nothing is there and nothing more comes.
            TimeoutError: nothing came within ``timeout`` seconds.
            whatever error it ended with, once.
        """
        with self._changed:
            self._takers += 1
            self._changed.notify_all()
            try:
                if not self._changed.wait_for(lambda: self._item is not None or self._ended, timeout):
                    raise TimeoutError
            finally:
                self._takers -= 1
            item, self._item = self._item, None
            if item is not None:
                self._changed.notify_all()
                return item
            error, self._error = self._error, None
            raise error if error is not None else Ended

    def wait_until_taken(self) -> bool:
        """Wait until nothing is there to be taken; False if it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is None or self._ended)
            return not self._ended

    def wait_until_wanted(self, timeout: float) -> None:
        """Wait until a taker waits, but no longer than ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._takers > 0 or self._ended, timeout)

    def end(self, error: BaseException | None = None, *, drop: bool = False) -> None:
        """Nothing more comes, because of an error if there is one. What is there can still be taken, unless ``drop``."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            if drop:
                self._item = None
            self._changed.notify_all()
