"""Streams as they run: who waits for whom, what is dropped, and how they end."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.films import (
    Image8,
    Oracle,
    Shot,
)
from support.streams import nobody, numbered, our_threads, wait_for

from lgin_edge import BackendError, ClosedError, Face, InputError, Transformer
from lgin_edge.stream import Stream, StreamError
from lgin_edge.stream.runners import LatestFrameRunner

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def test_a_slow_consumer_gets_the_newest_frame_and_no_queue(tiny: Transformer) -> None:
    released = threading.Event()

    def source() -> Iterator[Image8]:
        for i, frame in enumerate(numbered(60)):
            if i == 2:
                released.wait(20)
            yield frame
        finished.wait(20)

    finished, ticks, waited = threading.Event(), itertools.count(), 0.0
    with Stream(
        source(), tiny, group=4, live=True, detector=nobody, clock=lambda: waited + 1e-6 * next(ticks)
    ) as stream:
        first = next(stream)
        assert first[0, 0, 0] <= 1
        released.set()
        runner = stream._runner
        assert isinstance(runner, LatestFrameRunner)
        # One was given, one is made ahead, and the last one is that, or waits.
        wait_for(lambda: runner._done.waiting and runner.dropped + runner._captured.waiting == 58)
        waited = 1.0
        second = next(stream)
        assert second[0, 0, 0] == 59  # not the one that was made ahead
        finished.set()
        assert list(stream) == []
        stats = stream.stats
    assert stats.frames_in == 60
    assert stats.frames_out == 2
    assert stats.dropped == 58


def test_frames_for_a_slow_consumer_are_begun_late(tiny: Transformer) -> None:
    """Not at once, to wait and grow old: so most of the work that is done is used."""
    stop = threading.Event()

    def source() -> Iterator[Image8]:
        while not stop.is_set():
            yield from numbered(10)
            time.sleep(0.002)

    with Stream(source(), tiny, group=4, live=True, detector=nobody) as stream:
        for i, _ in enumerate(stream):
            if i == 30:
                break
            time.sleep(0.06)
        stop.set()
        assert isinstance(stream._runner, LatestFrameRunner)
        assert stream._runner._stale < 15  # every one of the 30 otherwise


def test_a_quick_consumer_of_a_live_source_misses_nothing(tiny: Transformer) -> None:
    taken = threading.Semaphore(1)

    def source() -> Iterator[Image8]:
        for frame in numbered(15):
            taken.acquire(timeout=20)
            yield frame

    out = []
    with Stream(source(), tiny, group=4, live=True, detector=nobody) as stream:
        for frame in stream:
            out.append(int(frame[0, 0, 0]))
            taken.release()
    assert out == list(range(15))
    assert stream.stats.dropped == 0


@pytest.mark.parametrize("live", [False, True])
def test_what_a_source_raises_is_raised_where_it_is_iterated(tiny: Transformer, live: bool) -> None:
    class Unplugged(Exception):
        pass

    def source() -> Iterator[Image8]:
        yield numbered(1)[0]
        raise Unplugged

    with Stream(source(), tiny, group=4, live=live, detector=nobody) as stream:
        if not live:  # a live one may be quicker than we are
            next(stream)
        with pytest.raises(Unplugged):
            for _ in stream:
                pass
        assert list(stream) == []  # it is over


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("inline", [False, True])
def test_what_a_detector_raises_is_too(tiny: Transformer, live: bool, inline: bool) -> None:
    def broken(frame: Image8, color: str) -> list[Face]:
        raise BackendError("no more memory")

    def source() -> Iterator[Image8]:
        while True:
            yield numbered(1)[0]
            time.sleep(0.001)

    stream = Stream(source(), tiny, group=4, live=live, detector=broken, inline=inline)
    with pytest.raises(BackendError, match="memory"):
        for _ in stream:
            pass


def test_a_transformer_that_is_closed_meanwhile(tiny_model: Path) -> None:
    transformer = Transformer(tiny_model)

    def source() -> Iterator[Image8]:
        while True:
            yield numbered(1)[0]

    with Stream(source(), transformer, group=4, live=True, detector=nobody) as stream:
        next(stream)
        transformer.close()
        with pytest.raises(ClosedError):
            for _ in stream:
                pass


@pytest.mark.parametrize("live", [False, True])
def test_a_frame_that_is_none(tiny: Transformer, live: bool) -> None:
    with (
        Stream([np.zeros((4, 4), np.float32)], tiny, group=4, live=live, detector=nobody) as stream,
        pytest.raises(InputError, match="frame"),
    ):
        next(stream)


def test_a_source_that_hangs_is_gone(tiny: Transformer) -> None:
    gate = threading.Event()

    def source() -> Iterator[Image8]:
        yield numbered(1)[0]
        gate.wait(20)

    with Stream(source(), tiny, group=4, live=True, timeout=0.5, detector=nobody) as stream:
        with pytest.raises(StreamError, match=r"no frame for 0\.5 s"):
            for _ in stream:
                pass
        gate.set()


@pytest.mark.parametrize("live", [False, True])
def test_close_ends_whoever_waits_for_a_frame(tiny: Transformer, live: bool) -> None:
    gate, waiting = threading.Event(), threading.Event()

    def source() -> Iterator[Image8]:
        yield numbered(1)[0]
        waiting.set()
        gate.wait(20)

    stream = Stream(source(), tiny, group=4, live=live, detector=nobody)
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.extend(len(frame) for frame in stream))
    thread.start()
    assert waiting.wait(20)
    if live:
        threading.Timer(0.1, gate.set).start()  # the camera's own time to come back
    stream.close()
    gate.set()
    thread.join(20)
    assert not thread.is_alive()
    assert len(got) <= 1
    stream.close()  # again does no harm
    assert list(stream) == []


def test_an_interrupted_loop_leaves_nothing(tiny: Transformer) -> None:
    def source() -> Iterator[Image8]:
        try:
            while True:
                yield numbered(1)[0]
        finally:
            closed.append(True)

    for live in (False, True):
        closed: list[bool] = []

        def interrupted(live: bool) -> None:
            with Stream(source(), tiny, group=4, live=live, detector=nobody) as stream:
                for _ in stream:
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted(live)
        wait_for(lambda: closed == [True])  # noqa: B023
        wait_for(lambda: not our_threads())


def test_a_forgotten_stream_ends_its_threads(tiny: Transformer) -> None:
    def source() -> Iterator[Image8]:
        while True:
            yield numbered(1)[0]
            time.sleep(0.001)

    stream = Stream(source(), tiny, group=4, live=True, detector=nobody)
    next(stream)
    assert our_threads()
    del stream
    gc.collect()
    wait_for(lambda: not our_threads())


@pytest.mark.parametrize("live", [False, True])
def test_frames_are_not_kept(tiny: Transformer, walk: list[Shot], live: bool) -> None:
    frames: list[Any] = []

    def source() -> Iterator[Image8]:
        for shot in walk:
            frame = shot.frame.copy()
            frames.append(weakref.ref(frame))
            yield frame
            del frame

    results = []
    with Stream(source(), tiny, group=4, live=live, detector=Oracle(walk)) as stream:
        for out in stream:
            results.append(weakref.ref(out))
            assert sum(one() is not None for one in frames) <= 6
            assert len({id(one()) for one in results}) <= 6  # the same few arrays again and again
    del stream, out
    gc.collect()
    assert not any(one() is not None for one in frames + results)


def test_latency_of_a_live_source_is_counted_from_the_capture(tiny: Transformer) -> None:
    with Stream(numbered(3), tiny, group=4, live=True, detector=nobody) as stream:
        for _ in stream:
            assert 0 < stream.stats.latency < 10
