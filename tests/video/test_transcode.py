"""Films from file to file: times, sound and metadata kept, damage told, nothing half written."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.films import SIZE, Image8, Shot
from support.movies import TICKS, TIMES, Seen, files, make

from lgin_edge import BackendError, InputError, Transformer
from lgin_edge.provenance import SOURCE_TYPE
from lgin_edge.stream import Stream, StreamError
from lgin_edge.video import transcode
from lgin_edge.video.transcode import age_video

av = pytest.importorskip("av", reason="films need PyAV: pip install 'lgin-edge[video]'")


@pytest.fixture
def movie(tmp_path: Path, shots: list[Shot]) -> Path:
    return make(tmp_path / "film.mp4", [shot.frame for shot in shots])


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
    assert target.read_bytes().count(SOURCE_TYPE.encode()) == 1
    assert files(movie.parent) == ["film.mp4", "older" + suffix]


def test_webm_and_back(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    source = make(tmp_path / "film.webm", [shot.frame for shot in shots[:8]], codec="libvpx-vp9", sound="libopus")
    webm = age_video(source, tmp_path / "older.webm", tiny, group=4)
    assert (webm.codec, webm.notes, webm.damage) == ("libvpx-vp9", [], "")
    assert Seen(tmp_path / "older.webm").sound == Seen(source).sound
    age_video(source, tmp_path / "older.mp4", tiny, group=4, mark=True)
    before, after = Seen(source), Seen(tmp_path / "older.mp4")
    assert after.sound == before.sound
    faces_changed(before, after, shots[:8])
    for old, new in zip(before.frames, after.frames, strict=True):
        assert np.abs(new[-20:, -60:].astype(float) - old[-20:, -60:]).max() > 60  # the mark
    assert SOURCE_TYPE.encode() in (tmp_path / "older.webm").read_bytes()


def test_webm_gets_opus(tiny: Transformer, movie: Path) -> None:
    outcome = age_video(movie, movie.with_name("older.webm"), tiny, group=4)
    assert outcome.notes == ["the sound was encoded anew, aac to libopus: .webm does not take it as it was"]
    assert sound_of(movie.with_name("older.webm")) == ("opus", pytest.approx(sound_of(movie)[1], abs=0.05))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(("codec", "container"), [("wmav2", ".wmv"), ("pcm_mulaw", ".mov")])
def test_sound_that_no_container_takes_is_encoded_anew(
    tiny: Transformer, tmp_path: Path, shots: list[Shot], codec: str, container: str, suffix: str
) -> None:
    source = make(tmp_path / f"film{container}", [shot.frame for shot in shots[:10]], sound=codec)
    age_video(source, tmp_path / f"older{suffix}", tiny, group=4)
    name, length = sound_of(tmp_path / f"older{suffix}")
    assert name in ("aac", codec)
    assert length == pytest.approx(sound_of(source)[1], abs=0.1)


def sound_of(path: Path) -> tuple[str, float]:
    """The codec of a film's sound, and how long it is, seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(stream))
        return stream.codec_context.codec.canonical_name, samples / stream.rate


def test_keys_of_telephones_are_kept(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    keys = {"com.apple.quicktime.model": "a telephone", "com.apple.quicktime.location.ISO6709": "+10.0-020.0/"}
    options = {"movflags": "use_metadata_tags"}
    source = make(tmp_path / "film.mov", [shots[0].frame] * 3, metadata=keys, options=options)
    assert keys.items() <= Seen(source).metadata.items()
    age_video(source, tmp_path / "older.mov", tiny, group=4)
    assert keys.items() <= Seen(tmp_path / "older.mov").metadata.items()


def ask(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Ask players to turn or mirror the film, as a telephone does: the matrix in the header of its first track."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4
    assert data[at] == 0  # version
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
    ask(source, {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees])
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


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
        ((1, 0, 0, -1), lambda frame: frame[::-1]),
        ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda frame: frame[::-1, ::-1].swapaxes(0, 1)),
    ],
)
def test_a_film_that_is_mirrored_when_shown(
    tiny: Transformer,
    tmp_path: Path,
    shots: list[Shot],
    matrix: tuple[int, int, int, int],
    shown: Callable[[Image8], Image8],
) -> None:
    source = make(tmp_path / "film.mp4", [np.ascontiguousarray(shown(shot.frame[:160])) for shot in shots[:3]])
    stored = Seen(source).frames[0]
    ask(source, matrix)
    outcome = age_video(source, tmp_path / "older.mp4", tiny, group=4)
    assert "mirrored" in outcome.notes[0]
    after = Seen(tmp_path / "older.mp4")
    expected = shown(stored)
    assert after.frames[0].shape == expected.shape
    corner = slice(0, 24), slice(0, 24)
    assert np.abs(after.frames[0][corner].astype(float) - expected[corner]).mean() < 4
    opposite = slice(-24, None), slice(-24, None)
    assert np.abs(after.frames[0][opposite].astype(float) - expected[opposite]).mean() < 4


