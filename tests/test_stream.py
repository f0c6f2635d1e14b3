"""Streams: order, threads, ages that change, sources that end, fail or hang."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_stream_films import (
    ASTRONAUT,
    SIZE,
    Floats,
    Image8,
    Oracle,
    Shot,
    background,
    film,
    move,
    paste_head,
    wandering,
)

from lgin_edge import BackendError, ClosedError, Face, InputError, LginError, Transformer, geometry
from lgin_edge._ops import resample
from lgin_edge.stream import Pipeline, Stats, Stream, StreamError
from lgin_edge.stream.buffers import Buffers
from lgin_edge.stream.newest import Ended, Newest
from lgin_edge.stream.running import Live

DT = 1 / 30


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lgin-")]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    wait_for(lambda: not our_threads())


def inside(landmarks: Floats, size: int = SIZE) -> Image8:
    """Pixels of the square of a face, bool [size, size]."""
    y, x = np.mgrid[:size, :size] + 0.5
    u = geometry.apply(geometry.invert(geometry.fit_similarity(landmarks)), np.stack([x, y], axis=-1))
    return ((u > -0.02) & (u < 1.02)).all(axis=-1)


def change(out: Image8, frame: Image8, landmarks: Floats) -> float:
    """How much brighter the middle of a face became, levels."""
    x, y = np.rint(landmarks.mean(axis=0)).astype(int)
    part = slice(y - 5, y + 5), slice(x - 5, x + 5)
    return float(out[part].astype(float).mean() - frame[part].mean())


@pytest.fixture(scope="module")
def walk(astronaut: Image8) -> list[Shot]:
    """The astronaut, darkened enough for the tiny model's shift to have room."""
    return [Shot((40 + 0.6 * shot.frame).astype(np.uint8), shot.faces) for shot in film(astronaut, wandering(40))]


def numbered(count: int) -> list[Image8]:
    """Frames that tell their number in every pixel."""
    return [np.full((48, 64, 3), i, np.uint8) for i in range(count)]


def nobody(frame: Image8, color: str) -> list[Face]:
    return []


def test_every_frame_of_an_iterable_comes_in_order(tiny: Transformer) -> None:
    with Stream(numbered(20), tiny, group=4, detector=nobody) as stream:
        assert not stream.live
        out = list(stream)
    assert [frame[0, 0, 0] for frame in out] == list(range(20))
    stats = stream.stats
    assert (stats.frames_in, stats.frames_out, stats.dropped) == (20, 20, 0)


@pytest.mark.parametrize("inline", [False, True])
def test_the_face_changes_and_nothing_else_does(tiny: Transformer, walk: list[Shot], inline: bool) -> None:
    oracle = Oracle(walk)
    with Stream((shot.frame for shot in walk), tiny, group=4, detector=oracle, inline=inline) as stream:
        for shot, out in zip(walk, stream, strict=True):
            assert out.shape == shot.frame.shape
            assert out is not shot.frame
            assert stream.original is shot.frame
            assert change(out, shot.frame, shot.faces[0]) == pytest.approx(-51, abs=3)  # from the first frame on
            assert (out == shot.frame)[~inside(shot.faces[0])].all()
            (face,) = stream.stats.faces
            assert face.id == 1
            assert face.strength == 1
    assert oracle.calls == 3  # every half second of 40 frames
    assert stream.stats.detections == oracle.calls
    assert stream.stats.scenes == 1


def test_the_same_film_gives_the_same_pictures(tiny: Transformer, walk: list[Shot]) -> None:
    """However long the detector takes, in its thread or not."""

    def slow(frame: Image8, color: str) -> list[Face]:
        time.sleep(0.03)
        return oracle(frame, color)

    runs = []
    for inline, delay in ((False, False), (True, False), (False, True)):
        oracle = Oracle(walk, 0.02)
        detector = slow if delay else oracle
        with Stream([shot.frame for shot in walk], tiny, group=4, detector=detector, inline=inline) as stream:
            runs.append(np.stack(list(stream)))
    assert np.array_equal(runs[0], runs[1])
    assert np.array_equal(runs[0], runs[2])


