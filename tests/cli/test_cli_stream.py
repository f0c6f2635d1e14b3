"""The commands for films and cameras: windows, recordings, exit codes."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from support.films import Image8, Oracle, Shot, background
from support.movies import Seen, files, make
from typer.testing import CliRunner

from lgin_edge import BackendError, Transformer
from lgin_edge.cli import video
from lgin_edge.stream import Stream
from lgin_edge.video import transcode
from lgin_edge.video.recording import Recording
from lgin_edge.video.transcode import Outcome

av = pytest.importorskip("av", reason="films need PyAV: pip install 'lgin-edge[video]'")


@pytest.fixture
def movie(tmp_path: Path, shots: list[Shot]) -> Path:
    return make(tmp_path / "film.mp4", [shot.frame for shot in shots])


app = typer.Typer()


app.command()(video.video)


app.command()(video.camera)


def command(*words: object) -> Any:
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_the_command(tiny_model: Path, movie: Path) -> None:
    result = command("video", movie, "--years", 70, "--model", tiny_model, "--threads", 1)
    assert result.exit_code == 0, result.output
    target = movie.with_name("film.70years.mp4")
    assert f"{movie} -> {target}" in result.stdout
    assert "faces in 30 of 30 frames" in result.stdout
    assert len(Seen(target).frames) == 30
    again = command("video", movie, "--years", 70, "--model", tiny_model)
    assert again.exit_code == 4
    assert "exists already" in again.stderr


def test_ages_that_rise_beside_the_film_as_it_was(tiny_model: Path, tmp_path: Path, shots: list[Shot]) -> None:
    shot = shots[0]
    movie = make(tmp_path / "film.mp4", [shot.frame] * 12, times=range(0, 36_000, 3000))
    result = command("video", movie, "--years", "20:70", "--side-by-side", "--model", tiny_model, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "does not reach 20 years: 30 is used" in result.stderr
    seen = Seen(tmp_path / "film.30to70years.mp4")
    height, width = shot.frame.shape[:2]
    assert seen.size == (2 * width, height)
    x, y = np.rint(shot.faces[0].mean(axis=0)).astype(int)
    pairs = [(frame[:, :width], frame[:, width:]) for frame in seen.frames]
    changes = [
        new[y - 5 : y + 5, x - 5 : x + 5].mean() - old[y - 5 : y + 5, x - 5 : x + 5].mean() for old, new in pairs
    ]
    assert changes == sorted(changes, reverse=True)  # the tiny model's older is darker
    assert changes[0] > 40 > -40 > changes[-1]
    for wrong in ("20:", "1:2:3", "x"):
        refused = command("video", movie, "--years", wrong, "--model", tiny_model)
        assert (refused.exit_code, "two like 30:70" in refused.output) == (2, True)


def test_exit_codes_of_the_command(
    tiny_model: Path, movie: Path, tmp_path: Path, shots: list[Shot], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ("--model", tiny_model)
    assert command("video", movie, *model).exit_code == 2
    assert command("video", movie, "--years", 70, "--group", 1, *model).exit_code == 2
    assert command("video", movie, "--years", 700, *model).exit_code == 2
    assert command("video", movie, "--group", 1, "-o", "x.gif", *model).exit_code == 2
    assert command("video", tmp_path / "none.mp4", "--group", 1, *model).exit_code == 4
    assert command("video", movie, "--group", 1, "--model", tmp_path / "none.onnx").exit_code == 5
    nobody = make(tmp_path / "nobody.mp4", [background()] * 5)
    empty = command("video", nobody, "--group", 1, *model)
    assert empty.exit_code == 3
    assert "no face found in 5 frames, nothing written" in empty.stderr
    cut = tmp_path / "cut.mkv"
    data = make(tmp_path / "whole.mkv", [shot.frame for shot in shots]).read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    damaged = command("video", cut, "--group", 1, *model)
    assert damaged.exit_code == 4
    assert "cut off or damaged" in damaged.stderr
    assert (tmp_path / "cut.group1.mkv").exists()

    def interrupted(*_: Any, **__: Any) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(transcode, "age_video", interrupted)
    assert command("video", movie, "--group", 1, *model).exit_code == 130


@pytest.mark.parametrize("name", ["video", "camera"])
def test_help_teaches(name: str) -> None:
    text = command(name, "--help").stdout
    assert text.count(f"lgin-edge {name} ") >= 3
    assert "--years" in text


def camera_of(monkeypatch: pytest.MonkeyPatch, shots: Sequence[Shot], *, endless: bool = False) -> None:
    """A camera 0 that shows a film and is then pulled out, or shows it again and again."""
    import cv2

    class Capture:
        def __init__(self, *_: Any) -> None:
            self.frames = itertools.cycle(shots) if endless else iter(shots)

        def isOpened(self) -> bool:
            return True

        def read(self) -> tuple[bool, Image8 | None]:
            time.sleep(0.002)  # a camera makes its reader wait
            shot = next(self.frames, None)
            return (False, None) if shot is None else (True, np.ascontiguousarray(shot.frame[..., ::-1]))

        def get(self, _: int) -> float:
            return 0.0

        def set(self, *_: Any) -> bool:
            return True

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Capture)


def no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


def test_a_camera_without_a_window(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, shots: list[Shot]) -> None:
    no_window(monkeypatch)
    camera_of(monkeypatch, shots)
    result = command("camera", "--years", 70, "--model", tiny_model)
    assert result.exit_code == 5
    assert "--out FILE" in result.stderr


def test_a_camera_is_recorded_and_what_was_is_kept(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, shots: list[Shot], tmp_path: Path
) -> None:
    no_window(monkeypatch)
    camera_of(monkeypatch, shots)
    target = tmp_path / "me.mp4"
    result = command("camera", "--group", 4, "--out", target, "--model", tiny_model, "--threads", 1)
    assert result.exit_code == 4  # pulled out
    assert "camera 0: no more frames after 30: was it unplugged?" in result.stderr
    assert "frames" in result.stdout
    assert 1 <= len(Seen(target).frames) <= 30
    assert command("camera", "--out", target, "--model", tiny_model).exit_code == 4
    assert command("camera", "--size", "large", "--model", tiny_model).exit_code == 2


def test_ctrl_c_ends_a_recording_and_keeps_it(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, shots: list[Shot], tmp_path: Path
) -> None:
    no_window(monkeypatch)
    camera_of(monkeypatch, shots, endless=True)
    add = Recording.add

    def interrupted(self: Recording, frame: Image8, time: float) -> None:
        if self.frames == 4:
            raise KeyboardInterrupt
        add(self, frame, time)

    monkeypatch.setattr(Recording, "add", interrupted)
    target = tmp_path / "me.mp4"
    result = command("camera", "--group", 4, "--out", target, "--model", tiny_model, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert f"{target}: " in result.stdout
    assert len(Seen(target).frames) == 4
    assert "from camera to picture" in result.stderr


def test_a_marked_recording_ends_when_its_time_is_over(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, shots: list[Shot], tmp_path: Path
) -> None:
    no_window(monkeypatch)
    camera_of(monkeypatch, shots, endless=True)
    target = tmp_path / "me.mp4"
    words = ("camera", "--years", 60, "--seconds", 0.3, "--mark", "--model", tiny_model, "--threads", 1)
    assert command(*words).exit_code == 2  # there is nothing to mark
    assert command(*words, "--out", target).exit_code == 0
    corners = [np.ptp(frame[-20:, -60:].astype(int)) for frame in (shots[0].frame, Seen(target).frames[0])]
    assert corners[0] < 150 < corners[1]  # the mark is white and black


def test_a_recording_keeps_the_time(tmp_path: Path, shots: list[Shot]) -> None:
    times = [100.0, 100.05, 100.3, 100.3, 101.0]
    recording = Recording(tmp_path / "out.mkv", color="rgb")
    for shot, at in zip(shots, times, strict=False):
        recording.add(shot.frame, at)
    recording.finish()
    after = Seen(tmp_path / "out.mkv")
    assert np.allclose(after.times, [0, 0.05, 0.3, 0.3, 1.0], atol=0.002)
    assert recording.seconds == pytest.approx(1)
    assert np.abs(after.frames[0].astype(float) - shots[0].frame).mean() < 3
    dropped = Recording(tmp_path / "dropped.mkv")
    dropped.add(shots[0].frame, 0.0)
    dropped.close()
    Recording(tmp_path / "empty.mkv").finish()
    assert files(tmp_path) == ["out.mkv"]


class FakeScreen:
    """OpenCV's windows, and somebody at the keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
        import cv2

        self.shown: list[Image8] = []
        self.keys = iter(keys)
        self.closed = False
        self.visible = 1.0
        monkeypatch.setenv("DISPLAY", ":0")
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, frame: self.shown.append(frame))
        monkeypatch.setattr(cv2, "waitKey", lambda _: ord(next(self.keys, "\xff")))
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: self.visible)
        monkeypatch.setattr(cv2, "destroyWindow", lambda _: setattr(self, "closed", True))


