"""Films from file to file: times, sound and metadata kept, damage told, nothing half written."""

from __future__ import annotations

import itertools
import struct
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from test_stream_films import SIZE, Image8, Oracle, Shot, background, film, wandering
from typer.testing import CliRunner

from lgin_edge import BackendError, InputError, Transformer, cli_stream
from lgin_edge.stream import Stream, StreamError
from lgin_edge.stream import video as video_module
from lgin_edge.stream.recording import Recording
from lgin_edge.stream.video import Outcome, age_video

av = pytest.importorskip("av", reason="films need PyAV: pip install 'lgin-edge[video]'")

TICKS = 90_000
#: Times that no constant frame rate has, ticks.
TIMES = [0, *np.cumsum(np.random.default_rng(7).choice([1500, 3000, 4500, 9000], 29)).tolist()]


def make(
    path: Path,
    frames: Sequence[Image8],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[int] = TIMES,
    sound: str | None = "aac",
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    color: dict[str, int] | None = None,
) -> Path:
    """A film with a tone."""
    with av.open(str(path), "w", container_options=options or {}) as container:
        container.metadata.update(metadata or {"title": "A film", "comment": "of nobody"})
        video = container.add_stream(codec, rate=30)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pixels
        video.time_base = video.codec_context.time_base = Fraction(1, TICKS)
        for name, value in (color or {}).items():
            setattr(video.codec_context, name, value)
        audio = None
        if sound is not None:
            audio = container.add_stream(sound, rate=48000)
            audio.layout = "mono"
            audio.metadata["language"] = "eng"
        for frame, pts in zip(frames, times, strict=False):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = int(pts), Fraction(1, TICKS)
            container.mux(video.encode(picture))
        container.mux(video.encode())
        if audio is not None:
            samples = int(48000 * times[min(len(frames), len(times)) - 1] / TICKS)
            tone = (0.2 * np.sin(np.arange(max(2000, samples)) * 0.05)).astype(np.float32)[None]
            block = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
            block.rate, block.pts, block.time_base = 48000, 0, Fraction(1, 48000)
            fifo = av.AudioFifo()
            fifo.write(block)
            for part in fifo.read_many(960 if sound == "libopus" else 1024, partial=True):
                container.mux(audio.encode(part))
            container.mux(audio.encode())
    return path


class Seen:
    """What is in a file."""

    def __init__(self, path: Path) -> None:
        self.times: list[float] = []
        self.sound: list[bytes] = []
        sound_times: list[float] = []
        with av.open(str(path)) as container:
            self.metadata = dict(container.metadata)
            self.kinds = [stream.type for stream in container.streams]
            self.languages = [stream.metadata.get("language") for stream in container.streams]
            video = container.streams.video[0]
            context = video.codec_context
            self.codec, self.pixels = context.name, context.pix_fmt
            self.size = (context.width, context.height)
            self.color = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
            for packet in container.demux():
                if packet.size and packet.stream.type == "audio":
                    self.sound.append(bytes(packet))
                    sound_times.append(float(packet.pts * packet.time_base))
        with av.open(str(path)) as container:
            self.frames: list[Image8] = []
            self.rotations = set()
            for frame in container.decode(video=0):
                self.frames.append(frame.to_ndarray(format="rgb24"))
                self.times.append(float(frame.pts * frame.time_base))
                self.rotations.add(frame.rotation)
        self.sound_start = sound_times[0] - self.times[0] if sound_times else None


@pytest.fixture(scope="module")
def shots(astronaut: Image8) -> list[Shot]:
    return [Shot((40 + 0.6 * shot.frame).astype(np.uint8), shot.faces) for shot in film(astronaut, wandering(30))]


@pytest.fixture
def movie(tmp_path: Path, shots: list[Shot]) -> Path:
    return make(tmp_path / "film.mp4", [shot.frame for shot in shots])


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def faces_changed(before: Seen, after: Seen, shots: Sequence[Shot]) -> None:
    """The tiny model makes faces 51 levels darker; a corner stays what it was, but for what encoding does."""
    for old, new, shot in zip(before.frames, after.frames, shots, strict=True):
        x, y = np.rint(shot.faces[0].mean(axis=0)).astype(int)
        middle = slice(y - 5, y + 5), slice(x - 5, x + 5)
        assert new[middle].mean() - old[middle].astype(float).mean() == pytest.approx(-51, abs=5)
        corner = slice(0, 16), slice(0, 16)
        assert np.abs(new[corner].astype(float) - old[corner]).mean() < 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".m4v"])