def test_the_bundled_detector_does_it_too(tiny: Transformer, walk: list[Shot]) -> None:
    with Stream([shot.frame for shot in walk[:12]], tiny, years=70) as stream:
        for shot, out in zip(walk, stream, strict=False):
            assert change(out, shot.frame, shot.faces[0]) == pytest.approx(-51, abs=3)


def flicker(frames: list[Image8], shots: list[Shot]) -> float:
    """RMS of the second difference in time of the face's pixels, brought back along the known motion, levels of a byte."""
    views = [
        resample(frame, geometry.fit_similarity(shot.faces[0]), 96, 96)
        for frame, shot in zip(frames, shots, strict=True)
    ]
    return float(np.sqrt((np.diff(np.stack(views)[:, :, 38:88, 24:72] * 127.5, 2, axis=0) ** 2).mean()))


def test_the_aged_face_flickers_no_more_than_the_film(bundled: Transformer, astronaut: Image8) -> None:
    """With the bundled model and detector; half as much again is allowed. benchmarks/stream.py measures it at length."""
    shots = film(astronaut, wandering(30, 240, eyes=40), 240)
    frames = [shot.frame for shot in shots]
    with Stream(frames, bundled, group=4) as stream:
        streamed = flicker(list(stream), shots)
    afresh = flicker([bundled.age(frame, group=4) for frame in frames], shots)
    assert streamed < 1.5 * flicker(frames, shots)
    assert streamed < afresh


def test_blue_first(tiny: Transformer, walk: list[Shot]) -> None:
    shots = [Shot(np.ascontiguousarray(shot.frame[..., ::-1]), shot.faces) for shot in walk[:10]]
    with (
        Stream([shot.frame for shot in walk[:10]], tiny, group=4, detector=Oracle(walk)) as rgb,
        Stream([shot.frame for shot in shots], tiny, group=4, detector=Oracle(shots), color="bgr") as bgr,
    ):
        for one, other in zip(rgb, bgr, strict=True):
            assert np.abs(one.astype(int) - other[..., ::-1]).max() <= 1


def test_a_source_may_give_the_same_array_again_and_again(tiny: Transformer, walk: list[Shot]) -> None:
    def source() -> Iterator[Image8]:
        buffer = np.empty_like(walk[0].frame)
        for shot in walk:
            buffer[:] = shot.frame
            yield buffer

    with (
        Stream(source(), tiny, group=4, detector=Oracle(walk)) as shared,
        Stream([shot.frame for shot in walk], tiny, group=4, detector=Oracle(walk)) as apart,
    ):
        for one, other in zip(shared, apart, strict=True):
            assert np.array_equal(one, other)


def test_an_age_that_is_set_is_reached_smoothly(tiny: Transformer, walk: list[Shot]) -> None:
    changes = []
    with Stream([shot.frame for shot in walk], tiny, group=2, detector=Oracle(walk), ease=0.5) as stream:
        for i, (shot, out) in enumerate(zip(walk, stream, strict=True)):
            changes.append(change(out, shot.frame, shot.faces[0]))
            if i == 9:
                stream.years = 70
                assert (stream.group, stream.years) == (4, 70)
    steps = -np.diff(changes)
    assert np.abs(changes[:10]).max() < 0.1
    assert steps[10:].min() > -1.5  # rounding
    assert 5 < steps.max() < 12
    assert changes[9 + 16] < -45
    assert changes[-1] == pytest.approx(-51, abs=2)
    stream.group = 1.5
    assert (stream.group, stream.years) == (1.5, 45)


def test_an_age_may_jump_if_asked_to(tiny: Transformer, walk: list[Shot]) -> None:
    with Stream([shot.frame for shot in walk[:4]], tiny, group=2, detector=Oracle(walk), ease=0) as stream:
        next(stream)
        stream.group = 0
        assert change(next(stream), walk[1].frame, walk[1].faces[0]) == pytest.approx(51, abs=3)


@pytest.mark.parametrize("name", ["years", "group"])
def test_ages_that_there_are_not(tiny: Transformer, name: str) -> None:
    with Stream([], tiny, group=2) as stream:
        for value in (-1, 1000, "old", None):
            with pytest.raises(InputError):
                setattr(stream, name, value)
        assert stream.group == 2


