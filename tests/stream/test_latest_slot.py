"""The place between two threads that holds the newest frame."""

from __future__ import annotations

import threading
import time

import pytest

from lgin_edge.stream.latest_slot import Ended, LatestSlot

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def test_the_newest_is_kept_and_the_others_are_counted() -> None:
    place: LatestSlot[int] = LatestSlot()
    assert [place.put(i) for i in range(3)] == [True] * 3
    assert place.waiting
    assert place.take() == 2
    assert not place.waiting
    assert place.replaced == 2
    with pytest.raises(TimeoutError):
        place.take(0.01)
    place.put(3)
    place.end()
    assert not place.put(4)
    assert place.take() == 3  # what is there can still be taken
    with pytest.raises(Ended):
        place.take()
    assert not place.wait_until_taken()


def test_the_newest_tells_when_it_is_wanted() -> None:
    place: LatestSlot[int] = LatestSlot()
    start = time.monotonic()
    place.wait_until_wanted(0.02)
    assert time.monotonic() - start >= 0.015
    taker = threading.Thread(target=lambda: place.take(20))
    taker.start()
    place.wait_until_wanted(20)
    place.put(1)
    taker.join(20)
    assert not taker.is_alive()
    place.end()
    place.wait_until_wanted(20)
    assert time.monotonic() - start < 15


def test_the_newest_ends_with_its_first_error() -> None:
    place: LatestSlot[int] = LatestSlot()
    place.put(1)
    place.end(OSError("first"), drop=True)
    place.end(OSError("second"))
    with pytest.raises(OSError, match="first"):
        place.take()