def test_a_film_keeps_its_times_sound_and_metadata(
    tiny: Transformer, shots: list[Shot], movie: Path, suffix: str
) -> None:
    target = movie.with_name("older" + suffix)
    outcome = age_video(movie, target, tiny, years=70)
    before, after = Seen(movie), Seen(target)
    assert outcome.frames == outcome.with_faces == 30
    assert outcome.notes == []
    assert outcome.damage == ""
    assert outcome.codec == "libx264"
    assert outcome.seconds == pytest.approx(TIMES[-1] / TICKS, abs=0.2)
    faces_changed(before, after, shots)
    tick = 0.001 if suffix == ".mkv" else 1e-5
    assert np.allclose(np.subtract(after.times, after.times[0]), np.subtract(before.times, before.times[0]), atol=tick)
    assert after.kinds == before.kinds == ["video", "audio"]
    assert after.sound == before.sound
    assert after.sound_start == pytest.approx(before.sound_start, abs=0.0011)
    assert after.languages[1] == "eng"
    assert after.metadata["title"] == "A film"
    assert {key.lower(): value for key, value in after.metadata.items()}["comment"] == "of nobody"
    assert files(movie.parent) == ["film.mp4", "older" + suffix]


def test_webm_and_back(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    source = make(tmp_path / "film.webm", [shot.frame for shot in shots[:8]], codec="libvpx-vp9", sound="libopus")
    webm = age_video(source, tmp_path / "older.webm", tiny, group=4)
    assert (webm.codec, webm.notes, webm.damage) == ("libvpx-vp9", [], "")
    assert Seen(tmp_path / "older.webm").sound == Seen(source).sound
    age_video(source, tmp_path / "older.mp4", tiny, group=4)
    assert Seen(tmp_path / "older.mp4").sound == Seen(source).sound
    faces_changed(Seen(source), Seen(tmp_path / "older.mp4"), shots[:8])


def test_what_a_container_does_not_take_is_left_out_and_told(tiny: Transformer, movie: Path) -> None:
    outcome = age_video(movie, movie.with_name("older.webm"), tiny, group=4)
    assert len(outcome.notes) == 1
    assert "audio aac" in outcome.notes[0]
    assert Seen(movie.with_name("older.webm")).kinds == ["video"]


def test_keys_of_telephones_are_kept(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    keys = {"com.apple.quicktime.model": "a telephone", "com.apple.quicktime.location.ISO6709": "+10.0-020.0/"}
    options = {"movflags": "use_metadata_tags"}
    source = make(tmp_path / "film.mov", [shots[0].frame] * 3, metadata=keys, options=options)
    assert keys.items() <= Seen(source).metadata.items()
    age_video(source, tmp_path / "older.mov", tiny, group=4)
    assert keys.items() <= Seen(tmp_path / "older.mov").metadata.items()


def turn(path: Path, degrees: int) -> None:
    """Ask players to turn the film, as a telephone does: the matrix in the header of its first track."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4
    assert data[at] == 0  # version
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    a, b, c, d = (value << 16 for value in matrix)
    data[at + 40 : at + 76] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_film_that_is_turned_when_shown_is_written_upright(
    tiny: Transformer, tmp_path: Path, shots: list[Shot], degrees: int
) -> None:
    frames = [
        np.rot90(shot.frame[:160], degrees // 90) for shot in shots[:5]
    ]  # counterclockwise; shown turned clockwise
    source = make(tmp_path / "film.mp4", [np.ascontiguousarray(frame) for frame in frames])
    turn(source, degrees)
    assert Seen(source).rotations not in ({0}, set())
    outcome = age_video(source, tmp_path / "older.mp4", tiny, group=4)
    assert "upright" in outcome.notes[0]
    assert outcome.with_faces == 5
    after = Seen(tmp_path / "older.mp4")
    assert after.rotations == {0}
    assert after.size == (SIZE, 160)
    upright = Seen(make(tmp_path / "upright.mp4", [np.ascontiguousarray(shot.frame[:160]) for shot in shots[:5]]))
    faces_changed(upright, after, shots[:5])


@pytest.mark.parametrize(
    ("pixels", "codec", "suffix", "written"),
    [
        ("yuv420p", "libx264", ".mp4", "yuv420p"),
        ("yuvj420p", "mjpeg", ".mkv", "yuv420p"),
        ("yuv444p", "libx264", ".mp4", "yuv444p"),
        ("yuv420p10le", "libx264", ".mp4", "yuv420p"),
        ("bgr0", "ffv1", ".mkv", "yuv420p"),
    ],
)
def test_colours_are_kept(
    tiny: Transformer, tmp_path: Path, shots: list[Shot], pixels: str, codec: str, suffix: str, written: str
) -> None:
    """Also where nothing is changed: a patch of each colour, before and after."""
    frame = shots[0].frame.copy()
    patches = [(200, 40, 40), (40, 160, 60), (50, 70, 200), (240, 240, 240), (16, 16, 16)]
    for i, value in enumerate(patches):
        frame[-30:, 36 * i : 36 * (i + 1)] = value
    source = make(tmp_path / f"film{suffix}", [frame] * 6, codec=codec, pixels=pixels)
    outcome = age_video(source, tmp_path / "older.mp4", tiny, group=4)
    before, after = Seen(source), Seen(tmp_path / "older.mp4")
    assert after.pixels.replace("j", "") == written
    assert ("8 were written" in " ".join(outcome.notes)) == ("10" in pixels)
    for i in range(len(patches)):
        middle = slice(-20, -10), slice(36 * i + 10, 36 * i + 26)
        assert np.abs(after.frames[3][middle].mean((0, 1)) - before.frames[3][middle].mean((0, 1))).max() < 5


def test_the_matrix_of_hd_is_used_where_it_is_told(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    color = {"colorspace": 1, "color_primaries": 1, "color_trc": 1, "color_range": 1}
    source = make(tmp_path / "film.mp4", [shots[0].frame] * 3, color=color)
    age_video(source, tmp_path / "older.mp4", tiny, group=4)
    before, after = Seen(source), Seen(tmp_path / "older.mp4")
    assert after.color == before.color == (1, 1, 1, 1)
    assert np.abs(after.frames[0][:16, :16].astype(float) - before.frames[0][:16, :16]).mean() < 3


def test_odd_sides_lose_a_row(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    frames = [np.ascontiguousarray(shots[0].frame[:151, :171])] * 3
    source = make(tmp_path / "film.mkv", frames, codec="ffv1", pixels="yuv444p", sound=None)
    age_video(source, tmp_path / "older.mp4", tiny, group=4)
    assert Seen(tmp_path / "older.mp4").size == (171, 151)
    source = make(tmp_path / "film2.mkv", frames, codec="ffv1", pixels="bgr0", sound=None)
    age_video(source, tmp_path / "older2.mp4", tiny, group=4)
    assert Seen(tmp_path / "older2.mp4").size == (170, 150)


def test_a_film_that_changes_its_size(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    """As a video call does when the line gets worse."""
    source = tmp_path / "film.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuvj420p"
        for i, shot in enumerate(shots[:6]):
            small = i >= 3
            coder = av.CodecContext.create("mjpeg", "w")
            coder.width = coder.height = 96 if small else SIZE
            coder.pix_fmt, coder.time_base = "yuvj420p", Fraction(1, 30)
            frame = np.ascontiguousarray(shot.frame[::2, ::2] if small else shot.frame)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuvj420p")
            picture.pts, picture.time_base = i, Fraction(1, 30)
            for packet in [*coder.encode(picture), *coder.encode(None)]:
                packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 30), i, i
                container.mux(packet)
    outcome = age_video(source, tmp_path / "older.mp4", tiny, group=4)
    assert "changes its size" in outcome.notes[0]
    after = Seen(tmp_path / "older.mp4")
    assert {frame.shape for frame in after.frames} == {(SIZE, SIZE, 3)}
    assert outcome.with_faces == 6


def test_a_film_that_starts_late_starts_at_once(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    """As those cut out of a broadcast do."""
    times = [5 * TICKS + time for time in TIMES]
    source = make(tmp_path / "film.ts", [shots[0].frame] * 5, sound=None, times=times)
    assert Seen(source).times[0] > 1
    age_video(source, tmp_path / "older.mp4", tiny, group=4)
    before, after = Seen(source), Seen(tmp_path / "older.mp4")
    assert after.times[0] < 0.1
    assert np.allclose(np.diff(after.times), np.diff(before.times), atol=1e-4)


def test_a_film_that_breaks_off_is_kept_as_far_as_it_goes(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    whole = make(tmp_path / "whole.mkv", [shot.frame for shot in shots], sound=None)
    data = whole.read_bytes()
    source = tmp_path / "film.mkv"
    source.write_bytes(data[: len(data) * 2 // 3])
    outcome = age_video(source, tmp_path / "older.mkv", tiny, group=4)
    assert "cut off or damaged" in outcome.damage
    assert str(outcome.frames) in outcome.damage
    after = Seen(tmp_path / "older.mkv")
    assert 5 < len(after.frames) == outcome.frames < 30
    faces_changed(Seen(source), after, shots[: outcome.frames])


def test_an_mp4_that_breaks_off(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    """Its index stands in front, and tells how much is missing."""
    frames = [shot.frame for shot in shots]
    data = make(tmp_path / "whole.mp4", frames, options={"movflags": "faststart"}, sound=None).read_bytes()
    source = tmp_path / "film.mp4"
    source.write_bytes(data[:-3000])
    outcome = age_video(source, tmp_path / "older.mp4", tiny, group=4)
    assert "of 30 frames" in outcome.damage
    assert 5 < outcome.frames <= 30


def test_bytes_that_were_lost_on_the_way(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    source = make(tmp_path / "film.mkv", [shot.frame for shot in shots], sound=None)
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(1).bytes(400)
    source.write_bytes(data)
    outcome = age_video(source, tmp_path / "older.mkv", tiny, group=4)
    assert outcome.frames > 5
    assert np.all(np.diff(Seen(tmp_path / "older.mkv").times) > 0)


def test_files_that_are_no_films(tiny: Transformer, tmp_path: Path, movie: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a film")
    headless = tmp_path / "headless.mp4"
    headless.write_bytes(movie.read_bytes()[:-2000])  # without the index at its end
    sound = tmp_path / "sound.m4a"
    with av.open(str(movie)) as source, av.open(str(sound), "w", format="mp4") as target:
        copied = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = copied
                target.mux(packet)
    for path, what in (
        (text, "not a video that can be read"),
        (headless, "not a video that can be read|no frame of its video can be decoded"),
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "folder"),
        (sound, r"no video in it \(found: audio\)"),
    ):
        with pytest.raises(StreamError, match=what):
            age_video(path, tmp_path / "out.mp4", tiny, group=4)
    assert not (tmp_path / "out.mp4").exists()
    assert not [name for name in files(tmp_path) if "tmp" in name]


def test_files_that_cannot_be_written(tiny: Transformer, movie: Path) -> None:
    taken = movie.with_name("taken.mp4")
    taken.write_bytes(b"mine")
    for target, error, what in (
        (movie, StreamError, "the film itself"),
        (taken, StreamError, "exists already"),
        (movie.parent, InputError, "written as .mp4"),
        (movie.with_name("out.xyz"), InputError, "written as .mp4"),
        (movie.with_name("none") / "out.mp4", StreamError, "no folder"),
    ):
        with pytest.raises(error, match=what):
            age_video(movie, target, tiny, group=4)
    assert taken.read_bytes() == b"mine"
    with pytest.raises(InputError, match="codec"):
        age_video(movie, movie.with_name("out.mp4"), tiny, group=4, codec="nonsense")
    with pytest.raises(StreamError, match="cannot be written with libvpx-vp9"):
        age_video(movie, movie.with_name("out.mov"), tiny, group=4, codec="libvpx-vp9")
    assert files(movie.parent) == ["film.mp4", "taken.mp4"]


def test_overwriting_is_one_step(tiny: Transformer, movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = movie.with_name("older.mp4")
    target.write_bytes(b"old")
    stop = iter([None] * 5)

    def progress(done: float, total: float | None) -> None:
        if next(stop, "now") == "now":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        age_video(movie, target, tiny, group=4, overwrite=True, progress=progress)
    assert target.read_bytes() == b"old"
    assert files(movie.parent) == ["film.mp4", "older.mp4"]
    age_video(movie, target, tiny, group=4, overwrite=True)
    assert len(Seen(target).frames) == 30


def test_progress_rises_to_the_length_of_the_film(tiny: Transformer, movie: Path) -> None:
    told: list[tuple[float, float | None]] = []
    age_video(movie, movie.with_name("older.mp4"), tiny, group=4, progress=lambda *step: told.append(step))
    done, totals = zip(*told, strict=True)
    assert len(told) == 30
    assert list(done) == sorted(done)
    assert totals[0] == pytest.approx(TIMES[-1] / TICKS, abs=0.2)
    assert set(totals) == {totals[0]}


def test_without_pyav(tiny: Transformer, movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(BackendError, match=r"pip install 'lgin-edge\[video\]'"):
        age_video(movie, movie.with_name("older.mp4"), tiny, group=4)


app = typer.Typer()
app.command()(cli_stream.video)
app.command()(cli_stream.camera)


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

    monkeypatch.setattr(video_module, "age_video", interrupted)
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


def test_a_recording_ends_when_its_time_is_over(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, shots: list[Shot], tmp_path: Path
) -> None:
    no_window(monkeypatch)
    camera_of(monkeypatch, shots, endless=True)
    target = tmp_path / "me.mp4"
    words = ("camera", "--years", 60, "--out", target, "--seconds", 0.3, "--model", tiny_model, "--threads", 1)
    assert command(*words).exit_code == 0
    assert len(Seen(target).frames) >= 1


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
    from lgin_edge.stream.window import Window

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

    from lgin_edge.stream.window import Window

    def missing(*_: Any) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", missing)
    with pytest.raises(BackendError, match="built without windows"):
        Window()