def test_a_cut_paints_nothing_where_the_face_was(tiny: Transformer, astronaut: Image8) -> None:
    """And the faces of the new scene are changed from its first frame on."""
    before = film(astronaut, [move((60, 90), 26)] * 8)
    after = []
    for _ in range(8):
        frame = background()
        after.append(Shot(frame, paste_head(frame, astronaut, ASTRONAUT, move((140, 100), 24))[None]))
    shots = before + after
    with Stream([shot.frame for shot in shots], tiny, group=4, detector=Oracle(shots)) as stream:
        out = list(stream)
    assert stream.stats.scenes == 2
    for result, shot in zip(out, shots, strict=True):
        assert (result == shot.frame)[~inside(shot.faces[0])].all()
        assert change(result, shot.frame, shot.faces[0]) < -40
    assert stream.stats.faces[0].id == 2


def test_a_scene_without_faces_after_one_with(tiny: Transformer, astronaut: Image8) -> None:
    shots = [*film(astronaut, [move((90, 90), 26)] * 5), *[Shot(background(), np.empty((0, 5, 2)))] * 15]
    with Stream([shot.frame for shot in shots], tiny, group=4, detector=Oracle(shots)) as stream:
        for shot, out in zip(shots, stream, strict=True):
            assert len(shot.faces) or np.array_equal(out, shot.frame)
    assert stream.stats.faces == ()


def test_frames_of_another_size_begin_a_scene(tiny: Transformer, astronaut: Image8) -> None:
    shots = [*film(astronaut, [move((90, 90), 26)] * 3), *film(astronaut, [move((70, 70), 26)] * 3, 150)]
    with Stream([shot.frame for shot in shots], tiny, group=4, detector=Oracle(shots)) as stream:
        assert [out.shape[0] for out in stream] == [SIZE] * 3 + [150] * 3


def test_live_faces_fade_in(tiny: Transformer, walk: list[Shot]) -> None:
    with Pipeline(tiny, group=4, detector=Oracle(walk), inline=True) as pipeline:
        changes = [-change(pipeline(shot.frame, i * DT), shot.frame, shot.faces[0]) for i, shot in enumerate(walk[:20])]
    assert changes[0] == 0
    assert np.diff(changes).max() < 8
    assert changes[-1] == pytest.approx(51, abs=3)


def test_a_detector_that_is_never_ready_holds_nothing_up(tiny: Transformer, walk: list[Shot]) -> None:
    gate = threading.Event()

    def stuck(frame: Image8, color: str) -> list[Face]:
        gate.wait(20)
        return []

    pipeline = Pipeline(tiny, group=4, detector=stuck)
    try:
        for i, shot in enumerate(walk[:10]):
            assert np.array_equal(pipeline(shot.frame, i * DT), shot.frame)
        assert pipeline.detections == 1
    finally:
        gate.set()
        pipeline.close()
    with pytest.raises(ClosedError):
        pipeline(walk[0].frame, 1.0)


def test_a_slow_consumer_gets_the_newest_frame_and_no_queue(tiny: Transformer) -> None:
    released = threading.Event()

    def source() -> Iterator[Image8]:
        for i, frame in enumerate(numbered(60)):
            if i == 2:
                released.wait(20)
            yield frame
        finished.wait(20)

    finished = threading.Event()
    with Stream(source(), tiny, group=4, live=True, detector=nobody) as stream:
        first = next(stream)
        assert first[0, 0, 0] <= 1
        released.set()
        wait_for(lambda: stream.stats.frames_in == 60)
        time.sleep(0.05)
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
        assert isinstance(stream._runner, Live)
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

    with Stream(source(), tiny, group=4, live=True, timeout=0.1, detector=nobody) as stream:
        next(stream)
        threading.Timer(0.3, gate.set).start()
        with pytest.raises(StreamError, match=r"no frame for 0\.1 s"):
            next(stream)


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


