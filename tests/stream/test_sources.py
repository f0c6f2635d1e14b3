"""Where frames come from: films, cameras, addresses, and those that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.films import (
    SIZE,
    Image8,
    Shot,
)
from support.streams import change, nobody

from lgin_edge import BackendError, Face, InputError, LginError, Transformer
from lgin_edge.stream import Stream, StreamError

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


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
        return [Face(walk[0].faces[0])]

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