def test_a_film_without_times_lasts_as_long_as_its_frames(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    """A raw stream, as the camera of a Raspberry Pi writes it."""
    source = tmp_path / "camera.h264"
    with av.open(str(source), "w", format="h264") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = SIZE, SIZE, "yuv420p"
        for shot in shots[:20]:
            container.mux(video.encode(av.VideoFrame.from_ndarray(shot.frame, format="rgb24")))
        container.mux(video.encode())
    outcome = age_video(source, tmp_path / "older.mp4", tiny, group=4)
    assert outcome.frames == 20
    assert outcome.seconds == pytest.approx(0.8)
    assert np.allclose(np.diff(Seen(tmp_path / "older.mp4").times), 1 / 25, atol=1e-4)


@pytest.mark.parametrize(
    ("lowest", "notes"), [(0, ["the film has transparent parts; they were written opaque"]), (255, [])]
)
def test_transparency_that_is_lost_is_told(
    tiny: Transformer, tmp_path: Path, shots: list[Shot], lowest: int, notes: list[str]
) -> None:
    """And only that: GIFs have a format with transparency, and mostly no transparent pixel."""
    source = tmp_path / "logo.mov"
    with av.open(str(source), "w") as container:
        video = container.add_stream("qtrle", rate=10)
        video.height, video.width, video.pix_fmt = SIZE, SIZE, "argb"
        for shot in shots[:3]:
            rgba = np.dstack([shot.frame, np.where(np.arange(SIZE) < 20, lowest, 255)[None].repeat(SIZE, 0)])
            frame = av.VideoFrame.from_ndarray(rgba.astype(np.uint8), format="rgba")
            container.mux(video.encode(frame.reformat(format="argb")))
        container.mux(video.encode())
    outcome = age_video(source, tmp_path / "older.mov", tiny, group=4)
    assert outcome.notes == notes


@pytest.mark.parametrize("name", ["12:30.mp4", "http:film.mp4", "a ! b.mp4", "50%d.mp4"])
def test_a_file_is_a_file_whatever_its_name(
    tiny: Transformer, movie: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(movie.parent)
    movie.rename(name)
    assert age_video(name, f"older {name}", tiny, group=4).frames == 30
    for source in (name, Path(name)):
        with Stream(source, tiny, group=4, inline=True) as stream:
            assert next(stream).shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_is_no_film(tiny: Transformer, tmp_path: Path, shots: list[Shot], suffix: str) -> None:
    picture = tmp_path / f"portrait{suffix}"
    Image.fromarray(shots[0].frame).save(picture)
    with pytest.raises(StreamError, match=r"is a picture, not a film: lgin-edge age .*portrait"):
        age_video(picture, tmp_path / "older.mp4", tiny, group=4)


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


class Interrupted:
    """A container or a stream whose work a signal handler of the program's breaks off."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def demux(self) -> None:
        time_is_up()

    def decode(self, _: Any) -> None:
        time_is_up()


def time_is_up(*_: object) -> None:
    raise TimeoutError("time is up")


@pytest.mark.parametrize("where", ["container", "video", "transcode.plain_name", "writer.plain_name"])
def test_an_exception_of_a_signal_handler_is_the_callers(
    tiny: Transformer, movie: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is an OSError, too: the film is neither damaged nor cut off."""

    class Film(transcode._Film):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            if where in ("container", "video"):
                setattr(self, where, Interrupted(getattr(self, where)))

    monkeypatch.setattr(transcode, "_Film", Film)
    if where.endswith("plain_name"):
        monkeypatch.setattr(f"lgin_edge.video.{where}", time_is_up)
    with pytest.raises(TimeoutError, match="time is up") as caught:
        age_video(movie, movie.with_name("out.mp4"), tiny, group=4)
    assert not isinstance(caught.value, StreamError)
    assert files(movie.parent) == ["film.mp4"]


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
    target.chmod(0o600)
    link = movie.with_name("link.mp4")
    link.symlink_to(target)
    age_video(movie, link, tiny, group=4, overwrite=True)
    assert len(Seen(target).frames) == 30
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600


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


def test_apple_plays_h265(
    tiny: Transformer, tmp_path: Path, shots: list[Shot], capfd: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path / "film.mp4", [shot.frame for shot in shots[:3]])
    for suffix in (".mp4", ".mov"):
        target = tmp_path / f"older{suffix}"
        age_video(source, target, tiny, years=70, codec="libx265")
        assert b"hvc1" in target.read_bytes()
    assert capfd.readouterr().err == ""  # the encoder is quiet


def test_an_animated_webp_is_no_single_picture(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    first, second = (Image.fromarray(shot.frame) for shot in shots[:2])
    source = tmp_path / "film.webp"
    first.save(source, save_all=True, append_images=[second])
    with pytest.raises(StreamError, match=r"animated WebP.*GIF"):
        age_video(source, tmp_path / "older.mp4", tiny, years=70)