def test_a_result_is_used_again_only_when_nobody_holds_it(tiny: Transformer) -> None:
    frames = numbered(30)
    with Stream(frames, tiny, group=4, detector=nobody) as stream:
        kept = [out if i % 2 else out[10:20, ::-1] for i, out in enumerate(stream)]
    assert all((out == i).all() for i, out in enumerate(kept))
    with Stream(frames, tiny, group=4, detector=nobody) as stream:
        assert len({out.ctypes.data for out in stream}) <= 2
    buffers = Buffers()
    one = buffers.like(frames[0])
    view = memoryview(one)
    address = one.ctypes.data
    del one
    assert buffers.like(frames[0]).ctypes.data != address
    view.release()
    assert buffers.like(frames[0]).ctypes.data == address
    assert buffers.like(np.zeros((4, 4, 3), np.uint8)).shape == (4, 4, 3)


def test_the_state_of_a_stream(tiny: Transformer, walk: list[Shot]) -> None:
    times = iter(np.arange(1000) * 0.01)
    with Stream(
        [shot.frame for shot in walk],
        tiny,
        group=4,
        detector=Oracle(walk),
        inline=True,
        clock=lambda: float(next(times)),
    ) as stream:
        assert stream.stats.frames_out == 0
        assert stream.stats.fps == 0
        assert stream.original is None
        for _ in stream:
            pass
        stats = stream.stats
    assert isinstance(stats, Stats)
    assert stats.frames_out == 40
    assert stats.latency == pytest.approx(0.03)
    assert stats.latency_median == pytest.approx(0.03)
    assert stats.latency_p95 == pytest.approx(0.03)
    assert stats.fps == pytest.approx(25, rel=0.01)
    (face,) = stats.faces
    assert abs(face.pose.yaw) < 10
    assert face.face.score == 0.9
    assert np.linalg.norm(face.face.landmarks - walk[-1].faces[0], axis=1).max() < 1


def test_latency_of_a_live_source_is_counted_from_the_capture(tiny: Transformer) -> None:
    with Stream(numbered(3), tiny, group=4, live=True, detector=nobody) as stream:
        for _ in stream:
            assert 0 < stream.stats.latency < 10


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({}, "exactly one"),
        ({"group": 1, "years": 40}, "exactly one"),
        ({"group": 9}, "group"),
        ({"group": 1, "fps": 0}, "fps"),
        ({"group": 1, "fps": "fast"}, "fps"),
        ({"group": 1, "timeout": -1}, "timeout"),
        ({"group": 1, "detect_every": -1}, "detect_every"),
        ({"group": 1, "ease": 1e9}, "ease"),
        ({"group": 1, "size": (640, 480)}, "size"),
        ({"group": 1, "source": 3.5}, "source"),
        ({"group": 1, "source": None}, "source"),
        ({"group": 1, "source": -1}, "source"),
        ({"group": 1, "source": True}, "source"),
        ({"group": 1, "source": 0, "size": (0, 10)}, "size"),
        ({"group": 1, "source": "film.mp4", "color": "nv12"}, "color"),
    ],
)
def test_arguments_are_checked(tiny: Transformer, arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        Stream(arguments.pop("source", []), tiny, **arguments)


def test_a_source_is_closed_if_the_age_is_wrong(tiny: Transformer) -> None:
    class Source:
        closed = False

        def __iter__(self) -> Source:
            return self

        def __next__(self) -> Image8:
            raise AssertionError("never asked")

        def close(self) -> None:
            self.closed = True

    source = Source()
    with pytest.raises(InputError):
        Stream(source, tiny, group=77)
    assert source.closed


@pytest.fixture
def movie(tmp_path: Path, walk: list[Shot]) -> Path:
    import cv2

    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (SIZE, SIZE))
    assert writer.isOpened()
    for shot in walk[:10]:
        writer.write(shot.frame[..., ::-1])
    writer.release()
    return path