def test_keys_change_the_age(tiny: Transformer, monkeypatch: pytest.MonkeyPatch, shots: list[Shot]) -> None:
    from lgin_edge.video.preview import Window

    screen = FakeScreen(monkeypatch, "+-+x0o3q")
    window = Window(mirror=False)
    years, goes_on = [], []
    with Stream([shot.frame for shot in shots], tiny, years=40, detector=Oracle(shots)) as stream:
        for frame in stream:
            goes_on.append(window.show(frame, stream))
            years.append(stream.years)
            if not goes_on[-1]:
                break
    window.close()
    assert years == [45, 40, 45, 45, 30, 30, 60, 60]
    assert goes_on == [True] * 7 + [False]
    assert screen.closed
    top = slice(0, 100)  # above the words
    assert np.array_equal(screen.shown[6][top], shots[6].frame[top])  # o: the original
    assert not np.array_equal(screen.shown[4][top], shots[4].frame[top])


def test_a_camera_in_a_window(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, shots: list[Shot], tmp_path: Path
) -> None:
    screen = FakeScreen(monkeypatch, "")
    camera_of(monkeypatch, shots, endless=True)
    screen.visible = 0.0  # closed by a click
    result = command("camera", "--group", 4, "--model", tiny_model, "--threads", 1, "--out", tmp_path / "me.mp4")
    assert result.exit_code == 0, result.output
    assert len(screen.shown) == 1
    assert screen.closed
    assert len(Seen(tmp_path / "me.mp4").frames) == 1


def test_windows_that_there_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    from lgin_edge.video.preview import Window

    def missing(*_: Any) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", missing)
    with pytest.raises(BackendError, match="built without windows"):
        Window()