def test_a_film_through_opencv(tiny: Transformer, walk: list[Shot], movie: Path) -> None:
    def detector(frame: Image8, color: str) -> list[Face]:
        return [Face.from_landmarks(walk[0].faces[0])]

    for source in (str(movie), movie):
        with Stream(source, tiny, group=4, detector=detector) as stream:
            assert not stream.live
            for shot, out in zip(walk[:10], stream, strict=True):
                assert stream.original is not None
                assert np.abs(stream.original.astype(int) - shot.frame).mean() < 6
                assert change(out, stream.original, shot.faces[0]) == pytest.approx(-51, abs=4)
    with (
        Stream(movie, tiny, group=4, color="bgr", detector=nobody) as bgr,
        Stream(movie, tiny, group=4, detector=nobody) as rgb,
    ):
        assert np.array_equal(next(bgr)[..., ::-1], next(rgb))


def test_sources_that_cannot_be_opened(tiny: Transformer, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a film")
    for source, what in (
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "folder"),
        (text, "cannot be opened"),
        (97, "camera 97: cannot be opened: is it plugged in"),
        ("/dev/video97", "cannot be opened"),
    ):
        with pytest.raises(StreamError, match=what) as caught:
            Stream(source, tiny, group=4)
        assert isinstance(caught.value, OSError)
        assert isinstance(caught.value, LginError)
    assert "VIDEOIO" not in capfd.readouterr().err  # OpenCV's own words


def test_a_pipeline_without_gstreamer(tiny: Transformer) -> None:
    import cv2

    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(BackendError, match="GStreamer"):
        Stream("videotestsrc num-buffers=3 ! videoconvert ! appsink", tiny, group=4)


class FakeCapture:
    """What ``cv2.VideoCapture`` is to a stream: a camera that gives some frames and is then pulled out."""

    def __init__(self, frames: int, total: float = 0.0) -> None:
        self.left, self.total = frames, total
        self.asked: dict[int, float] = {}
        self.released = False

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, Image8 | None]:
        assert not self.released
        if not self.left:
            return False, None
        self.left -= 1
        return True, np.full((48, 64, 3), (1, 2, 3), np.uint8)

    def get(self, _: int) -> float:
        return self.total

    def set(self, key: int, value: float) -> bool:
        self.asked[key] = value
        return True

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize(
    ("source", "total", "what"),
    [(0, 0, "unplugged"), ("/dev/video3", 0, "unplugged"), ("rtsp://camera/1", 0, "connection")],
)
def test_a_camera_that_goes_away(
    tiny: Transformer, monkeypatch: pytest.MonkeyPatch, source: Any, total: float, what: str
) -> None:
    import cv2

    capture = FakeCapture(5, total)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
    with Stream(source, tiny, group=4, detector=nobody) as stream:
        assert stream.live
        with pytest.raises(StreamError, match=what):
            assert all(frame[0, 0].tolist() == [3, 2, 1] for frame in stream)
    assert capture.released
    capture = FakeCapture(5, total)  # plugged in again
    with Stream(source, tiny, group=4, detector=nobody) as stream:
        assert next(stream)[0, 0].tolist() == [3, 2, 1]


def test_an_address_of_a_film_that_ends(tiny: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: FakeCapture(5, total=5))
    with Stream("http://example.org/film.mp4", tiny, group=4, detector=nobody) as stream:
        assert 1 <= len(list(stream)) <= 5


def test_a_camera_is_asked_for_a_size(tiny: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    capture = FakeCapture(1)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
    with Stream(0, tiny, group=4, size=(1280, 720), detector=nobody):
        pass
    assert capture.asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert capture.asked[cv2.CAP_PROP_FRAME_HEIGHT] == 720


def test_a_camera_that_opens_and_shows_nothing(tiny: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: FakeCapture(0))
    with Stream(0, tiny, group=4) as stream, pytest.raises(StreamError, match="no frame"):
        next(stream)


def test_the_newest_is_kept_and_the_others_are_counted() -> None:
    place: Newest[int] = Newest()
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
    place: Newest[int] = Newest()
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
    place: Newest[int] = Newest()
    place.put(1)
    place.end(OSError("first"), drop=True)
    place.end(OSError("second"))
    with pytest.raises(OSError, match="first"):
        place.take()


def test_streams_are_imported_without_opencv_or_pyav(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    code = "import sys, lgin_edge.stream; print([name for name in ('cv2', 'av', 'onnxruntime') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=subprocess_env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
